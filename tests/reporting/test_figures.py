"""What figures show of unusual histories."""

import numpy as np
import pandas as pd
import pytest
from test_findings import make_context

from triplet_distillation.reporting import figures, style
from triplet_distillation.tabular import write_table


@pytest.fixture
def saved(monkeypatch):
    """The figures that were saved."""
    found = []
    monkeypatch.setattr(style, "save", lambda figure, paths: found.append(figure))
    yield found
    for figure in found:
        style.plt.close(figure)


def write_history(path, loss, **columns) -> str:
    table = {"step": range(len(loss)), "loss": loss, "learning_rate": 0.1, "mean_cosine": 0.0, **columns}
    write_table(path, pd.DataFrame(table))
    return str(path)


def test_negative_losses_are_shown_and_what_methods_log_has_a_panel(saved, tmp_path):
    histories = {
        "students/a": [write_history(tmp_path / "a.parquet", [-1.0, -3.0], alpha=[0.1, np.nan])],
        "students/b": [write_history(tmp_path / "b.parquet", [0.5, 0.2], active=[0.3, 0.1])],
    }
    figures.plot_training_curves({}, histories, make_context(1), [])
    axes = [axis for axis in saved[0].axes if axis.get_visible()]
    assert [axis.get_title() for axis in axes] == [
        "First stage: loss",
        "Methods: loss",
        "Methods: α = cos(f, t)",
        "Methods: active triplets, fraction",
    ]
    assert axes[1].get_ylim()[0] <= -3
    assert axes[3].get_ylim()[0] == 0


def test_lines_of_many_models_differ():
    looks = [(look["color"], str(look["linestyle"])) for look in map(style.line_style, range(48))]
    assert len(set(looks)) == len(looks)

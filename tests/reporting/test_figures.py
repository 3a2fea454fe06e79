"""What figures show of unusual histories."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from test_findings import make_context, make_evaluations

from triplet_distillation.files import write_json
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


def test_a_first_stage_whose_loss_stays_high_fills_its_panel(saved, tmp_path):
    history = write_history(tmp_path / "a.parquet", np.linspace(40, 25, 9))
    figures.plot_training_curves({"teacher": [history]}, {}, make_context(1), [])
    axis = saved[0].axes[0]
    assert axis.get_yscale() == "linear"
    assert 23 < axis.get_ylim()[0] < 25 < 40 < axis.get_ylim()[1] < 42


def test_runs_are_one_line_and_a_band(saved, tmp_path):
    losses = ([4.0, 3.0], [2.0, 1.0], [3.0, 2.0])
    paths = [write_history(tmp_path / f"{run}.parquet", loss) for run, loss in enumerate(losses)]
    figures.plot_training_curves({}, {"students/a": paths}, make_context(3), [])
    axis = saved[0].axes[1]
    (line,) = axis.get_lines()
    assert line.get_ydata().tolist() == [3.0, 2.0]
    band = axis.collections[0].get_datalim(axis.transData)
    assert (band.y0, band.y1) == (1.0, 4.0)
    assert "Band: from the smallest to the largest run" in saved[0].get_suptitle()


def legends(figure):
    return [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]


def test_no_legend_covers_a_panel(saved, tmp_path):
    context = make_context(1)
    evaluations = make_evaluations(tmp_path, context, {"students/a": 0.9})
    profile = str(tmp_path / "profile.json")
    write_json(profile, {"flops": 1e9})
    figures.plot_roc(evaluations, [])
    figures.plot_score_distributions(evaluations, [])
    figures.plot_accuracy_against_flops(evaluations, dict.fromkeys(context.runs, profile), [])
    margins, triplets = str(tmp_path / "margins.json"), str(tmp_path / "triplets.csv")
    calibrated = {"min_margin": 0.2, "max_margin": 0.5, "measured": [0.2, 0.5], "paper": [0.2, 0.5]}
    write_json(margins, {**calibrated, "measured_quantiles": [0.0, 1.0], "mode": "measured"})
    write_table(triplets, pd.DataFrame({"d": np.linspace(0, 1, 50)}))
    figures.plot_calibration({"euclidean": margins}, {"euclidean": triplets}, [])
    histories = {model: [write_history(tmp_path / "a.parquet", [2.0, 1.0])] for model in ("students/a", "students/b")}
    figures.plot_training_curves({}, histories, context, [])
    assert len(saved) == 5
    for figure in saved:
        figure.canvas.draw()
        assert legends(figure)
        for legend in legends(figure):
            box = legend.get_window_extent()
            assert not any(box.overlaps(axis.get_window_extent()) for axis in figure.axes if axis.get_visible())
        assert all(text.get_fontsize() >= 8 for text in figure.findobj(style.plt.Text) if text.get_text())
        assert figure.get_size_inches()[0] <= style.WIDTH


def test_names_are_shown_as_they_are_even_if_they_look_like_formulas_or_hidden(saved, tmp_path):
    labels = {"teacher": "Teacher", "student": r"$\unknown{$", "students/a": "_hidden", "students/b": "a_b $x^2$"}
    context = dataclasses.replace(make_context(1), labels=labels, benchmarks={"bench": r"_$\bench$"})
    evaluations = make_evaluations(tmp_path, context, {})
    profile = str(tmp_path / "profile.json")
    write_json(profile, {"flops": 1e9})
    figures.plot_roc(evaluations, [])
    figures.plot_score_distributions(evaluations, [])
    figures.plot_accuracy_against_flops(evaluations, dict.fromkeys(context.runs, profile), [])
    for figure in saved:
        figure.canvas.draw()  # would fail at a formula that is none
    for figure, suffix in ((saved[0], ""), (saved[2], ", 1.00")):
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == [f"{label}{suffix}" for label in labels.values()]
        assert figure.axes[0].get_title() == context.benchmarks["bench"]
    figure, axis = style.plt.subplots()
    title = axis.set_title("a $x^2$")
    as_shown, width = title.get_window_extent().width, axis.set_title("a $x^2").get_window_extent().width
    assert as_shown > width  # a formula has no dollar signs
    saved.append(figure)


def test_an_axis_whose_losses_differ_by_magnitudes_has_plain_numbers(saved, tmp_path):
    history = write_history(tmp_path / "a.parquet", [3000.0, -2.0])
    figures.plot_training_curves({"teacher": [history]}, {}, make_context(1), [])
    axis = saved[0].axes[0]
    saved[0].canvas.draw()
    assert axis.get_yscale() == "symlog"
    assert not any("$" in label.get_text() for label in axis.get_yticklabels())


def test_a_figure_has_the_same_bytes_in_both_formats_every_time(tmp_path):
    for name in ("one", "two"):
        figure, axis = style.plt.subplots()
        axis.plot([1, 2], label="a")
        style.legend_below(figure, *axis.get_legend_handles_labels())
        style.save(figure, [tmp_path / f"{name}.svg", tmp_path / f"{name}.png"])
    for kind, start in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        content = (tmp_path / f"one.{kind}").read_bytes()
        assert content.startswith(start)
        assert content == (tmp_path / f"two.{kind}").read_bytes()

"""Findings about a second stage that has nothing to learn."""

import pandas as pd
import pytest

from triplet_distillation.files import write_table
from triplet_distillation.reporting import findings


@pytest.mark.parametrize(("active", "expect_warning"), [([0.004, 0.001, 0.0], True), ([0.4, 0.3, 0.1], False)])
def test_second_stage_without_active_triplets_triggers_a_warning(tmp_path, active, expect_warning):
    path = tmp_path / "history.parquet"
    write_table(path, pd.DataFrame({"step": [0, 1, 2], "active": active}))
    sentences = findings._about_activity({"students/a": [str(path)]}, {"students/a": "+ triplet"})
    assert sentences[0].startswith(f"triplet: {100 * active[0]:.1f}% of triplets active at the first step")
    assert (
        any(sentence.startswith("Warning: triplet had almost nothing to learn") for sentence in sentences)
        == expect_warning
    )

"""What the findings say of a second stage that has nothing to learn."""

import pandas as pd
import pytest

from triplet_distillation.files import write_table
from triplet_distillation.reporting import findings


@pytest.mark.parametrize(("active", "warned"), [([0.004, 0.001, 0.0], True), ([0.4, 0.3, 0.1], False)])
def test_a_second_stage_without_active_triplets_is_warned_of(tmp_path, active, warned):
    path = tmp_path / "history.parquet"
    write_table(path, pd.DataFrame({"step": [0, 1, 2], "active": active}))
    said = findings._about_activity({"students/a": [str(path)]}, {"students/a": "+ triplet"})
    assert said[0].startswith(f"triplet: {100 * active[0]:.1f} % of triplets active at the first step")
    assert any(each.startswith("Warning: triplet had almost nothing to learn") for each in said) == warned

"""Tables keep what is written to them: names are text, whatever they look like."""

import numpy as np
import pandas as pd
import pytest

from triplet_distillation.tabular import read_table, write_table

NAMES = ["1", "01", "001", "NA", "None", "nan", "null", "", "True", "1e3", " x", "a,b", 'say "x"', "Ünal", "a\nb"]


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_names_stay_text_and_missing_numbers_stay_missing(tmp_path, extension):
    numbers = np.where(np.arange(len(NAMES)) % 3 == 0, np.nan, np.arange(len(NAMES)))
    table = pd.DataFrame({"identity": NAMES, "number": numbers, "count": range(len(NAMES))})
    write_table(tmp_path / f"t.{extension}", table)
    found = read_table(tmp_path / f"t.{extension}", text=("identity",))
    assert found.identity.tolist() == NAMES
    assert np.array_equal(found.number, numbers, equal_nan=True)
    assert found["count"].dtype == int

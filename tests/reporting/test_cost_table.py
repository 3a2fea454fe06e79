"""Table 1: what networks cost, also those that the paper has no number for."""

import pandas as pd

from triplet_distillation.files import write_json
from triplet_distillation.reporting.tables import TableFiles, write_table1

MEASURED = ["size_mib", "parameters", "flops", "flops_elementwise", "macs", "seconds_per_image"]


def test_networks_of_the_study_stand_beside_those_of_the_paper(tmp_path):
    profiles = {}
    for name in ("slim", "own_teacher"):
        profiles[name] = str(tmp_path / f"{name}.json")
        write_json(profiles[name], dict.fromkeys(MEASURED, 2.3) | {"runs": 7})
    outputs = TableFiles(*(str(tmp_path / f"table1.{kind}") for kind in ("csv", "html", "tex")))
    write_table1(profiles, {"teacher": "own_teacher", "student": "slim"}, outputs)
    table = pd.read_csv(outputs.csv).set_index("network")
    assert set(MEASURED) <= set(table.columns)
    printed = table.filter(like="paper_")
    assert printed.loc["slim"].notna().all()
    assert printed.loc["own_teacher"].isna().all()
    page = (tmp_path / "table1.html").read_text()
    assert "this study's teacher" in page
    assert "this study's student" in page
    assert r"own\_teacher & 2.3 & --" in (tmp_path / "table1.tex").read_text()

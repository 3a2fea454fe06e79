"""Several studies on one page: what is comparable, and what only one of them has."""

import shutil

import pandas as pd
import pytest
import yaml

from triplet_distillation.__main__ import main
from triplet_distillation.files import write_json
from triplet_distillation.tabular import write_table


def make_study(folder, name, methods, pairs="same", faces="same"):
    """The files of a study that the page is made of; its numbers come from its name's length."""
    config = {
        "study": name,
        "title": f"<{name}>",
        "training_data": {"dataset": "photos"},
        "teacher": {"network": "large"},
        "student": {"network": "small"},
        "benchmarks": {"own": {"label": "Own people", "dataset": "photos"}, "removed": None},
        "execution": {"portable": name != "gpu"},
    }
    labels = ["Teacher", "Student", *methods]
    accuracy = [90.0 + len(name), 80.0, *(70.0 + number for number in range(len(methods)))]
    table = pd.DataFrame({"model": labels, "label": labels, "own": accuracy, "own_low": 1.0, "own_high": 99.0})
    claim = {"benchmark": "own", "b": "Student", "difference": -0.5, "low": -1.0, "high": 0.25, "basis": "12 people"}
    verdicts = {"accuracy": "undecided", "AUC": "contradicted"}
    claims = [{**claim, "a": method, "metric": key, "verdict": verdicts[key]} for method in methods for key in verdicts]
    (folder / "tables").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_table(folder / "tables/table2.csv", table)
    write_table(folder / "tables/comparisons.csv", pd.DataFrame(claims))
    write_json(folder / "tables/timings.json", {"seconds_at_work": 3725})
    write_json(folder / "tables/environment.json", {"cpu": "A CPU", "cores": 2, "gpu": None})
    split = {"split/round0/pairs/own.parquet": pairs, "split/round0/training_set.parquet": f"of {pairs}"}
    digests = {path: {"content": content} for path, content in split.items()}
    aligned = {"faces/photos/store.arrow": {"content": faces}}
    write_json(folder / "hashes.json", {"stages": {"align": aligned, "split": digests}})


@pytest.fixture
def studies(tmp_path):
    make_study(tmp_path / "a", "one", ["+ A", "+ B"])
    make_study(tmp_path / "b", "gpu", ["+ B", "+ C"])
    make_study(tmp_path / "c", "third", ["+ C"], pairs="others")
    return tmp_path


def row(page: str, label: str) -> str:
    (found,) = [line for line in page.splitlines() if f"<div>{label}</div>" in line]
    return found


def test_models_of_all_studies_have_a_row_and_studies_a_column(studies, capsys):
    output = studies / "out/page.html"
    assert main(["side-by-side", *(str(studies / name) for name in "abc"), "--output", str(output)]) == 0
    assert str(output) in capsys.readouterr().out
    page = output.read_text()
    assert "93.00" in row(page, "Teacher") and "95.00" in row(page, "Teacher")
    assert row(page, "+ B").count("–</td>") == 1
    assert "71.00" in row(page, "+ C") and "70.00" in row(page, "+ C")
    claimed = row(page, "+ A against Student")
    assert "−0.50" in claimed and "undecided" in claimed and "contradicted" not in claimed
    assert "1 h 2 min" in page
    assert "&lt;third&gt;" in page and "<third>" not in page


def test_metric_that_is_not_the_accuracy_is_named(studies):
    config = yaml.safe_load((studies / "a/config.yaml").read_text())
    config["benchmarks"]["own"] |= {"metric": "tar_at_far", "far": 0.01}
    (studies / "a/config.yaml").write_text(yaml.safe_dump(config))
    main(["side-by-side", str(studies / "a"), str(studies / "b"), "--output", str(studies / "page.html")])
    page = (studies / "page.html").read_text()
    assert page.count("Own people, TAR at FAR 0.01<") == 2 == page.count("Own people<")


def test_page_says_what_is_comparable(studies):
    main(["side-by-side", *(str(studies / name) for name in "abc"), "--output", str(studies / "page.html")])
    page = (studies / "page.html").read_text()
    assert "one, gpu were tested on the same pairs." in page
    assert "third shares its test pairs with no other study here." in page
    assert "third shares its training faces with no other study here." in page
    assert "Results can differ between CPUs (execution.portable is off): gpu." in page


def test_same_rows_of_other_faces_are_not_the_same_pairs(studies):
    make_study(studies / "d", "realigned", ["+ A"], faces="others")
    main(["side-by-side", *(str(studies / name) for name in "abd"), "--output", str(studies / "page.html")])
    page = (studies / "page.html").read_text()
    assert "one, gpu were tested on the same pairs." in page
    assert "realigned shares its test pairs with no other study here." in page


def test_study_that_is_not_finished_is_named(studies, capsys):
    (studies / "b/tables/comparisons.csv").unlink()
    assert main(["side-by-side", str(studies / "a"), str(studies / "b"), "--output", str(studies / "page.html")]) == 1
    message = capsys.readouterr().err
    assert f"{studies / 'b'} is not a finished study" in message and "comparisons.csv is missing" in message
    assert not (studies / "page.html").exists()


def test_file_in_the_place_of_a_study_is_named(studies, capsys):
    (studies / "crate.zip").write_bytes(b"PK")
    assert main(["side-by-side", str(studies / "crate.zip"), "--output", str(studies / "page.html")]) == 1
    assert capsys.readouterr().err.startswith(f"StudyError: {studies / 'crate.zip'} is not a finished study")


def test_two_studies_of_one_name_cannot_be_told_apart(studies, capsys):
    shutil.copytree(studies / "a", studies / "copy")
    assert main(["side-by-side", str(studies / "a"), str(studies / "copy"), "--output", str(studies / "p.html")]) == 1
    assert "two studies are called one" in capsys.readouterr().err

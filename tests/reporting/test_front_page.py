"""The first page: its answers follow from tables, whatever the study looks like."""

from pathlib import Path

import pandas as pd
import pytest
from browser import Browser

from triplet_distillation.files import write_json
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.reporting.front_page import ResultFiles, StudyFacts, write_front_page
from triplet_distillation.tabular import write_table

LABELS = {"teacher": "Teacher", "student": "Student", "students/a": "+ method <A>", "students/b": "+ method B"}
FACTS = StudyFacts("Faces & <friends>", "large, 9 steps", "small, 3 steps", "photos", "2 steps", portable=False)
COMPARISON = {"metric": "accuracy", "difference": 1.5, "basis": "12 people in 3 runs"}


@pytest.fixture
def study(tmp_path):
    """Tables of a study whose claims are that A beats B on one benchmark, and B beats A on the other."""
    rows = {"model": ["teacher", "student", "a", "b"], "label": list(LABELS.values())}
    for benchmark, means in {"first": [95, 80, 84, 83], "second": [70, 40, 49.5, 50]}.items():
        rows |= {benchmark: means, f"{benchmark}_low": [x - 2 for x in means], f"{benchmark}_high": means}
    names = {"a": LABELS["students/a"], "b": LABELS["students/b"]}
    comparisons = [
        {"benchmark": "first", **names, **COMPARISON, "verdict": "supported"},
        {"benchmark": "first", **names, **COMPARISON, "metric": "AUC", "verdict": "contradicted"},
        {"benchmark": "second", **names, **COMPARISON, "metric": "TAR at FAR 0.01", "verdict": "contradicted"},
    ]
    files = {name: str(tmp_path / f"{name}.csv") for name in ("table2", "comparisons", "verification", "quality")}
    files |= {name: str(tmp_path / f"{name}.json") for name in ("findings", "timings", "environment")}
    write_table(files["table2"], pd.DataFrame(rows))
    write_table(files["comparisons"], pd.DataFrame(comparisons))
    verification = {"model": "a", "benchmark": ["first", "second"], "label": "A", "pairs": [6000, 7000]}
    write_table(files["verification"], pd.DataFrame(verification))
    quality = {"dataset": ["photos", "more"], "images": [50, 10], "one face": [40, 9], "several faces": [5, 0]}
    write_table(files["quality"], pd.DataFrame(quality))
    write_json(files["findings"], {"sentences": ["Fine."], "split": ["Nobody was trained on."]})
    write_json(files["timings"], {"jobs": 9, "seconds": 90, "seconds_at_work": 61, "peak_mib": None})
    write_json(files["environment"], {"cpu": "A <fast> CPU", "cores": 4, "gpu": None})
    training_set = tmp_path / "training.parquet"
    write_table(training_set, pd.DataFrame({"row": range(6), "label": [0, 0, 1, 1, 2, 2]}))
    return files | {"training_sets": [str(training_set)]}


def front_page(study, tmp_path) -> str:
    same = {model: [0, 1, 2] for model in LABELS}
    context = ReportContext(
        labels=LABELS,
        benchmarks={"first": "First", "second": "Second"},
        seeds=[0, 1, 2],
        runs=same,
        weights=same,
        rounds=[0, 0, 0],
        test_groups={"first": [0, 0, 0], "second": [0, 0, 0]},
        far={"first": None, "second": 0.01},
        flip="none",
    )
    output = tmp_path / "front_page.html"
    write_front_page(FACTS, context, ResultFiles(**study), {"Findings": "results/mine/a.html"}, str(output))
    return output.read_text()


def test_answers_are_those_of_the_tables(study, tmp_path):
    page = front_page(study, tmp_path)
    assert "accuracy 84.00% (82.00 – 84.00), First" in page
    assert "TAR at FAR 0.01 50.00% (48.00 – 50.00), Second" in page
    assert "12 people in 3 runs" in page and "6,000 pairs" in page and "7,000 pairs" in page
    assert "1 min 1 s" in page and "4 cores of A &lt;fast&gt; CPU" in page
    assert "6 faces of 3 people" in page
    assert "54 of 60 images have a usable face." in page
    assert "Nobody was trained on." in page
    assert 'data-item="results/mine/a.html"' in page


def test_verdict_is_that_of_the_benchmarks_own_metric_in_either_direction(study, tmp_path):
    """On the second benchmark, B is best, and that A beats B is contradicted: it is sure."""
    page = front_page(study, tmp_path)
    assert page.count("<strong>Yes</strong>") == 2
    assert "Of 3 comparisons: 1 supported, 2 contradicted, 0 undecided." in page


def test_equally_good_students_are_all_marked(study, tmp_path):
    table = pd.read_csv(study["table2"]).assign(first=[95, 84.001, 84, 83])
    write_table(study["table2"], table)
    assert front_page(study, tmp_path).count('class="best">84.00') == 2


def test_single_run_has_no_verdict_and_claims_none(study, tmp_path):
    comparisons = pd.read_csv(study["comparisons"]).assign(verdict="no verdict: 1 run")
    write_table(study["comparisons"], comparisons)
    page = front_page(study, tmp_path)
    assert page.count("<strong>No verdict: 1 run</strong>") == 2
    assert "comparisons" not in page and "Yes" not in page


def test_comparison_that_was_no_claim_is_not_judged(study, tmp_path):
    comparisons = pd.read_csv(study["comparisons"]).assign(b="Student")
    write_table(study["comparisons"], comparisons)
    assert front_page(study, tmp_path).count("<strong>Not judged</strong>") == 2


def test_warnings_come_first(study, tmp_path):
    assert "No warning: " in front_page(study, tmp_path)
    write_json(study["findings"], {"sentences": ["Warning: a < b."], "split": []})
    page = front_page(study, tmp_path)
    assert "No warning: " not in page
    assert page.index('<li class="warning">Warning: a &lt; b.') < page.index("have a usable face")


def test_method_that_is_best_on_both_benchmarks_is_marked_on_both(study, tmp_path):
    table = pd.read_csv(study["table2"]).assign(second=[70, 40, 50, 49.5])
    write_table(study["table2"], table)
    best = [line for line in front_page(study, tmp_path).split("<tr>") if 'class="best"' in line]
    assert len(best) == 1 and best[0].count('class="best"') == 2 and "method &lt;A&gt;" in best[0]


def test_what_a_model_gains_names_its_benchmark_if_there_are_several(study, tmp_path):
    page = front_page(study, tmp_path)
    assert "First: +1.50 over method B" in page and "Second: +1.50 over method B" in page


def test_a_long_name_leaves_room_for_the_numbers(study, tmp_path, monkeypatch):
    monkeypatch.setitem(LABELS, "students/a", "x" * 80)
    style = (Path(__file__).parents[2] / "report/style.css").read_text()
    page = tmp_path / "page.html"
    page.write_text(f'<style>{style}</style><div id="app">{front_page(study, tmp_path)}</div>')
    with Browser(tmp_path / "profile", 1000, 800) as browser:
        browser.open(page)
        edges = browser.evaluate(
            "['.scroll', 'tbody tr:nth-child(3) td:nth-child(3)'].map("
            "each => document.querySelector(each).getBoundingClientRect().right)"
        )
    assert edges[1] <= edges[0]


def test_many_warnings_leave_room_for_the_rest(study, tmp_path):
    write_json(study["findings"], {"sentences": [f"Warning: {n}." for n in range(9)], "split": []})
    page = front_page(study, tmp_path)
    assert "Warning: 3." in page and "Warning: 4." not in page and "5 more warnings: see Findings." in page


def test_names_are_text(study, tmp_path):
    page = front_page(study, tmp_path)
    assert "Faces &amp; &lt;friends&gt;" in page and "method &lt;A&gt;" in page
    assert "<friends>" not in page and "<A>" not in page

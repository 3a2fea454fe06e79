"""The page of the most wrong pairs."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import make_faces
from test_findings import make_context

from triplet_distillation.faces import store
from triplet_distillation.reporting import failures
from triplet_distillation.tabular import write_table

SAME = np.arange(40) % 2 == 0


def make_scores(wrong: dict[int, float]) -> pd.DataFrame:
    """Genuine pairs at 0.8, impostor pairs at 0.2, and ``wrong`` ones."""
    score = np.where(SAME, 0.8, 0.2)
    score[list(wrong)] = list(wrong.values())
    pairs = {"a": np.arange(40) % 6, "b": (np.arange(40) + 1) % 6, "same": SAME, "fold": np.arange(40) // 20}
    return pd.DataFrame(pairs | {"score": score, "benchmark": "bench", "identity_a": 0, "identity_b": 1})


def test_the_most_wrong_pairs_are_first_by_the_threshold_of_their_fold():
    found = failures.find_errors(make_scores({2: 0.1, 4: 0.0, 30: 0.15, 3: 0.9}), None, None)
    assert found.false_rejects.index.tolist() == [4, 2, 30]
    assert found.false_accepts.index.tolist() == [3]
    assert (found.genuine, found.impostor) == (20, 20)
    assert (found.false_rejects.score < found.false_rejects.threshold).all()
    assert (found.false_accepts.score >= found.false_accepts.threshold).all()


def test_a_benchmark_with_a_false_accept_rate_has_its_threshold():
    table = make_scores({3: 0.9, 5: 0.85, 2: 0.3})
    found = failures.find_errors(table, 0.5, None)
    assert len(found.false_accepts) <= 10
    assert set(found.false_accepts.index) == {3, 5}
    with pytest.raises(ValueError, match=r"at FAR 0\.01 requires 1,000 impostor pairs, but there are 20"):
        failures.find_errors(table, 0.01, None)


def test_templates_are_shown_by_their_first_face():
    found = failures.find_errors(make_scores({2: 0.0}), None, pd.Series({number: 10 * number for number in range(6)}))
    assert found.false_rejects[["a", "b"]].to_numpy().tolist() == [[20, 30]]


@pytest.fixture
def files(tmp_path):
    """A store of six faces with an awkward name, and no templates."""
    faces = [face._replace(identity="A & B") for face in make_faces(6, 1)]
    store.write(tmp_path / "store.arrow", faces, {"origin": "o"})
    write_table(tmp_path / "templates.parquet", pd.DataFrame({"row": [], "template": [], "media": []}))
    return failures.BenchmarkFiles(str(tmp_path / "store.arrow"), str(tmp_path / "templates.parquet"))


def write_page(folder, files, wrong: dict[str, dict[int, float]]) -> str:
    context = make_context(1)
    for number, model in enumerate(context.runs):
        write_table(folder / f"{number}.parquet", make_scores(wrong.get(model, {})))
    scores = {model: str(folder / f"{number}.parquet") for number, model in enumerate(context.runs)}
    failures.write_failures(scores, {"bench": files}, context, str(folder / "page.html"))
    return (folder / "page.html").read_text()


def test_page_shows_every_photograph_once_with_names_and_scores(tmp_path, files):
    wrong = {2: 0.1, 4: 0.0, 6: 0.12, 8: 0.13, 10: 0.14, 12: 0.15}
    page = write_page(tmp_path, files, {"student": wrong, "teacher": wrong})
    assert page.count("6 of 20 genuine pairs are below the threshold; the 4 furthest from it:") == 2
    assert page.count("<figure>") == 8
    assert page.count('role="img" aria-label="A &amp; B"') == 16
    assert page.count("data:image/jpeg") == len(set(re.findall('class="face (f[0-9]+)"', page))) <= 6
    assert "score 0.000<br>threshold " in page
    assert "p4/0.png" in page
    assert page.count("None of 20 impostor pairs is at or above the threshold.") == 4
    assert "the first seed (0)" in page


def test_page_stays_small_and_says_what_is_left_out(tmp_path, files, monkeypatch):
    wrong = {"student": {2: 0.1, 4: 0.0, 6: 0.12}}
    assert "Left out" not in write_page(tmp_path, files, wrong)
    monkeypatch.setattr(failures, "MAX_BYTES", 1)
    page = write_page(tmp_path, files, wrong)
    assert page.count("<figure>") == 1
    assert "the furthest:" in page
    assert "Left out, so that the page stays small" in page

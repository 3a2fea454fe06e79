"""Scores of a model from elsewhere belong to the pairs, or are refused by line."""

import numpy as np
import pandas as pd
import pytest

from triplet_distillation.evaluation.evaluate import ResultFiles
from triplet_distillation.evaluation.imported_scores import import_scores
from triplet_distillation.evaluation.verification import read_metrics
from triplet_distillation.settings import EvaluationSettings
from triplet_distillation.tabular import read_table, write_table

PAIRS = 8


@pytest.fixture
def files(tmp_path):
    """Pairs of two benchmarks, and scores of two models in two runs, in no order."""
    same = np.arange(PAIRS) % 2 == 0
    table = pd.DataFrame(
        {"a": 0, "b": 1, "same": same, "fold": np.arange(PAIRS) // 4, "identity_a": 0, "identity_b": 1}
    )
    rows = [
        (model, run, benchmark, pair, shift + pair / 10)
        for shift, (model, run) in enumerate([("01", 3), ("1", 3), ("1", 4)])
        for benchmark in ("x", "y")
        for pair in range(PAIRS)
    ]
    scores = pd.DataFrame(rows, columns=["model", "run", "benchmark", "pair", "score"])
    write_table(tmp_path / "pairs.parquet", table)
    write_table(tmp_path / "scores.csv", scores.sample(frac=1, random_state=0))
    return tmp_path


def read(folder):
    settings = EvaluationSettings("none", {"x": [0.5], "y": [0.5]}, {})
    pairs = dict.fromkeys(("x", "y"), str(folder / "pairs.parquet"))
    output = ResultFiles(str(folder / "metrics.json"), str(folder / "scores.parquet"))
    import_scores(str(folder / "scores.csv"), ("1", 3), pairs, settings, output)
    return pd.read_parquet(output.scores), read_metrics(output.metrics)


def test_scores_come_in_the_order_of_the_pairs(files):
    scores, metrics = read(files)
    assert scores.benchmark.tolist() == ["x"] * PAIRS + ["y"] * PAIRS
    assert scores.score.tolist() == pytest.approx([1 + pair / 10 for pair in range(PAIRS)] * 2)
    assert metrics["x"].pairs == PAIRS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("1,3,x,2,1.2", "1,3,x,8,1.2"), "line {}: pair '8' is not one of x's, which are 0 to 7"),
        (("1,3,x,2,1.2", "1,3,x,two,1.2"), "line {}: pair 'two' is not one of x's"),
        (("1,3,x,2,1.2", "1,3,x,3,1.2"), "pair '3' has its second score for x"),
        (("1,3,x,2,1.2", "1,3,x,2,nan"), "line {}: score 'nan' is not a finite number"),
        (("1,3,x,2,1.2", "1,3,z,2,1.2"), "line {}: there is no benchmark 'z'; there are x, y"),
        (("1,3,x,2,1.2", "1,5,x,2,1.2"), "no score for 1 pairs of x, the first is 2"),
        (("model,run", "name,run"), "has no column model"),
    ],
)
def test_wrong_scores_are_refused_by_line(files, change, message):
    path = files / "scores.csv"
    before = path.read_text()
    assert change[0] in before
    path.write_text(before.replace(*change, 1))
    line = before[: before.index(change[0])].count("\n") + 1
    with pytest.raises(ValueError, match=message.format(line)):
        read(files)


def test_a_model_without_scores_is_named(files):
    text = (files / "scores.csv").read_text()
    (files / "scores.csv").write_text(text.replace("\n1,3,", "\n1,7,"))
    with pytest.raises(ValueError, match="no scores of model '1' in run 3: run is a seed of the study"):
        read(files)


@pytest.mark.parametrize("column", ["a", "b", "same"])
def test_scores_of_other_pairs_are_recognized_by_copied_columns(files, column):
    scores = read_table(files / "scores.csv", text=("model",))
    pairs = pd.read_parquet(files / "pairs.parquet")
    copied = scores.assign(**{name: pairs[name].to_numpy()[scores.pair] for name in ("a", "b", "same")})
    write_table(files / "scores.csv", copied)
    read(files)
    pairs.loc[3, column] = 7 if column != "same" else not pairs.same[3]
    write_table(files / "pairs.parquet", pairs)
    with pytest.raises(ValueError, match=rf"line \d+: {column} is .* in pair 3 of x: the scores belong to other pairs"):
        read(files)

"""Scores of a model from elsewhere, checked against the pairs line by line."""

import numpy as np
import pandas as pd

from triplet_distillation.evaluation.evaluate import ResultFiles, write_evaluation
from triplet_distillation.settings import EvaluationSettings
from triplet_distillation.tabular import read_table, read_users_table

COLUMNS = ("model", "run", "benchmark", "pair", "score")
COPIED = ("a", "b", "same")
"""Columns of the table of pairs that a file of scores may repeat, to prove that it belongs to these pairs."""


def import_scores(
    source: str,
    run: tuple[str, int],
    pairs: dict[str, str],
    settings: EvaluationSettings,
    output: ResultFiles,
) -> None:
    """Read one model's scores of one run, and write them as :func:`.evaluate.evaluate_model` does.

    Args:
        source: CSV with the columns :data:`COLUMNS`, perhaps also :data:`COPIED`; other models and runs are left out.
        run: name of the model, and seed.
        pairs: benchmark to the path of its pairs.
        settings: the false accept rates.
        output: paths.

    Raises:
        ValueError: a score does not belong to a pair, or a pair has no score; the message names the line.
    """
    found = _lines_of(source, run)
    if (unknown := ~found.benchmark.isin(list(pairs))).any():
        name, line = found.benchmark[unknown].iloc[0], found.index[unknown][0]
        raise ValueError(f"{source}, line {line}: there is no benchmark {name!r}; there are {', '.join(pairs)}")
    tables = {}
    for benchmark, path in pairs.items():
        table, lines = read_table(path), found[found.benchmark == benchmark]
        tables[benchmark] = table.assign(score=_scores(source, lines, table, benchmark))
    write_evaluation(run[0], tables, settings, output)


def _lines_of(source: str, run: tuple[str, int]) -> pd.DataFrame:
    """The lines of one model and run, as text; the index is the number of the line."""
    text = read_users_table(source, COLUMNS)
    model, seed = run
    found = text[(text.model == model) & (text.run == str(seed))]
    if found.empty:
        raise ValueError(f"{source} has no scores of model {model!r} in run {seed}: run is a seed of the study")
    return found


def _scores(source: str, lines: pd.DataFrame, pairs: pd.DataFrame, benchmark: str) -> np.ndarray:
    """The scores of a benchmark's pairs, in their order, [pairs] float64."""
    number = len(pairs)
    places, scores = (pd.to_numeric(lines[name], errors="coerce").to_numpy(float) for name in ("pair", "score"))
    for wrong, problem in (
        (~np.isin(places, np.arange(number)), f"is not one of {benchmark}'s, which are 0 to {number - 1}"),
        (pd.Series(places).duplicated().to_numpy(), f"has its second score for {benchmark}"),
    ):
        if wrong.any():
            raise ValueError(f"{source}, line {lines.index[wrong][0]}: pair {lines.pair[wrong].iloc[0]!r} {problem}")
    if (wrong := ~np.isfinite(scores)).any():
        line, score = lines.index[wrong][0], lines.score[wrong].iloc[0]
        raise ValueError(f"{source}, line {line}: score {score!r} is not a finite number")
    if len(places) < number:
        first = np.setdiff1d(np.arange(number), places)[0]
        raise ValueError(f"{source} has no score for {number - len(places)} pairs of {benchmark}, the first is {first}")
    _check_copied_columns(source, lines, pairs.iloc[places.astype(int)], benchmark)
    return scores[np.argsort(places)]


def _check_copied_columns(source: str, lines: pd.DataFrame, pairs: pd.DataFrame, benchmark: str) -> None:
    """Whether the columns that a file has copied from the table of pairs are still those of the pairs."""
    for column in COPIED:
        if column in lines:
            wrong = (lines[column] != pairs[column].astype(str).to_numpy()).to_numpy()
            if wrong.any():
                raise ValueError(
                    f"{source}, line {lines.index[wrong][0]}: {column} is {lines[column][wrong].iloc[0]}, but "
                    f"{pairs[column][wrong].iloc[0]} in pair {lines.pair[wrong].iloc[0]} of {benchmark}: the scores "
                    "belong to other pairs"
                )

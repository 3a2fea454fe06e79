"""Scores of a model from elsewhere, checked against the pairs line by line."""

import numpy as np
import pandas as pd

from triplet_distillation.evaluation.evaluate import ResultFiles, write_evaluation
from triplet_distillation.settings import EvaluationSettings
from triplet_distillation.tabular import read_table

COLUMNS = ("model", "run", "benchmark", "pair", "score")


def import_scores(
    source: str,
    run: tuple[str, int],
    pairs: dict[str, str],
    settings: EvaluationSettings,
    output: ResultFiles,
) -> None:
    """Read one model's scores of one run, and write them as :func:`.evaluate.evaluate_model` does.

    Args:
        source: CSV with the columns :data:`COLUMNS`; it may have other models and runs, too.
        run: name of the model, and seed.
        pairs: benchmark to the path of its pairs.
        settings: the false accept rates.
        output: paths.

    Raises:
        ValueError: a score does not belong to a pair, or a pair has no score; the message names the line.
    """
    found = _lines_of(source, run)
    tables = {}
    for benchmark, path in pairs.items():
        table, lines = read_table(path), found[found.benchmark == benchmark]
        tables[benchmark] = table.assign(score=_scores(source, lines, len(table), benchmark))
    unknown = found[~found.benchmark.isin(list(pairs))]
    if len(unknown):
        name, known = unknown.benchmark.iloc[0], ", ".join(pairs)
        raise ValueError(f"{source}, line {unknown.line.iloc[0]}: there is no benchmark {name!r}; there are {known}")
    write_evaluation(run[0], tables, settings, output)


def _lines_of(source: str, run: tuple[str, int]) -> pd.DataFrame:
    """The lines of one model and run, as text, each with the number of its ``line``."""
    text = pd.read_csv(source, dtype=str, keep_default_na=False)
    if missing := [name for name in COLUMNS if name not in text]:
        raise ValueError(f"{source} has no column {' and '.join(missing)}: it needs {', '.join(COLUMNS)}")
    model, seed = run
    found = text.assign(line=np.arange(len(text)) + 2)
    found = found[(found.model == model) & (found.run == str(seed))]
    if found.empty:
        raise ValueError(f"{source} has no scores of model {model!r} in run {seed}: run is a seed of the study")
    return found


def _scores(source: str, lines: pd.DataFrame, number: int, benchmark: str) -> np.ndarray:
    """The scores of a benchmark's pairs, in their order, [number] float64."""
    places, scores = (pd.to_numeric(lines[name], errors="coerce").to_numpy(float) for name in ("pair", "score"))
    for wrong, problem in (
        (~np.isin(places, np.arange(number)), f"is not one of {benchmark}'s, which are 0 to {number - 1}"),
        (pd.Series(places).duplicated().to_numpy(), f"has its second score for {benchmark}"),
    ):
        if wrong.any():
            line = lines.iloc[int(wrong.argmax())]
            raise ValueError(f"{source}, line {line.line}: pair {line.pair!r} {problem}")
    if (wrong := ~np.isfinite(scores)).any():
        line = lines.iloc[int(wrong.argmax())]
        raise ValueError(f"{source}, line {line.line}: score {line.score!r} is not a finite number")
    if len(places) < number:
        first = np.setdiff1d(np.arange(number), places)[0]
        raise ValueError(f"{source} has no score for {number - len(places)} pairs of {benchmark}, the first is {first}")
    return scores[np.argsort(places)]

"""Does the student learn the teacher's similarity structure? Tables and figures of the notebook about it."""

import html
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from triplet_distillation.evaluation import significance, structure
from triplet_distillation.evaluation.fusion import normalize
from triplet_distillation.evaluation.kept_embeddings import KeptEmbeddings, read_kept_embeddings
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_json
from triplet_distillation.reporting import pages, style
from triplet_distillation.reporting.context import METHOD_PREFIX, ReportContext, distance_name, short_name
from triplet_distillation.reporting.findings import compare_models
from triplet_distillation.reporting.runs import Measurements, basis
from triplet_distillation.training.calibration import draw_triplets, measure

plt = style.plt
TEACHER = "teacher"
MAPS_IN_A_ROW = 3
SHOWN_METHODS = 4
"""Maps of distances beside those of teacher and student."""
BINS = 10
"""Of the teacher's d, with equally many triplets each."""
FITTING_LINES = 8
"""From more lines on, their bands would cover each other."""


@dataclass(frozen=True)
class StructureStudy:
    """What the notebook reads of a finished study, as its rule writes it. All paths are relative to the study's folder.

    Attributes:
        context: names and runs; a data set is a benchmark, and ``weights`` numbers pairs of teacher and model.
        claims: pairs of models (A, B).
        embeddings: data set to model to the path of the kept embeddings of every run.
        stores: data set to its face store.
        training_sets: of every round.
        margins: the calibration of every run; none if no method has distilled margins.
        distance: in which the margins were calibrated.
        triplets: how many are drawn.
    """

    context: dict
    claims: list[tuple[str, str]]
    embeddings: dict[str, dict[str, list[str]]]
    stores: dict[str, str]
    training_sets: list[str]
    margins: list[str]
    distance: str
    triplets: int


class Structures(Measurements):
    """The distances between people that every network of a study has learned, and how well they follow the teacher's.

    Args:
        path: of the study's :class:`StructureStudy` (JSON), in a folder of the study's.
    """

    metrics = tuple(structure.MEASURES)

    def __init__(self, path: str | Path):
        content = read_json(path)
        self.folder = Path(path).absolute().parents[1]
        self.study = StructureStudy(**{field.name: content[field.name] for field in fields(StructureStudy)})
        super().__init__([self._path(each) for each in self.study.training_sets], ReportContext(**self.study.context))
        self.models = [model for model in self.context.runs if model != TEACHER]
        self._tested: dict[tuple[str, int], np.ndarray] = {}
        self._distances: dict[tuple[str, str, int], np.ndarray] = {}
        self._measured: dict[tuple[str, str, str, int], tuple[float, np.ndarray]] = {}
        self._labels = {
            dataset: FaceStore(self._path(path)).column("label") for dataset, path in self.study.stores.items()
        }

    def metric_name(self, benchmark, metric):
        return metric

    def run(self, model, benchmark, metric, run):
        key = model, benchmark, metric, run
        if key not in self._measured:
            pair = (self.distances(each, benchmark, run) for each in (TEACHER, model))
            self._measured[key] = structure.MEASURES[metric](*pair)
        return self._as_run(benchmark, run, self._measured[key], structure.as_pairs(self.identities(benchmark, run)))

    def distances(self, model: str, dataset: str, run: int) -> np.ndarray:
        """Squared Euclidean distances between the means of the test people, in the order of :meth:`identities`."""
        key = model, dataset, run
        if key not in self._distances:
            faces, labels = self.faces(model, dataset, run)
            means = structure.identity_means(faces, labels, self.context.flip)
            self._distances[key] = structure.identity_distances(means)
        return self._distances[key]

    def identities(self, dataset: str, run: int) -> np.ndarray:
        """The people who are compared in a run, [identities] labels of the face store, ascending."""
        return structure.choose_identities(self.tested(dataset, run), self.context.seeds[0])

    def tested(self, dataset: str, run: int) -> np.ndarray:
        """The people who are tested in a run, compared or not, [identities] labels of the face store, ascending."""
        key = dataset, run
        if key not in self._tested:
            self._tested[key] = np.unique(self._labels[dataset][self._kept(TEACHER, dataset, run).rows])
        return self._tested[key]

    def faces(self, model: str, dataset: str, run: int) -> tuple[np.ndarray, np.ndarray]:
        """A network's outputs for the faces of the compared people, [faces, 2, D], and their labels, [faces]."""
        kept = self._kept(model, dataset, run)
        labels = self._labels[dataset][kept.rows]
        chosen = np.isin(labels, self.identities(dataset, run))
        return kept.embeddings[chosen], labels[chosen]

    def calibrations(self) -> list[dict]:
        """What was calibrated in every run."""
        return [read_json(self._path(path)) for path in self.study.margins]

    def _kept(self, model: str, dataset: str, run: int) -> KeptEmbeddings:
        return read_kept_embeddings(self._path(self.study.embeddings[dataset][model][self.context.seeds.index(run)]))

    def _path(self, path: str) -> str:
        return str(self.folder / path)


def measure_structures(structures: Structures) -> pd.DataFrame:
    """Both measures of every model on every data set.

    Returns:
        One row per data set, model and measure: ``dataset, model, measure, mean, low, high`` (95% interval), ``basis``
        (people and runs), ``identities`` (compared in the first run), ``of_identities`` (tested in the first run).
    """
    rows = []
    for dataset in structures.context.benchmarks:
        first = structures.context.seeds[0]
        number, of = len(structures.identities(dataset, first)), len(structures.tested(dataset, first))
        for model in structures.models:
            for name, limits in structure.RANGES.items():
                runs = structures.runs(model, dataset, name)
                found = significance.estimate(runs)
                interval = significance.interval(found)
                low, high = np.clip([interval.low, interval.high], *limits) if found.variance else (np.nan, np.nan)
                rows.append(
                    {
                        "dataset": dataset,
                        "model": short_name(model),
                        "measure": name,
                        "mean": found.mean,
                        "low": low,
                        "high": high,
                        "basis": basis(runs),
                        "identities": number,
                        "of_identities": of,
                    }
                )
    return pd.DataFrame(rows)


def measure_runs(structures: Structures) -> pd.DataFrame:
    """Both measures of every model in every run: ``dataset, model, measure, seed, value``; nothing is averaged."""
    return pd.DataFrame(
        [
            (dataset, short_name(model), name, seed, structures.run(model, dataset, name, seed).value)
            for dataset in structures.context.benchmarks
            for model in structures.models
            for name in structure.MEASURES
            for seed in structures.context.own_runs(model)
        ],
        columns=["dataset", "model", "measure", "seed", "value"],
    )


def compare_structures(structures: Structures) -> pd.DataFrame:
    """Judge every claim "A has more of the teacher's structure than B", as :func:`.findings.compare_models`.

    Returns:
        Its table, with ``dataset`` and ``measure`` instead of ``benchmark`` and ``metric``, and differences of the
        measures themselves.
    """
    claims = [claim for claim in structures.study.claims if set(claim) <= set(structures.models)]
    if not claims:
        return pd.DataFrame(columns=["dataset", "a", "b", "measure", "difference", "low", "high", "verdict"])
    found = compare_models(structures, claims, scale=1)
    return found.rename(columns={"benchmark": "dataset", "metric": "measure"})


def table_of_measures(measured: pd.DataFrame, structures: Structures) -> pages.Table:
    """What :func:`measure_structures` returns, to show."""
    context = structures.context
    names = {short_name(model): context.labels[model] for model in structures.models}
    of_model = (rows for _, rows in measured.groupby(["dataset", "model"], sort=False))
    cells = [
        [
            html.escape(names[rows.model.iloc[0]]),
            html.escape(context.benchmarks[rows.dataset.iloc[0]]),
            *(_cell(row["mean"], row["low"], row["high"]) for _, row in rows.iterrows()),
            html.escape(rows.basis.iloc[0]),
        ]
        for rows in of_model
    ]
    head = ["model", "data set", *(f"{name}, 95% interval" for name in structure.MEASURES), "people and runs"]
    return pages.Table(head, cells, title="How much of the teacher's similarity structure every model has")


def cap_in_words(measured: pd.DataFrame, structures: Structures) -> list[str]:
    """On which data sets not everybody who is tested is compared."""
    context = structures.context
    capped = measured[measured.identities < measured.of_identities].drop_duplicates("dataset")
    return [
        f"{context.benchmarks[row.dataset]}: {row.identities} of {row.of_identities:,} people, drawn at random."
        for _, row in capped.iterrows()
    ]


def table_of_comparisons(comparisons: pd.DataFrame, structures: Structures) -> pages.Table:
    """What :func:`compare_structures` returns, to show; without a row if no claim is about two models whose embeddings
    were kept."""
    cells = [
        [
            html.escape(f"{row.a} against {row.b}"),
            html.escape(structures.context.benchmarks[row.dataset]),
            row.measure,
            _cell(row.difference, row.low, row.high, signed=True),
            pages.p_value(row.p_corrected),
            html.escape(row.verdict),
        ]
        for _, row in comparisons.iterrows()
    ]
    head = ["A against B", "data set", "measure", "difference, 95% interval", "p, Holm"]
    return pages.Table([*head, "“A has more of it” is"], cells, title="Which model has more of it")


def in_words(measured: pd.DataFrame) -> str:
    """One line: the model that is closest to the teacher on the first data set."""
    first = measured[(measured.dataset == measured.dataset.iloc[0]) & (measured.measure == "rank correlation")]
    if first["mean"].isna().all():
        return f"similarity structure on {measured.dataset.iloc[0]}: too few people to measure it"
    best = first.loc[first["mean"].idxmax()]
    return (
        f"similarity structure on {best.dataset}: {best.model} is closest to the teacher, rank correlation "
        f"{best['mean']:.3f}"
    )


def plot_identity_distances(structures: Structures) -> Figure:
    """Maps of the distances between people in the first run: teacher, student, up to four methods; a row per data set.

    People are in the order of a hierarchical clustering (average linkage) of the teacher's distances. All maps of a row
    have the same colors, which tell small distances apart better than large ones.
    """
    context, run = structures.context, structures.context.seeds[0]
    models = [TEACHER, *_shown_models(structures)]
    lines = math.ceil(len(models) / MAPS_IN_A_ROW)  # of maps, for every data set
    figure, axes = plt.subplots(
        lines * len(context.benchmarks),
        MAPS_IN_A_ROW,
        figsize=(10, 3.2 * lines * len(context.benchmarks) + 0.4),
        squeeze=False,
        layout="compressed",  # for maps, which are square
    )
    for number, (dataset, title) in enumerate(context.benchmarks.items()):
        block = list(axes[number * lines : (number + 1) * lines].flat)
        maps = [structures.distances(model, dataset, run) for model in models]
        order = leaves_list(linkage(squareform(maps[0], checks=False), "average", optimal_ordering=True))
        highest = max(each.max() for each in maps)
        for axis, model, distances in zip(block, models, maps):
            shown = axis.imshow(distances[np.ix_(order, order)], norm=PowerNorm(0.5, 0, highest), cmap="viridis")
            axis.grid(False)
            axis.set(xticks=[], yticks=[], title=_map_title(structures, model, dataset, run))
        for axis in block[len(models) :]:
            axis.set_visible(False)
        block[0].set_ylabel(f"{len(order)} people of\n{title}")
        bar = figure.colorbar(shown, ax=block, shrink=0.8, pad=0.01)
        bar.set_label("squared Euclidean distance between two people")
    figure.supxlabel("rows and columns: people, in the order of a clustering of the teacher's distances", fontsize=10)
    return figure


def plot_margin_against_distance(structures: Structures) -> Figure:
    """The margin that distillation gives a triplet, and the one that each network has learned, against the teacher's d.

    Triplets of test faces, one panel per data set; means over runs, with the range of the runs.
    """
    datasets = structures.context.benchmarks
    figure, axes = plt.subplots(1, len(datasets), figsize=(max(7, 4.6 * len(datasets)), 5.4), squeeze=False)
    lines: list[tuple[str, Any]] = []
    for axis, (dataset, title) in zip(axes[0], datasets.items()):
        try:
            learned = learned_margins(structures, dataset)
        except ValueError as error:  # nobody has two images
            axis.text(0.5, 0.5, f"no triplets: {error}", ha="center", va="center", wrap=True, transform=axis.transAxes)
            axis.set(title=title, xticks=[], yticks=[])
            continue
        lines = _margin_panel(axis, learned, structures)
        axis.set_title(f"{title}: {structures.study.triplets:,} triplets per run")
    handles, names = [line for _, line in lines], [name for name, _ in lines]
    figure.legend(handles, names, loc="outside lower center", fontsize=9, ncols=3)
    figure.suptitle(
        "T, D: distances of the teacher and of the model, from a photograph (a) to another one of\n"
        "the same person (p) and to one of somebody else (n).  d = max(T(a, n) − T(a, p), 0)",
        fontsize=9,
    )
    return figure


def learned_margins(structures: Structures, dataset: str) -> pd.DataFrame:
    """By how much every network places the negative farther than the positive, in bins of the teacher's d.

    The triplets are drawn from the test faces as those of the calibration are from the training set, and measured
    alike: on the image alone.

    Returns:
        One row per model, run and bin: ``model, run, bin, d`` (mean of the teacher's d), ``gap`` (mean of
        D(a, n) − D(a, p)).

    Raises:
        ValueError: nobody has two images.
    """
    measured = []
    for run in structures.context.seeds:
        faces, labels = structures.faces(TEACHER, dataset, run)
        triplets = draw_triplets(labels, structures.study.triplets, run)
        d = measure(normalize(faces[:, 0]), triplets, structures.study.distance).d
        for model in structures.models:
            own, _ = structures.faces(model, dataset, run)
            found = measure(normalize(own[:, 0]), triplets, structures.study.distance)
            gap = found.anchor_negative_distance - found.anchor_positive_distance
            measured.append(pd.DataFrame({"model": model, "run": run, "d": d, "gap": gap}))
    table = pd.concat(measured, ignore_index=True)
    edges = np.unique(np.quantile(table.d, np.linspace(0, 1, BINS + 1)))
    table["bin"] = np.searchsorted(edges[1:-1], table.d, side="right")
    return table.groupby(["model", "run", "bin"], sort=False, as_index=False)[["d", "gap"]].mean()


def _margin_panel(axis: Axes, learned: pd.DataFrame, structures: Structures) -> list[tuple[str, Any]]:
    """Draw what was learned on one data set; returns lines with their names."""
    lines: list[tuple[str, Any]] = []
    banded = len(structures.models) <= FITTING_LINES and len(structures.context.seeds) > 1
    for index, model in enumerate(structures.models):
        look = style.line_style(index + 1)
        bins = learned[learned.model == model].groupby("bin").agg({"d": "mean", "gap": ["mean", "min", "max"]})
        name = structures.context.labels[model].removeprefix("+ ")
        lines += zip([name], axis.plot(bins["d", "mean"], bins["gap", "mean"], **look))
        if banded:
            axis.fill_between(
                bins["d", "mean"], bins["gap", "min"], bins["gap", "max"], color=look["color"], alpha=0.12, linewidth=0
            )
    right = learned.d.max()
    if calibrations := structures.calibrations():
        low, high, largest = np.mean(
            [(each["min_margin"], each["max_margin"], each["quantiles"]["1"]) for each in calibrations], axis=0
        )
        d = np.array([0, largest, max(right, largest)])[: 3 if right > largest else 2]
        curve = axis.plot(d, [low, high, high][: len(d)], color="black", linewidth=2.2)
        lines += zip(["F(d) as calibrated"], curve)
    lines += zip(
        ["the teacher's own d"], axis.plot([0, right], [0, right], color="#888888", linewidth=1, linestyle=":")
    )
    axis.set(
        xlabel=f"teacher's d, {distance_name(structures.study.distance)}",
        ylabel="learned: mean D(a, n) − D(a, p)" + " (band: all runs)" * banded,
        xlim=(0, None),
    )
    return lines


def _shown_models(structures: Structures) -> list[str]:
    """The student, and methods: first those that the study makes claims about."""
    claimed = [model for claim in structures.study.claims for model in claim]
    methods = [model for model in [*claimed, *structures.models] if model.startswith(METHOD_PREFIX)]
    students = [model for model in structures.models if model == "student"]
    return students + [model for model in dict.fromkeys(methods) if model in structures.models][:SHOWN_METHODS]


def _map_title(structures: Structures, model: str, dataset: str, run: int) -> str:
    label = structures.context.labels[model].removeprefix("+ ")
    if model == TEACHER:
        return f"{label}\n"
    return f"{label}\nrank correlation {structures.run(model, dataset, 'rank correlation', run).value:.2f}"


def _cell(mean: float, low: float, high: float, signed: bool = False) -> str:
    """A number with its interval in gray (HTML)."""
    if np.isnan(mean):
        return "–"
    shown = [f"{number:{'+' * signed}.3f}".replace("-", "−") for number in (mean, low, high)]
    between = " to " if signed else " – "
    return shown[0] if np.isnan(low) else f'{shown[0]} <span class="interval">{shown[1]}{between}{shown[2]}</span>'

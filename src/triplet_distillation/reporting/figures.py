"""The study's figures, one function each, from the files of earlier stages."""

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from safetensors.numpy import load_file

from triplet_distillation.evaluation import significance
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import read_json
from triplet_distillation.reporting import style
from triplet_distillation.reporting.context import PERCENT, ReportContext, distance_name
from triplet_distillation.reporting.runs import Evaluations
from triplet_distillation.row_files import RowFile
from triplet_distillation.settings import ALWAYS_LOGGED
from triplet_distillation.tabular import read_table

plt = style.plt
SHOWN_TRIPLETS = 5
WIDE_RANGE = 20
"""Ratio of the largest loss to the smallest from which on a panel of losses is logarithmic."""
MANY_MODELS = 10
"""With more, an ROC has no bands: they would cover each other."""
LINES_PER_PANEL = 7
"""Of training curves, with their bands; no two in a panel have the same color."""
ROC_POINTS = 60
PANEL_TITLE = 38
"""Letters that fit on a line above one of three panels."""
LONGEST_NAME = 14
"""Letters of a name that fit above a face."""


def plot_training_curves(
    first_stage: dict[str, list[str]], second_stage: dict[str, list[str]], context: ReportContext, outputs: list[str]
) -> None:
    """Loss of every model over its steps, and what else the methods log, a panel each: mean over the runs and range.

    Args:
        first_stage, second_stage: model to the paths of its histories, one per seed.
        context: display names.
        outputs: paths of the picture.
    """
    first, second = (
        {model: [read_table(path) for path in paths] for model, paths in stage.items()}
        for stage in (first_stage, second_stage)
    )
    logged = dict.fromkeys(name for runs in second.values() for name in runs[0].columns if name not in ALWAYS_LOGGED)
    panels = [(first, "loss", "First stage: loss")]
    for column in ("loss", *logged):
        title = f"Methods: {LOGGED_NAMES.get(column, column.replace('_', ' '))}"
        panels += [(part, column, title) for part in _parts(second, column)]
    figure, axes = _panels(len(panels), 2.7)
    lines: dict[str, Any] = {}
    for axis, (histories, column, title) in zip(axes, panels):
        lines |= _curves(axis, histories, column, list(context.runs))
        axis.set(title=title, xlabel="step")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        _fit(axis, is_loss=column == "loss")
    style.legend_below(figure, list(lines.values()), [context.labels[model] for model in lines])
    style.explain(figure, "Line: mean over the runs. Band: from the smallest to the largest run.")
    style.save(figure, outputs)


LOGGED_NAMES = {
    "active": "active triplets, fraction",
    "margin": "mean margin",
    "accuracy": "accuracy on the batch",
    "alpha": "α = cos(f, t)",
    "alpha_weighted": "α′ = α · cos(w, t)",
}
"""What methods log, in words, where its own name says too little."""


def _parts(histories: dict[str, list[pd.DataFrame]], column: str) -> list[dict[str, list[pd.DataFrame]]]:
    """The models that log ``column``, in groups that fit into a panel; no models are one empty group."""
    models = [model for model, runs in histories.items() if any(column in run for run in runs)]
    starts = range(0, max(1, len(models)), LINES_PER_PANEL)
    return [{model: histories[model] for model in models[start : start + LINES_PER_PANEL]} for start in starts]


def _curves(axis: Axes, histories: dict[str, list[pd.DataFrame]], column: str, order: list[str]) -> dict[str, Any]:
    """Draw what each model logged as ``column``; model to its line. ``order``: of all models, for their colors."""
    lines = {}
    for model, runs in histories.items():
        logged = [run.set_index("step")[column] for run in runs if column in run]
        if not logged:
            continue
        each = pd.concat(logged, axis=1)
        look, steps = style.line_style(order.index(model)), each.index + 1
        (lines[model],) = axis.plot(steps, each.mean(axis=1), **look)
        if len(logged) > 1:
            axis.fill_between(steps, each.min(axis=1), each.max(axis=1), color=look["color"], alpha=0.12, linewidth=0)
    return lines


def _fit(axis: Axes, is_loss: bool) -> None:
    """Fit the axis to its curves: from 0 only if they come near it, logarithmic if losses differ by magnitudes."""
    low, high = axis.dataLim.y0, axis.dataLim.y1
    if not np.isfinite([low, high]).all():  # nothing was logged
        return
    if is_loss and 0 < low < high / WIDE_RANGE:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.yaxis.set_major_formatter(style.plain_number)
        axis.yaxis.set_minor_locator(NullLocator())
    elif is_loss and low <= 0 and high > WIDE_RANGE:
        axis.set(yscale="symlog", ylabel="linear below 1")
        axis.yaxis.set_major_formatter(style.plain_number)
    elif 0 <= low < high / 2:
        axis.set_ylim(bottom=0)


def plot_center_similarities(
    training_set: str, teacher_embeddings: str, class_means: str, outputs: list[str], num_pairs: int = 100_000
) -> None:
    """The teacher's cosines between images of one identity, and between images and the mean of their identity.

    Args:
        training_set: path of the table ``row, label``.
        teacher_embeddings: path of [faces in store, 2, D].
        class_means: path of the normalized means [identities, D].
        outputs: paths of the picture.
        num_pairs: at most that many pairs of images, evenly spread over all.
    """
    faces = read_table(training_set)
    embeddings, means = RowFile(teacher_embeddings), load_file(class_means)["class_centers"]
    order = np.argsort(faces.label.to_numpy(), kind="stable")
    rows, labels = faces.row.to_numpy()[order], faces.label.to_numpy()[order]
    chosen = np.unique(np.linspace(0, len(rows) - 1, num_pairs).round().astype(int))
    vectors = embeddings.read(rows[chosen])[:, 0]
    # The next image of the same identity, or its first one after the last: every image is in two pairs.
    first = np.searchsorted(labels, labels[chosen])
    count = np.searchsorted(labels, labels[chosen], side="right") - first
    partner = first + (chosen - first + 1) % count
    pairs = (vectors * embeddings.read(rows[partner])[:, 0]).sum(axis=1)[count > 1]
    centers = (vectors * means[labels[chosen]]).sum(axis=1)
    figure, axis = plt.subplots(figsize=(7, 3.8))
    bins = np.linspace(min(pairs.min(initial=0), centers.min(), 0), 1, 60).tolist()
    for found, color, name, hatch in (
        (pairs, style.IMPOSTOR, "image and another image of the identity", "///"),
        (centers, style.GENUINE, "image and the mean of its identity", ""),
    ):
        label = f"{name}: mean {found.mean():.3f}" if len(found) else name
        axis.hist(
            found, bins, density=True, color=color, alpha=0.5, hatch=hatch, edgecolor=color, linewidth=0.3, label=label
        )
    axis.set(
        title="The teacher's similarities on the training set", xlabel="cosine", ylabel="density", xlim=(bins[0], 1)
    )
    style.legend_below(figure, *axis.get_legend_handles_labels())
    style.save(figure, outputs)


def plot_roc(evaluations: Evaluations, outputs: list[str]) -> None:
    """Mean ROC of every model with its 95% band, one panel per benchmark, from the lowest FAR that the impostor
    pairs resolve."""
    context = evaluations.context
    many = len(context.runs) > MANY_MODELS
    figure, axes = _panels(len(context.benchmarks), 4.2, columns=2)
    lines: dict[str, Any] = {}  # not by their labels: Matplotlib leaves out those that start with an underscore
    for axis, (benchmark, title) in zip(axes, context.benchmarks.items()):
        fars, lowest = _resolved_rates(evaluations, benchmark), 100.0
        for index, model in enumerate(context.runs):
            found = [significance.rate_interval(each) for each in evaluations.rates(model, benchmark, fars)]
            mean, low, high = PERCENT * np.array(found).T
            look = style.line_style(index)
            (lines[model],) = axis.plot(PERCENT * fars, mean, **look)
            if not many:
                axis.fill_between(PERCENT * fars, low, high, color=look["color"], alpha=0.1, linewidth=0)
            lowest = min(lowest, (mean if many else low).min())
        axis.set(xscale="log", title=title, xlabel="false accept rate, %", ylabel="true accept rate, %")
        axis.set_ylim(max(0, math.floor(lowest / 10) * 10), 101)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(style.plain_number)
        axis.xaxis.set_minor_locator(NullLocator())
    style.legend_below(figure, list(lines.values()), [context.labels[model] for model in lines])
    bands = "" if many else " Band: 95% confidence interval; its units are people and runs."
    style.explain(figure, f"Line: mean over the runs.{bands}")
    style.save(figure, outputs)


def _resolved_rates(evaluations: Evaluations, benchmark: str) -> np.ndarray:
    """False accept rates from 10 accepted impostor pairs of one run to one half; at 1, everything is accepted."""
    model = next(iter(evaluations.context.runs))
    tables = [evaluations.table(model, benchmark, run) for run in evaluations.context.own_runs(model)]
    impostors = min(int((~table.same).sum()) for table in tables)
    return np.geomspace(min(0.4, 10 / impostors), 0.5, ROC_POINTS)


def _panels(count: int, height: float, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """``count`` panels of one ``height`` (inches) in a figure as wide as the report; a single one is narrower."""
    columns = min(count, 2 if count == 4 else columns)  # two by two
    rows, width = math.ceil(count / columns), style.WIDTH if columns > 1 else 0.7 * style.WIDTH
    figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat)[:count]


def plot_score_distributions(evaluations: Evaluations, outputs: list[str]) -> None:
    """Histograms of genuine and impostor cosines in all runs, one panel per model and benchmark."""
    context = evaluations.context
    cells = [(benchmark, model) for model in context.runs for benchmark in context.benchmarks]
    tables = {
        (benchmark, model): pd.concat(evaluations.table(model, benchmark, run) for run in context.own_runs(model))
        for benchmark, model in cells
    }
    figure, axes = _panels(len(cells), 2.2, columns=len(context.benchmarks) if len(context.benchmarks) in (2, 3) else 3)
    for axis, (benchmark, model) in zip(axes, cells):
        table = tables[benchmark, model]
        bins = np.linspace(table.score.min(), 1, 45).tolist()
        for same, color, name, hatch in (
            (True, style.GENUINE, "genuine", ""),
            (False, style.IMPOSTOR, "impostor", "///"),
        ):
            chosen = table.score[table.same == same]
            axis.hist(
                chosen,
                bins,
                weights=np.full(len(chosen), 1 / len(context.own_runs(model))),
                color=color,
                alpha=0.55,
                hatch=hatch,
                edgecolor=color,
                linewidth=0.3,
                label=name,
            )
        title = context.labels[model]
        if len(context.benchmarks) > 1:
            title += f", {context.benchmarks[benchmark]}"
        axis.set(xlabel="cosine", ylabel="pairs per run", xlim=(bins[0], 1))
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axis.set_title(textwrap.fill(title, PANEL_TITLE), fontsize=style.SMALL)
    style.legend_below(figure, *axes[0].get_legend_handles_labels())
    style.explain(figure, "Every panel begins at its model's lowest score.")
    style.save(figure, outputs)


SYMBOLS = (
    "T(a, p), T(a, n): the teacher's distance of the anchor from the positive, and from the negative.\n"
    "d = max(T(a, n) − T(a, p), 0).  F(d): the margin of a triplet, from m_min to m_max (Eq. 4)."
)


def plot_calibration(margins: dict[str, str], triplets: dict[str, str], outputs: list[str]) -> None:
    """Distribution of the sampled triplets' d, the resulting margins, and the line F(d) (Eq. 4).

    Args:
        margins: distance to the path of its calibration (JSON); one panel each.
        triplets: distance to the path of its table with a column ``d``.
        outputs: paths of the picture.
    """
    figure, axes = plt.subplots(len(margins), 1, figsize=(8.5, 4.4 * len(margins)), squeeze=False)
    for axis, distance in zip(axes[:, 0], margins):
        _calibration_panel(axis, read_json(margins[distance]), read_table(triplets[distance]).d.to_numpy(), distance)
    style.explain(figure, SYMBOLS)
    style.save(figure, outputs)


def _calibration_panel(axis: Axes, found: dict, d: np.ndarray, distance: str) -> None:
    axis.hist(d, bins=40, color=style.COLORS[6], edgecolor="white")
    axis.set(xlabel=f"d = max(T(a, n) − T(a, p), 0), {distance_name(distance)}", ylabel="triplets")
    used = found["min_margin"], found["max_margin"]
    quantiles = [f"measured ({PERCENT * share:g}% quantile)" for share in found["measured_quantiles"]]
    for values, color, names, dash in (
        (found["measured"], style.COLORS[1], quantiles, "--"),
        (found["paper"], style.COLORS[5], ["in the paper"] * 2, ":"),
    ):
        for value, symbol, name in zip(values, ("min", "max"), names):
            axis.axvline(value, color=color, linestyle=dash, label=f"m_{symbol} {name}: {value:.3g}")
    other = axis.twinx()
    other.grid(False)
    other.spines["right"].set_visible(True)
    other.plot([0, d.max()], used, color="black", linewidth=2, label=f"F(d) as calibrated ({found['mode']})")
    other.set(ylabel="margin F(d)", ylim=(0, 1.15 * max(used)))
    handles = [each for one in (other, axis) for each in one.get_legend_handles_labels()[0]]
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=2, fontsize=style.SMALL)
    axis.set_title(f"{len(d)} random triplets of the training set, measured by the teacher")


def plot_accuracy_against_flops(evaluations: Evaluations, profiles: dict[str, str], outputs: list[str]) -> None:
    """Accuracy with its interval against the cost of one image, one panel per benchmark.

    Args:
        evaluations: of every model.
        profiles: model to the path of its network's profile; models that came as scores have none.
        outputs: paths of the picture.
    """
    context = evaluations.context
    figure, axes = _panels(len(context.benchmarks), 4.4, columns=1)
    flops = {model: read_json(path)["flops"] / 1e9 for model, path in profiles.items()}
    places = _side_by_side(flops)
    points: dict[str, Any] = {}
    for axis, (benchmark, title) in zip(axes, context.benchmarks.items()):
        for model, place in places.items():
            found = significance.estimate(evaluations.runs(model, benchmark, "own"))
            mean, low, high = (PERCENT * value for value in significance.rate_interval(found))
            index = list(context.runs).index(model)
            points[model] = axis.errorbar(
                place,
                mean,
                yerr=[[max(0, mean - low)], [max(0, high - mean)]],
                marker=style.MARKERS[index % len(style.MARKERS)],
                color=style.COLORS[(index + index // len(style.MARKERS)) % len(style.COLORS)],
                capsize=3,
                linestyle="none",
            )
        axis.set(xscale="log", title=title, xlim=(min(places.values()) / 1.15, max(places.values()) * 1.15))
        axis.set_xticks(sorted(set(flops.values())), minor=False)
        axis.xaxis.set_major_formatter(style.two_digits)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set(xlabel="FLOPs per image, 10⁹", ylabel=f"{context.metric(benchmark)}, % (95% interval)")
    names = [f"{context.labels[model]}, {flops[model]:.2f}" for model in points]
    style.legend_below(figure, list(points.values()), names)
    style.explain(figure, "After a model's name: its FLOPs per image, 10⁹. Models of the same cost stand side by side.")
    style.save(figure, outputs)


def _side_by_side(flops: dict[str, float]) -> dict[str, float]:
    """Where models stand on a logarithmic axis of FLOPs: around their own, if others have the same."""
    span = math.log(max(flops.values()) / min(flops.values())) or 1
    step = min(0.06, 0.6 / len(flops)) * span
    places = {}
    for model, cost in flops.items():
        same = [other for other in flops if flops[other] == cost]
        places[model] = cost * math.exp(step * (same.index(model) - (len(same) - 1) / 2))
    return places


def plot_faces(store_path: str, outputs: list[str], num_identities: int = 8, images: int = 4) -> None:
    """A strip of aligned faces: the first ``images`` of ``num_identities`` spread over the store."""
    store = FaceStore(store_path)
    labels, identities = store.column("label"), store.column("identity")
    chosen = np.unique(np.linspace(0, labels.max(), num_identities).round().astype(int))
    figure, axes = plt.subplots(images, len(chosen), figsize=(1.15 * len(chosen), 1.2 * images), squeeze=False)
    for column, label in enumerate(chosen):
        rows = np.flatnonzero(labels == label)[:images]
        for row, axis in enumerate(axes[:, column]):
            axis.set_axis_off()
            if row < len(rows):
                axis.imshow(store.image(rows[row]))
        name = textwrap.shorten(str(identities[rows[0]]), LONGEST_NAME, placeholder="…")
        axes[0, column].set_title(name or str(identities[rows[0]])[:LONGEST_NAME], fontsize=style.SMALL)
    style.save(figure, outputs)


def plot_triplets(
    store_path: str,
    training_set: str,
    calibration: tuple[str, str],
    fixed_margins: dict[str, float],
    outputs: list[str],
) -> None:
    """A few of the calibration's triplets as images, from the smallest d to the largest, with every method's margin.

    F(d) uses the largest d of the calibration's triplets; in training, d_max is the largest of each batch.

    Args:
        store_path: of the face store.
        training_set: path of the table ``row, label``.
        calibration: paths of the margins (JSON) and of the triplets (CSV).
        fixed_margins: methods with one margin, display name to margin.
        outputs: paths of the picture.
    """
    store, rows = FaceStore(store_path), read_table(training_set).row.to_numpy()
    found, drawn = read_json(calibration[0]), read_table(calibration[1]).sort_values("d", kind="stable")
    chosen = drawn.iloc[np.linspace(0, len(drawn) - 1, SHOWN_TRIPLETS).round().astype(int)]
    low, high = found["min_margin"], found["max_margin"]
    size = (style.WIDTH, max(1.55, 0.18 * (2 + len(fixed_margins))) * SHOWN_TRIPLETS)
    figure, axes = plt.subplots(SHOWN_TRIPLETS, 4, figsize=size, width_ratios=[1, 1, 1, 3.2], squeeze=False)
    for line, (_, triplet) in zip(axes, chosen.iterrows()):
        for axis, role in zip(line, ("anchor", "positive", "negative")):
            axis.imshow(store.image(rows[int(triplet[role])]))
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            for spine in axis.spines.values():
                spine.set_visible(False)
        d_line = f"T(a, p) {triplet.anchor_positive_distance:.2f}, T(a, n) {triplet.anchor_negative_distance:.2f}"
        distilled_margin = low + (high - low) * triplet.d / drawn.d.max()
        text = [
            f"teacher: {d_line}, d = {triplet.d:.2f}",
            f"triplet distillation, as calibrated: margin F(d) = {distilled_margin:.3f}",
        ]
        text += [f"{label}: margin {margin:g}" for label, margin in fixed_margins.items()]
        line[3].set_axis_off()
        line[3].text(0, 0.5, "\n".join(text), va="center", fontsize=style.SMALL, transform=line[3].transAxes)
    for axis, role in zip(axes[0], ("anchor", "positive", "negative")):
        axis.set_title(role)
    style.explain(figure, SYMBOLS)
    style.save(figure, outputs)

"""The study's figures, one function each, from the files of earlier stages."""

import math

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
from triplet_distillation.settings import ALWAYS_LOGGED
from triplet_distillation.tabular import read_table

plt = style.plt
SHOWN_TRIPLETS = 5
LARGE_LOSS = 10
"""From which on a panel of losses is logarithmic above 1."""
FITTING_ENTRIES = 10
"""Entries of a legend that fit into a panel."""
ROC_POINTS = 60


def plot_training_curves(
    first_stage: dict[str, list[str]], second_stage: dict[str, list[str]], context: ReportContext, output: str
) -> None:
    """Loss of every model over its steps, and below it what else the methods log, a panel each.

    Args:
        first_stage, second_stage: model to the paths of its histories, one per seed (the
            first is drawn with a thick line).
        context: display names.
        output: path of the picture.
    """
    first, second = (
        {context.labels[model]: [read_table(path) for path in paths] for model, paths in stage.items()}
        for stage in (first_stage, second_stage)
    )
    logged = dict.fromkeys(name for runs in second.values() for name in runs[0].columns if name not in ALWAYS_LOGGED)
    figure, axes = _panels(2 + len(logged), 5, 3.6)
    _curves(axes[0], first, "loss", "First stage: loss")
    _curves(axes[1], second, "loss", "Methods: loss")
    for axis in axes[:2]:
        axis.set_ylabel("loss")
        if axis.get_ylim()[1] > LARGE_LOSS:
            axis.set_ylabel("loss (linear below 1)")
            axis.set_yscale("symlog", linthresh=1)
    for axis, name in zip(axes[2:], logged):
        _curves(axis, second, name, f"Methods: {LOGGED_NAMES.get(name, name.replace('_', ' '))}")
    for axis in axes[: 2 + len(logged)]:
        axis.set_ylim(bottom=min([0, *(np.nanmin(line.get_ydata()) for line in axis.get_lines())]))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if first:
        axes[0].legend(loc="upper right", fontsize=9)
    for axis in axes[2 : 2 + len(logged)]:
        if 2 * len(axis.get_lines()) <= FITTING_ENTRIES < len(second):
            axis.legend(fontsize=7)
    _legend_beside(figure, axes[1])
    style.save(figure, output)


LOGGED_NAMES = {
    "active": "active triplets, fraction",
    "margin": "mean margin",
    "accuracy": "accuracy on the batch",
    "alpha": "α = cos(f, t)",
    "alpha_weighted": "α′ = α · cos(w, t)",
}
"""What methods log, in words, where its own name says too little."""


def _curves(axis: Axes, histories: dict[str, list[pd.DataFrame]], column: str, title: str) -> None:
    for index, (label, runs) in enumerate(histories.items()):
        for order, history in enumerate(runs):
            if column in history:
                look = style.line_style(index)
                if order:
                    look |= {"linewidth": 0.6, "alpha": 0.6}
                axis.plot(history.step + 1, history[column], label=label if order == 0 else None, **look)
    axis.set(title=title, xlabel="step")


def plot_center_similarities(
    training_set: str, teacher_embeddings: str, class_means: str, output: str, num_pairs: int = 100_000
) -> None:
    """The teacher's cosines between images of one identity, and between images and the mean of their identity.

    Args:
        training_set: path of the table ``row, label``.
        teacher_embeddings: path of [faces in store, 2, D].
        class_means: path of the normalized means [identities, D].
        output: path of the picture.
        num_pairs: at most that many pairs of images, evenly spread over all.
    """
    faces = read_table(training_set)
    embeddings, means = np.load(teacher_embeddings, mmap_mode="r"), load_file(class_means)["class_centers"]
    order = np.argsort(faces.label.to_numpy(), kind="stable")
    rows, labels = faces.row.to_numpy()[order], faces.label.to_numpy()[order]
    chosen = np.unique(np.linspace(0, len(rows) - 1, num_pairs).round().astype(int))
    vectors = embeddings[rows[chosen], 0]
    # The next image of the same identity, or its first one after the last: every image is in two pairs.
    first = np.searchsorted(labels, labels[chosen])
    count = np.searchsorted(labels, labels[chosen], side="right") - first
    partner = first + (chosen - first + 1) % count
    pairs = (vectors * embeddings[rows[partner], 0]).sum(axis=1)[count > 1]
    centers = (vectors * means[labels[chosen]]).sum(axis=1)
    figure, axis = plt.subplots(figsize=(6.5, 4))
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
    axis.legend(loc="upper left")
    style.save(figure, output)


def plot_roc(evaluations: Evaluations, output: str) -> None:
    """Mean ROC of every model with its 95% band, one panel per benchmark, from the lowest FAR that the impostor
    pairs resolve."""
    context = evaluations.context
    many = len(context.runs) > FITTING_ENTRIES
    figure, axes = _panels(len(context.benchmarks), 5.6, 4.8)
    for axis, (benchmark, title) in zip(axes, context.benchmarks.items()):
        fars, lowest = _resolved_rates(evaluations, benchmark), 100.0
        for index, model in enumerate(context.runs):
            found = [significance.rate_interval(each) for each in evaluations.rates(model, benchmark, fars)]
            mean, low, high = PERCENT * np.array(found).T
            look = style.line_style(index)
            axis.plot(PERCENT * fars, mean, label=context.labels[model], **look)
            if not many:  # the bands of many models would cover each other
                axis.fill_between(PERCENT * fars, low, high, color=look["color"], alpha=0.1, linewidth=0)
            lowest = min(lowest, low.min())
        label = "true accept rate, %" if many else "true accept rate, % (95% band)"
        axis.set(xscale="log", title=title, xlabel="false accept rate, %", ylabel=label)
        axis.set_ylim(max(0, math.floor(lowest / 10) * 10), 101)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(style.plain_number)
        axis.xaxis.set_minor_locator(NullLocator())
        if not many:
            axis.legend(loc="lower right")
    if many:
        _legend_beside(figure, axes[0])
    style.save(figure, output)


def _legend_beside(figure: Figure, axis: Axes) -> None:
    """The legend of one panel to the right of all, which keep their width."""
    handles, names = axis.get_legend_handles_labels()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + 0.7 + 0.075 * max(len(name) for name in names), max(height, 0.16 * len(names) + 0.5))
    figure.legend(handles, names, loc="outside right upper", fontsize=8)


def _resolved_rates(evaluations: Evaluations, benchmark: str) -> np.ndarray:
    """False accept rates from 10 accepted impostor pairs of one run to one half; at 1, everything is accepted."""
    model = next(iter(evaluations.context.runs))
    tables = [evaluations.table(model, benchmark, run) for run in evaluations.context.own_runs(model)]
    impostors = min(int((~table.same).sum()) for table in tables)
    return np.geomspace(min(0.4, 10 / impostors), 0.5, ROC_POINTS)


def _panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat)


def plot_score_distributions(evaluations: Evaluations, output: str) -> None:
    """Histograms of genuine and impostor cosines in all runs, one panel per model and benchmark."""
    context = evaluations.context
    cells = [(benchmark, model) for benchmark in context.benchmarks for model in context.runs]
    tables = {
        (benchmark, model): pd.concat(evaluations.table(model, benchmark, run) for run in context.own_runs(model))
        for benchmark, model in cells
    }
    figure, axes = _panels(len(cells), 4, 2.6)
    bins = np.linspace(min(-0.4, *(table.score.min() for table in tables.values())), 1, 45).tolist()
    for axis, (benchmark, model) in zip(axes, cells):
        table = tables[benchmark, model]
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
        axis.set(title=title, xlabel="cosine", ylabel="pairs per run", xlim=(bins[0], 1))
    axes[0].legend(loc="upper left", fontsize=9)
    style.save(figure, output)


def plot_calibration(margins: dict[str, str], triplets: dict[str, str], output: str) -> None:
    """Distribution of the sampled triplets' d, the resulting margins, and the line F(d) (Eq. 4).

    Args:
        margins: distance to the path of its calibration (JSON); one panel each.
        triplets: distance to the path of its table with a column ``d``.
        output: path of the picture.
    """
    figure, axes = _panels(len(margins), 7.5, 4.6)
    for axis, distance in zip(axes, margins):
        _calibration_panel(axis, read_json(margins[distance]), read_table(triplets[distance]).d.to_numpy(), distance)
    style.save(figure, output)


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
            axis.axvline(value, color=color, linestyle=dash, label=f"$m_{{{symbol}}}$ {name}: {value:.3g}")
    other = axis.twinx()
    other.grid(False)
    other.spines["right"].set_visible(True)
    other.plot([0, d.max()], used, color="black", linewidth=2, label=f"F(d) as calibrated ({found['mode']})")
    other.set(ylabel="margin F(d)", ylim=(0, 1.15 * max(used)))
    handles = [each for one in (axis, other) for each in one.get_legend_handles_labels()[0]]
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=3, fontsize=9)
    axis.set_title(f"{len(d)} random triplets of the training set, measured by the teacher")


def plot_accuracy_against_flops(evaluations: Evaluations, profiles: dict[str, str], output: str) -> None:
    """Accuracy with its interval against the cost of one image, one panel per benchmark.

    Args:
        evaluations: of every model.
        profiles: model to the path of its network's profile; models that came as scores have none.
        output: path of the picture.
    """
    context = evaluations.context
    figure, axes = _panels(len(context.benchmarks), 8.5, max(4.4, 0.19 * len(profiles) + 0.6))
    flops = {model: read_json(path)["flops"] / 1e9 for model, path in profiles.items()}
    for axis, (benchmark, title) in zip(axes, context.benchmarks.items()):
        for index, model in enumerate(flops):
            found = significance.estimate(evaluations.runs(model, benchmark, "own"))
            mean, low, high = (PERCENT * value for value in significance.rate_interval(found))
            at_same_cost = [other for other in flops if flops[other] == flops[model]]
            beside = 1 + 0.03 * (at_same_cost.index(model) - (len(at_same_cost) - 1) / 2)
            axis.errorbar(
                flops[model] * beside,
                mean,
                yerr=[[max(0, mean - low)], [max(0, high - mean)]],
                marker=style.MARKERS[index % len(style.MARKERS)],
                color=style.COLORS[index % len(style.COLORS)],
                capsize=3,
                linestyle="none",
                label=f"{context.labels[model]}, {flops[model]:.2f}",
            )
        low, high = min(flops.values()), max(flops.values())
        axis.set(xscale="log", xlim=(low / 1.4, high * 1.4), title=title)
        axis.set_xticks(sorted(set(flops.values())), minor=False)
        axis.xaxis.set_major_formatter(style.two_digits)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set(xlabel="FLOPs per image, 10⁹", ylabel=f"{context.metric(benchmark)}, % (95% interval)")
        size = 10 if len(flops) <= FITTING_ENTRIES else 8
        axis.legend(title="model, 10⁹ FLOPs", loc="center left", bbox_to_anchor=(1, 0.5), fontsize=size)
    style.save(figure, output)


def plot_faces(store_path: str, output: str, num_identities: int = 8, images: int = 4) -> None:
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
        axes[0, column].set_title(str(identities[rows[0]]), fontsize=9)
    style.save(figure, output)


def plot_triplets(
    store_path: str, training_set: str, calibration: tuple[str, str], fixed_margins: dict[str, float], output: str
) -> None:
    """A few of the calibration's triplets as images, from the smallest d to the largest, with every method's margin.

    F(d) uses the largest d of the calibration's triplets; in training, d_max is the largest of each batch.

    Args:
        store_path: of the face store.
        training_set: path of the table ``row, label``.
        calibration: paths of the margins (JSON) and of the triplets (CSV).
        fixed_margins: methods with one margin, display name to margin.
        output: path of the picture.
    """
    store, rows = FaceStore(store_path), read_table(training_set).row.to_numpy()
    found, drawn = read_json(calibration[0]), read_table(calibration[1]).sort_values("d", kind="stable")
    chosen = drawn.iloc[np.linspace(0, len(drawn) - 1, SHOWN_TRIPLETS).round().astype(int)]
    low, high = found["min_margin"], found["max_margin"]
    size = (9.5, 1.55 * SHOWN_TRIPLETS)
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
        line[3].text(0, 0.5, "\n".join(text), va="center", fontsize=9, transform=line[3].transAxes)
    for axis, role in zip(axes[0], ("anchor", "positive", "negative")):
        axis.set_title(role)
    style.save(figure, output)

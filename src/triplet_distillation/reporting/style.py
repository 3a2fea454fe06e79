"""The common style of all figures: readable in print and by color-blind readers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from triplet_distillation.files import atomic_write

COLORS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D1F")
"""Okabe and Ito's palette, without its yellow, which is faint on paper."""
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*")
WIDTH = 10.0
"""Of a figure, in inches: a report that is 1000 pixels wide shows it at its size, and no letter below 8 points."""
SMALL = 9
"""Points of the smallest letters."""
LETTER_WIDTH, LEGEND_HANDLE, LEGEND_LINE = 0.072, 0.62, 0.19
"""Inches that an entry of a legend takes per letter, besides them, and in height."""
GENUINE, IMPOSTOR = "#0072B2", "#D55E00"

plt.rcParams.update(
    {
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "svg.hashsalt": "triplet-distillation",
        "svg.fonttype": "path",
        "text.parse_math": False,  # names of models and people may contain dollar signs
    }
)


plain_number = FuncFormatter(lambda value, _: f"{value:g}")
two_digits = FuncFormatter(lambda value, _: f"{value:.2f}")


def line_style(index: int) -> dict[str, Any]:
    """Color and dash pattern of the index-th line, so that lines can be distinguished without color."""
    # The pairs of both repeat after 24, so the pattern moves on by one.
    pattern = LINES[(index + index // 24) % len(LINES)]
    return {"color": COLORS[index % len(COLORS)], "linestyle": pattern, "linewidth": 1.6}


def legend_below(figure: Figure, handles: list[Any], names: list[str]) -> None:
    """A legend below all panels, which keep their size: it covers no curve, however many names it has."""
    width, height = figure.get_size_inches()
    longest = LETTER_WIDTH * max(map(len, names)) + LEGEND_HANDLE
    columns = min(len(names), max(1, int(width / longest)))
    figure.set_size_inches(width, height + LEGEND_LINE * math.ceil(len(names) / columns) + 0.2)
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=SMALL)


def explain(figure: Figure, text: str) -> None:
    """What the symbols in a figure mean, or its bands: a line above all panels."""
    figure.suptitle(text, fontsize=SMALL)


def save(figure: Figure, paths: Sequence[str | Path]) -> None:
    """Write ``figure`` to every path, as SVG or PNG; the same figure gives the same bytes."""
    for path in paths:
        is_svg = Path(path).suffix == ".svg"
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=150, metadata={"Date": None} if is_svg else {"Software": None})
    plt.close(figure)

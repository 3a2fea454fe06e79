"""The common style of all figures: readable in print and by color-blind readers."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

from triplet_distillation.files import atomic_write

COLORS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D1F")
"""Okabe and Ito's palette, without its yellow, which is faint on paper."""
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*")
GENUINE, IMPOSTOR = "#0072B2", "#D55E00"

plt.rcParams.update(
    {
        "font.size": 10,
        "axes.titlesize": 11,
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
    }
)


plain_number = FuncFormatter(lambda value, _: f"{value:g}")
two_digits = FuncFormatter(lambda value, _: f"{value:.2f}")


def line_style(index: int) -> dict[str, Any]:
    """Color and dash pattern of the index-th line, so that lines can be distinguished without color."""
    # The pairs of both repeat after 24, so the pattern moves on by one.
    pattern = LINES[(index + index // 24) % len(LINES)]
    return {"color": COLORS[index % len(COLORS)], "linestyle": pattern, "linewidth": 1.6}


def save(figure, path: str | Path) -> None:
    """Write ``figure`` as SVG or PNG; the same figure gives the same bytes."""
    is_svg = Path(path).suffix == ".svg"
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Date": None} if is_svg else {"Software": None})
    plt.close(figure)

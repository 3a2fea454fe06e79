"""Draw the pictures of the documentation: the pipeline, and all rules from Snakemake's own rule graph.

Run it from the repository's root after a change of the rules: ``python docs/draw_pictures.py``.
"""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import networkx as nx
from matplotlib.text import Text

IMAGES = Path(__file__).parent / "images"
TEACHER, STUDENT, NEUTRAL, REPORTED, GRAY = "#d9e8f5", "#fde9c9", "#eeeeee", "#dcefe3", "#444444"
plt.rcParams.update({"svg.hashsalt": "triplet-distillation", "font.size": 11})

PIPELINE = {
    "acquire": (0, 1, NEUTRAL),
    "align": (1, 1, NEUTRAL),
    "split": (1.95, 1, NEUTRAL),
    "train teacher": (3.3, 2, TEACHER),
    "embed": (4.8, 2, TEACHER),
    "calibrate": (6.1, 2, TEACHER),
    "train student": (3.3, 0, STUDENT),
    "distill": (7.4, 1, STUDENT),
    "evaluate": (8.8, 1, NEUTRAL),
    "report": (10.1, 1, NEUTRAL),
    "profile": (8.8, 0, NEUTRAL),
}
"""Stage to its place (x, y) and color."""
PIPELINE_EDGES = [
    ("acquire", "align"),
    ("align", "split"),
    ("split", "train teacher"),
    ("split", "train student"),
    ("train teacher", "embed"),
    ("embed", "calibrate"),
    ("calibrate", "distill"),
    ("train student", "distill"),
    ("distill", "evaluate"),
    ("evaluate", "report"),
    ("profile", "report"),
]
BETWEEN = 0.42
"""Where an arrow back to the left column runs, in :func:`draw_rules`."""
LABELS = {(7.0, 1.75): "margins and embeddings", (5.6, 0.15): "initial weights"}
"""Place of a text to the text."""


def rule_graph() -> nx.DiGraph:
    """The rule graph of the default study as Snakemake prints it, without edges that other edges imply."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "dot", "--forceall", "all", "packs"]
    dot = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r'^\s*(\d+)\[label = "([^"]+)"', dot, re.MULTILINE))
    graph = nx.DiGraph((names[a], names[b]) for a, b in re.findall(r"^\s*(\d+) -> (\d+)", dot, re.MULTILINE))
    graph.remove_nodes_from(["all", "packs"])
    return graph


def places(graph: nx.DiGraph) -> dict[str, tuple[float, float]]:
    """Position of every rule: the longest path down the left, the rules that follow each of its rules to the right."""
    found: dict[str, tuple[float, float]] = {}
    row = 0
    path = nx.dag_longest_path(graph)
    on_path = [rule for rule in path if graph.out_degree(rule)]
    for rule in on_path:
        found[rule] = (0, -row)
        row += 1
        for after in sorted(set(graph.successors(rule)) - set(on_path), key=lambda name: (graph.in_degree(name), name)):
            found[after] = (1, -row)
            beside = set(graph.successors(after)) - set(on_path)
            for rule in sorted(each for each in beside if graph.in_degree(each) == 1):
                found[rule] = (2, -row)
                row += 1
            row += not beside
    for source in [rule for rule in sorted(graph) if rule not in found and not graph.in_degree(rule)]:
        met = [found[after][1] for after in graph.successors(source) if after in found]
        y = met[0] if met else -row
        found[source] = (2 if met else 0, y)
        for after in sorted(set(graph.successors(source)) - found.keys()):
            found[after] = (2, y - 1) if met else (1, y)
    return found


def draw_box(axis, place: tuple[float, float], text: str, color: str) -> Text:
    box = {"boxstyle": "round,pad=0.4", "facecolor": color, "edgecolor": GRAY}
    return axis.text(*place, text, ha="center", va="center", bbox=box, zorder=3)


def draw_arrow(axis, start: Text, end: Text) -> None:
    """An arrow between two boxes, whose sizes are known once the figure is drawn."""
    (x1, y1), (x2, y2) = start.get_position(), end.get_position()
    if x2 == 0 < x1 and axis.get_label() == "tree":  # between the columns, around the boxes
        axis.plot([x1, x1, BETWEEN, BETWEEN], [y1, y1 - 0.5, y1 - 0.5, y2], color=GRAY, linewidth=1, zorder=1)
        x1, y1 = BETWEEN, y2
    bent = x2 > x1 and y1 - y2 >= 1 and axis.get_label() == "tree"
    arrow = {
        "arrowstyle": "-|>",
        "color": GRAY,
        "patchA": start.get_bbox_patch() if (x1, y1) == start.get_position() else None,
        "patchB": end.get_bbox_patch(),
        "connectionstyle": "angle,angleA=-90,angleB=180,rad=4" if bent else "arc3",
    }
    axis.annotate("", (x2, y2), (x1, y1), arrowprops=arrow, zorder=4)


def save(figure, axis, name: str) -> None:
    axis.set_axis_off()
    figure.savefig(IMAGES / name, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def draw_pipeline() -> None:
    """The stages: the branches of teacher and student join at distillation."""
    figure, axis = plt.subplots(figsize=(12, 2.4), dpi=72)
    axis.set(xlim=(-0.5, 10.6), ylim=(-0.4, 2.4))
    boxes = {name: draw_box(axis, (x, y), name, color) for name, (x, y, color) in PIPELINE.items()}
    figure.canvas.draw()
    for start, end in PIPELINE_EDGES:
        draw_arrow(axis, boxes[start], boxes[end])
    for place, text in LABELS.items():
        axis.text(*place, text, fontsize=9, color=GRAY)
    save(figure, axis, "pipeline.svg")


def draw_rules() -> None:
    """Every rule of the default study and the packs; rules whose output is part of the report are colored."""
    graph = rule_graph()
    reported = set(graph.predecessors("make_report"))
    graph.remove_edges_from([(rule, "make_report") for rule in reported if rule != "write_config"])
    graph.remove_edges_from([(table, "hash_study") for table in reported])
    graph = nx.transitive_reduction(graph)
    found = places(graph)
    bottom = min(y for _, y in found.values())
    figure, axis = plt.subplots(figsize=(9, 0.52 * (1 - bottom)), dpi=72)
    axis.set(xlim=(-0.4, 2.5), ylim=(bottom - 0.5, 0.5), label="tree")
    boxes = {
        rule: draw_box(axis, place, rule, REPORTED if rule in reported else NEUTRAL) for rule, place in found.items()
    }
    figure.canvas.draw()
    for start, end in sorted(graph.edges):
        draw_arrow(axis, boxes[start], boxes[end])
    note = (
        "Green rules: their output\ngoes to make_report, that of\ntables to hash_study, too.\n"
        "Arrows that follow\nfrom others are omitted."
    )
    axis.text(1.7, 0, note, va="top", color=GRAY)
    save(figure, axis, "rules.svg")


if __name__ == "__main__":
    draw_pipeline()
    draw_rules()

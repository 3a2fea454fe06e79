"""Tables as self-contained HTML pages: no scripts, fonts or pictures from elsewhere."""

import html
from collections.abc import Iterable

import numpy as np
import pandas as pd

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 1.5rem auto; max-width: 76rem;
  padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0 0 .6rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; } th { white-space: normal; }
th:first-child, td:first-child, th.text { text-align: left; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
thead th { border-bottom: 2px solid #1a1a1a; vertical-align: bottom; } thead tr.groups th { border-bottom: 0;
  text-align: center; }
tbody tr:nth-child(even) { background: #f4f4f4; } tbody tr:last-child td { border-bottom: 2px solid #1a1a1a; }
.interval, .unit { color: #555; font-size: .85em; } .apart { border-left: 4px solid #999; padding-left: 1rem;
  margin-top: 2.5rem; }
figure { display: inline-block; margin: .2rem; } figcaption { font-size: .8em; color: #555; text-align: center; }
p.lead { font-weight: 600; } ul { padding-left: 1.2rem; } li { margin: .3rem 0; } .scroll { overflow-x: auto; }
"""


def page(title: str, *parts: str) -> str:
    """A complete HTML document from a title (text) and parts (HTML)."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{html.escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def table(header: list[str], rows: list[list[str]], groups: list[tuple[str, int]] | None = None) -> str:
    """An HTML table. Cells are HTML; a cell that starts with a space is running text, aligned left, as is its heading.

    Args:
        header: column headings.
        rows: cells.
        groups: headings over several columns, as (text, number of columns).
    """
    over = ""
    if groups:
        over = '<tr class="groups">' + "".join(f'<th colspan="{span}">{text}</th>' for text, span in groups) + "</tr>"
    is_text = [cell.startswith(" ") for cell in rows[0]] if rows else [False] * len(header)
    heads = (f'<th class="text">{cell}</th>' if text else f"<th>{cell}</th>" for cell, text in zip(header, is_text))
    head = "<tr>" + "".join(heads) + "</tr>"
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead>{over}{head}</thead>\n<tbody>\n{body}</tbody></table></div>'


def _cell(cell: str) -> str:
    return f'<td class="text">{cell.strip()}</td>' if cell.startswith(" ") else f"<td>{cell}</td>"


def notes(lines: Iterable[str]) -> str:
    """A bulleted list; the lines are text."""
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text, with a CSS class."""
    return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"


def rate(mean: float, low: float, high: float) -> str:
    """A cell (HTML): a rate in percent with its interval in gray."""
    return f'{mean:.2f} <span class="interval">{low:.2f} – {high:.2f}</span>'


def signed(number: float) -> str:
    """A difference with its sign, as text."""
    return f"{number:+.2f}".replace("-", "−")


def p_value(p: float) -> str:
    """A cell (HTML): a p-value, or a dash for NaN."""
    if np.isnan(p):
        return "–"
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def latex(frame: pd.DataFrame) -> str:
    """A LaTeX ``tabular`` with booktabs rules; cells are escaped."""
    aligned = "l" + "r" * (len(frame.columns) - 1)
    rows = [list(frame.columns), *frame.astype(str).to_numpy().tolist()]
    head, *body = [" & ".join(_escape(cell) for cell in row) + r" \\" for row in rows]
    lines = [rf"\begin{{tabular}}{{{aligned}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", ""])


LATEX = str.maketrans(
    {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "–": "--", "×": r"$\times$", "−": "$-$", "⁹": "$^9$", "⁶": "$^6$"}
)


def _escape(text: str) -> str:
    return str(text).translate(LATEX)

"""Tables as self-contained HTML pages (no fonts, pictures or scripts from elsewhere) and as LaTeX."""

import html
import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 1.5rem auto; max-width: 76rem;
  padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; margin: 0 0 .6rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.scroll { overflow-x: auto; margin: .5rem 0; max-width: 100%; } .scroll:focus-visible { outline: 2px solid #0072b2; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; text-align: right; white-space: nowrap; overflow-wrap: normal; background: inherit; }
thead th { white-space: normal; vertical-align: bottom; } tbody th { font-weight: inherit; }
th:first-child, .text, .name { text-align: left; }
td.text, td.name { white-space: normal; }
td.text { overflow-wrap: anywhere; min-width: 6rem; }
thead tr, tbody tr { background: #fff; } tbody tr:nth-child(even) { background: #f4f4f4; }
tr > :first-child { position: sticky; left: 0; z-index: 1; }
tbody th div { white-space: normal; overflow-wrap: anywhere; width: max-content; max-width: min(15rem, 38vw); }
thead tr:last-child th, tbody tr:last-child > * { border-bottom: 2px solid #1a1a1a; }
thead tr.groups th { text-align: center; }
th button { font: inherit; color: inherit; text-align: inherit; background: none; border: 0; padding: 0;
  cursor: pointer; }
th button::after { content: "\\a0⇅"; color: #6b6b6b; font-size: .8em; }
th[aria-sort=ascending] button::after { content: "\\a0↑"; }
th[aria-sort=descending] button::after { content: "\\a0↓"; }
.interval, .unit { color: #555; font-size: .85em; } .legend { color: #555; margin: 0 0 1rem; }
.apart { border-left: 4px solid #999; padding-left: 1rem; margin-top: 2.5rem; }
figure { display: inline-block; margin: .2rem; } figcaption { font-size: .8em; color: #555; text-align: center; }
p.lead { font-weight: 600; } ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
@media print {
  body { color: #000; background: #fff; max-width: none; margin: 0; font-size: 10pt; }
  .scroll { overflow: visible; } th, td { white-space: normal; padding: .15rem .3rem; }
  tr > :first-child { position: static; } tbody th div { width: auto; } td.text { min-width: 0; }
  th button::after { content: none !important; }
}
"""
SORT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], original = [...body.rows];
  const headings = [...table.querySelectorAll("th[aria-sort]")];
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  for (const heading of headings) heading.querySelector("button").addEventListener("click", () => {
    const order = next[heading.getAttribute("aria-sort")], sign = order === "descending" ? -1 : 1;
    for (const each of headings) each.setAttribute("aria-sort", each === heading ? order : "none");
    const cell = row => row.cells[heading.cellIndex], text = row => cell(row).textContent.trim();
    const missing = row => ["–", ""].includes(text(row));
    const compare = heading.classList.contains("number")
      ? (a, b) => cell(a).dataset.value - cell(b).dataset.value
      : (a, b) => text(a).localeCompare(text(b), "en", { numeric: true });
    const before = (a, b) => missing(a) || missing(b) ? missing(a) - missing(b) : sign * compare(a, b);
    body.append(...(order === "none" ? original : [...original].sort(before)));
  });
}
"""
DASH = "–"
"""Stands for a number that there is not; sorted last."""


class Best(NamedTuple):
    """In which ``columns`` the best value is marked, ``higher`` or ``lower``, among which ``rows``, and ``whose`` it
    is, in words: ``of the students``."""

    columns: dict[int, str]
    rows: Collection[int]
    whose: str


class Table(NamedTuple):
    """What :func:`table` shows on a page and :func:`latex` in a paper.

    Attributes:
        header: column headings, HTML.
        rows: cells, HTML. A cell that starts with a space is running text, aligned left, as is its heading.
        groups: headings over several columns, as (HTML, number of columns).
        title: text that names the table where it cannot be seen, and above it in LaTeX.
        best: which values are marked.
    """

    header: list[str]
    rows: list[list[str]]
    groups: list[tuple[str, int]] | None = None
    title: str = ""
    best: Best | None = None


def page(title: str, *parts: str) -> str:
    """A complete HTML document from a title (text) and parts (HTML)."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{html.escape(title)}</h1>\n"
        + "\n".join(parts)
        + f"\n<script>{SORT}</script>\n</body></html>\n"
    )


def table(
    header: list[str],
    rows: list[list[str]],
    groups: list[tuple[str, int]] | None = None,
    title: str = "",
    best: Best | None = None,
) -> str:
    """A table in a box that scrolls, with headings that sort it and a line that says what is marked: HTML.

    The arguments are those of :class:`Table`. A column is sorted by number if all its cells show one, apart from
    dashes, and by text otherwise.
    """
    shown = Table(header, rows, groups, title, best)
    marked = best_cells(shown)
    over = ""
    if groups:
        spans = (
            f'<th colspan="{span}" scope="colgroup">{text}</th>' if text else f'<td colspan="{span}"></td>'
            for text, span in groups
        )
        over = f'<tr class="groups">{"".join(spans)}</tr>'
    kinds = [_kind([row[column] for row in rows]) for column in range(len(header))]
    head = "".join(map(_heading, header, kinds))
    body = "".join(
        "<tr>"
        + "".join(_cell(cell, column, kinds[column], (number, column) in marked) for column, cell in enumerate(row))
        + "</tr>\n"
        for number, row in enumerate(rows)
    )
    heads = f"<thead>{over}<tr>{head}</tr></thead>\n" if any(header) else ""
    label = html.escape(title or f"Table: {', '.join(map(plain_text, header))}")
    box = f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">'
    legend = paragraph(f"Bold: best value {best.whose}; not a verdict.", "legend") if best and marked else ""
    return f"{box}<table>{heads}<tbody>\n{body}</tbody></table></div>{legend}"


def _kind(cells: list[str]) -> str:
    """Of a column, as a CSS class: running ``text``, a ``name``, a ``number``, or nothing if there are only dashes."""
    if cells and cells[0].startswith(" "):
        return "text"
    shown = [cell for cell in cells if plain_text(cell) not in (DASH, "")]
    if all(number_in(cell) is not None for cell in shown):
        return "number" if shown else ""
    return "name"


def _heading(cell: str, kind: str) -> str:
    button = f'<button type="button" title="Sort">{cell}</button>'
    return f'<th scope="col" class="{kind}"' + (f' aria-sort="none">{button}</th>' if cell else "></th>")


def _cell(cell: str, column: int, kind: str, is_best: bool) -> str:
    number, content = number_in(cell) if kind == "number" else None, cell.strip()
    value = "" if number is None else f' data-value="{number!r}"'
    if is_best:
        shown = content.partition(' <span class="interval">')[0]
        content = f"<b>{shown}</b>{content.removeprefix(shown)}"
    if column:
        return f'<td class="{kind}"{value}>{content}</td>'
    return f'<th scope="row" class="{kind}"{value}><div>{content}</div></th>'


INTERVAL = re.compile(r'<span class="interval">(.*?)</span>')
TAG = re.compile(r"<[/a-zA-Z][^>]*>")
NUMBER = re.compile(r"(<\s*)?([+−-]?)(\d[\d,]*\.?\d*(?:e[+-]?\d+)?)")


def plain_text(cell: str) -> str:
    """A cell's text without tags, an interval in parentheses: ``94.17 (92.10–96.02)``."""
    text = INTERVAL.sub(lambda found: found[1] if found[1].startswith("±") else _in_parentheses(found[1]), cell)
    return " ".join(html.unescape(TAG.sub("", text)).split())


def _in_parentheses(interval: str) -> str:
    return f"({interval.replace(f' {DASH} ', DASH)})"


def number_in(cell: str) -> float | None:
    """The number that a cell (HTML) shows, without its interval; None for text. ``< 0.001`` is the smallest: 0."""
    found = NUMBER.fullmatch(html.unescape(TAG.sub("", INTERVAL.sub("", cell))).strip())
    if not found:
        return None
    below, sign, digits = found.groups()
    return 0.0 if below else float(digits.replace(",", "")) * (-1 if sign in ("−", "-") else 1)


def best_cells(shown: Table) -> set[tuple[int, int]]:
    """(row, column) of the best values, as they are printed. None in a column where all are equal or one is alone."""
    if shown.best is None:
        return set()
    found: set[tuple[int, int]] = set()
    for column, direction in shown.best.columns.items():
        numbers = {row: number_in(shown.rows[row][column]) for row in shown.best.rows}
        values = [value for value in numbers.values() if value is not None]
        if len(set(values)) > 1:
            best = max(values) if direction == "higher" else min(values)
            found |= {(row, column) for row, value in numbers.items() if value == best}
    return found


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


def interval_of_difference(low: float, high: float) -> str:
    """After a difference in a cell (HTML): its interval in gray; nothing if there is none (NaN)."""
    return "" if np.isnan(low) else f' <span class="interval">{signed(low)} to {signed(high)}</span>'


def p_value(p: float) -> str:
    """A cell (HTML): a p-value, or a dash for NaN."""
    if np.isnan(p):
        return "–"
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def latex(*tables: Table) -> str:
    """LaTeX ``tabular`` environments with the rules of booktabs, one per table, for ``\\input``.

    Cells are plain text with LaTeX's special characters escaped; the best values are bold. A comment at the top says
    what the file needs: booktabs and, if pdfLaTeX does not know a letter in it, another engine.
    """
    body = "\n\n".join(_titled(each) if len(tables) > 1 else _tabular(each) for each in tables)
    unknown = sorted({letter for letter in body if ord(letter) > 127 and letter not in PDFLATEX_LETTERS})
    lines = [r"% Needs \usepackage{booktabs}."]
    if unknown:
        lines.append("% pdfLaTeX does not know all letters of this table: compile with XeLaTeX or LuaLaTeX,")
        lines.append(f"% with \\usepackage{{fontspec}} and a font that has them: {' '.join(unknown)}")
    return "\n".join([*lines, body, ""])


def _titled(shown: Table) -> str:
    return f"\\par\\medskip\\noindent\\textbf{{{escape_latex(shown.title)}}}\\par\\nopagebreak\n{_tabular(shown)}"


def _tabular(shown: Table) -> str:
    columns, marked = range(len(shown.header)), best_cells(shown)
    kinds = [_kind([row[column] for row in shown.rows]) for column in columns]
    aligned = "".join("l" if kinds[column] in ("text", "name") or not column else "r" for column in columns)
    lines = [rf"\begin{{tabular}}{{{aligned}}}", r"\toprule"]
    if shown.groups:
        lines += _latex_groups(shown.groups)
    if any(shown.header):
        lines += [_latex_row(shown.header), r"\midrule"]
    for number, row in enumerate(shown.rows):
        lines.append(_latex_row(row, {column for place, column in marked if place == number}))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _latex_row(cells: list[str], bold: Collection[int] = ()) -> str:
    texts = [escape_latex(plain_text(cell)) for cell in cells]
    return " & ".join(rf"\textbf{{{text}}}" if place in bold else text for place, text in enumerate(texts)) + r" \\"


def _latex_groups(groups: list[tuple[str, int]]) -> list[str]:
    cells, rules, first = [], [], 1
    for text, span in groups:
        cells.append(rf"\multicolumn{{{span}}}{{c}}{{{escape_latex(plain_text(text))}}}")
        if text:
            rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
        first += span
    return [" & ".join(cells) + r" \\", " ".join(rules)]


SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
RAISED = re.compile(r"([0-9]*)([⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+)")
GREEK = {letter: rf"$\{unicodedata.name(letter).split()[-1].lower()}$" for letter in "αβγδεζηθικμνξπρστυφχψω"} | {
    "λ": r"$\lambda$",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
}
LATEX = GREEK | {
    **{special: f"\\{special}" for special in "%_&#${}"},
    # Brackets and an asterisk after the end of a row would be arguments of it.
    **{special: f"{{{special}}}" for special in "[]*"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "\u00a0": "~",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "→": r"$\rightarrow$",
    "′": r"$'$",
    "°": r"$^{\circ}$",
    "µ": r"$\mu$",
}
"""A character's LaTeX, in the default encoding and in T1."""
PDFLATEX_LETTERS = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿĆćČčĎďĚěĞğİıĹĺŁłŃńŇňŐőŒœŔŕŘřŚśŞşŠšŤťŮůŰűŸŹźŻżŽž"
)
"""Letters that pdfLaTeX typesets as they are, without a package."""


def escape_latex(text: str) -> str:
    """Text for LaTeX: special characters escaped, signs in math mode, ``10⁹`` as ``$10^{9}$``; letters stay."""
    parts, end = [], 0
    for found in RAISED.finditer(text):
        base, raised = found.groups()
        parts += [_escape(text[end : found.start()]), f"${base}^{{{raised.translate(SUPERSCRIPTS)}}}$"]
        end = found.end()
    return "".join([*parts, _escape(text[end:])])


def _escape(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)

"""Tables as HTML: what sorts them, what is marked, and how they fit. As LaTeX: what compiles."""

import html
import re
import shutil
import subprocess

import pytest
from browser import Browser

from triplet_distillation.reporting import pages
from triplet_distillation.reporting.pages import Best, Table

HEADER = ["model", "accuracy, %", "p", "verdict"]
ROWS = [
    ["b", pages.rate(9.5, 8, 10), "&lt; 0.001", " supported"],
    ["a", pages.rate(81.25, 79, 90), "–", " –"],
    ["d", pages.rate(81.25, 70, 95), "0.020", " undecided"],
    ["c", pages.rate(1234.5, 1, 2), "0.900", " no verdict: 1 run"],
]
BEST = Best({1: "higher", 2: "lower"}, [0, 1, 2], "of the students")
TRICKY = r"\cmd{x}_1 & 50% #3 $5 ~a^b <c> [d] *e | “f” … 10⁹, 10⁻³, ± × − – α = 0.5 é Łódź"


def test_numbers_are_sorted_by_value_and_everything_else_by_text():
    made = pages.table(HEADER, ROWS)
    assert re.findall(r'<th scope="col" class="(\w+)" aria-sort="none"><button', made) == [
        "name",
        "number",
        "number",
        "text",
    ]
    assert re.findall(r'data-value="([^"]+)"', made) == ["9.5", "0.0", "81.25", "81.25", "0.02", "1234.5", "0.9"]


@pytest.mark.parametrize(
    ("cell", "number"), [("−1,234.50", -1234.5), ("+0.10", 0.1), ("&lt; 0.001", 0), ("1 run", None), ("–", None)]
)
def test_number_of_a_cell(cell, number):
    assert pages.number_in(cell) == number


def test_the_best_of_the_judged_rows_are_bold_and_explained():
    shown = Table(HEADER, ROWS, best=BEST)
    assert pages.best_cells(shown) == {(1, 1), (2, 1), (0, 2)}
    made = pages.table(*shown)
    assert re.findall("<b>(.*?)</b>", made) == ["&lt; 0.001", "81.25", "81.25"]
    assert "Bold: best value of the students; not a verdict." in made
    equal = pages.table(*shown._replace(rows=[ROWS[1], ROWS[1]], best=BEST._replace(rows=[0, 1])))
    assert "<b>" not in equal
    assert "Bold" not in equal


def test_the_keyboard_reaches_a_table_that_scrolls_and_pages_fit_a_phone():
    made = pages.page("A < B", pages.table(HEADER, ROWS, title="A & B"))
    assert '<div class="scroll" role="region" tabindex="0" aria-label="A &amp; B">' in made
    assert '<html lang="en">' in made
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in made
    assert "@media print" in made
    assert made.count('<th scope="row"') == len(ROWS)


def test_a_long_name_covers_no_number(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(pages.page("Long", pages.table(["model", "accuracy"], [["x" * 80, "1.00"]])))
    with Browser(tmp_path / "profile", 1000, 600) as browser:
        browser.open(path)
        assert browser.evaluate(
            "(each => each.scrollWidth <= each.clientWidth)(document.querySelector('tbody th div'))"
        )


CLICKS = """<script>
const log = (name) => document.body.insertAdjacentHTML("beforeend", `<p>${name}: ` +
  [...document.querySelectorAll("tbody th")].map(each => each.textContent).join("") + "</p>");
window.onerror = message => log(`error ${message}`);
const buttons = document.querySelectorAll("th button");
for (const column of [0, 1, 2]) for (const time of [1, 2, 3]) { buttons[column].click(); log(`${column}.${time}`); }
buttons[2].click(); buttons[0].click();
log([...document.querySelectorAll("th[aria-sort]")].map(each => each.getAttribute("aria-sort")).join(" "));
const root = document.documentElement;
document.querySelector(".scroll").style.width = "150px";
log(`sideways ${root.scrollWidth > root.clientWidth}`);
</script>"""


def test_clicks_sort_a_table_and_bring_back_its_order(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no chromium on the PATH: what a click does is not tested")
    path = tmp_path / "page.html"
    path.write_text(pages.page("Sorted", pages.table(HEADER, ROWS)).replace("</body>", f"{CLICKS}</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=400,600", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = dict(line.rsplit(": ", 1) for line in re.findall("<p>(.*?)</p>", dom))
    original = "badc"
    # Equal values keep their order, and dashes are last, in both directions.
    assert [found[f"0.{time}"] for time in (1, 2, 3)] == ["abcd", "dcba", original]
    assert [found[f"1.{time}"] for time in (1, 2, 3)] == ["badc", "cadb", original]
    assert [found[f"2.{time}"] for time in (1, 2, 3)] == ["bdca", "cdba", original]
    assert "ascending none none none" in found
    assert "sideways false" in found
    assert not any(name.startswith("error") for name in found)


def is_balanced(text: str) -> bool:
    depth = 0
    for token in re.findall(r"\\.|[{}]", text):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth < 0:
            return False
    return depth == 0


def tricky_table() -> Table:
    rows = [[html.escape(text), pages.rate(1, 0, 2)] for text in (TRICKY, "[a]", "* b", "plain")]
    return Table(["x_y & z", "10⁹ FLOPs"], rows, [("", 1), ("a_b", 1)], "T_1", Best({1: "higher"}, range(4), "of all"))


def test_latex_escapes_what_it_would_take_for_commands():
    made = pages.latex(tricky_table())
    row = next(line for line in made.splitlines() if "cmd" in line)
    assert row.startswith(r"\textbackslash{}cmd\{x\}\_1 \& 50\% \#3 \$5 \textasciitilde{}a\textasciicircum{}b")
    assert r"\textless{}c\textgreater{} {[}d{]} {*}e \textbar{} ``f'' \ldots{} $10^{9}$, $10^{-3}$, $\pm$" in row
    assert is_balanced(made)
    assert len(re.findall(r"(?<!\\)&", row)) == 1
    # A bracket or an asterisk after the end of a row would be an argument of it.
    assert not re.search(r"(\\\\|rule)\s*[\[*]", made)
    assert r"1.00 (0.00--2.00) \\" in row


def test_braces_that_do_not_balance_would_be_found():
    assert not is_balanced(r"\textbf{a\}")
    assert not is_balanced("}{")


def test_a_table_with_letters_of_another_script_says_what_it_needs():
    assert "XeLaTeX" not in pages.latex(tricky_table())
    made = pages.latex(Table(["name"], [["李明"], ["a"]]))
    assert "XeLaTeX or LuaLaTeX" in made
    assert "明 李" in made


def test_latex_compiles(tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex on the PATH: whether tables compile is not tested")
    letters = Table(["letters"], [["".join(sorted(pages.PDFLATEX_LETTERS))], [html.escape("".join(pages.LATEX))]])
    (tmp_path / "table.tex").write_text(pages.latex(tricky_table(), letters))
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table.tex}\end{document}"
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout

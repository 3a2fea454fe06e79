"""Notebooks: what their cells show, their execution, and the page that the report shows."""

import io
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import nbformat
from matplotlib.figure import Figure
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from pygments.formatters.html import HtmlFormatter

from triplet_distillation.files import atomic_write, write_text
from triplet_distillation.reporting import pages

RESOLUTION = 160
"""Dots per inch of a picture in a notebook, which is shown at :data:`SHOWN`."""
SHOWN = 80
STYLE = """
.highlight { background: #f7f7f7; border-left: 3px solid #ccc; padding: .4rem .8rem; margin: .8rem 0; font-size: .85em;
  overflow-x: auto; } .highlight pre { margin: 0; }
.output_png img { max-width: 100%; height: auto; } .output_subarea > pre { font-size: .85em; overflow-x: auto; }
"""


class NotebookError(RuntimeError):
    """A cell of a notebook has failed."""


class Html(str):
    """A string that a notebook shows as HTML."""

    def __repr__(self) -> str:
        return "HTML"

    def _repr_html_(self) -> str:
        return str(self)


class Picture(NamedTuple):
    """A figure as a notebook shows it: ``png`` bytes, ``width`` in pixels of the screen, and in words, ``alt``."""

    png: bytes
    width: int
    alt: str

    def __repr__(self) -> str:
        return self.alt

    def _repr_png_(self) -> tuple[bytes, dict]:
        return self.png, {"width": self.width, "alt": self.alt}


def picture(figure: Figure, alt: str) -> Picture:
    """``figure`` for a notebook, with what it shows in words."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=RESOLUTION, metadata={"Software": None})
    return Picture(buffer.getvalue(), round(figure.get_size_inches()[0] * SHOWN), alt)


def find_study(name: str) -> Path:
    """The file ``name`` that tells a notebook about its study: beside the notebook, or in the study's ``notebooks/``.

    Raises:
        FileNotFoundError: Jupyter was started elsewhere.
    """
    for folder in (Path(), Path("notebooks")):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{name} is neither in {Path().absolute()} nor in its folder notebooks: open the study's copy of this "
        "notebook, in results/<study>/notebooks, which the workflow makes with the report"
    )


def execute(path: str | Path, output: str | Path) -> None:
    """Run a notebook from top to bottom in the folder of ``output``, as a reader would, and write it with its results.

    Raises:
        NotebookError: a cell has failed.
    """
    notebook = nbformat.read(path, as_version=4)
    folder = Path(output).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    client = NotebookClient(notebook, timeout=None, record_timing=False, resources={"metadata": {"path": str(folder)}})
    with tempfile.TemporaryDirectory() as profile:
        try:
            client.execute(env=os.environ | {"IPYTHONDIR": profile})
        except CellExecutionError as error:
            raise NotebookError(f"{Path(path).name}: {error.ename}: {error.evalue}") from error
    with atomic_write(output) as temporary:
        nbformat.write(notebook, temporary)


def write_page(path: str | Path, output: str | Path) -> None:
    """Write an executed notebook as a self-contained HTML page; its first line is the title."""
    notebook = nbformat.read(path, as_version=4)
    first, _, rest = notebook.cells[0].source.partition("\n")
    notebook.cells[0].source = rest
    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True)
    exporter.exclude_input_prompt, exporter.exclude_output_prompt = True, True
    body, _ = exporter.from_notebook_node(notebook)
    style = f"<style>{STYLE}{HtmlFormatter(style='bw').get_style_defs('.highlight')}</style>"
    write_text(output, pages.page(first.removeprefix("# "), style, body))

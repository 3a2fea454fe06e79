"""The data quality page names what a source found but did not take."""

import pandas as pd
from conftest import make_faces

from triplet_distillation.faces import store
from triplet_distillation.faces.acquire import acquire
from triplet_distillation.faces.align import OUTCOME_COLUMNS
from triplet_distillation.files import write_json
from triplet_distillation.reporting.quality import Training, write_quality
from triplet_distillation.reporting.tables import TableFiles
from triplet_distillation.tabular import write_table


def write_page(folder, settings):
    """The page of a data set with one identity."""
    _, origin = acquire(settings, folder / "out", {"folder": "downloads", "mirror": ""})
    faces = make_faces(1, 2)
    paths = {name: str(folder / name) for name in ("store", "outcomes", "origin")}
    store.write(paths["store"], faces, {**origin, "detector": "d"})
    outcomes = [(face.source, face.identity, "one face", "") for face in faces]
    write_table(paths["outcomes"], pd.DataFrame(outcomes, columns=OUTCOME_COLUMNS))
    write_json(paths["origin"], origin)
    outputs = TableFiles(*(str(folder / f"q.{kind}") for kind in ("csv", "html", "tex")))
    write_quality({"mine": paths}, Training(paths["store"], []), [], outputs)
    assert "data set & images" in (folder / "q.tex").read_text()
    return (folder / "q.html").read_text()


def test_files_that_were_passed_over_are_on_the_page(tmp_path):
    (tmp_path / "mine/Bo").mkdir(parents=True)
    (tmp_path / "mine/Bo/1.png").write_bytes(b"x")
    settings = {"source": "folder", "path": str(tmp_path / "mine")}
    assert "passed over" not in write_page(tmp_path, settings)
    for name in ("a<b.png", "Bo/notes.txt", "Bo/more.txt"):
        (tmp_path / "mine" / name).write_bytes(b"x")
    page = write_page(tmp_path, settings)
    assert "Files that were passed over: 3<" in page
    assert "without the ending of an image" in page
    assert "Bo/more.txt" in page
    assert "a&lt;b.png" in page

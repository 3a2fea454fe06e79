"""The notebook about the similarity structure, on a study of embeddings made by hand, and how it is run and shown."""

import os
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import make_faces

from triplet_distillation.evaluation import structure as measures
from triplet_distillation.evaluation.kept_embeddings import KeptEmbeddings
from triplet_distillation.faces import store
from triplet_distillation.files import write_json
from triplet_distillation.reporting import notebooks, pages, structure
from triplet_distillation.tabular import write_table

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "workflow/notebooks/similarity_structure.ipynb"
PEOPLE, IMAGES, SEEDS = 14, 3, [5, 6, 7]
NOISE = {"teacher": 0.0, "student": 3.0, "students/near": 0.3, "students/far": 3.0}
"""How far a model's embeddings are from the teacher's."""


@pytest.fixture
def study(tmp_path) -> Path:
    """The file that tells the notebook about a study of three runs with one teacher."""
    return make_study(tmp_path / "study", PEOPLE)


def make_study(folder: Path, people: int) -> Path:
    folder.mkdir()
    store.write(folder / "store.arrow", make_faces(people, IMAGES), {"origin": "synthetic", "checksum": "0"})
    write_table(folder / "training_set.parquet", pd.DataFrame({"row": np.arange(40), "label": np.arange(40) // 2}))
    person = np.random.default_rng(0).normal(size=(people, 1, 2, 8))
    teacher = (person + 0.2 * np.random.default_rng(1).normal(size=(people, IMAGES, 2, 8))).reshape(-1, 2, 8)
    paths = {}
    for number, (model, noise) in enumerate(NOISE.items()):
        for seed in SEEDS if noise else SEEDS[:1]:
            moved = np.random.default_rng([number, seed]).normal(size=(people, 1, 2, 8)).repeat(IMAGES, axis=1)
            embeddings = (teacher + noise * moved.reshape(-1, 2, 8)).astype(np.float32)
            path = f"{model.replace('/', '_')}{seed}.safetensors"
            KeptEmbeddings(np.arange(len(embeddings)), embeddings).write(folder / path)
            paths.setdefault(model, []).append(path)
    calibration = {"min_margin": 0.2, "max_margin": 0.5, "quantiles": {"1": 1.5}}
    write_json(folder / "margins.json", calibration)
    own = list(range(len(SEEDS)))
    context = {
        "labels": {model: f"<{model}>" for model in NOISE},
        "benchmarks": {"data": "Data"},
        "seeds": SEEDS,
        "runs": dict.fromkeys(NOISE, SEEDS),
        "weights": {model: own if noise else [0] * len(SEEDS) for model, noise in NOISE.items()},
        "rounds": [0] * len(SEEDS),
        "test_groups": {"data": [0] * len(SEEDS)},
        "far": {"data": None},
        "flip": "concatenate",
    }
    write_json(
        folder / "notebooks/similarity_structure.json",
        {
            "context": context,
            "claims": [("students/near", "students/far"), ("students/far", "student")],
            "embeddings": {"data": paths | {"teacher": paths["teacher"] * len(SEEDS)}},
            "stores": {"data": "store.arrow"},
            "training_sets": ["training_set.parquet"],
            "margins": ["margins.json"] * len(SEEDS),
            "distance": "squared_euclidean",
            "triplets": 200,
        },
    )
    return folder / "notebooks/similarity_structure.json"


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """What common.smk does for jobs."""
    monkeypatch.setenv("JUPYTER_PATH", str(NOTEBOOK.parent))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))


def test_models_closer_to_the_teacher_have_more_of_its_structure(study):
    measured = structure.measure_structures(structure.Structures(study))
    assert measured.model.unique().tolist() == ["student", "near", "far"]
    means = measured.pivot_table("mean", "model", "measure")
    assert (means.loc["near"] > 0.8).all()
    assert (means.loc["near"] > means.loc["far"] + 0.2).all()
    assert ((measured.low < measured["mean"]) & (measured["mean"] < measured.high)).all()
    assert set(measured.basis) == {"14 people in 3 runs"}


def test_claims_are_judged_in_one_family(study):
    compared = structure.compare_structures(structure.Structures(study))
    assert compared.measure.tolist() == list(measures.MEASURES) * 2
    assert (compared.verdict[:2] == "supported").all()
    assert (compared.verdict[2:] == "undecided").all()
    assert compared.p_corrected.min() == pytest.approx(4 * compared.p.min())


def test_measure_of_a_run_is_that_of_its_embeddings(study):
    structures = structure.Structures(study)
    teacher, student = (structures.distances(model, "data", 6) for model in ("teacher", "students/far"))
    run = structures.run("students/far", "data", "rank correlation", 6)
    assert run.value == measures.rank_correlation(teacher, student)[0]
    assert run.pairs.num_identities == PEOPLE


def test_every_run_has_its_own_value(study):
    structures = structure.Structures(study)
    found = structure.measure_runs(structures)
    assert len(found) == len(structures.models) * len(measures.MEASURES) * len(SEEDS)
    measured = structure.measure_structures(structures).set_index(["model", "measure"])["mean"]
    means = found.groupby(["model", "measure"]).value.mean()
    for key, mean in measured.items():
        assert means[key] == pytest.approx(mean)


def test_few_people_get_no_verdict_and_no_number(tmp_path):
    structures = structure.Structures(make_study(tmp_path / "few", 3))
    measured, compared = structure.measure_structures(structures), structure.compare_structures(structures)
    assert measured[["mean", "low", "high"]].isna().all(axis=None)
    assert set(compared.verdict) == {"no verdict: 3 people"}
    assert "no verdict: 3 people" in str(structure.table_of_comparisons(compared, structures))
    assert structure.in_words(measured) == "similarity structure on data: too few people to measure it"


def test_many_people_are_drawn_from_and_the_table_says_so(study, monkeypatch):
    monkeypatch.setattr(measures.choose_identities, "__defaults__", (12,))
    structures = structure.Structures(study)
    measured = structure.measure_structures(structures)
    assert set(measured.identities) == {12}
    assert set(measured.of_identities) == {PEOPLE}
    assert set(measured.basis) == {"12 people in 3 runs"}
    assert "Data: 12 of 14 people, drawn at random." in structure.cap_in_words(measured, structures)


def test_models_named_in_tables_cannot_break_the_page(study):
    structures = structure.Structures(study)
    shown = pages.table(*structure.table_of_measures(structure.measure_structures(structures), structures))
    assert "&lt;students/near&gt;" in shown
    assert "<students/near>" not in shown


def test_near_model_learns_the_teachers_gap(study):
    learned = structure.learned_margins(structure.Structures(study), "data")
    near = learned[learned.model == "students/near"]
    assert np.corrcoef(near.d, near.gap)[0, 1] > 0.9
    assert set(learned.run) == set(SEEDS)


def test_study_whose_people_have_one_image_each_has_no_triplets(study, monkeypatch):
    structures = structure.Structures(study)
    faces = structures.faces
    monkeypatch.setattr(structures, "faces", lambda *names: tuple(each[::IMAGES] for each in faces(*names)))
    figure = structure.plot_margin_against_distance(structures)
    assert "no triplets" in figure.axes[0].texts[0].get_text()


def test_notebook_runs_by_hand_and_its_page_loads_nothing(study, kernel, tmp_path):
    copy, page = study.with_suffix(".ipynb"), tmp_path / "page.html"
    notebooks.execute(NOTEBOOK, copy)
    executed = nbformat.read(copy, as_version=4)
    assert [cell.source for cell in executed.cells] == [
        cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells
    ]
    text = copy.read_text()
    assert "snakemake-job-properties" not in text
    assert str(ROOT) not in text and str(tmp_path) not in text
    notebooks.write_page(copy, page)
    shown = page.read_text()
    assert shown.count("<h1>") == 1
    assert shown.count('src="data:image/png;base64,') == 2
    assert shown.count("<table>") == 2
    assert not re.search(r"<script[^>]|<link|<iframe|@import|mathjax|url\(", shown, re.IGNORECASE)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", shown)
    assert all('alt="' in tag for tag in re.findall(r"<img[^>]*>", shown))
    assert len(shown) < 2_000_000
    before = copy.read_bytes()
    notebooks.execute(NOTEBOOK, copy)
    assert copy.read_bytes() == before


def test_kernel_is_this_python_whatever_the_user_has_installed(study, kernel, monkeypatch, tmp_path):
    foreign = tmp_path / "data/kernels/python3"
    foreign.mkdir(parents=True)
    write_json(foreign / "kernel.json", {"argv": ["/bin/false"], "display_name": "foreign", "language": "python"})
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(foreign.parents[1]))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import sys\nsys.prefix")])
    nbformat.write(notebook, tmp_path / "prefix.ipynb")
    notebooks.execute(tmp_path / "prefix.ipynb", tmp_path / "run/prefix.ipynb")
    (output,) = nbformat.read(tmp_path / "run/prefix.ipynb", as_version=4).cells[0].outputs
    assert output.data["text/plain"] == repr(sys.prefix)


def test_failing_cell_names_its_cause_and_leaves_no_copy(kernel, tmp_path):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("int('five')")]), tmp_path / "a.ipynb")
    with pytest.raises(notebooks.NotebookError, match=r"^a\.ipynb: ValueError: invalid literal .* 'five'$"):
        notebooks.execute(tmp_path / "a.ipynb", tmp_path / "run/a.ipynb")
    assert not list((tmp_path / "run").iterdir())


def test_study_is_found_beside_the_notebook_or_from_its_folder(study, monkeypatch, tmp_path):
    for folder in (study.parent, study.parents[1]):
        monkeypatch.chdir(folder)
        assert notebooks.find_study(study.name).absolute() == study
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="open the study's copy"):
        notebooks.find_study(study.name)

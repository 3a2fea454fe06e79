"""Results say with which versions of the libraries they were made, and older ones are found."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_faces
from safetensors.numpy import save_file

from triplet_distillation import provenance, versions
from triplet_distillation.evaluation.kept_embeddings import KeptEmbeddings
from triplet_distillation.faces import store
from triplet_distillation.faces.align import copy_aligned_faces
from triplet_distillation.faces.sources import EncodedFace
from triplet_distillation.files import write_json
from triplet_distillation.networks import weights
from triplet_distillation.tabular import write_table

NETWORK = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16}
INSTALLED = provenance.library_versions()


def write_results(folder):
    """A file of every kind of result."""
    weights.save(folder / "weights.safetensors", weights.create(NETWORK), NETWORK, {"seed": 0})
    KeptEmbeddings(np.arange(2), np.ones((2, 2, 3), np.float32)).write(folder / "kept.safetensors")
    write_table(folder / "scores.parquet", pd.DataFrame({"a": [1]}))
    write_json(folder / "margins.json", {"margin": 1.0, "libraries": INSTALLED})
    origin = {"origin": "o", "citation": "c", "license": "l", "checksum": "0"}
    copy_aligned_faces(
        [EncodedFace(row.image, row.identity, row.source) for row in make_faces(2, 2)],
        origin,
        folder / "faces.arrow",
    )
    store.merge([str(folder / "faces.arrow")], folder / "store.arrow")
    return sorted(path for path in folder.iterdir())


def test_every_kind_of_result_records_the_versions(tmp_path):
    found = {path.name: versions.made_with(path) for path in write_results(tmp_path)}
    assert found == dict.fromkeys(found, INSTALLED)
    assert {"torch", "numpy", "mtcnn", "onnxruntime", "opencv-python-headless"} <= INSTALLED.keys()
    assert len(found) == 6


def test_upgrade_is_reported_in_one_line_with_the_command(tmp_path, monkeypatch):
    paths = [str(path) for path in write_results(tmp_path)]
    results = {"align": [paths[0]], "train": paths[1:], "embed": ["not there.json"]}
    assert versions.older_results(results) == ""
    monkeypatch.setattr(versions, "library_versions", lambda: INSTALLED | {"torch": "9.0", "numpy": "8.0"})
    line = versions.older_results(results)
    assert "\n" not in line
    assert line.startswith(f"6 results, such as {paths[0]}, were made with torch {INSTALLED['torch']}, numpy ")
    assert "installed: torch 9.0, numpy 8.0" in line
    assert line.endswith("--forcerun align train")


def test_results_of_earlier_versions_of_the_workflow_do_not_say_and_are_not_older(tmp_path):
    write_json(tmp_path / "old.json", {"margin": 1.0})
    save_file({"a": np.ones(1)}, tmp_path / "old.safetensors", {"triplet_distillation": '{"seed": 0}'})
    save_file({"a": np.ones(1)}, tmp_path / "other.safetensors")
    assert versions.made_with(tmp_path / "old.safetensors") == {} == versions.made_with(tmp_path / "other.safetensors")
    assert versions.made_with(tmp_path / "old.json") == {}
    assert versions.older_results({"calibrate": [str(tmp_path / "old.json")]}) == ""


def test_library_that_is_no_longer_installed_makes_nothing_older(tmp_path, monkeypatch):
    """mtcnn is needed to align, but not to read what it aligned."""
    write_json(tmp_path / "new.json", {"libraries": INSTALLED})
    monkeypatch.setattr(versions, "library_versions", lambda: {"torch": INSTALLED["torch"]})
    assert versions.older_results({"align": [str(tmp_path / "new.json")]}) == ""


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.txt does not say"):
        versions.made_with(tmp_path / "a.txt")


def test_stores_that_are_merged_after_an_upgrade_name_both_versions(tmp_path):
    for name, version in (("a", "1.0"), ("b", "2.0")):
        store.write(tmp_path / f"{name}.arrow", make_faces(2, 2), {"detector": "d", "libraries": {"torch": version}})
    store.merge([str(tmp_path / "a.arrow"), str(tmp_path / "b.arrow")], tmp_path / "all.arrow")
    assert versions.made_with(tmp_path / "all.arrow") == {"torch": "1.0, 2.0"}

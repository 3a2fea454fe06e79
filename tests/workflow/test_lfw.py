"""The data stages of the LFW study on real images: the identities in folds 9 and 10 and a hundred others."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

from triplet_distillation.faces.store import FaceStore

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.workflow, pytest.mark.lfw]


@pytest.fixture(scope="module")
def results(datasets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lfw")
    lines = (datasets / "lfw/pairs.txt").read_text().splitlines()[1 + 8 * 600 :]
    in_folds = {word for line in lines for word in line.split() if not word.isdigit()}
    others = set()
    with (
        tarfile.open(datasets / "lfw/lfw-deepfunneled.tgz") as archive,
        tarfile.open(folder / "lfw.tgz", "w:gz") as subset,
    ):
        for member in archive:
            name = Path(member.name).parent.name
            if member.isfile() and name not in in_folds and len(others) < 100:
                others.add(name)
            if member.isfile() and name in in_folds | others:
                subset.addfile(member, archive.extractfile(member))
    overlay = yaml.safe_load((ROOT / "config/lfw.yaml").read_text())
    pairs = str(datasets / "lfw/pairs.txt")
    overlay["datasets"]["lfw"] |= {"variant": "deepfunneled", "archive": str(folder / "lfw.tgz"), "pairs": pairs}
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    targets = ["results/lfw/split/training_set.parquet", "results/lfw/faces/quality.html"]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *targets]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.run(
        [*command, "--configfile", "overlay.yaml"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, (process.stdout + process.stderr)[-6000:]
    return folder / "results/lfw"


def test_twelve_hundred_pairs_in_two_folds(results):
    pairs = pd.read_csv(results / "split/lfw_folds_9_10.csv")
    assert pairs.groupby("fold").same.agg(["size", "sum"]).to_numpy().tolist() == [[600, 300], [600, 300]]
    identities = FaceStore(results / "faces/lfw/store.arrow").column("identity")
    assert ((identities[pairs.a] == identities[pairs.b]) == pairs.same).all()


def test_faces_are_found_and_training_and_test_identities_are_disjoint(results):
    quality = pd.read_csv(results / "faces/quality.csv").iloc[0]
    assert quality.images > 2000
    assert quality["no face"] + quality.unreadable <= 1
    store = FaceStore(results / "faces/lfw/store.arrow")
    assert len(store) == quality.images - quality.unreadable
    identities = store.column("identity")
    pairs = pd.read_csv(results / "split/lfw_folds_9_10.csv")
    training = pd.read_parquet(results / "split/training_set.parquet")
    tested = set(identities[pairs[["a", "b"]].to_numpy().ravel()])
    assert not tested & set(identities[training.row])
    assert training.groupby("label").size().min() >= 2
    assert "lfw.tgz: SHA-256" in quality.files

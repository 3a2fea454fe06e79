"""The data stages of the LFW study in five rounds, on real images: some pairs of every fold, a hundred others."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_workflow import environment_of_jobs

from triplet_distillation.faces.store import NO_FACE, FaceStore

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.workflow, pytest.mark.lfw]


PAIRS_PER_FOLD = 60


def some_pairs(path: Path) -> list[str]:
    """View 2 with the first 30 genuine and 30 impostor pairs of every fold."""
    lines, half = path.read_text().splitlines()[1:], PAIRS_PER_FOLD // 2
    starts = range(0, len(lines), 300)
    return [f"10\t{half}", *(line for start in starts for line in lines[start : start + half])]


def images_in(lines: list[str]) -> list[tuple[str, str]]:
    """(name, number) of every image in the pairs."""
    words = [line.split() for line in lines]
    return [(word[0], number) for word in words if len(word) == 3 for number in word[1:]] + [
        (word[place], word[place + 1]) for word in words if len(word) == 4 for place in (0, 2)
    ]


@pytest.fixture(scope="module")
def results(datasets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lfw")
    lines = some_pairs(datasets / "lfw/pairs.txt")
    (folder / "pairs.txt").write_text("\n".join(lines))
    in_folds = {word for line in lines[1:] for word in line.split() if not word.isdigit()}
    others, taken = set(), {}
    with (
        tarfile.open(datasets / "lfw/lfw-deepfunneled.tgz") as archive,
        tarfile.open(folder / "lfw.tgz", "w:gz") as subset,
    ):
        named = {f"{a}_{int(number):04d}.jpg" for a, number in images_in(lines[1:])}
        for member in archive:
            name = Path(member.name).parent.name
            if member.isfile() and name not in in_folds and len(others) < 100:
                others.add(name)
            first = taken.setdefault(name, 0) < 2
            if member.isfile() and (Path(member.name).name in named or (first and name in in_folds | others)):
                taken[name] += 1
                subset.addfile(member, archive.extractfile(member))
    overlay = yaml.safe_load((ROOT / "config/lfw.yaml").read_text())
    pairs = str(folder / "pairs.txt")
    overlay["datasets"]["lfw"] |= {"variant": "deepfunneled", "archive": str(folder / "lfw.tgz"), "pairs": pairs}
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    pairs = [f"results/lfw/split/round{number}/pairs/lfw_view2.parquet" for number in range(5)]
    targets = ["results/lfw/faces/quality.html", *pairs]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *targets]
    process = subprocess.run(
        [*command, "--configfile", "overlay.yaml"],
        cwd=folder,
        env=environment_of_jobs(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, (process.stdout + process.stderr)[-6000:]
    return folder / "results/lfw"


def test_every_round_has_two_folds_of_identities_on_whom_it_is_not_trained(results):
    store = FaceStore(results / "faces/lfw/store.arrow")
    identities = store.column("identity")
    faces = pd.Series(identities)[store.column("detection_status") != NO_FACE].value_counts()
    folds, with_two_faces = [], set(faces.index[faces >= 2])
    for number in range(5):
        pairs = pd.read_parquet(results / f"split/round{number}/pairs/lfw_view2.parquet")
        assert pairs.groupby("fold").same.agg(["size", "sum"]).to_numpy().tolist() == [[60, 30], [60, 30]]
        assert ((identities[pairs.a] == identities[pairs.b]) == pairs.same).all()
        assert ((pairs.identity_a == pairs.identity_b) == pairs.same).all()
        folds += pairs.fold.unique().tolist()
        training = pd.read_parquet(results / f"split/round{number}/training_set.parquet")
        tested = set(identities[pairs[["a", "b"]].to_numpy().ravel()])
        assert set(identities[training.row]) == with_two_faces - tested
        assert training.groupby("label").size().min() >= 2
    assert folds == list(range(1, 11))


def test_faces_are_found(results):
    quality = pd.read_csv(results / "faces/quality.csv").iloc[0]
    assert quality.images > 1000
    assert quality["no face"] + quality.unreadable <= 1
    assert len(FaceStore(results / "faces/lfw/store.arrow")) == quality.images - quality.unreadable
    assert "lfw.tgz: SHA-256" in quality.files

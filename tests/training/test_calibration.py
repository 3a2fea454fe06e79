"""The 1000 triplets and the margins measured from them (§4.1)."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch

from triplet_distillation import tabular
from triplet_distillation.losses.distances import DISTANCES
from triplet_distillation.row_files import RowFile
from triplet_distillation.settings import CalibrationSettings
from triplet_distillation.tabular import read_table, write_table
from triplet_distillation.training import calibration

LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 2, 2])


def test_drawn_triplets_are_valid_and_cover_all():
    drawn = calibration.draw_triplets(LABELS, 2000, seed=0)
    anchor, positive, negative = drawn.T
    assert (LABELS[anchor] == LABELS[positive]).all()
    assert (anchor != positive).all()
    assert (LABELS[anchor] != LABELS[negative]).all()
    possible = {
        (a, p, n)
        for a in range(9)
        for p in range(9)
        for n in range(9)
        if a != p and LABELS[a] == LABELS[p] != LABELS[n]
    }
    assert set(map(tuple, drawn.tolist())) == possible


def test_triplets_depend_only_on_the_seed():
    assert np.array_equal(calibration.draw_triplets(LABELS, 50, 4), calibration.draw_triplets(LABELS, 50, 4))
    assert not np.array_equal(calibration.draw_triplets(LABELS, 50, 4), calibration.draw_triplets(LABELS, 50, 5))


def test_labels_without_positives_or_negatives_are_rejected():
    with pytest.raises(ValueError, match="two identities"):
        calibration.draw_triplets(np.arange(5), 10, 0)
    with pytest.raises(ValueError, match="two identities"):
        calibration.draw_triplets(np.zeros(5, int), 10, 0)


def test_d_matches_its_definition():
    teacher = np.random.default_rng(0).normal(size=(9, 4))
    teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
    drawn = calibration.draw_triplets(LABELS, 100, 0)
    table = calibration.measure(teacher, drawn, "squared_euclidean")
    for (a, p, n), d in zip(drawn, table.d):
        gap = ((teacher[a] - teacher[n]) ** 2).sum() - ((teacher[a] - teacher[p]) ** 2).sum()
        assert d == pytest.approx(max(gap, 0))


def test_margins_by_mode():
    d = np.linspace(0.1, 1.1, 1001)
    measured = calibration.margins(d, "measured", [0.0, 1.0])
    assert (measured["min_margin"], measured["max_margin"]) == pytest.approx((0.1, 1.1))
    robust = calibration.margins(d, "measured", [0.05, 0.95])
    assert (robust["min_margin"], robust["max_margin"]) == pytest.approx((0.15, 1.05))
    paper = calibration.margins(d, "paper", [0.0, 1.0])
    assert (paper["min_margin"], paper["max_margin"]) == (0.2, 0.5)
    assert paper["measured"] == pytest.approx((0.1, 1.1))


def test_teacher_that_separates_nothing_is_rejected():
    with pytest.raises(ValueError, match="not a valid range"):
        calibration.margins(np.zeros(10), "measured", [0.0, 1.0])


@pytest.mark.parametrize("in_order", [True, False])
def test_triplets_drawn_from_a_file_are_those_drawn_from_its_labels(tmp_path, monkeypatch, in_order):
    monkeypatch.setattr(tabular, "ROWS_PER_BLOCK", 7)
    random = np.random.default_rng(0)
    labels = random.integers(0, 12, 100)
    table = pd.DataFrame({"row": random.permutation(300)[:100], "label": np.sort(labels) if in_order else labels})
    write_table(tmp_path / "t.parquet", table)
    drawn = calibration.draw_faces(str(tmp_path / "t.parquet"), 40, 3)
    assert np.array_equal(drawn.triplets, calibration.draw_triplets(table.label.to_numpy(), 40, 3))
    assert np.array_equal(drawn.positions, np.unique(drawn.triplets))
    assert np.array_equal(drawn.rows, table.row.to_numpy()[drawn.positions])


def test_calibration_reads_the_faces_of_its_triplets_alone(tmp_path, monkeypatch):
    """Not all 200,000 faces, whose embeddings would be 51 MB."""
    faces, read = 200_000, []
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(faces, 2, 32)).astype(np.float32))
    write_table(tmp_path / "t.parquet", pd.DataFrame({"row": np.arange(faces), "label": np.arange(faces) // 20}))
    original = RowFile.read
    monkeypatch.setattr(RowFile, "read", lambda file, rows: read.append(len(rows)) or original(file, rows))
    outputs = (str(tmp_path / "m.json"), str(tmp_path / "t.csv"))
    settings = CalibrationSettings(1000, "measured", [0.0, 1.0])
    tracemalloc.start()
    calibration.write_calibration(
        str(tmp_path / "t.parquet"), str(tmp_path / "e.npy"), settings, "squared_euclidean", 0, outputs
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(read) <= 3000
    assert peak < 10 * 2**20
    assert len(read_table(outputs[1])) == 1000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_without_pytorch_have_its_bits(distance, dtype):
    random = np.random.default_rng(0)
    cosine = np.concatenate([random.uniform(-1, 1, 100_001), 1 - 10.0 ** random.uniform(-9, -1, 10_000), [-1, 0, 1]])
    cosine = cosine.astype(dtype)
    expected = DISTANCES[distance](torch.from_numpy(cosine)).numpy()
    found = calibration.TEACHER_DISTANCES[distance](cosine)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


CALIBRATE = """
import sys
import numpy as np
import pandas as pd
from triplet_distillation.row_files import growing_file
from triplet_distillation.settings import CalibrationSettings
from triplet_distillation.training.calibration import write_calibration

folder, faces = sys.argv[1], 300_000
with growing_file(f"{folder}/teacher.npy", (faces, 2, 64), "") as growing:
    block = np.random.default_rng(0).normal(size=(10_000, 2, 64)).astype(np.float32)
    block /= np.linalg.norm(block, axis=2, keepdims=True)
    for _ in range(faces // len(block)):
        growing.append(block)
rows = np.arange(faces)
table = pd.DataFrame({"row": rows, "label": (rows // 60).astype(np.int32)})
table.to_parquet(f"{folder}/training_set.parquet")
outputs = f"{folder}/margins.json", f"{folder}/triplets.csv"
settings = CalibrationSettings(1000, "measured", [0.0, 1.0])
write_calibration(f"{folder}/training_set.parquet", f"{folder}/teacher.npy", settings, "euclidean", 0, outputs)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("torch" in sys.modules, peak)
"""


def test_calibration_takes_less_than_300_mib_because_it_does_without_pytorch(tmp_path):
    command = [sys.executable, "-c", CALIBRATE, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loaded, peak = output.split()[-2:]
    assert loaded == "False"
    assert int(peak) < 300 * 1024

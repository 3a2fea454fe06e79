"""Arrays that are larger than memory: rows are read one by one, and written batch by batch, also after a kill."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from triplet_distillation import row_files
from triplet_distillation.row_files import RowFile, growing_file

ROWS = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    return RowFile(tmp_path / "rows.npy")


def test_rows_are_those_of_the_array_in_any_order(file):
    for rows in ([3, 4, 5, 0, 49, 48, 7, 7], [], range(50), [49]):
        rows = np.array(rows, int)
        assert np.array_equal(file.read(rows), ROWS[rows])
    assert (len(file), file.shape, file.dtype) == (50, (50, 2, 3), np.float32)


def test_content_is_not_pickled(file):
    """A worker process that does not begin as a copy of this one opens the file itself."""
    content = pickle.dumps(file)
    assert len(content) < 500
    assert np.array_equal(pickle.loads(content).read(np.array([7])), ROWS[[7]])


def test_truncated_file_is_named(file, tmp_path):
    with (tmp_path / "rows.npy").open("r+b") as opened:
        opened.truncate(500)
    with pytest.raises(ValueError, match=r"rows\.npy ends before row 49"):
        file.read(np.arange(50))


def test_python_objects_are_refused(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        RowFile(tmp_path / "o.npy")


def write(path, digest="d", stop_after=50):
    with growing_file(path, ROWS.shape, digest) as growing:
        kept = growing.rows
        for start in range(kept, 50, 10):
            if start >= stop_after:
                raise KeyboardInterrupt
            growing.append(ROWS[start : start + 10])
    return kept


def test_written_file_is_numpys(tmp_path):
    assert write(tmp_path / "a" / "rows.npy") == 0
    np.save(tmp_path / "expected.npy", ROWS)
    assert (tmp_path / "a" / "rows.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["rows.npy"]


@pytest.mark.parametrize(("digest", "kept"), [("d", 30), ("another", 0)])
def test_interrupted_file_is_continued_if_it_is_the_same(tmp_path, digest, kept):
    path = tmp_path / "rows.npy"
    with pytest.raises(KeyboardInterrupt):
        write(path, stop_after=30)
    assert not path.exists()
    assert write(path, digest) == kept
    assert np.array_equal(np.load(path), ROWS)
    assert list(tmp_path.iterdir()) == [path]


def test_kill_loses_what_was_not_saved(tmp_path, monkeypatch):
    """What was written after the last save may be half a row, and is written again."""
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); import test_row_files as t; "
        "t.row_files.SAVE_EVERY = 24 * 20; "
        "original = t.row_files.GrowingFile.append\n"
        "def append(growing, batch):\n"
        "    original(growing, batch)\n"
        "    if growing.rows == 30: growing._file.write(b'half'); growing._file.flush(); os._exit(9)\n"
        "t.row_files.GrowingFile.append = append; t.write(sys.argv[1])"
    )
    path = tmp_path / "rows.npy"
    killed = subprocess.run([sys.executable, "-c", program, str(path), str(row_files.Path(__file__).parent)])
    assert killed.returncode == 9
    assert write(path) == 20
    assert np.array_equal(np.load(path), ROWS)
    assert list(tmp_path.iterdir()) == [path]


def test_missing_rows_are_not_called_finished(tmp_path):
    with (
        pytest.raises(ValueError, match="10 rows were written, not 50"),
        growing_file(tmp_path / "r.npy", ROWS.shape, "d") as growing,
    ):
        growing.append(ROWS[:10])
    assert not (tmp_path / "r.npy").exists()


def test_blocks_are_all_rows_in_order(file, monkeypatch):
    assert [len(block) for block in file.blocks()] == [50]
    monkeypatch.setattr(row_files, "BLOCK", 7 * ROWS[0].nbytes + 1)
    blocks = list(file.blocks())
    assert [len(block) for block in blocks] == [7] * 7 + [1]
    assert np.array_equal(np.concatenate(blocks), ROWS)

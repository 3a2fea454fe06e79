"""The face store: faces are read back as written, by this package and by other tools."""

import errno
import os
import pickle
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import make_faces

from triplet_distillation.faces import store


def test_round_trip(tmp_path):
    faces = make_faces(3, 2)
    assert store.write(tmp_path / "s.arrow", faces, {"detector": "d"}) == 6
    opened = store.FaceStore(tmp_path / "s.arrow")
    assert len(opened) == 6
    assert opened.metadata == {"detector": "d"}
    for index, face in enumerate(faces):
        assert bytes(opened.encoded(index)) == face.image
        expected = cv2.imdecode(np.frombuffer(face.image, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.array_equal(opened.image(index), expected)
    assert opened.column("label").tolist() == [0, 0, 1, 1, 2, 2]
    assert opened.column("landmarks").shape == (6, 10)
    assert opened.column("identity").tolist() == ["p0", "p0", "p1", "p1", "p2", "p2"]


def test_more_rows_than_one_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROWS_PER_BATCH", 4)
    faces = make_faces(5, 2)
    store.write(tmp_path / "s.arrow", iter(faces), {})
    opened = store.FaceStore(tmp_path / "s.arrow")
    assert [bytes(opened.encoded(i)) for i in range(10)] == [face.image for face in faces]


def test_store_can_be_pickled_for_other_processes(small_store):
    opened = store.FaceStore(small_store)
    unpickled = pickle.loads(pickle.dumps(opened))
    assert np.array_equal(unpickled.image(7), opened.image(7))


def test_other_tools_read_it_directly(small_store):
    table = pa.ipc.open_file(str(small_store)).read_all()
    assert table.column_names == ["image", "label", "identity", "source", "landmarks", "score", "detection_status"]
    assert isinstance(pd.read_feather(small_store), pd.DataFrame)


def test_failed_write_leaves_no_file(tmp_path):
    def broken():
        yield make_faces(1, 1)[0]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        store.write(tmp_path / "s.arrow", broken(), {})
    assert list(tmp_path.iterdir()) == []


def test_empty_data_set_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="no faces to write"):
        store.write(tmp_path / "s.arrow", [], {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not an arrow file", b"ARROW1\0\0" + bytes(100)])
def test_invalid_store_is_rejected_by_name(tmp_path, content):
    (tmp_path / "s.arrow").write_bytes(content)
    with pytest.raises(ValueError, match=r"s\.arrow is not a face store"):
        store.FaceStore(tmp_path / "s.arrow")


def test_truncated_store_is_rejected(small_store):
    content = small_store.read_bytes()
    small_store.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is not a face store"):
        store.FaceStore(small_store)


def test_shards_are_merged_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROWS_PER_BATCH", 4)
    faces = make_faces(5, 3)
    for name, part in (("0", faces[:7]), ("1", []), ("2", faces[7:])):
        store.write(tmp_path / name, part, {"detector": "d"}, may_be_empty=True)
    paths = [str(tmp_path / name) for name in "012"]
    assert store.merge(paths, tmp_path / "all.arrow") == 15
    store.write(tmp_path / "at_once.arrow", faces, {"detector": "d"})
    assert (tmp_path / "all.arrow").read_bytes() == (tmp_path / "at_once.arrow").read_bytes()
    assert store.merge(paths[:1], tmp_path / "one.arrow") == 7
    with pytest.raises(ValueError, match="no faces to write"):
        store.merge([paths[1]], tmp_path / "none.arrow")


def test_merging_holds_no_column_of_all_faces(tmp_path, monkeypatch):
    """Neither as Python's objects nor in Arrow's memory: the merged store has 250 batches, of which some are held."""
    monkeypatch.setattr(store, "ROWS_PER_BATCH", 64)
    face = make_faces(1, 1)[0]._replace(image=b"face")
    for name in "01":
        rows = (face._replace(identity=f"p{row // 10}", source=f"{'folder/' * 9}{row}.png") for row in range(8_010))
        store.write(tmp_path / name, rows, {})
    before = pa.total_allocated_bytes()
    batches, allocated = store._full_batches, []

    def measured(*arguments):
        for batch in batches(*arguments):
            allocated.append(pa.total_allocated_bytes() - before)
            yield batch

    monkeypatch.setattr(store, "_full_batches", measured)
    tracemalloc.start()
    assert store.merge([str(tmp_path / "0"), str(tmp_path / "1")], tmp_path / "all.arrow") == 16_020
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 16_020
    assert max(allocated) < 4 * 64 * 300
    merged = store.FaceStore(tmp_path / "all.arrow")
    assert [merged.value("source", row) for row in (8_009, 8_010)] == [
        f"{'folder/' * 9}{row}.png" for row in (8_009, 0)
    ]


def test_text_as_codes(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROWS_PER_BATCH", 4)
    faces = make_faces(5, 3)
    store.write(tmp_path / "s.arrow", [*faces[6:], *faces[:6], faces[9]], {})
    opened = store.FaceStore(tmp_path / "s.arrow")
    codes, names = opened.codes("identity")
    assert names[codes].tolist() == opened.column("identity").tolist()
    assert (codes.dtype, names.tolist()) == (np.int32, ["p2", "p3", "p4", "p0", "p1"])
    store.write(tmp_path / "empty.arrow", [], {}, may_be_empty=True)
    codes, names = store.FaceStore(tmp_path / "empty.arrow").codes("identity")
    assert (codes.tolist(), names.tolist()) == ([], [])


def test_the_only_shard_may_be_on_another_disk(tmp_path, monkeypatch):
    store.write(tmp_path / "shard.arrow", make_faces(3, 1), {})

    def refuse(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert store.merge([str(tmp_path / "shard.arrow")], tmp_path / "store.arrow") == 3
    assert (tmp_path / "store.arrow").read_bytes() == (tmp_path / "shard.arrow").read_bytes()


def test_shards_of_different_data_sets_are_not_merged(tmp_path):
    for name in "01":
        store.write(tmp_path / name, make_faces(1, 1), {"detector": name})
    with pytest.raises(ValueError, match="different data sets"):
        store.merge([str(tmp_path / "0"), str(tmp_path / "1")], tmp_path / "all.arrow")


def test_columns_are_read_without_mapping_the_images_around_them(tmp_path):
    faces = [make_faces(1, 1)[0]._replace(label=number, source=f"{number}.png") for number in range(3000)]
    store.write(tmp_path / "s.arrow", faces, {})
    opened = store.FaceStore(tmp_path / "s.arrow")
    assert opened.column("label").tolist() == list(range(3000))
    assert np.array_equal(opened.column("landmarks"), np.stack([face.landmarks for face in faces]), equal_nan=True)
    assert opened.text("source").to_pylist() == [face.source for face in faces]
    assert opened.codes("identity")[0].tolist() == [0] * 3000
    assert mapped_kilobytes(tmp_path / "s.arrow") == 0


def mapped_kilobytes(path):
    """How much of a file is in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    found = [next(line for line in lines if line.startswith("Rss:")).split()[1] for each in lines if str(path) in each]
    assert found, "the store is not mapped at all"
    return sum(map(int, found))

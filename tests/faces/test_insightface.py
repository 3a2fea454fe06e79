"""InsightFace packs: real ones match byte for byte, our own are read back, broken and hostile ones are rejected."""

import hashlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import encode_png, make_faces

from triplet_distillation.faces import insightface
from triplet_distillation.faces.acquire import acquire, open_source
from triplet_distillation.faces.align import copy_aligned_faces
from triplet_distillation.faces.insightface import PackError, TrainingPack, read_verification_pack

FACES = [(0, b"first"), (0, b"second"), (1, b"x" * 5), (2, b"last of all"), (2, b"")]


@pytest.fixture
def pack(tmp_path):
    insightface.write_training_pack(tmp_path / "pack", FACES)
    return tmp_path / "pack"


def test_training_pack_round_trip(pack):
    opened = TrainingPack(pack)
    assert opened.images == range(1, 6)
    assert opened.identities == range(6, 9)
    assert [(int(opened.record(n).labels[0]), opened.record(n).content) for n in opened.images] == FACES
    assert opened.identity_ranges() == [range(1, 3), range(3, 4), range(4, 6)]
    assert (pack / "property").read_text() == "3,112,112\n"


def round_bounds(folder, start, stop):
    """Have record 0 say other bounds, as if float32 had rounded them."""
    content = bytearray((folder / "train.rec").read_bytes())
    struct.pack_into("<ff", content, 8 + insightface.HEADER.size, start, stop)
    (folder / "train.rec").write_bytes(content)


@pytest.mark.parametrize("start", [20, 21, 22, 23])
def test_rounded_bounds_are_found_in_the_records(tmp_path, monkeypatch, start):
    """Of 21 images and 5 identities: the bounds are 22 and 27; as if numbers from 16 on were rounded to even ones."""
    faces = [(min(number // 5, 4), b"face %d" % number) for number in range(21)]
    insightface.write_training_pack(tmp_path, faces)
    round_bounds(tmp_path, start, 26)
    monkeypatch.setattr(insightface, "EXACT", 16)
    opened = TrainingPack(tmp_path)
    assert (opened.images, opened.identities) == (range(1, 22), range(22, 27))
    assert [opened.face(number) for number in opened.images] == faces
    with pytest.raises(PackError, match="more than 16 images: float32 rounds the ranges"):
        opened.identity_ranges()


def test_bounds_that_are_not_where_they_round_to_are_an_error(tmp_path, monkeypatch):
    insightface.write_training_pack(tmp_path, [(number, b"face") for number in range(20)])
    monkeypatch.setattr(insightface, "EXACT", 16)
    round_bounds(tmp_path, 30, 41)
    with pytest.raises(PackError, match="not images followed by identities"):
        TrainingPack(tmp_path)
    round_bounds(tmp_path, 21, 60)
    with pytest.raises(PackError, match="lists 41 records, but record 0 implies 60"):
        TrainingPack(tmp_path)


def test_pack_with_more_records_than_float32_counts_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(insightface, "EXACT", len(FACES) + 1 + 3)
    insightface.write_training_pack(tmp_path / "fits", FACES)
    monkeypatch.setattr(insightface, "EXACT", len(FACES) + 3)
    with pytest.raises(ValueError, match="5 images and 3 identities would have more than 8 records"):
        insightface.write_training_pack(tmp_path / "large", FACES)
    assert list((tmp_path / "large").iterdir()) == []


def test_record_layout(pack):
    content = (pack / "train.rec").read_bytes()
    offset = int((pack / "train.idx").read_text().splitlines()[1].split()[1])
    magic, length = struct.unpack_from("<II", content, offset)
    assert magic == 0xCED7230A
    assert length == 24 + 5
    assert struct.unpack_from("<IfQQ", content, offset + 8) == (0, 0.0, 1, 0)
    assert content[offset + 32 : offset + 40] == b"first\0\0\0"


@pytest.mark.parametrize("position", [0, 1, 4, 8, 9])
def test_image_that_contains_the_magic_number(tmp_path, position):
    image = b"a" * position + insightface.MAGIC_BYTES + b"bcd" + insightface.MAGIC_BYTES * 2 + b"e"
    insightface.write_training_pack(tmp_path, [(0, image), (0, b"next")])
    opened = TrainingPack(tmp_path)
    assert opened.record(1).content == image
    assert opened.record(2).content == b"next"


def test_identities_must_be_contiguous(tmp_path):
    with pytest.raises(ValueError, match="sort the faces by label"):
        insightface.write_training_pack(tmp_path, [(0, b"a"), (1, b"b"), (0, b"c")])
    with pytest.raises(ValueError, match="no faces"):
        insightface.write_training_pack(tmp_path, [])
    assert not (tmp_path / "train.rec").exists()


def test_truncated_pack_names_the_record(pack):
    content = (pack / "train.rec").read_bytes()
    offset = int((pack / "train.idx").read_text().splitlines()[4].split()[1])
    (pack / "train.rec").write_bytes(content[: offset + 12])
    opened = TrainingPack(pack)
    assert opened.record(3).content == b"xxxxx"
    with pytest.raises(PackError, match=r"record 4.*truncated"):
        opened.record(4)
    with pytest.raises(PackError, match=r"record 5.*truncated"):
        opened.record(5)


def test_index_of_another_pack_is_rejected(pack):
    lines = (pack / "train.idx").read_text().splitlines()
    lines[2] = "2\t44"
    (pack / "train.idx").write_text("\n".join(lines))
    with pytest.raises(PackError, match="from different packs"):
        TrainingPack(pack).record(2)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("0\t0\n1\t60\n", "lists 2 records"),
        ("0\t0\n1\n", "not a table"),
        ("0\t0\n1\t6.5\n", "not a table"),
        ("-1\t0\n", "from 0"),
        ("0\t0\n0\t4\n", "each once"),
        ("what\tis this\n", "not a table"),
    ],
)
def test_invalid_index_is_rejected(pack, index, message):
    (pack / "train.idx").write_text(index)
    with pytest.raises(PackError, match=message):
        TrainingPack(pack)


@pytest.mark.parametrize("name", ["train.rec", "train.idx"])
def test_missing_file_is_reported(pack, name):
    (pack / name).unlink()
    with pytest.raises(PackError, match=f"{name} is missing"):
        TrainingPack(pack)


def test_empty_pack_is_rejected(pack):
    (pack / "train.rec").write_bytes(b"")
    with pytest.raises(PackError, match="is empty"):
        TrainingPack(pack)


def test_verification_pack_round_trip(tmp_path):
    images = [bytes([number]) * 9 for number in range(6)]
    insightface.write_verification_pack(tmp_path / "v.bin", images, [True, False, np.bool_(True)])
    loaded, same = read_verification_pack(tmp_path / "v.bin")
    assert loaded == images
    assert same.tolist() == [True, False, True]
    with pytest.raises(ValueError, match="5 images for 3 pairs"):
        insightface.write_verification_pack(tmp_path / "v.bin", images[:5], [True] * 3)


def test_verification_pack_of_numpy_arrays(tmp_path):
    images = [np.frombuffer(b"abc", np.uint8), np.frombuffer(b"defg", np.uint8)]
    (tmp_path / "v.bin").write_bytes(pickle.dumps((images, np.array([True])), protocol=2))
    assert read_verification_pack(tmp_path / "v.bin")[0] == [b"abc", b"defg"]


def write_plain_pack(folder, records):
    """A pack as im2rec makes it: (number, labels, image) in any order, and neither header nor property."""
    folder.mkdir()
    lines, content = [], b""
    for number, labels, image in records:
        lines.append(f"{number}\t{len(content)}\n")
        content += insightface._encode_record(labels, number, image)
    (folder / "train.idx").write_text("".join(lines))
    (folder / "train.rec").write_bytes(content)
    return {"source": "insightface_training", "path": str(folder)}


@pytest.mark.parametrize("numbers", [(0, 1, 2), (7, 3, 12)], ids=["from 0", "any"])
def test_pack_without_a_header_has_images_only(tmp_path, caplog, numbers):
    images = [face.image for face in make_faces(3, 1)]
    records = [(number, (label,), image) for number, label, image in zip(numbers, (5.0, 5.0, 2.0), images)]
    settings = write_plain_pack(tmp_path / "pack", records)
    manifest, origin = acquire(settings, tmp_path / "out", {"folder": "downloads", "mirror": ""})
    assert manifest.path.tolist() == ["train.rec", "train.idx"]
    assert origin["origin"].endswith("pack, without a header: all 3 records are taken for images")
    assert "train.rec has no header in record 0, without" in caplog.text
    found = {int(face.name): (face.identity, face.content) for face in open_source(settings).faces(tmp_path / "out")}
    assert found == {number: (str(int(label)), image) for number, (label,), image in records}
    assert list(found) == sorted(numbers)


def test_first_of_several_labels_is_the_identity(tmp_path):
    """im2rec can pack several labels with an image; two in record 0 do not make it a header."""
    settings = write_plain_pack(tmp_path / "pack", [(0, (4.0, 0.5), b"first"), (1, (6.0, 0.25, 0.5), b"second")])
    faces = list(open_source(settings).faces(tmp_path / "pack"))
    assert [(face.identity, face.content) for face in faces] == [("4", b"first"), ("6", b"second")]


def test_pack_without_property_is_the_same_pack(pack, tmp_path):
    settings = {"source": "insightface_training", "path": str(pack)}
    downloads = {"folder": "downloads", "mirror": ""}
    _, expected = acquire(settings, tmp_path / "out", downloads)
    assert set(expected["files"]) == {"train.rec", "train.idx", "property"}
    (pack / "property").unlink()
    _, origin = acquire(settings, tmp_path / "out", downloads)
    assert set(origin["files"]) == {"train.rec", "train.idx"}
    assert origin["origin"] == expected["origin"] == "InsightFace training pack pack"
    assert len(list(open_source(settings).faces(tmp_path / "out"))) == len(FACES)


@pytest.mark.parametrize("kind", ["insightface_training", "insightface_verification"])
def test_pack_with_faces_of_another_size_says_so(tmp_path, kind):
    images = [encode_png(np.full((128, 128, 3), level, np.uint8)) for level in range(3)] + [b"text"]
    if kind == "insightface_training":
        insightface.write_training_pack(tmp_path / "p", ((0, image) for image in images))
    else:
        insightface.write_verification_pack(tmp_path / "p", images, [True, False])
    settings = {"source": kind, "path": str(tmp_path / "p")}
    _, origin = acquire(settings, tmp_path / "out", {"folder": "downloads", "mirror": ""})
    message = r"pack p: none of its 4 faces can be stored: 3 × is 128×128, not 112×112; 1 × cannot be decoded.*folder"
    with pytest.raises(ValueError, match=message):
        copy_aligned_faces(open_source(settings).faces(tmp_path / "out"), origin, tmp_path / "s.arrow")
    assert not (tmp_path / "s.arrow").exists()


def write_labels(path, labels):
    path.write_bytes(pickle.dumps(([b"image"] * 2 * len(labels), labels), protocol=2))
    return path


@pytest.mark.parametrize(
    "labels",
    [
        ["0", "1", "False", "True"],
        [b"0", b"1", b"False", b"True"],
        [0, 1.0, np.float32(0), np.uint8(1)],
        np.array(["0", "1", "0", "1"]),
        np.array([[0], [1], [0], [1]]),
    ],
    ids=["text", "bytes", "numbers", "array of text", "column"],
)
def test_labels_with_one_meaning_are_read_by_it(tmp_path, labels):
    assert read_verification_pack(write_labels(tmp_path / "v.bin", labels))[1].tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("same", "'same'"),
        (b"yes", "'yes'"),
        ("", "''"),
        (2, "2"),
        (float("nan"), "nan"),
        (None, "None"),
        ([1], r"\[1\]"),
    ],
)
def test_other_labels_are_refused_by_value_and_position(tmp_path, label, shown):
    with pytest.raises(PackError, match=rf"v\.bin is not a verification pack: label 2 is {shown};"):
        read_verification_pack(write_labels(tmp_path / "v.bin", [True, False, label]))
    with pytest.raises(ValueError, match=f"label 1 is {shown};"):
        insightface.write_verification_pack(tmp_path / "w.bin", [b"image"] * 4, [True, label])


def test_a_number_instead_of_an_image_is_refused(tmp_path):
    (tmp_path / "v.bin").write_bytes(pickle.dumps(([b"image", 5], [True])))
    with pytest.raises(PackError, match="an image is int instead of bytes"):
        read_verification_pack(tmp_path / "v.bin")


@pytest.mark.parametrize("label", [float("nan"), float("inf"), -1.0, 0.5])
def test_labels_of_a_training_pack_are_whole_numbers(pack, label):
    content = bytearray((pack / "train.rec").read_bytes())
    offset = int((pack / "train.idx").read_text().splitlines()[3].split()[1])
    struct.pack_into("<f", content, offset + 12, label)
    (pack / "train.rec").write_bytes(content)
    source = open_source({"source": "insightface_training", "path": str(pack)})
    with pytest.raises(PackError, match=f"record 3 has the label {label:g}, not a whole number from 0"):
        list(source.faces(pack))


class _Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_pickle_that_calls_a_function_is_rejected_by_name(tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "v.bin").write_bytes(pickle.dumps(([_Call(os.system, f"touch {ran}")], [True])))
    with pytest.raises(PackError, match=r"(posix|nt)\.system"):
        read_verification_pack(tmp_path / "v.bin")
    assert not ran.exists()


def test_pickle_of_objects_in_an_array_is_rejected(tmp_path):
    ran = tmp_path / "ran"
    evil = np.array([_Call(os.system, f"touch {ran}")], dtype=object)
    (tmp_path / "v.bin").write_bytes(pickle.dumps(([evil], [True])))
    with pytest.raises(PackError):
        read_verification_pack(tmp_path / "v.bin")
    assert not ran.exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2, 3]), pickle.dumps(([b"a"], [True]))])
def test_invalid_verification_pack_is_rejected(tmp_path, content):
    (tmp_path / "v.bin").write_bytes(content)
    with pytest.raises(PackError, match=r"v\.bin"):
        read_verification_pack(tmp_path / "v.bin")


def test_folds_of_a_verification_pack():
    table = insightface.verification_pairs(np.array([True, False] * 300), folds=10)
    assert table.fold.value_counts().tolist() == [60] * 10
    assert table.iloc[7][["a", "b"]].tolist() == [14, 15]


@pytest.mark.lfw
def test_pack_made_with_mxnet_matches_byte_for_byte(datasets):
    folder = datasets / "packs/faces_lfw_112x112"
    opened = TrainingPack(folder)
    manifest = pd.read_csv(folder / "train.manifest.csv")
    assert len(opened.images) == len(manifest) == 2681
    for row in manifest.itertuples():
        record = opened.record(row.index)
        assert hashlib.sha256(record.content).hexdigest() == row.sha256
        assert record.labels == (row.label,)
    ranges = opened.identity_ranges()
    assert len(ranges) == 253
    for label, group in manifest.groupby("label"):
        assert list(ranges[int(label)]) == group["index"].tolist()


@pytest.mark.lfw
def test_third_party_verification_packs(datasets):
    images, same = read_verification_pack(datasets / "packs/faces_lfw_112x112/lfw.bin")
    assert (len(images), len(same), int(same.sum())) == (2400, 1200, 600)
    images, same = read_verification_pack(datasets / "packs/small_lfw.bin")
    assert (len(images), len(same)) == (20, 10)
    assert all(image.startswith(b"\xff\xd8\xff") for image in images)


@pytest.mark.lfw
def test_rewritten_pack_is_identical(datasets, tmp_path):
    """Written again from its own content, the pack is identical to what MXNet wrote."""
    folder = datasets / "packs/faces_lfw_112x112"
    opened = TrainingPack(folder)
    faces = ((int(opened.record(n).labels[0]), opened.record(n).content) for n in opened.images)
    insightface.write_training_pack(tmp_path, faces)
    rewritten = TrainingPack(tmp_path)
    assert rewritten.identity_ranges() == opened.identity_ranges()
    assert (tmp_path / "train.rec").read_bytes() == (folder / "train.rec").read_bytes()


def test_a_pack_is_not_mapped_into_memory(pack):
    """Mapped pages count as memory of the process, up to the size of the pack."""
    opened = TrainingPack(pack)
    assert [opened.face(number) for number in opened.images] == FACES
    assert "train.rec" not in Path("/proc/self/maps").read_text()

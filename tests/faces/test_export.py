"""Exported packs contain the store's bytes, and a difference in what MXNet reads is reported."""

import hashlib

import pandas as pd
import pytest
from conftest import make_faces

from triplet_distillation.faces import export, insightface, store
from triplet_distillation.faces.split import HeldOutFaces
from triplet_distillation.files import read_json
from triplet_distillation.tabular import write_table


@pytest.fixture
def exported(tmp_path):
    """A store whose identities are unordered and have a gap, its pack, and the pack's listing."""
    faces = make_faces(4, 3)
    shuffled = [face._replace(label=face.label * 2) for face in (*faces[6:], *faces[:6])]
    shuffled[1] = shuffled[1]._replace(detection_status=store.NO_FACE)
    store.write(tmp_path / "s.arrow", shuffled, {})
    export.export_training_pack(tmp_path / "s.arrow", [], tmp_path / "pack")
    pack = insightface.TrainingPack(tmp_path / "pack")
    rows = []
    for number in range(pack.identities.stop):
        labels, content = pack.record(number)
        digest = hashlib.sha256(content).hexdigest() if content else ""
        rows.append([number, labels[0], labels[1] if len(labels) > 1 else None, digest, "112x112x3" if content else ""])
    listing = pd.DataFrame(rows, columns=["record", "label", "second_label", "sha256", "shape"])
    return tmp_path, shuffled, listing


def run_check(folder, listing):
    write_table(folder / "listing.csv", listing)
    export.check_training_pack(folder / "s.arrow", [], folder / "listing.csv", folder / "check.json")
    return read_json(folder / "check.json")


def test_pack_has_the_stores_bytes_grouped_by_identity(exported):
    folder, faces, listing = exported
    pack = insightface.TrainingPack(folder / "pack")
    expected = [
        face.image for label in (0, 2, 4, 6) for face in faces if face.label == label and face.detection_status == 0
    ]
    assert [pack.record(number).content for number in pack.images] == expected
    assert [len(images) for images in pack.identity_ranges()] == [3, 3, 2, 3]
    assert run_check(folder, listing) == {"faces": 11, "identities": 4, "equal": True}


@pytest.mark.parametrize(
    ("record", "column", "value", "message"),
    [
        (5, "sha256", "0" * 64, "record 5"),
        (4, "label", 3, "record 4"),
        (2, "shape", "111x112x3", "record 2"),
        (13, "second_label", 6, "label 1"),
        (0, "label", 11, "record 0"),
    ],
)
def test_difference_is_reported(exported, record, column, value, message):
    folder, _, listing = exported
    listing.loc[record, column] = value
    with pytest.raises(ValueError, match=message):
        run_check(folder, listing)


def test_pack_leaves_out_who_is_tested(tmp_path):
    store.write(tmp_path / "s.arrow", make_faces(4, 3), {})
    write_table(tmp_path / "faces.parquet", pd.DataFrame({"row": [0, 7]}))  # of the first and the third person
    tested = [HeldOutFaces(tmp_path / "s.arrow", tmp_path / "faces.parquet")]
    export.export_training_pack(tmp_path / "s.arrow", tested, tmp_path / "pack")
    pack = insightface.TrainingPack(tmp_path / "pack")
    faces = [face.image for face in make_faces(4, 3)]
    assert [pack.record(number).content for number in pack.images] == faces[3:6] + faces[9:]


def test_pack_with_too_many_faces_is_refused_before_any_is_read(tmp_path, monkeypatch):
    store.write(tmp_path / "s.arrow", make_faces(4, 3), {})
    monkeypatch.setattr(insightface, "EXACT", 16)
    monkeypatch.setattr(store.FaceStore, "encoded", lambda *_: pytest.fail("a face was read"))
    with pytest.raises(ValueError, match="12 images and 4 identities would have more than 16 records"):
        export.export_training_pack(tmp_path / "s.arrow", [], tmp_path / "pack")


def test_pack_without_anybody_is_refused(tmp_path):
    store.write(tmp_path / "s.arrow", make_faces(2, 1), {})
    write_table(tmp_path / "faces.parquet", pd.DataFrame({"row": [0, 1]}))
    with pytest.raises(ValueError, match="all of them are tested"):
        export.export_training_pack(
            tmp_path / "s.arrow", [HeldOutFaces(tmp_path / "s.arrow", tmp_path / "faces.parquet")], tmp_path / "pack"
        )

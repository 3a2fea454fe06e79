"""IJB-B and IJB-C in a small copy of their published layout, made of the ORL faces."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import IMAGES, PEOPLE, PREFIXES, make_ijb, photographs

from triplet_distillation import registry
from triplet_distillation.faces.acquire import acquire, open_source
from triplet_distillation.faces.align import align_face
from triplet_distillation.faces.images import read_image
from triplet_distillation.provenance import file_digest

DOWNLOADS = {"folder": "downloads", "mirror": ""}


@pytest.fixture
def ijb(tmp_path) -> dict[str, str]:
    return make_ijb(tmp_path / "ijb")


def meta(settings: dict[str, str], kind: str) -> Path:
    return Path(settings["path"]) / f"meta/{PREFIXES[settings['variant']]}_{kind}.txt"


def replace_line(path: Path, number: int, line: str) -> None:
    """Replace line ``number`` (from 1)."""
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n")


def test_detector_finds_the_faces_of_the_copy():
    found = photographs()
    assert len(found) >= 0.9 * PEOPLE * IMAGES
    assert {photograph.person for photograph in found} == set(range(PEOPLE))


@pytest.mark.parametrize("variant", ["IJB-B", "IJB-C"])
def test_images_are_listed_once_in_the_order_of_the_file(variant, tmp_path):
    settings = make_ijb(tmp_path / "ijb", variant)
    (tmp_path / "ijb/loose_crop/unused.jpg").write_bytes(b"x")
    manifest, origin = acquire(settings, tmp_path / "out", DOWNLOADS)
    assert manifest.path.tolist() == [f"loose_crop/{number + 1}.jpg" for number in range(len(photographs()))]
    contents = [(tmp_path / "out" / path).read_bytes() for path in manifest.path]
    assert contents == [photograph.content for photograph in photographs()]
    files = [meta(settings, kind) for kind in ("face_tid_mid", "template_pair_label", "name_5pts_score")]
    assert origin["files"] == {f"meta/{file.name}": file_digest(file) for file in files}
    assert origin["origin"].startswith(variant)


def test_order_is_that_of_the_list_not_of_the_names(ijb, tmp_path):
    path = meta(ijb, "face_tid_mid")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[::-1]))
    manifest, _ = acquire(ijb, tmp_path / "out", DOWNLOADS)
    listed = [f"loose_crop/{line.split()[0]}" for line in lines[::-1]]
    assert manifest.path.tolist() == list(dict.fromkeys(listed))


def test_identities_follow_genuine_pairs(ijb, tmp_path):
    manifest, _ = acquire(ijb, tmp_path / "out", DOWNLOADS)
    assert manifest.identity.tolist() == [f"template {10 * photograph.person + 1}" for photograph in photographs()]


def test_without_genuine_pairs_an_image_has_the_identity_of_its_first_template(ijb, tmp_path):
    path = meta(ijb, "template_pair_label")
    path.write_text(path.read_text().replace(" 1\n", " 0\n"))
    manifest, _ = acquire(ijb, tmp_path / "out", DOWNLOADS)
    listed = pd.read_csv(meta(ijb, "face_tid_mid"), sep=" ", names=["face", "template", "media"])
    first = listed.groupby("face").template.first()
    assert manifest.identity.tolist() == [f"template {first[Path(path).name]}" for path in manifest.path]
    assert manifest.identity.nunique() == 2 * PEOPLE


def test_pairs_compare_templates(ijb, tmp_path):
    acquire(ijb, tmp_path / "out", DOWNLOADS)
    table = open_source(ijb).pairs(tmp_path / "out", "1:1")
    assert table.dtypes.astype(str).to_dict() == {"a": "int64", "b": "int64", "same": "bool", "fold": "int64"}
    genuine = table[table.same]
    assert genuine[["a", "b"]].to_numpy().tolist()[:4] == [[3, 2], [2, 1], [13, 12], [12, 11]]
    assert (genuine.a // 10 == genuine.b // 10).all()
    impostors = table[~table.same]
    assert impostors[["a", "b"]].to_numpy().tolist()[:2] == [[1, 13], [1, 23]]
    assert (len(genuine), len(impostors)) == (2 * PEOPLE, PEOPLE * (PEOPLE - 1))
    assert (table.fold == 0).all()


def test_templates_keep_every_membership(ijb, tmp_path):
    manifest, _ = acquire(ijb, tmp_path / "out", DOWNLOADS)
    table = open_source(ijb).templates(tmp_path / "out", "1:1")
    lines = [f"{Path(face).name} {template} {media}" for face, template, media in table.itertuples(index=False)]
    assert lines == meta(ijb, "face_tid_mid").read_text().splitlines()
    assert table.columns.tolist() == ["face", "template", "media"]
    assert set(table.face) == set(manifest.path)
    assert table[table.face == "loose_crop/1.jpg"].template.tolist() == [3, 2]
    assert table.groupby(["template", "media"]).size().max() == 2
    assert table.groupby("template").media.nunique().min() >= 2


def test_detections_are_the_published_landmarks(ijb, tmp_path):
    manifest, _ = acquire(ijb, tmp_path / "out", DOWNLOADS)
    found = open_source(ijb).detections(tmp_path / "out")
    assert list(found) == manifest.path.tolist()
    for detection, photograph in zip(found.values(), photographs(), strict=True):
        assert detection.landmarks.shape == (5, 2)
        np.testing.assert_allclose(detection.landmarks, photograph.detection.landmarks, rtol=0, atol=0.00051)
        assert detection.score == pytest.approx(photograph.detection.score, abs=1e-6)
        x, y = detection.landmarks.T
        assert detection.box.tolist() == [x.min(), y.min(), x.max(), y.max()]


def test_aligned_faces_equal_those_from_the_detectors_own_landmarks(ijb, tmp_path):
    acquire(ijb, tmp_path / "out", DOWNLOADS)
    for (path, detection), photograph in zip(open_source(ijb).detections(tmp_path / "out").items(), photographs()):
        image = read_image(tmp_path / "out" / path)
        published, own = align_face(image, [detection]), align_face(image, [photograph.detection])
        difference = np.abs(published.pixels.astype(int) - own.pixels)
        # cv2 rounds coordinates to 1/32 pixel: three decimals can move a few pixels by one such step
        assert difference.max() <= 255 / 32 + 1
        assert difference.mean() < 0.05
        moved = align_face(image, [photograph.detection._replace(landmarks=photograph.detection.landmarks + (0.1, 0))])
        assert np.abs(published.pixels.astype(int) - moved.pixels).mean() > difference.mean()
        assert published.detection_status == own.detection_status


def test_settings_are_found_by_name():
    assert registry.arguments("faces.sources", "ijb") == {
        "path": ("str", registry.REQUIRED),
        "variant": ("Literal['IJB-B', 'IJB-C']", "IJB-C"),
    }


def test_unknown_variant_is_rejected():
    with pytest.raises(ValueError, match="unknown variant 'IJB-A': choose IJB-B or IJB-C"):
        open_source({"source": "ijb", "path": "x", "variant": "IJB-A"})


@pytest.mark.parametrize("kind", ["face_tid_mid", "template_pair_label", "name_5pts_score"])
def test_missing_text_file_is_reported(kind, ijb, tmp_path):
    meta(ijb, kind).unlink()
    with pytest.raises(FileNotFoundError, match=rf"ijbc_{kind}\.txt is not a file: correct its path"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


def test_missing_image_is_reported(ijb, tmp_path):
    (tmp_path / "ijb/loose_crop/2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"face_tid_mid\.txt, line 2, '2\.jpg 3 100': .*2\.jpg is missing; unp"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("face_tid_mid", "1.jpg 3"),
        ("face_tid_mid", "1.jpg 3 100 7"),
        ("face_tid_mid", "1.jpg three 100"),
        ("template_pair_label", "3 1"),
        ("template_pair_label", "3 1 1 0"),
        ("name_5pts_score", "1.jpg 1 2 3 4 5 6 7 8 9 10"),
        ("name_5pts_score", "1.jpg 1 2 3 4 5 6 7 8 9 10 0.9 0"),
        ("name_5pts_score", "1.jpg 1 2 3 4 5 6 7 8 9 nan 0.9"),
        ("name_5pts_score", "1.jpg 1 2 3 4 5 6 7 8 9 1e999 0.9"),
    ],
)
def test_invalid_line_is_reported(kind, line, number, ijb, tmp_path):
    replace_line(meta(ijb, kind), number, line)
    with pytest.raises(ValueError, match=rf"{kind}\.txt, line {number}: '{line}' does not have .* columns .*again"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


def test_surplus_column_in_every_line_is_reported(ijb, tmp_path):
    path = meta(ijb, "face_tid_mid")
    path.write_text(path.read_text().replace("\n", " 7\n"))
    with pytest.raises(ValueError, match=r"face_tid_mid\.txt, line 1: '1\.jpg 3 100 7' does not have 3 columns"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


def test_number_that_is_too_large_is_reported(ijb, tmp_path):
    replace_line(meta(ijb, "face_tid_mid"), 2, f"2.jpg {10**30} 100")
    with pytest.raises(ValueError, match=r"face_tid_mid\.txt: .*download the file again"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


def test_empty_text_file_is_reported(ijb, tmp_path):
    meta(ijb, "template_pair_label").write_text("")
    with pytest.raises(ValueError, match=r"template_pair_label\.txt is empty: download it again"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


@pytest.mark.parametrize("label", ["2", "-1"])
def test_label_that_is_not_0_or_1_is_reported(label, ijb, tmp_path):
    replace_line(meta(ijb, "template_pair_label"), 4, f"12 11 {label}")
    match = rf"template_pair_label\.txt, line 4, '12 11 {label}': the label must be 0 or 1; download"
    with pytest.raises(ValueError, match=match):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


def test_image_without_landmarks_is_reported(ijb, tmp_path):
    path = meta(ijb, "name_5pts_score")
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("3.")))
    match = r"face_tid_mid\.txt, line 3, '3\.jpg 3 101': meta/ijbc_name_5pts_score\.txt has no landmarks .* again"
    with pytest.raises(ValueError, match=match):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


@pytest.mark.parametrize("line", ["3 999 1", "999 3 0"])
def test_pair_with_a_template_without_faces_is_reported(line, ijb, tmp_path):
    replace_line(meta(ijb, "template_pair_label"), 2, line)
    match = rf"template_pair_label\.txt, line 2, '{line}': meta/ijbc_face_tid_mid\.txt has no faces .* again"
    with pytest.raises(ValueError, match=match):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


def test_empty_lines_count_in_the_reported_line_numbers(ijb, tmp_path):
    path = meta(ijb, "template_pair_label")
    path.write_text("\n" + path.read_text() + "\n")
    assert len(open_source(ijb).pairs(tmp_path / "ijb", "1:1")) == 2 * PEOPLE + PEOPLE * (PEOPLE - 1)
    replace_line(path, 4, "12 11 5")
    with pytest.raises(ValueError, match="line 4, '12 11 5'"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)
    replace_line(path, 4, "12 11")
    with pytest.raises(ValueError, match="line 4: '12 11' does not have"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


@pytest.mark.parametrize("kind", ["face_tid_mid", "template_pair_label", "name_5pts_score"])
def test_byte_order_mark_is_no_part_of_the_first_line(kind, ijb, tmp_path):
    expected, _ = acquire(ijb, tmp_path / "out", DOWNLOADS)
    path = meta(ijb, kind)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert acquire(ijb, tmp_path / "out", DOWNLOADS)[0].equals(expected)
    replace_line(path, 1, "1.jpg")
    with pytest.raises(ValueError, match=rf"{kind}\.txt, line 1: '1\.jpg' does not have"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)


def test_line_in_another_encoding_is_reported(ijb, tmp_path):
    path = meta(ijb, "face_tid_mid")
    path.write_bytes(path.read_bytes().replace(b"\n2.jpg", b"\ncaf\xe9.jpg", 1))
    with pytest.raises(ValueError, match=r"face_tid_mid\.txt, line 2: b'caf.xe9\.jpg 3 100' is not UTF-8"):
        acquire(ijb, tmp_path / "out", DOWNLOADS)

"""Every source provides images or aligned faces with identities, and reports what is wrong with its input."""

import os
import tarfile

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import encode_png, make_faces
from PIL import Image

from triplet_distillation.faces import insightface, pairs
from triplet_distillation.faces.acquire import acquire, open_source
from triplet_distillation.faces.align import copy_aligned_faces
from triplet_distillation.faces.images import EXTENSIONS, read_image
from triplet_distillation.faces.sources.folder import find_images
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.tabular import read_table, write_table

DOWNLOADS = {"folder": "downloads", "mirror": ""}


@pytest.fixture
def lfw(tmp_path):
    """A small LFW in the published layout: two folds, each with one genuine and one impostor pair."""
    names = {"Anna_B": 2, "Carl_D": 3, "Eve": 1}
    with tarfile.open(tmp_path / "lfw.tgz", "w:gz") as archive:
        for name, count in names.items():
            for index in range(1, count + 1):
                path = tmp_path / f"{name}_{index:04d}.jpg"
                cv2.imwrite(str(path), np.full((25, 25, 3), index, np.uint8))
                archive.add(path, f"lfw/{name}/{path.name}")
    lines = ["2\t1", "Anna_B\t1\t2", "Anna_B\t1\tEve\t1", "Carl_D\t1\t3", "Carl_D\t2\tAnna_B\t2"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    return {
        "source": "lfw",
        "variant": "deepfunneled",
        "archive": str(tmp_path / "lfw.tgz"),
        "pairs": str(tmp_path / "pairs.txt"),
    }


def test_lfw_images_and_pairs(lfw, tmp_path):
    manifest, origin = acquire(lfw, tmp_path / "out", DOWNLOADS)
    assert manifest.identity.tolist() == ["Anna_B"] * 2 + ["Carl_D"] * 3 + ["Eve"]
    assert set(origin["files"]) == {"lfw.tgz", "pairs.txt"}
    table = open_source(lfw).pairs(tmp_path / "out", "")
    assert table.same.tolist() == [True, False, True, False]
    assert table.fold.tolist() == [1, 1, 2, 2]
    rows = pairs.as_rows(table[table.fold == 2], pa.chunked_array([manifest.path.tolist()]))
    assert rows[["a", "b"]].to_numpy().tolist() == [[2, 4], [3, 1]]


def test_lfw_archive_with_a_wrong_checksum_is_rejected(lfw, tmp_path):
    with pytest.raises(ValueError, match="has the SHA-256"):
        acquire(lfw | {"archive_sha256": "0" * 64}, tmp_path / "out", DOWNLOADS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("variant", ["deepfunneled", "funnelled"])
def test_lfw_variants_without_an_address_are_rejected(variant):
    with pytest.raises(ValueError, match="deepfunneled"):
        open_source({"source": "lfw", "variant": variant})


def test_invalid_line_in_lfw_pairs_is_reported(lfw, tmp_path):
    acquire(lfw, tmp_path / "out", DOWNLOADS)
    (tmp_path / "out/pairs.txt").write_text("1\t1\nAnna_B\t1\t2\nAnna_B\n")
    with pytest.raises(ValueError, match="line 3"):
        open_source(lfw).pairs(tmp_path / "out", "")


def test_pairs_with_a_missing_image_are_rejected():
    named = pd.DataFrame({"a": ["x"], "b": ["gone"], "same": [True], "fold": [1]})
    with pytest.raises(ValueError, match="'gone'"):
        pairs.as_rows(named, pa.chunked_array([["x", "y"]]))


def test_own_pairs_are_read_as_text(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,same,fold\n001,NA,1,1\n1,01,0,2\n")
    table = open_source({"source": "folder", "path": "x"}).read_pairs(path, tmp_path)
    assert table.to_numpy().tolist() == [["001", "NA", True, 1], ["1", "01", False, 2]]


@pytest.mark.parametrize(("genuine", "impostor"), [("1", "0"), ("TRUE", "FALSE"), ("true", "false"), ("1.0", "0.0")])
def test_own_pairs_say_same_as_spreadsheets_write_it(tmp_path, genuine, impostor):
    path = tmp_path / "pairs.csv"
    path.write_text(f"a,b,same\nx,y,{genuine}\nx,z,{impostor}\n")
    table = open_source({"source": "folder", "path": "x"}).read_pairs(path, tmp_path)
    assert table.same.tolist() == [True, False]


def test_own_pairs_without_folds_are_divided_into_ten(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,same\n" + "x,y,1\n" * 20 + "x,z,0\n" * 10)
    table = open_source({"source": "folder", "path": "x"}).read_pairs(path, tmp_path)
    assert table.groupby("fold").same.agg(["size", "sum"]).to_numpy().tolist() == [[3, 2]] * 10


def test_few_own_pairs_are_divided_so_that_every_fold_has_both_kinds(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,same\n" + "x,y,True\n" * 3 + "x,z,0.0\n" * 20)
    table = open_source({"source": "folder", "path": "x"}).read_pairs(path, tmp_path)
    assert table.groupby("fold").same.agg(["size", "sum"]).to_numpy().tolist() == [[8, 1], [8, 1], [7, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nx,y\n", "no column same"),
        ("a,b,same\nx,y,1\nx,y,yes\n", "line 3: same is 'yes', not 1 or 0"),
        ("a,b,same,fold\nx,y,1,\n", "line 2: fold is '', not a whole number"),
        ("a,b,same\nx,y,1\n\nx,y,2\n", "line 3: same is '', not 1 or 0"),
        ("a,b,same\nx,x,1\n", "line 2: a and b are the same image, 'x'"),
        ("a,b,same\n", "no rows below"),
        ("", "is not a CSV file"),
        ("a,b,same\nx,y,1,1\n", "line 2 has 4 cells, not 3 as line 1: .* is not a CSV file"),
        ("a,b,same\nx,y,1\nx,y\n", "line 3 has 2 cells, not 3"),
        ('a,b,same\n"x\ny",z,1\nx,y,2\n', "line 4: same is '2'"),
        ("x,y,1\nx,z,0\n", r"it needs a, b, same, separated by commas, but line 1 has \['x', 'y', '1'\]"),
        ("a;b;same\nx;y;1\n", r"separated by commas, but line 1 has \['a;b;same'\]"),
        ("a,b,same,same\nx,y,1,1\n", "line 1: .* has a column twice"),
        ('a,b,same\nx,"y"z,1\n', "line 2: .* is not a CSV file"),
    ],
)
def test_wrong_own_pairs_are_reported_by_line(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_source({"source": "folder", "path": "x"}).read_pairs(tmp_path / "pairs.csv", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\t1\nAnna_B\t1\t2\n", "has 1 pairs, but line 1 says 1 folds"),
        ("1\t1\nAnna_B\t1\t2\n\nAnna_B\t1\t2\nEve\t1\t2\n", "has 3 pairs, but line 1 says .* which are 2: correct"),
        ("1100\nAnna_B\t1\t2\n", "line 1: expected two numbers"),
        ("Anna_B\t1\t2\nAnna_B\t1\tEve\t1\n", "line 1: expected two numbers, .* but it is 'Anna_B.*2'"),
        ("0\t300\n", "line 1: expected two numbers, .* but it is '0.*300'"),
        ("\n1\t1\n\nAnna_B\t1\t2\nAnna_B\t1\t²\n", "line 5: 'Anna_B.*is not a valid pair: expected"),
        ("", "line 1: expected two numbers"),
        ("1\t1\nAnna_B\t1\t2\nAnna_B\t1\tx\n", "line 3: 'Anna_B.*is not a valid pair"),
    ],
)
def test_wrong_pairs_in_the_format_of_lfw_are_reported(lfw, tmp_path, text, message):
    acquire(lfw, tmp_path / "out", DOWNLOADS)
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_source(lfw).read_pairs(tmp_path / "mine.txt", tmp_path / "out")


ENCODED = {
    "pairs.csv": ("a,b,same,fold\nÅsa/1.png,NA,1,1\n1,01,0,2\n\n", ["Åsa/1.png", "1"]),
    "mine.txt": (
        "1\t1\nÅsa\t1\t2\n\nBo\t1\tEve\t1\n\n",
        ["extracted/lfw/Åsa/Åsa_0001.jpg", "extracted/lfw/Bo/Bo_0001.jpg"],
    ),
}


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_own_pairs_as_editors_save_them(lfw, tmp_path, name, newline, mark):
    """With a byte order mark or without, with either kind of line ends, and with empty lines at the end."""
    text, first = ENCODED[name]
    acquire(lfw, tmp_path / "out", DOWNLOADS)
    (tmp_path / name).write_bytes((mark + text.replace("\n", newline)).encode())
    assert open_source(lfw).read_pairs(tmp_path / name, tmp_path / "out").a.tolist() == first


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize(
    ("encoding", "message"),
    [("latin-1", r"line 2: b'.*' is not UTF-8: save the file as"), ("utf-16", "in UTF-16: save")],
)
def test_own_pairs_in_another_encoding_are_refused(lfw, tmp_path, name, encoding, message):
    acquire(lfw, tmp_path / "out", DOWNLOADS)
    (tmp_path / name).write_bytes(ENCODED[name][0].encode(encoding))
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        open_source(lfw).read_pairs(tmp_path / name, tmp_path / "out")


def test_own_pairs_of_lfw_may_have_its_own_format(lfw, tmp_path):
    acquire(lfw, tmp_path / "out", DOWNLOADS)
    (tmp_path / "mine.txt").write_text("1\t1\nAnna_B\t1\t2\nAnna_B\t1\tEve\t1\n")
    table = open_source(lfw).read_pairs(tmp_path / "mine.txt", tmp_path / "out")
    assert table.b.tolist() == ["extracted/lfw/Anna_B/Anna_B_0002.jpg", "extracted/lfw/Eve/Eve_0001.jpg"]


def test_folder_of_images(tmp_path):
    images = tmp_path / "mine"
    for name in ("Zoë/b.PNG", "Zoë/a.jpg", "Bo/1.bmp", "Bo/.hidden.jpg", "Bo/notes.txt"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(b"x")
    (images / "Bo/folder.jpg").mkdir()
    manifest, _ = acquire({"source": "folder", "path": str(images)}, tmp_path / "out", DOWNLOADS)
    assert manifest.path.tolist() == ["Bo/1.bmp", "Zoë/a.jpg", "Zoë/b.PNG"]
    assert manifest.identity.tolist() == ["Bo", "Zoë", "Zoë"]
    assert (images / "Bo/1.bmp").read_bytes() == b"x"


def test_what_a_folder_has_besides_images_of_identities_is_counted(tmp_path, caplog):
    images = tmp_path / "mine"
    taken = ["Bo/1.jfif", "Bo/2.AVIF", "Bo/3.jpe", "Bo/4.gif", "Bo/5.heic"]
    loose, deep, other = ["a.jpg", "z.png"], ["Bo/2020/1.jpg"], ["Bo/notes.txt", "Bo/video.mpg", "readme.md"]
    hidden = [".thumbnails/1.jpg", "Bo/.1.jpg", "Bo/@eaDir/1.jpg", "__MACOSX/1.jpg", "Bo/Thumbs.db"]
    for name in [*taken, *loose, *deep, *other, *hidden]:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(b"x")
    (images / "Bo/gone.jpg").symlink_to(images / "nowhere.jpg")
    manifest, origin = acquire({"source": "folder", "path": str(images)}, tmp_path / "out", DOWNLOADS)
    assert manifest.path.tolist() == taken
    assert origin["passed_over"] == {
        "without the ending of an image": {"count": 3, "first": "Bo/notes.txt"},
        "too deep in the folder of an identity": {"count": 1, "first": "Bo/2020/1.jpg"},
        "not in the folder of an identity": {"count": 2, "first": "a.jpg"},
        "a link to nothing": {"count": 1, "first": "Bo/gone.jpg"},
    }
    assert "2 not in the folder of an identity, first a.jpg" in caplog.text
    assert len(caplog.records) == 1


def test_linked_folders_are_entered_once(tmp_path):
    """A folder of images elsewhere is linked, and links lead back to folders that they are in."""
    images, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    for name in (images / "Bo/1.png", elsewhere / "2.png"):
        name.parent.mkdir(parents=True)
        name.write_bytes(b"x")
    (images / "Al").symlink_to(elsewhere)
    (images / "Bo/up").symlink_to(images)
    (elsewhere / "self").symlink_to(elsewhere)
    manifest, origin = acquire({"source": "folder", "path": str(images)}, tmp_path / "out", DOWNLOADS)
    assert manifest.path.tolist() == ["Al/2.png", "Bo/1.png"]
    assert origin["passed_over"] == {"a link to a folder that it is in": {"count": 2, "first": "Al/self"}}
    found, _ = find_images(images)
    assert [path.relative_to(images).as_posix() for path in found] == manifest.path.tolist()


def test_sources_that_take_everything_have_the_origin_as_before(tmp_path):
    keys = ["origin", "citation", "license", "files", "images", "checksum"]
    (tmp_path / "mine/Bo").mkdir(parents=True)
    (tmp_path / "mine/Bo/1.png").write_bytes(b"x")
    for settings in ({"source": "orl"}, {"source": "folder", "path": str(tmp_path / "mine")}):
        assert list(acquire(settings, tmp_path / "out", DOWNLOADS)[1]) == keys


def test_every_format_that_is_taken_can_be_read(tmp_path):
    """Each ending for which Pillow can write a file is one that is read."""
    ends = sorted(end for end in EXTENSIONS if Image.registered_extensions().get(end) in Image.SAVE)
    assert {".jfif", ".jpe", ".gif", ".avif", ".webp", ".tga", ".jp2"} <= set(ends)
    for end in ends:
        if end in (".blp", ".im", ".palm", ".msp", ".xbm"):  # black and white, palettes, or deprecated
            continue
        Image.new("RGB", (64, 64), (200, 100, 50)).save(tmp_path / f"a{end}")
        assert read_image(tmp_path / f"a{end}").shape[2] == 3, end


def test_file_names_that_are_not_utf8_or_very_long(tmp_path):
    identity = tmp_path / "mine" / "b"
    identity.mkdir(parents=True)
    (identity / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    (identity / ("n" * 251 + ".jpg")).write_bytes(b"y")
    manifest, _ = acquire({"source": "folder", "path": str(tmp_path / "mine")}, tmp_path / "out", DOWNLOADS)
    assert manifest.path.tolist() == ["b/caf\\xe9.jpg", "b/" + "n" * 251 + ".jpg"]
    assert (tmp_path / "out" / manifest.path[0]).read_bytes() == b"x"
    write_table(tmp_path / "manifest.csv", manifest)
    assert read_table(tmp_path / "manifest.csv").path.tolist() == manifest.path.tolist()


def test_missing_or_empty_folder_is_rejected(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere"):
        acquire({"source": "folder", "path": str(tmp_path / "nowhere")}, tmp_path / "out", DOWNLOADS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="one subfolder per identity"):
        acquire({"source": "folder", "path": str(tmp_path / "empty")}, tmp_path / "out", DOWNLOADS)


def test_packs_become_stores_byte_for_byte(tmp_path):
    faces = make_faces(3, 2)
    insightface.write_training_pack(tmp_path / "pack", ((face.label, face.image) for face in faces))
    settings = {"source": "insightface_training", "path": str(tmp_path / "pack")}
    _, origin = acquire(settings, tmp_path / "out", DOWNLOADS)
    assert len(origin["files"]["train.rec"]) == 64
    outcomes = copy_aligned_faces(open_source(settings).faces(tmp_path / "out"), origin, tmp_path / "s.arrow")
    store = FaceStore(tmp_path / "s.arrow")
    assert [bytes(store.encoded(index)) for index in range(6)] == [face.image for face in faces]
    assert store.column("label").tolist() == [0, 0, 1, 1, 2, 2]
    assert (outcomes.outcome == "one face").all()


def test_verification_packs_have_pairs(tmp_path):
    images = [face.image for face in make_faces(4, 1)]
    insightface.write_verification_pack(tmp_path / "v.bin", images, [True, False])
    settings = {"source": "insightface_verification", "path": str(tmp_path / "v.bin"), "folds": 2}
    _, origin = acquire(settings, tmp_path / "out", DOWNLOADS)
    source = open_source(settings)
    copy_aligned_faces(source.faces(tmp_path / "out"), origin, tmp_path / "s.arrow")
    names = FaceStore(tmp_path / "s.arrow").text("source")
    table = pairs.as_rows(source.pairs(tmp_path / "out", ""), names)
    assert table[["a", "b", "same", "fold"]].to_numpy().tolist() == [[0, 1, True, 1], [2, 3, False, 2]]


def test_face_of_a_wrong_size_is_listed_but_not_stored(tmp_path):
    images = [make_faces(1, 1)[0].image, encode_png(np.zeros((40, 50, 3), np.uint8)), b"plain text", b""]
    insightface.write_verification_pack(tmp_path / "v.bin", images, [True, False])
    settings = {"source": "insightface_verification", "path": str(tmp_path / "v.bin")}
    acquire(settings, tmp_path / "out", DOWNLOADS)
    outcomes = copy_aligned_faces(open_source(settings).faces(tmp_path / "out"), {}, tmp_path / "s.arrow")
    assert outcomes.outcome.tolist() == ["one face", "unreadable", "unreadable", "unreadable"]
    assert outcomes.reason.tolist()[1:] == ["is 50×40, not 112×112", "cannot be decoded", "cannot be decoded"]


def make_image(path, gray=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((25, 25, 3), gray, np.uint8))


def test_cfp_in_both_protocols(tmp_path):
    root = tmp_path / "cfp"
    for identity in ("001", "002"):
        for pose in ("frontal", "profile"):
            for number in ("01", "02"):
                make_image(root / f"Data/Images/{identity}/{pose}/{number}.jpg")
    for kind, pose in (("F", "frontal"), ("P", "profile")):
        paths = [f"../Data/Images/{identity}/{pose}/{n}.jpg" for identity in ("001", "002") for n in ("01", "02")]
        listed = "".join(f"{i} {path}\n" for i, path in enumerate(paths, start=1))
        (root / "Protocol").mkdir(exist_ok=True)
        (root / f"Protocol/Pair_list_{kind}.txt").write_text(listed)
    for protocol, same in (("FF", "1,2"), ("FP", "1,1")):
        for fold in ("01", "02"):
            split = root / f"Protocol/Split/{protocol}/{fold}"
            split.mkdir(parents=True)
            (split / "same.txt").write_text(same + "\n")
            (split / "diff.txt").write_text("2,3\n")
    settings = {"source": "cfp", "path": str(root)}
    manifest, _ = acquire(settings, tmp_path / "out", DOWNLOADS)
    assert manifest.identity.tolist() == ["001"] * 4 + ["002"] * 4
    for protocol, second in (("FF", "frontal/02"), ("FP", "profile/01")):
        table = open_source(settings).pairs(tmp_path / "out", protocol)
        assert table.iloc[0].tolist() == [
            "Data/Images/001/frontal/01.jpg",
            f"Data/Images/001/{second}.jpg",
            True,
            1,
        ]
        assert table.fold.tolist() == [1, 1, 2, 2]
        assert set(table.a) | set(table.b) <= set(manifest.path)
    diff, listed = tmp_path / "out/Protocol/Split/FP/02/diff.txt", tmp_path / "out/Protocol/Pair_list_P.txt"
    diff.write_text("\ufeff2, 3\n\n")
    assert open_source(settings).pairs(tmp_path / "out", "FP").equals(table)
    for text, message in {
        "9,1": "line 1: '9,1' refers to an image",
        "2,3\n\n1;2": "line 3: '1;2' is not two numbers of images",
        "2,3,1": "line 1: '2,3,1' is not two numbers of images",
        "x,1": "line 1: 'x,1' is not two numbers of images",
    }.items():
        diff.write_text(text + "\n")
        with pytest.raises(ValueError, match=rf"diff\.txt, {message}"):
            open_source(settings).pairs(tmp_path / "out", "FP")
    for text, message in {
        "1 a.jpg\n2": "line 2: '2' is not a number and a path",
        "1 a.jpg\n1 b.jpg": "line 2: '1 b.jpg' has the number of an earlier line",
    }.items():
        listed.write_text(text)
        with pytest.raises(ValueError, match=rf"Pair_list_P\.txt, {message}"):
            open_source(settings).pairs(tmp_path / "out", "FP")


def test_cplfw_pairs_in_ten_folds(tmp_path):
    root = tmp_path / "cplfw"
    names = [f"Some_Body_{number}.jpg" for number in range(40)]
    for name in [*names, "Leni_Bjorklund-2.jpg"]:
        make_image(root / "images" / name)
    lines = [f"{name} {1 if index < 20 else 0}" for index, name in enumerate(names)]
    (root / "pairs_CPLFW.txt").write_text("\n".join(lines))
    settings = {"source": "cross_lfw", "path": str(root), "variant": "CPLFW"}
    manifest, origin = acquire(settings, tmp_path / "out", DOWNLOADS)
    assert len(manifest) == 40
    assert set(manifest.identity) == {"Some_Body"}
    assert "pairs_CPLFW.txt" in origin["files"]
    table = open_source(settings).pairs(tmp_path / "out", "")
    assert table.groupby("fold").same.agg(["size", "sum"]).to_numpy().tolist() == [[2, 1]] * 10
    assert table.iloc[0, :3].tolist() == ["images/Some_Body_0.jpg", "images/Some_Body_1.jpg", True]
    published = tmp_path / "out/pairs_CPLFW.txt"
    published.write_text("\ufeff" + "\n".join(lines) + "\r\n\n")
    assert open_source(settings).pairs(tmp_path / "out", "").equals(table)
    for text, message in {
        "a.jpg 1\nb.jpg 0\n": "lines 1 and 2: 'a.jpg 1' and 'b.jpg 0' are not a valid pair",
        "\na.jpg same\nb.jpg same\n": "line 2: 'a.jpg same' is not an image and a flag",
        "a.jpg 1\nb.jpg -1\n": "line 2: 'b.jpg -1' is not an image and a flag",
        "a.jpg 1\nb.jpg 1 1\n": "line 2: 'b.jpg 1 1' is not an image and a flag",
        "a.jpg 1\nb.jpg 1\nc.jpg 1\n": "line 3: 'c.jpg 1' has no second line",
    }.items():
        published.write_text(text)
        with pytest.raises(ValueError, match=rf"pairs_CPLFW\.txt, {message}"):
            open_source(settings).pairs(tmp_path / "out", "")


def test_unknown_variant_is_rejected():
    with pytest.raises(ValueError, match="unknown variant"):
        open_source({"source": "cross_lfw", "path": "x", "variant": "LFW"})

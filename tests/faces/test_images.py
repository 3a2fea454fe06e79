"""Images in every common format and mode, and files that are not images."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from triplet_distillation.faces.images import read_image

RANDOM = np.random.default_rng(0)
SMOOTH = np.stack(np.broadcast_arrays(np.arange(0, 240, 4)[:, None], np.arange(0, 200, 5)[None], 90), -1).astype(
    np.uint8
)


def save(path, image, **settings):
    image.save(path, **settings)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tiff"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix):
    pixels = read_image(save(tmp_path / f"a.{suffix}", Image.fromarray(SMOOTH)))
    assert np.array_equal(pixels, SMOOTH)


@pytest.mark.parametrize(("suffix", "settings"), [("jpg", {"quality": 95}), ("webp", {"quality": 95})])
def test_lossy_formats_are_close(tmp_path, suffix, settings):
    pixels = read_image(save(tmp_path / f"a.{suffix}", Image.fromarray(SMOOTH), **settings))
    assert np.abs(pixels.astype(int) - SMOOTH).mean() < 3


def test_heic_as_written_by_phones(tmp_path):
    pytest.importorskip("pillow_heif", reason="HEIC requires pillow-heif")
    pixels = read_image(save(tmp_path / "a.heic", Image.fromarray(SMOOTH), quality=95))
    assert np.abs(pixels.astype(int) - SMOOTH).mean() < 4


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by a quarter turn clockwise
    pixels = read_image(save(tmp_path / "a.jpg", Image.fromarray(SMOOTH), exif=exif, quality=95))
    assert pixels.shape == (40, 60, 3)
    assert np.abs(pixels.astype(int) - np.rot90(SMOOTH, -1)).mean() < 3


def test_gray_rgba_palette_sixteen_bit_and_cmyk_become_rgb(tmp_path):
    gray = Image.fromarray(SMOOTH[:, :, 0])
    assert np.array_equal(read_image(save(tmp_path / "a.png", gray)), np.repeat(SMOOTH[:, :, :1], 3, axis=2))
    assert np.array_equal(read_image(save(tmp_path / "b.pgm", gray)), np.repeat(SMOOTH[:, :, :1], 3, axis=2))
    rgba = Image.fromarray(np.dstack([SMOOTH, np.full(SMOOTH.shape[:2], 200, np.uint8)]))
    assert np.array_equal(read_image(save(tmp_path / "c.png", rgba)), SMOOTH)
    sixteen = Image.fromarray(SMOOTH[:, :, 0].astype(np.uint16) * 257)
    assert np.array_equal(read_image(save(tmp_path / "d.png", sixteen))[:, :, 0], SMOOTH[:, :, 0])
    cmyk = Image.fromarray(SMOOTH).convert("CMYK")
    pixels = read_image(save(tmp_path / "e.jpg", cmyk, quality=95))
    assert np.abs(pixels.astype(int) - SMOOTH).mean() < 4
    palette = Image.fromarray(SMOOTH).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(read_image(save(tmp_path / "f.png", palette)), expected)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (80, 80, 3)).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def encode_jpeg(**settings) -> bytes:
    """A JPEG with noise, so that its scans have many stuffed bytes."""
    noise = np.random.default_rng(3).integers(0, 256, (80, 80, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", **settings)
    return buffer.getvalue()


JPEGS = {
    "baseline": encode_jpeg(),
    "progressive": encode_jpeg(progressive=True),
    "restart markers": encode_jpeg(restart_marker_blocks=3),
    "thumbnail": encode_jpeg(exif=Image.Exif().tobytes() + encode_jpeg(quality=10)),
    "fill bytes": b"\xff\xd8" + 5 * b"\xff" + encode_jpeg()[2:-2] + 7 * b"\xff" + b"\xff\xd9",
}


@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
def test_bytes_after_the_end_of_a_jpeg_do_not_matter(tmp_path, content):
    """Motion photographs have a video there, with bytes that look like markers."""
    random = np.random.default_rng(4)
    (tmp_path / "a.jpg").write_bytes(content)
    expected = read_image(tmp_path / "a.jpg")
    for _ in range(40):
        parts = [random.bytes(random.integers(0, 300)) for _ in range(4)]
        trailer = parts[0] + b"\xff\xda" + parts[1] + b"\xff\xd9" + parts[2] + b"\xff\xda\x00\x08" + parts[3]
        (tmp_path / "a.jpg").write_bytes(content + trailer)
        assert np.array_equal(read_image(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
def test_truncated_jpeg_is_refused_wherever_it_ends(tmp_path, content):
    places = {*range(1, 60), *range(60, len(content), 97), *range(len(content) - 20, len(content))}
    for place in sorted(places):
        (tmp_path / "a.jpg").write_bytes(content[:place])
        with pytest.raises(ValueError, match=r"truncated JPEG|not an image|cannot be decoded"):
            read_image(tmp_path / "a.jpg")


def test_truncated_picture_of_several_is_refused(tmp_path):
    """Phones write a second picture, such as a gain map, after the first one (MPO)."""
    first, second = (Image.fromarray(RANDOM.integers(0, 256, (80, 80, 3)).astype(np.uint8)) for _ in range(2))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    content = (tmp_path / "a.jpg").read_bytes()
    assert read_image(tmp_path / "a.jpg").shape == (80, 80, 3)
    (tmp_path / "a.jpg").write_bytes(content[: content.index(b"\xff\xd9")])
    with pytest.raises(ValueError, match="truncated JPEG"):
        read_image(tmp_path / "a.jpg")


def huge_png() -> bytes:
    """A small file that claims to be 30,000×30,000."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"this is text", "not an image"),
        (jpeg()[:2000], "truncated JPEG"),
        (jpeg()[:-2], "truncated JPEG"),
        (huge_png(), r"30000×30000|[Dd]ecompression bomb"),
        (b"\x89PNG\r\n\x1a\n", "not an image|cannot be decoded"),
    ],
    ids=["empty", "text", "half", "missing end", "huge", "header only"],
)
def test_unreadable_files_are_rejected_with_the_reason(tmp_path, content, message):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "a.jpg")


def test_unreadable_heic_names_the_package(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"this is text")
    with pytest.raises(ValueError, match="HEIC needs the package pillow-heif"):
        read_image(tmp_path / "a.heic")


def test_folder_instead_of_a_file(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(OSError, match="directory"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="requires Unix permissions")
def test_file_without_read_permission(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(SMOOTH))
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root can read every file, the user `nobody` cannot
    try:
        with pytest.raises(PermissionError):
            read_image(path)
    finally:
        os.seteuid(user)

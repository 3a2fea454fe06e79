"""Read images as users have them: any common format, any color mode; damaged files are named."""

import io
import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 100_000_000
"""Larger images are rejected before they are decoded: a small file can claim to be huge."""

MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
"""A marker of a JPEG that ends it or starts a segment: neither a stuffed byte nor one that stands within a scan."""
START_OF_SCAN, END_OF_IMAGE = b"\xda", b"\xd9"

try:
    from pillow_heif import register_heif_opener

    register_heif_opener()
except ImportError:  # HEIC is only read if its library is installed
    pass

UNDECODED = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
"""Formats that Pillow recognizes without decoding them by itself, or that hold no photographs."""


def _extensions() -> frozenset[str]:
    Image.init()
    known = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind not in UNDECODED}
    return frozenset(known | {".heic", ".heif"})  # without their library, these are reported as unreadable


EXTENSIONS = _extensions()
"""Endings of the files that :func:`read_image` reads, in lower case."""


def read_image(path: Path) -> np.ndarray:
    """An image as RGB uint8 [H, W, 3], rotated upright according to its EXIF data.

    Grayscale, RGBA, 16-bit and CMYK images are converted.

    Raises:
        ValueError: the file is empty, truncated, too large, or not an image; the message says which.
        OSError: it cannot be opened.
    """
    content = path.read_bytes()
    if not content:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(content)) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width}×{height} pixels: the limit is {MAX_PIXELS:,}")
            if opened.format in ("JPEG", "MPO") and not has_end(content):
                raise ValueError("a truncated JPEG: it has no end marker")
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
            if pixels is None:  # formats that OpenCV does not support, such as HEIC
                pixels = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except UnidentifiedImageError as error:
        remedy = " (HEIC needs the package pillow-heif)" if path.suffix.lower() in {".heic", ".heif"} else ""
        raise ValueError(f"not an image in a known format{remedy}") from error
    except (Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ValueError(f"cannot be decoded: {error}") from error
    return np.asarray(pixels)


def has_end(content: bytes) -> bool:
    """Whether a JPEG is complete: its segments lead over a scan to an end marker.

    What follows that marker, such as the video of a motion photograph, does not matter, nor does a complete thumbnail
    within a segment.
    """
    position, has_scan = 2, False
    while marker := MARKER.search(content, position):
        if marker[1] == END_OF_IMAGE:
            return has_scan
        has_scan |= marker[1] == START_OF_SCAN
        position = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2])
    return False

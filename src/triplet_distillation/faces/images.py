"""Read images as users have them: any common format, any color mode; damaged files are named."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 100_000_000
"""Larger images are rejected before they are decoded: a small file can claim to be huge."""

try:
    from pillow_heif import register_heif_opener

    register_heif_opener()
except ImportError:  # HEIC is only read if its library is installed
    pass


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
            if opened.format == "JPEG" and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
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

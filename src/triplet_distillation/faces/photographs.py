"""Reading photographs as people have them: any common format, any colour mode, broken files named."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

LARGEST_PIXELS = 100_000_000
"""Larger photographs are refused before anything is decoded: a small file can claim to be huge."""

try:
    from pillow_heif import register_heif_opener

    register_heif_opener()
except ImportError:  # HEIC is read where its library is there
    pass


def read_photograph(path: Path) -> np.ndarray:
    """An RGB uint8 photograph [H, W, 3], upright by its EXIF rotation.

    Grey, RGBA, 16-bit and CMYK are converted.

    Raises:
        ValueError: the file is empty, truncated, too large, or no image; the message says which.
        OSError: it cannot be opened.
    """
    content = path.read_bytes()
    if not content:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(content)) as opened:
            width, height = opened.size
            if width * height > LARGEST_PIXELS:
                raise ValueError(f"{width}×{height} pixels: more than {LARGEST_PIXELS:,} are not read")
            if opened.format == "JPEG" and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
                raise ValueError("a truncated JPEG: it has no end")
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
            if pixels is None:  # formats that OpenCV does not know, such as HEIC
                pixels = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except UnidentifiedImageError as error:
        remedy = " (HEIC needs the package pillow-heif)" if path.suffix.lower() in {".heic", ".heif"} else ""
        raise ValueError(f"no image of a known format{remedy}") from error
    except (Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ValueError(f"cannot be decoded: {error}") from error
    return pixels

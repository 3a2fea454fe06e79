"""Data sources, one file each: a class ``Source`` that puts photographs into a folder and names them."""

from typing import NamedTuple


class Photograph(NamedTuple):
    """A photograph below its data set's folder (``path``, with forward slashes) and whom it shows."""

    path: str
    identity: str

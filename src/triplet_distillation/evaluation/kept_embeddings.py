"""Embeddings of the faces of everyone who is tested, kept so that other pairs or metrics need no network."""

import json
import os
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from triplet_distillation.files import atomic_write
from triplet_distillation.provenance import library_versions


class KeptEmbeddings(NamedTuple):
    """``rows`` [faces] of the store, ascending; ``embeddings`` [faces, 2, D] float32: image, flipped image."""

    rows: np.ndarray
    embeddings: np.ndarray

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Where the faces at ``rows`` of the store are.

        Raises:
            ValueError: one of them was not embedded.
        """
        places = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        if (missing := rows[self.rows[places] != rows]).size:
            raise ValueError(f"there is no embedding of face {missing[0]}: delete the embeddings and run again")
        return places

    def write(self, path: str | os.PathLike) -> None:
        """Write them as safetensors."""
        with atomic_write(path) as temporary:
            tensors = {name: np.ascontiguousarray(each) for name, each in self._asdict().items()}
            save_file(tensors, temporary, {"libraries": json.dumps(library_versions(), sort_keys=True)})


def read_kept_embeddings(path: str) -> KeptEmbeddings:
    """What :meth:`KeptEmbeddings.write` wrote."""
    return KeptEmbeddings(**load_file(path))

"""Shared fixtures: the real data sets, and small stores of synthetic faces."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from triplet_distillation.faces import store

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real data sets; a test that uses it is skipped if the folder does not exist."""
    folder = Path(os.environ.get("TRIPLET_DISTILLATION_DATASETS", ROOT.parent / "shared" / "datasets"))
    if not (folder / "lfw").is_dir():
        pytest.skip(f"no real data at {folder}: set TRIPLET_DISTILLATION_DATASETS to a folder with lfw/ in it")
    return folder


def encode_png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def make_faces(identities: int, images: int, seed: int = 0) -> list[store.StoreRow]:
    """``images`` noisy variants of one random low-resolution pattern for each of ``identities``."""
    random = np.random.default_rng(seed)
    faces = []
    for identity in range(identities):
        pattern = cv2.resize(random.integers(0, 256, (7, 7, 3)).astype(np.uint8), (112, 112))
        for image in range(images):
            noisy = np.clip(pattern + random.normal(0, 20, pattern.shape), 0, 255).astype(np.uint8)
            landmarks = np.arange(10, dtype=np.float32)
            faces.append(
                store.StoreRow(
                    encode_png(noisy), identity, f"p{identity}", f"p{identity}/{image}.png", landmarks, 0.9, 0
                )
            )
    return faces


@pytest.fixture
def folder(tmp_path) -> Path:
    """An empty folder for one training run."""
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def small_store(tmp_path) -> Path:
    """A store of 6 identities × 5 faces."""
    path = tmp_path / "store.arrow"
    store.write(path, make_faces(6, 5), {"origin": "synthetic", "checksum": "0"})
    return path

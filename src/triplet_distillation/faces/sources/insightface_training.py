"""An InsightFace training pack: ``train.rec`` and ``train.idx`` (MS1M-IBUG, MS1MV2, CASIA-WebFace, …)."""

import logging
from collections.abc import Iterator
from pathlib import Path

from triplet_distillation.faces.insightface import PACK_FILES, TrainingPack
from triplet_distillation.faces.sources import (
    Downloads,
    EncodedFace,
    Source,
    SourceImage,
    verified_digest,
)
from triplet_distillation.files import link_or_copy


class InsightFaceTrainingSource(Source):
    """The faces of a training pack, byte for byte.

    A pack without InsightFace's header, as mxnet's ``im2rec`` makes it, is read as images only; its origin says so.

    Args:
        path: folder of the pack.
        sha256: expected hex digest of ``train.rec``; empty skips the comparison.
    """

    aligned = True
    contents = "train.rec"
    citation = "that of the pack's data set"
    license = "that of the pack's data set"

    def __init__(self, *, path: str, sha256: str = ""):
        self.path, self.sha256 = Path(path), sha256
        self.files: dict[str, str] = {}
        self.assumed = ""

    @property
    def origin(self) -> str:
        return f"InsightFace training pack {self.path.name}{self.assumed}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[SourceImage]:
        """Link the pack's files into ``folder``, after opening it.

        Raises:
            PackError: a file is missing or damaged.
            ValueError: different checksum.
        """
        pack = TrainingPack(self.path)
        if not pack.identities:
            self.assumed = f", without a header: all {len(pack.images)} records are taken for images"
            logging.warning("%s has no header in record 0%s", self.path / "train.rec", self.assumed)
        names = [*PACK_FILES, "property"] if (self.path / "property").is_file() else PACK_FILES
        for name in names:
            self.files[name] = verified_digest(self.path / name, self.sha256 if name == "train.rec" else "")
            link_or_copy(self.path / name, folder / name)
        return [SourceImage(name, "") for name in self.files]

    def faces(self, folder: Path) -> Iterator[EncodedFace]:
        """Every image, with its label as the identity's name."""
        pack = TrainingPack(folder)
        for number in pack.images:
            label, content = pack.face(number)
            yield EncodedFace(content, str(label), str(number))

"""An InsightFace training pack: ``train.rec``, ``train.idx``, ``property`` (MS1M-IBUG, MS1MV2, CASIA-WebFace, …)."""

from collections.abc import Iterator
from pathlib import Path

from triplet_distillation.faces.insightface import TrainingPack
from triplet_distillation.faces.sources import AlignedFace, Downloads, Photograph, checked_digest, link_or_copy


class Source:
    """The faces of a training pack, byte for byte.

    Args:
        path: folder of the pack.
        sha256: hex digest that ``train.rec`` must have; empty does not compare.
    """

    aligned = True
    citation = "that of the pack's data set"
    licence = "that of the pack's data set"

    def __init__(self, *, path: str, sha256: str = ""):
        self.path, self.sha256 = Path(path), sha256
        self.files: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"InsightFace training pack {self.path.name}"

    def acquire(self, folder: Path, downloads: Downloads) -> list[Photograph]:
        """Link the pack's files below ``folder``, after opening it.

        Raises:
            PackError: a file is missing or broken.
            ValueError: another checksum.
        """
        TrainingPack(self.path)
        for name in ("train.rec", "train.idx", "property"):
            self.files[name] = checked_digest(self.path / name, self.sha256 if name == "train.rec" else "")
            link_or_copy(self.path / name, folder / name)
        return [Photograph(name, "") for name in self.files]

    def faces(self, folder: Path) -> Iterator[AlignedFace]:
        """Every image with its label as the identity's name."""
        pack = TrainingPack(folder)
        for number in pack.images:
            record = pack.record(number)
            yield AlignedFace(record.content, str(int(record.labels[0])), str(number))

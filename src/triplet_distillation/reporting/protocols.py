"""What the numbers of a benchmark are about: metric, fusion of the flipped image, preparation of the faces."""

from triplet_distillation.faces.store import FaceStore
from triplet_distillation.reporting.context import ReportContext

FLIP = {
    "concatenate": "embeddings of image and flipped image concatenated",
    "add": "embeddings of image and flipped image added",
    "none": "embedding of the image alone",
}


def describe_protocols(context: ReportContext, stores: list[str]) -> list[str]:
    """One sentence per benchmark.

    Args:
        context: names, metrics and fusion.
        stores: path of every benchmark's face store.
    """
    return [
        f"{label}: {context.metric(benchmark)}; {FLIP[context.flip]}; {_preparation(store)}."
        for (benchmark, label), store in zip(context.benchmarks.items(), stores, strict=True)
    ]


def _preparation(store: str) -> str:
    found = FaceStore(store).metadata
    return f"{found['origin']}, aligned by {found['detector']}"

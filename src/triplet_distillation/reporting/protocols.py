"""What the numbers of a benchmark are about: metric, fusion of the flipped image, preparation of the faces, split."""

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


def describe_split(context: ReportContext, held_out: list[str], imported: list[str]) -> list[str]:
    """Whether anybody was trained on who is tested, as far as it can be known.

    Args:
        context: names.
        held_out: benchmarks whose people were left out of the training set, by name.
        imported: models whose weights come from elsewhere.
    """
    unknown = [benchmark for benchmark in context.benchmarks if benchmark not in held_out]
    sentences = []
    if held_out:
        sentences.append(f"Nobody who is tested on {_listed(context.benchmarks, held_out)} was trained on here.")
    if unknown:
        sentences.append(
            f"Whether anybody was trained on who is tested on {_listed(context.benchmarks, unknown)} cannot be known: "
            "the data sets do not both name people."
        )
    if imported:
        sentences.append(f"On whom {_listed(context.labels, imported)} was trained elsewhere is not known here.")
    return sentences


def _listed(names: dict[str, str], chosen: list[str]) -> str:
    return ", ".join(names[each] for each in chosen)


def _preparation(store: str) -> str:
    found = FaceStore(store).metadata
    return f"{found['origin']}, aligned by {found['detector']}"

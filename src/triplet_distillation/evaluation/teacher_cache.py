"""The teacher's embeddings of a whole face store, computed once; training reads them memory-mapped."""

import numpy as np

from triplet_distillation.evaluation.embed import embed
from triplet_distillation.evaluation.fusion import normalize
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import atomic_write, write_json
from triplet_distillation.logs import summary
from triplet_distillation.networks import weights
from triplet_distillation.networks.execution import setup_device
from triplet_distillation.provenance import file_digest, library_versions
from triplet_distillation.settings import ExecutionSettings


def write_teacher_embeddings(
    weights_path: str, store_path: str, execution: ExecutionSettings, output: str, sidecar: str
) -> None:
    """Embed a whole store with a teacher.

    Writes [faces, 2, D] float32, L2-normalized (image, flipped image), with row i for item i
    of the store, and a sidecar: the teacher, the store, the input's normalization and color
    order, and that the embeddings are normalized.

    Raises:
        ValueError: the weights are not finite, or an embedding cannot be normalized.
    """
    device = setup_device(execution)
    network, metadata = weights.load(weights_path)
    store = FaceStore(store_path)
    embeddings = embed(network, store, np.arange(len(store)), device, model=weights.describe(metadata, weights_path))
    with atomic_write(output) as temporary:
        np.save(temporary, normalize(embeddings))
    write_json(
        sidecar,
        {
            "teacher": {
                "weights": file_digest(weights_path),
                "network": metadata["network"],
            },
            "store": store.metadata,
            "input": metadata["input"],
            "libraries": library_versions(),
            "normalized": True,
            "shape": list(embeddings.shape),
            "dtype": str(embeddings.dtype),
        },
    )
    summary(f"teacher embeddings: {len(embeddings)} faces × 2 × {embeddings.shape[2]}")

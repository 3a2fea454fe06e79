"""The teacher's embeddings of a whole face store, made once; training reads them memory mapped."""

import numpy as np

from triplet_distillation.evaluation.embed import embed
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import whole, write_json
from triplet_distillation.logs import summary
from triplet_distillation.networks import weights
from triplet_distillation.networks.execution import prepare
from triplet_distillation.provenance import file_digest


def write_cache(weights_path: str, store_path: str, execution: dict, output: str, sidecar: str) -> None:
    """Embed a whole store with a teacher, on ``execution``'s threads and device.

    Writes [faces, 2, D] float32, L2-normalised (image, mirrored image), row i of store item i, and its sidecar.

    The sidecar names the teacher, the store, the input's normalisation and colour order,
    and says that the vectors are normalised.
    """
    device = prepare(execution)
    network, metadata = weights.load(weights_path)
    store = FaceStore(store_path)
    embeddings = embed(network, store, np.arange(len(store)), device)
    with whole(output) as temporary:
        np.save(temporary, embeddings)
    write_json(
        sidecar,
        {
            "teacher": {
                "weights": file_digest(weights_path),
                "network": metadata["network"],
                "study": metadata["study"],
            },
            "store": store.metadata,
            "input": metadata["input"],
            "normalised": True,
            "shape": list(embeddings.shape),
            "dtype": str(embeddings.dtype),
        },
    )
    summary(f"teacher embeddings: {len(embeddings)} faces × 2 × {embeddings.shape[2]}")

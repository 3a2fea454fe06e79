"""The teacher's embeddings of a whole face store, computed once; training reads the rows that it needs."""

import dataclasses
import logging

import numpy as np

from triplet_distillation.evaluation.embed import BATCH_SIZE, embed_batches
from triplet_distillation.evaluation.fusion import normalize
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import write_json
from triplet_distillation.logs import summary
from triplet_distillation.networks import weights
from triplet_distillation.networks.execution import setup_device
from triplet_distillation.provenance import digest, file_digest, file_record, file_stamp, library_versions
from triplet_distillation.row_files import growing_file
from triplet_distillation.settings import ExecutionSettings

log = logging.getLogger(__name__)


def write_teacher_embeddings(
    weights_path: str, store_path: str, execution: ExecutionSettings, output: str, sidecar: str, code: str = ""
) -> None:
    """Embed a whole store with a teacher.

    Writes [faces, 2, D] float32, L2-normalized (image, flipped image), with row i for item i
    of the store, and a sidecar: the teacher, the store, the input's normalization and color
    order, that the embeddings are normalized, and the file's checksum. Memory does not depend on the number of faces.
    An interrupted job is continued.

    Args:
        code: version of the code; what an interrupted job has embedded with another one is not used.

    Raises:
        ValueError: the weights are not finite, or an embedding cannot be normalized.
    """
    device = setup_device(execution)
    network, metadata = weights.load(weights_path)
    store = FaceStore(store_path)
    teacher = {"weights": file_digest(weights_path), "network": metadata["network"]}
    made_of = {
        "teacher": teacher,
        "store": store.metadata,
        "input": metadata["input"],
        "libraries": library_versions(),
    }
    shape = (len(store), 2, network.embedding_size)
    model = weights.describe(metadata, weights_path)
    settings = {
        "execution": dataclasses.asdict(execution),
        "batch_size": BATCH_SIZE,
        "code": code,
        "shape": shape,
        # A store that was made again may say the same of itself, although its faces differ.
        "store_file": file_stamp(store_path),
    }
    with growing_file(output, shape, digest(made_of | settings)) as growing:
        if growing.rows:
            log.info("resuming from face %d of %d", growing.rows, len(store))
        rows = np.arange(growing.rows, len(store))
        for batch in embed_batches(network, store, rows, device, BATCH_SIZE, model):
            growing.append(normalize(batch))
    made_of |= {"normalized": True, "shape": list(shape), "dtype": "float32", "file": file_record(output)}
    write_json(sidecar, made_of)
    summary(f"teacher embeddings: {shape[0]} faces × 2 × {shape[2]}")

"""Face stores and pairs as InsightFace's packs, for people who train or test elsewhere."""

import hashlib
from pathlib import Path

import numpy as np

from triplet_distillation.faces import insightface
from triplet_distillation.faces.store import NO_FACE, FaceStore
from triplet_distillation.files import read_table, write_json
from triplet_distillation.logs import summary


def export_training_pack(store_path: str, folder: str) -> None:
    """Write every face that was found as a training pack: ``train.rec``, ``train.idx``, ``property``.

    The faces keep their bytes; identities are numbered anew, without a gap, in the order of
    their labels.
    """
    store = FaceStore(store_path)
    rows, numbers = _order(store)
    faces = ((int(number), bytes(store.encoded(row))) for number, row in zip(numbers, rows))
    insightface.write_training_pack(folder, faces)
    summary(f"{folder}: {len(rows)} faces of {numbers.max() + 1} identities")


def export_verification_pack(store_path: str, pairs_path: str, output: str) -> None:
    """Write a benchmark's pairs as a verification pack (``.bin``), in the order of their folds."""
    store, pairs = FaceStore(store_path), read_table(pairs_path)
    pairs = pairs.sort_values("fold", kind="stable")
    images = [bytes(store.encoded(row)) for row in pairs[["a", "b"]].to_numpy().ravel()]
    insightface.write_verification_pack(Path(output), images, pairs.same)
    summary(f"{output}: {len(pairs)} pairs")


def check_training_pack(store_path: str, listing_path: str, output: str) -> None:
    """Compare what mxnet read from an exported pack with the store it was made of.

    Args:
        listing_path: CSV ``record, label, second_label, sha256, shape``, one row a record.
        output: JSON with what was compared.

    Raises:
        ValueError: a byte, a label or an identity's range differs; the message says where.
    """
    store, listing = FaceStore(store_path), read_table(listing_path).set_index("record")
    rows, numbers = _order(store)
    first_identity = len(rows) + 1
    bounds = listing.loc[0, ["label", "second_label"]].tolist()
    if bounds != [first_identity, first_identity + numbers.max() + 1] or len(listing) != bounds[1]:
        raise ValueError(f"record 0 names {bounds} and there are {len(listing)} records: not those of {store_path}")
    images = listing.loc[1 : first_identity - 1]
    expected = [hashlib.sha256(store.encoded(row)).hexdigest() for row in rows]
    wrong = (images.sha256 != expected) | (images.label != numbers) | (images["shape"] != "112x112x3")
    if wrong.any():
        record = wrong.idxmax()
        wanted = expected[record - 1], int(numbers[record - 1])
        raise ValueError(f"record {record}: mxnet reads {images.loc[record].to_dict()}, the store has {wanted}")
    ends = 1 + np.cumsum(np.bincount(numbers))
    ranges = np.column_stack([np.append(1, ends[:-1]), ends])
    found = listing.loc[first_identity:, ["label", "second_label"]].to_numpy()
    if (found != ranges).any():
        number = int((found != ranges).any(axis=1).argmax())
        raise ValueError(f"identity {number}: mxnet reads the range {found[number]}, its images are {ranges[number]}")
    write_json(output, {"faces": len(rows), "identities": int(numbers.max()) + 1, "equal": True})
    summary(f"mxnet reads all {len(rows)} faces of {numbers.max() + 1} identities as they are in the store")


def _order(store: FaceStore) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the faces that were found, identity by identity, and each one's identity number without gaps."""
    labels = store.column("label")
    usable = np.flatnonzero(store.column("flag") != NO_FACE)
    rows = usable[np.argsort(labels[usable], kind="stable")]
    return rows, np.unique(labels[rows], return_inverse=True)[1]

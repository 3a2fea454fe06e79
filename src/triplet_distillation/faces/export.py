"""Face stores and pairs as InsightFace packs, for training or testing elsewhere."""

import hashlib
from pathlib import Path

import numpy as np

from triplet_distillation.faces import insightface
from triplet_distillation.faces.split import HeldOutFaces, everyone_in, identities_in
from triplet_distillation.faces.store import NO_FACE, FaceStore
from triplet_distillation.files import write_json
from triplet_distillation.logs import summary
from triplet_distillation.tabular import read_table


def export_training_pack(store_path: str, held_out: list[HeldOutFaces], folder: str) -> None:
    """Write detected faces to a training pack: ``train.rec``, ``train.idx``, ``property``.

    The bytes of the faces are unchanged; identities are renumbered without gaps, in the
    order of their labels.

    Args:
        held_out: whose faces are left out.

    Raises:
        ValueError: nobody is left, or there are more faces than a pack can hold.
    """
    store = FaceStore(store_path)
    rows, labels = _order(store, held_out)
    insightface.check_number_of_records(len(rows), int(labels.max()) + 1)
    faces = ((int(label), bytes(store.encoded(row))) for label, row in zip(labels, rows))
    insightface.write_training_pack(folder, faces)
    summary(f"{folder}: {len(rows)} faces of {labels.max() + 1} identities")


def export_verification_pack(store_path: str, pairs_path: str, output: str) -> None:
    """Write a benchmark's pairs as a verification pack (``.bin``), in the order of their folds."""
    store, pairs = FaceStore(store_path), read_table(pairs_path)
    pairs = pairs.sort_values("fold", kind="stable")
    images = [bytes(store.encoded(row)) for row in pairs[["a", "b"]].to_numpy().ravel()]
    insightface.write_verification_pack(Path(output), images, pairs.same)
    summary(f"{output}: {len(pairs)} pairs")


def check_training_pack(store_path: str, held_out: list[HeldOutFaces], listing_path: str, output: str) -> None:
    """Compare what mxnet read from an exported pack with the store it was made from.

    Args:
        held_out: whose faces were left out.
        listing_path: CSV ``record, label, second_label, sha256, shape``, one row per record.
        output: JSON that says what was compared.

    Raises:
        ValueError: a byte, a label or the range of an identity differs; the message says where.
    """
    store, listing = FaceStore(store_path), read_table(listing_path, text=("sha256", "shape")).set_index("record")
    rows, labels = _order(store, held_out)
    first_identity = len(rows) + 1
    bounds = listing.loc[0, ["label", "second_label"]].tolist()
    if bounds != [first_identity, first_identity + labels.max() + 1] or len(listing) != bounds[1]:
        raise ValueError(
            f"record 0 has the bounds {bounds} and there are {len(listing)} records: they do not match {store_path}"
        )
    images = listing.loc[1 : first_identity - 1]
    checksums = [hashlib.sha256(store.encoded(row)).hexdigest() for row in rows]
    wrong = (images["sha256"] != checksums) | (images["label"] != labels) | (images["shape"] != "112x112x3")
    if wrong.any():
        place = int(wrong.to_numpy().argmax())
        found, expected = images.iloc[place].to_dict(), (checksums[place], int(labels[place]))
        raise ValueError(f"record {place + 1}: mxnet reads {found}, the store has {expected}")
    ends = 1 + np.cumsum(np.bincount(labels))
    ranges = np.column_stack([np.append(1, ends[:-1]), ends])
    found = listing.loc[first_identity:, ["label", "second_label"]].to_numpy()
    if (found != ranges).any():
        label = int((found != ranges).any(axis=1).argmax())
        raise ValueError(f"label {label}: mxnet reads the range {found[label]}, its images are {ranges[label]}")
    write_json(output, {"faces": len(rows), "identities": int(labels.max()) + 1, "equal": True})
    summary(f"mxnet reads all {len(rows)} faces of {labels.max() + 1} identities as they are in the store")


def _order(store: FaceStore, held_out: list[HeldOutFaces]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the detected faces, grouped by identity, and their labels, renumbered without gaps."""
    labels, left_out = store.column("label"), everyone_in(held_out)
    usable = (store.column("detection_status") != NO_FACE) & ~identities_in(store).are(left_out)
    if not usable.any():
        raise ValueError(f"nobody in {store.path} is left for a training pack: all of them are tested")
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(labels[rows], kind="stable")]
    return rows, np.unique(labels[rows], return_inverse=True)[1]

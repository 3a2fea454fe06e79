"""The pairs of a benchmark: a table ``a, b, same, fold`` of store rows."""

import itertools

import numpy as np
import pandas as pd


def held_out_people(identities: np.ndarray, number: int, seed: int) -> list[str]:
    """Choose ``number`` people at random, never to be trained on.

    Args:
        identities: identity name of every face, [N].

    Raises:
        ValueError: the data set has not that many people to spare.
    """
    names = np.unique(identities)
    if not 2 <= number < len(names):
        raise ValueError(f"people is {number}, but the data set has {len(names)}: 2 … {len(names) - 1} can be held out")
    return sorted(np.random.default_rng(seed).choice(names, number, replace=False))


def held_out_pairs(identities: np.ndarray, people: list[str], folds: int, seed: int) -> pd.DataFrame:
    """All genuine pairs of ``people`` and as many impostor pairs, in folds that share no person.

    As in LFW's View 2 each fold has its own people, so that a threshold is applied to
    people on whom it was not chosen. Impostor pairs are drawn without replacement within
    a fold.

    Args:
        identities: identity name of every face in the store, [N].
        people: the held-out people.
        folds: how many; each needs two people.
        seed: of the impostors and the folds.

    Raises:
        ValueError: too few people for the folds, or too few impostor pairs in one.
    """
    if len(people) < 2 * folds:
        raise ValueError(f"{folds} folds need at least {2 * folds} held-out people, there are {len(people)}")
    random = np.random.default_rng([seed, 1])
    tables = []
    for fold, members in enumerate(np.array_split(random.permutation(people), folds)):
        rows = np.flatnonzero(np.isin(identities, members))
        pairs = np.array(list(itertools.combinations(rows, 2)))
        same = identities[pairs[:, 0]] == identities[pairs[:, 1]]
        if same.sum() == 0 or (~same).sum() < same.sum():
            raise ValueError(
                f"fold {fold} ({', '.join(members)}) has {same.sum()} genuine and {(~same).sum()} impostor pairs: "
                "lower the number of folds, or hold out more people"
            )
        impostors = np.sort(random.choice(np.flatnonzero(~same), same.sum(), replace=False))
        chosen = np.concatenate([np.flatnonzero(same), impostors])
        tables.append(pd.DataFrame({"a": pairs[chosen, 0], "b": pairs[chosen, 1], "same": same[chosen], "fold": fold}))
    return pd.concat(tables, ignore_index=True)


def published_pairs(named: pd.DataFrame, sources: np.ndarray, folds: list[int]) -> pd.DataFrame:
    """A protocol's pairs as store rows, of the folds asked for.

    Args:
        named: ``a, b`` (names of photographs), ``same``, ``fold``.
        sources: name of every face's photograph in the store, [N].
        folds: numbers of the folds; empty takes all.

    Raises:
        ValueError: a fold that the protocol does not have, or a pair of a photograph that
            the store does not have.
    """
    if missing := sorted(set(folds) - set(named.fold)):
        raise ValueError(f"published.folds asks for {missing}: the protocol has {sorted(set(named.fold))}")
    chosen = named[named.fold.isin(folds)] if folds else named
    row_of = pd.Series(np.arange(len(sources)), index=sources)
    unknown = sorted((set(chosen.a) | set(chosen.b)) - set(row_of.index))
    if unknown:
        raise ValueError(
            f"{len(unknown)} photographs of the pairs are not in the store, the first {unknown[0]!r}: the pairs are of "
            "another data set or variant, or the photograph could not be read (see faces/quality.html)"
        )
    return pd.DataFrame(
        {
            "a": row_of[chosen.a].to_numpy(),
            "b": row_of[chosen.b].to_numpy(),
            "same": chosen.same.to_numpy(),
            "fold": chosen.fold.to_numpy(),
        }
    )


def training_set(identities: np.ndarray, usable: np.ndarray, tested: set[str], minimum_images: int) -> pd.DataFrame:
    """The faces to train on: of people in no benchmark, with a face that was found.

    Args:
        identities: identity name of every face in the store, [N].
        usable: whether the face may be trained on, [N] bool.
        tested: people of the benchmarks on the same data set.
        minimum_images: identities with fewer usable faces are left out.

    Returns:
        ``row`` (of the store), ``label`` (0 … identities − 1, in the order of the store).

    Raises:
        ValueError: fewer than two identities remain.
    """
    faces = pd.DataFrame({"row": np.flatnonzero(usable), "identity": identities[usable]})
    faces = faces[~faces.identity.isin(tested)]
    faces = faces[faces.groupby("identity").row.transform("size") >= minimum_images]
    labels, names = pd.factorize(faces.identity)
    if len(names) < 2:
        raise ValueError(
            f"{len(names)} identities remain to train on after the benchmarks' {len(tested)} people and those with "
            f"fewer than {minimum_images} faces are taken out: hold out fewer people, lower "
            "training_data.minimum_images, or train on another data set"
        )
    return pd.DataFrame({"row": faces.row.to_numpy(), "label": labels.astype(np.int32)})

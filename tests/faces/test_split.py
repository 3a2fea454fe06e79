"""Nobody is trained on who is tested, also in another data set that names people."""

import pandas as pd
import pytest
from conftest import make_faces

from triplet_distillation.configuration import names_are_comparable
from triplet_distillation.faces import insightface, store
from triplet_distillation.faces.acquire import open_source
from triplet_distillation.faces.align import copy_aligned_faces
from triplet_distillation.faces.split import (
    DatasetFiles,
    HeldOutFaces,
    PairFiles,
    Protocol,
    RequiredPairs,
    write_pairs,
    write_training_set,
)
from triplet_distillation.tabular import write_table


def make_store(path, names):
    faces = [
        face._replace(identity=name, source=f"{name}/{index}.png")
        for label, name in enumerate(names)
        for index, face in enumerate(make_faces(len(names), 3)[3 * label : 3 * label + 3])
    ]
    store.write(path, faces, {})


def test_people_of_another_data_set_are_not_trained_on(tmp_path):
    make_store(tmp_path / "lfw.arrow", ["Anna_B", "Carl_D", "Eve", "Olga"])
    make_store(tmp_path / "cplfw.arrow", ["Eve", "Zoe", "Anna_B"])
    write_table(tmp_path / "faces.parquet", pd.DataFrame({"row": [0, 1, 3]}))  # Eve and Zoe
    tested = [HeldOutFaces(str(tmp_path / "cplfw.arrow"), str(tmp_path / "faces.parquet"))]
    write_training_set(str(tmp_path / "lfw.arrow"), tested, 1, str(tmp_path / "training.parquet"))
    identities = store.FaceStore(tmp_path / "lfw.arrow").column("identity")
    trained = identities[pd.read_parquet(tmp_path / "training.parquet").row]
    assert set(trained) == {"Anna_B", "Carl_D", "Olga"}


@pytest.mark.parametrize(
    ("first", "second", "comparable"),
    [
        ({"source": "lfw"}, {"source": "cross_lfw"}, True),
        ({"source": "lfw"}, {"source": "folder"}, True),
        ({"source": "lfw"}, {"source": "folder", "real_names": False}, False),
        ({"source": "lfw"}, {"source": "orl"}, False),
        ({"source": "insightface_training"}, {"source": "insightface_verification"}, False),
        ({"source": "cfp", "path": "x"}, {"source": "cfp", "path": "y"}, False),
        ({"source": "orl", "alignment": {"detector": "mtcnn"}}, {"source": "orl", "alignment": {}}, True),
    ],
)
def test_names_are_compared_where_both_data_sets_have_them(first, second, comparable):
    datasets = {"a": first, "b": second}
    assert names_are_comparable("a", "b", datasets) is comparable
    assert names_are_comparable("a", "a", datasets) is True


def write_own_pairs(folder, lines, required):
    """Write pairs of two people, Anna and Bo, with three images each."""
    make_store(folder / "store.arrow", ["Anna", "Bo"])
    (folder / "pairs.csv").write_text("\n".join(["a,b,same,fold", *lines]) + "\n")
    protocol = Protocol((0, 1), pairs={"file": str(folder / "pairs.csv"), "folds": []})
    files = DatasetFiles(str(folder / "store.arrow"), str(folder))
    output = PairFiles(str(folder / "pairs.parquet"), str(folder / "templates.parquet"))
    write_pairs(files, {"source": "folder", "path": "x"}, protocol, required, output)
    return pd.read_parquet(output.pairs)


GENUINE = ["Anna/0.png,Anna/1.png,1,1", "Bo/0.png,Bo/1.png,1,2"]
IMPOSTOR = ["Anna/0.png,Bo/1.png,0,1", "Anna/1.png,Bo/0.png,0,2"]


def test_own_pairs_become_rows(tmp_path):
    table = write_own_pairs(tmp_path, [*GENUINE, *IMPOSTOR], RequiredPairs(2, 1))
    assert table[["a", "b"]].to_numpy().tolist() == [[0, 1], [3, 4], [0, 4], [1, 3]]
    assert table.same.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("lines", "required", "message"),
    [
        (GENUINE, RequiredPairs(1, 0), "2 genuine and 0 impostor pairs: it needs both; add impostor pairs"),
        ([GENUINE[0], IMPOSTOR[0]], RequiredPairs(2, 1), "in 1 fold, but its metric needs 2"),
        ([*GENUINE, *IMPOSTOR], RequiredPairs(1, 10), "2 impostor pairs, but its metric needs 10"),
        (
            [*GENUINE, IMPOSTOR[0]],
            RequiredPairs(2, 1),
            r"pairs\.csv: the benchmark has 2 genuine and 1 impostor pairs in 2 folds, but fold 2 has 1 and 0: each",
        ),
        (
            [GENUINE[0], *IMPOSTOR],
            RequiredPairs(1, 1),
            "has 1 genuine and 2 impostor pairs in 2 folds, but fold 2 has 0 and 1: each",
        ),
        (
            [*GENUINE, "Anna/9.png,Bo/2.png,0,1"],
            RequiredPairs(2, 1),
            r"line 4: 1 images .* first is 'Anna/9\.png': write",
        ),
        (["Anna/0.png,Bo/2.png,1,1", *IMPOSTOR], RequiredPairs(2, 1), "'Bo/2.png' are genuine .* 'Anna' and 'Bo'"),
        (
            [*GENUINE, "Anna/0.png,Anna/2.png,0,2"],
            RequiredPairs(2, 1),
            "'Anna/2.png' are impostor in the file of pairs",
        ),
    ],
)
def test_own_pairs_that_say_nothing_or_contradict_the_data_are_refused(tmp_path, lines, required, message):
    with pytest.raises(ValueError, match=message):
        write_own_pairs(tmp_path, lines, required)


def test_a_verification_pack_with_all_genuine_pairs_first_is_refused_with_counts(tmp_path):
    """Its folds follow from the order of its pairs, so that the first ones would have genuine pairs only."""
    images = [face.image for face in make_faces(12, 1)]
    insightface.write_verification_pack(tmp_path / "v.bin", images, [True] * 4 + [False] * 2)
    source = {"source": "insightface_verification", "path": str(tmp_path / "v.bin"), "folds": 3}
    faces = open_source(source).faces(tmp_path)
    copy_aligned_faces(faces, {}, tmp_path / "store.arrow")
    files = DatasetFiles(str(tmp_path / "store.arrow"), str(tmp_path))
    output = PairFiles(str(tmp_path / "pairs.parquet"), str(tmp_path / "templates.parquet"))
    protocol = Protocol((0, 1), published={"protocol": "published", "folds": []})
    with pytest.raises(ValueError, match=r"4 genuine and 2 impostor .* fold 1 has 2 and 0, fold 2 has 2 and 0, fold 3"):
        write_pairs(files, source, protocol, RequiredPairs(2, 1), output)
    assert not (tmp_path / "pairs.parquet").exists()

"""Nobody is trained on who is tested, also in another data set that names people."""

import pandas as pd
import pytest
from conftest import make_faces

from triplet_distillation.configuration import names_are_comparable
from triplet_distillation.faces import store
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


GENUINE, IMPOSTOR = "Anna/0.png,Anna/1.png,1,1", "Anna/0.png,Bo/1.png,0,2"


def test_own_pairs_become_rows(tmp_path):
    table = write_own_pairs(tmp_path, [GENUINE, IMPOSTOR], RequiredPairs(2, 1))
    assert table[["a", "b"]].to_numpy().tolist() == [[0, 1], [0, 4]]
    assert table.same.tolist() == [True, False]


@pytest.mark.parametrize(
    ("lines", "required", "message"),
    [
        ([GENUINE], RequiredPairs(1, 0), "1 genuine and 0 impostor pairs: it needs both"),
        ([GENUINE, IMPOSTOR[:-1] + "1"], RequiredPairs(2, 1), "in 1 fold, but its metric needs 2"),
        ([GENUINE, IMPOSTOR], RequiredPairs(1, 10), "1 impostor pairs, but its metric needs 10"),
        (["Anna/0.png,Bo/1.png,1,1", IMPOSTOR], RequiredPairs(2, 1), "'Bo/1.png' are genuine .* 'Anna' and 'Bo'"),
        ([GENUINE, "Anna/0.png,Anna/2.png,0,2"], RequiredPairs(2, 1), "'Anna/2.png' are impostor in the file of pairs"),
    ],
)
def test_own_pairs_that_say_nothing_or_contradict_the_data_are_refused(tmp_path, lines, required, message):
    with pytest.raises(ValueError, match=message):
        write_own_pairs(tmp_path, lines, required)

"""Nobody is trained on who is tested, also in another data set that names people."""

import pandas as pd
import pytest
from conftest import make_faces

from triplet_distillation.configuration import names_are_comparable
from triplet_distillation.faces import store
from triplet_distillation.faces.split import HeldOutFaces, write_training_set
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
        ({"source": "cfp"}, {"source": "cfp"}, False),
    ],
)
def test_names_are_compared_where_both_data_sets_have_them(first, second, comparable):
    datasets = {"a": first, "b": second}
    assert names_are_comparable("a", "b", datasets) is comparable
    assert names_are_comparable("a", "a", datasets) is True

"""Names that look like numbers, pairs of one's own, several protocols of one data set, templates: one small study."""

import itertools
import re

import pandas as pd
import pytest
from layouts import make_cfp, make_folder, make_ijb
from test_workflow import SMALL, Study

from triplet_distillation.faces import insightface
from triplet_distillation.faces.store import FaceStore

pytestmark = pytest.mark.workflow
AWKWARD = ["1", "01", "NA", "Ünal", "None"]
OTHERS = ["anna", "001", "nan", "1e3", "null", "True", "b c"]
TESTED = ["1", "01", "NA", "None"]


def make_pairs(people: list[str], images: int = 6) -> pd.DataFrame:
    """All genuine pairs of ``people``, and as many impostor pairs of each with the next one, in two folds."""
    rows = []
    for place, name in enumerate(people):
        for i, j in itertools.combinations(range(1, images + 1), 2):
            other = people[place ^ 1]
            rows += [(f"{name}/{i}.pgm", f"{name}/{j}.pgm", 1, 1 + place // 2)]
            rows += [(f"{name}/{i}.pgm", f"{other}/{j}.pgm", 0, 1 + place // 2)]
    return pd.DataFrame(rows, columns=["a", "b", "same", "fold"])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocols")
    study = Study(folder)
    alignment = {"alignment": {"shards": 1}}
    ijb = make_ijb(folder / "ijb", people=6, images=6)
    study.overlay |= {
        "study": "protocols",
        "datasets": {
            "orl": None,
            "mine": make_folder(folder / "mine", AWKWARD + OTHERS) | alignment,
            "cfp": make_cfp(folder / "cfp", first=21) | alignment,
            "ijbc": ijb | alignment,
        },
        "training_data": {"dataset": "mine"},
        "benchmarks": {
            "orl_unseen": None,
            "own": {"label": "My pairs", "dataset": "mine", "pairs": {"file": str(folder / "pairs.csv")}},
            "cfp_fp": {"dataset": "cfp", "published": {}},
            "cfp_ff": {"dataset": "cfp", "published": {"protocol": "FF"}},
            "ijbc": {"dataset": "ijbc", "published": {}, "metric": "tar_at_far", "far": 0.4},
        },
    }
    study.pairs = folder / "pairs.csv"
    make_pairs(TESTED).to_csv(study.pairs, index=False)
    study.configure()
    study.results = study.root / "results/protocols"
    study.snakemake("table2", "results/protocols/tables/verification.html", "results/protocols/faces/quality.html")
    return study


def test_awkward_names_are_people_of_their_own(study):
    store = FaceStore(study.results / "faces/mine/store.arrow")
    assert sorted(set(store.column("identity"))) == sorted(AWKWARD + OTHERS)
    assert len(set(store.column("label"))) == len(AWKWARD + OTHERS)
    trained = store.column("identity")[pd.read_parquet(study.results / "split/round0/training_set.parquet").row]
    assert set(trained) == {*AWKWARD, *OTHERS} - set(TESTED)


def test_exported_pack_has_nobody_who_is_tested_unless_asked(study):
    store = FaceStore(study.results / "faces/mine/store.arrow")
    contents = {bytes(store.encoded(row)): name for row, name in enumerate(store.column("identity"))}
    study.configure("packs.yaml", packs={"held_out": True})
    for config, expected in (("small.yaml", {*AWKWARD, *OTHERS} - set(TESTED)), ("packs.yaml", {*AWKWARD, *OTHERS})):
        study.snakemake("results/protocols/packs/mine/train.rec", config=config)
        pack = insightface.TrainingPack(study.results / "packs/mine")
        found = {contents[pack.record(number).content] for number in pack.images}
        assert found == expected
        assert len(pack.identities) == len(expected)
        assert (study.results / "packs/mine/property").read_text() == f"{len(expected)},112,112\n"


def test_protocols_of_one_data_set_share_its_alignment_and_its_embeddings(study):
    assert sorted(path.name for path in (study.results / "faces").iterdir() if path.is_dir()) == ["cfp", "ijbc", "mine"]
    kept = {path.name for path in (study.results / "evaluation/student/seed0").iterdir()}
    assert kept == {"cfp.safetensors", "ijbc.safetensors", "mine.safetensors", "metrics.json", "scores.parquet"}
    scores = pd.read_parquet(study.results / "evaluation/student/seed0/scores.parquet")
    assert scores.groupby("benchmark").size().to_dict() == {"own": 120, "cfp_fp": 64, "cfp_ff": 48, "ijbc": 42}
    sources = FaceStore(study.results / "faces/cfp/store.arrow").column("source")
    poses = {name: set() for name in ("cfp_fp", "cfp_ff")}
    for name, table in scores.groupby("benchmark"):
        if name in poses:
            poses[name] = {(sources[a].split("/")[3], sources[b].split("/")[3]) for a, b in zip(table.a, table.b)}
    assert poses == {"cfp_fp": {("frontal", "profile")}, "cfp_ff": {("frontal", "frontal")}}


def test_tables_name_metric_fusion_and_preparation(study):
    table2 = pd.read_csv(study.results / "tables/table2.csv").set_index("model")
    verification = pd.read_csv(study.results / "tables/verification.csv").set_index(["model", "benchmark"])
    tar = verification.loc[("teacher", "ijbc"), "tar_at_far_0.4"]
    assert table2.loc["teacher", "ijbc"] == pytest.approx(100 * tar)
    assert pd.isna(verification.loc[("teacher", "ijbc"), "accuracy"])
    for page in ("table2.html", "verification.html"):
        text = (study.results / "tables" / page).read_text()
        assert "ijbc: TAR at FAR 0.4; embeddings of image and flipped image concatenated; IJB-C" in text
        assert "aligned by landmarks published with the data set" in text
        assert re.search(r"cfp_ff: accuracy; .*; CFP, aligned by mtcnn", text)


def test_what_cannot_be_known_is_said(study):
    text = (study.results / "faces/quality.html").read_text()
    assert text.count("Whether somebody is in both cannot be known") == 3
    assert text.count("Identities with the same name in both: 0.") == 1


def test_other_pairs_of_the_same_people_are_scored_from_the_kept_embeddings(study):
    kept = study.pairs.read_bytes()
    try:
        fewer = make_pairs(["01", "1", "None", "NA"], images=5).drop(index=[3, 4])
        fewer.to_csv(study.pairs, index=False)
        jobs = study.would_run("table2")
        models = ("teacher", "student", *(f"students/triplet_{name}" for name in ("0.3", "matched", "distillation")))
        assert jobs == {
            "make_pairs:round=0, benchmark=own",
            "make_table2",
            *(f"evaluate:model={model}, seed=0" for model in models),
        }
        make_pairs(["1", "01", "NA", "Ünal"]).to_csv(study.pairs, index=False)
        jobs = study.would_run("table2")
        assert {"list_test_faces:round=0, benchmark=own", "make_training_set:round=0"} <= jobs
        assert {"train:role=teacher, seed=0", "distill:method=triplet_0.3, seed=0"} <= jobs
        assert "embed_test_faces:model=teacher, seed=0, dataset=mine" in jobs
    finally:
        study.pairs.write_bytes(kept)


def test_wrong_line_in_own_pairs_is_reported(study):
    kept = study.pairs.read_bytes()
    try:
        study.pairs.write_bytes(kept.replace(b"1/1.pgm", b"1/9.pgm", 1))
        process = study.snakemake("results/protocols/split/round0/pairs/own.parquet", check=False)
        assert process.returncode != 0
        assert "1 images of the pairs are not in the store, the first is '1/9.pgm'" in process.text
    finally:
        study.pairs.write_bytes(kept)
        study.snakemake("table2")


def test_too_few_impostor_pairs_for_a_metric_stop_before_training(study):
    benchmarks = study.overlay["benchmarks"] | {"own": None, "cfp_ff": None, "cfp_fp": None}
    benchmarks["ijbc"] = benchmarks["ijbc"] | {"far": 0.001}
    study.configure("rare.yaml", benchmarks=benchmarks, study="rare", methods=SMALL["methods"])
    process = study.snakemake("results/rare/split/round0/pairs/ijbc.parquet", config="rare.yaml", check=False)
    assert "30 impostor pairs, but its metric needs 10000: set a higher far" in process.text


def test_pairs_of_images_that_are_not_in_the_store_yet_do_not_stop_it_from_being_made(study):
    kept = study.pairs.read_bytes()
    try:
        study.pairs.write_bytes(kept + b"1/7.pgm,1/8.pgm,1,1\n")
        assert "acquire:dataset=mine" in study.would_run("table2", "-R", "acquire")
    finally:
        study.pairs.write_bytes(kept)


def test_templates_are_not_exported_as_pairs_of_faces(study):
    jobs = study.would_run("packs")
    assert {job for job in jobs if "verification_pack" in job} == {
        f"export_verification_pack:benchmark={name}" for name in ("own", "cfp_fp", "cfp_ff")
    }


def test_ablations_and_models_from_elsewhere(study, tmp_path):
    """A method's own value is the method itself; the same weights and the same scores give the same numbers."""
    scores = pd.read_parquet(study.results / "evaluation/teacher/seed0/scores.parquet")
    scores["pair"] = scores.groupby("benchmark").cumcount()
    path = tmp_path / "scores.csv"
    scores.assign(model="scored", run=0)[["model", "run", "benchmark", "pair", "score"]].to_csv(path, index=False)
    models = {
        "again": {"network": "tiny", "weights": str(study.results / "student/seed0/weights.safetensors")},
        "scored": {"scores": str(path)},
    }
    ablations = {"triplet_distillation": {"distance": ["squared_euclidean", "cosine"], "training.learning_rate": [0.5]}}
    study.configure("more.yaml", ablations=ablations, models=models)
    before = study.would_run("table2", config="small.yaml")
    jobs = study.would_run("table2", "results/protocols/tables/ablations.html", config="more.yaml")
    assert {job for job in jobs if job.startswith(("train:", "distill:"))} == {
        "distill:method=triplet_distillation-distance-cosine, seed=0",
        "distill:method=triplet_distillation-training.learning_rate-0.5, seed=0",
    }
    targets = ("table2", "results/protocols/tables/findings.html", "results/protocols/tables/ablations.html")
    study.snakemake(*targets, "results/protocols/figures/accuracy_against_flops.svg", config="more.yaml")
    table2 = pd.read_csv(study.results / "tables/table2.csv").set_index("model")
    numbers = table2.drop(columns="label")
    assert numbers.loc["again"].equals(numbers.loc["student"])
    assert numbers.loc["scored"].equals(numbers.loc["teacher"])
    table = pd.read_csv(study.results / "tables/ablations.csv").set_index(["setting", "value"])
    own = table.loc[("distance", "squared_euclidean")]
    assert own.cfp_fp == numbers.loc["triplet_distillation", "cfp_fp"]
    assert pd.isna(own.cfp_fp_difference)
    for key in (("distance", "cosine"), ("training.learning_rate", "0.5")):
        row = table.loc[key]
        assert row.cfp_fp_difference == pytest.approx(row.cfp_fp - own.cfp_fp)
        assert row.cfp_fp_verdict == "no verdict: 1 run"
    claims = pd.read_csv(study.results / "tables/comparisons.csv")
    assert {"again", "scored"} <= set(claims.b)
    assert before == set()

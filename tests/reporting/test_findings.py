"""Tables and findings from scores that were made by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from triplet_distillation.evaluation import significance, verification
from triplet_distillation.reporting import findings, methods, tables
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.reporting.protocols import describe_split
from triplet_distillation.reporting.runs import Evaluations, basis
from triplet_distillation.tabular import write_table

FIRST_FOLD, PEOPLE = 30, 20
METHODS = ["students/a", "students/b"]


def make_context(seeds: int, rounds: int = 1, shared: bool = True) -> ReportContext:
    own = list(range(seeds))
    first = [seed % rounds for seed in own] if shared else own
    models = {"teacher": first, "student": own, **dict.fromkeys(METHODS, own)}
    names = {"teacher": "Teacher", "student": "Student", "students/a": "+ A", "students/b": "+ B"}
    turns = [seed % rounds for seed in own]
    return ReportContext(
        names, {"bench": "Bench"}, own, models, models, turns, {"bench": turns}, {"bench": None}, "concatenate"
    )


def make_evaluations(folder, context: ReportContext, quality: dict[str, float], identical: bool = False) -> Evaluations:
    """Scores whose genuine mean is ``quality`` of the model; unequal folds; the people of a round are its own."""
    scores = {}
    for model, runs in context.runs.items():
        for run in dict.fromkeys(runs):
            number = context.test_groups["bench"][run]
            pairs = np.random.default_rng(number)
            same = np.arange(200) % 2 == 0
            first = pairs.integers(0, PEOPLE, 200)
            second = np.where(same, first, (first + pairs.integers(1, PEOPLE, 200)) % PEOPLE)
            noise = np.random.default_rng(0 if identical else [run, len(model), number]).normal(0, 0.2, 200)
            table = pd.DataFrame({"a": first, "b": second, "same": same, "fold": np.arange(200) >= FIRST_FOLD})
            table = table.assign(score=noise + quality.get(model, 0.5) * same, benchmark="bench")
            table = table.assign(identity_a=first, identity_b=second)
            path = folder / f"{model.replace('/', '_')}{run}.parquet"
            write_table(path, table)
            scores.setdefault(model, {})[run] = str(path)
    sets = []
    for number in range(len(set(context.rounds))):
        sets.append(str(folder / f"training{number}.parquet"))
        rows = np.setdiff1d(np.arange(80), np.arange(20) + 20 * number if len(set(context.rounds)) > 1 else [])
        write_table(sets[-1], pd.DataFrame({"row": rows, "label": np.arange(len(rows)) // 2}))
    return Evaluations(scores, sets, context)


def test_tables_agree_on_one_number_per_model_where_folds_are_unequal(tmp_path):
    context = make_context(seeds=1)
    evaluations = make_evaluations(tmp_path, context, {})
    sets = [str(tmp_path / "training0.parquet")]
    outputs = tables.TableFiles(*(str(tmp_path / f"table2.{kind}") for kind in ("csv", "html", "tex")))
    tables.write_table2(evaluations, sets, ["About Bench."], outputs)
    table2 = pd.read_csv(outputs.csv).set_index("model").bench
    for model in context.runs:
        scores = evaluations.table(model, "bench", 0)
        metrics = verification.evaluate(scores.score.to_numpy(), scores, [])
        correct = verification.k_fold_accuracy(*(scores[name].to_numpy() for name in ("score", "same", "fold"))).correct
        by_fold = [correct[scores.fold == fold].mean() for fold in (False, True)]
        assert 100 * metrics.accuracy == pytest.approx(table2[model.removeprefix("students/")])
        assert metrics.accuracy != pytest.approx(np.mean(by_fold), abs=1e-6)
        assert metrics.accuracy_std == pytest.approx(np.std(by_fold, ddof=1))


def test_claims_are_judged_by_accuracy_and_auc_in_one_family(tmp_path):
    evaluations = make_evaluations(tmp_path, make_context(seeds=5), {"students/a": 0.9, "students/b": 0.1})
    found = findings.compare_models(evaluations, [("students/a", "student"), ("students/b", "student")])
    assert found.metric.tolist() == ["accuracy", "AUC"] * 2
    assert found.verdict.tolist() == ["supported", "supported", "contradicted", "contradicted"]
    assert set(found.basis) == {"20 people in 5 runs"}
    assert found.p_corrected.tolist() == pytest.approx(significance.holm(found.p.to_numpy()).tolist())
    assert ((found.low > 0) | (found.high < 0)).all()
    assert (found.detectable > 0).all()


def test_sign_interval_and_p_belong_to_one_statistic(tmp_path):
    for quality in np.linspace(0.3, 0.7, 9):
        evaluations = make_evaluations(tmp_path, make_context(seeds=4), {"students/a": quality})
        row = findings.compare_models(evaluations, [("students/a", "student")]).iloc[0]
        assert row.low < row.difference < row.high
        assert (row.p < 0.05) == (row.low > 0 or row.high < 0)
        assert (row.difference > 0) == (row.low + row.high > 0)


@pytest.mark.parametrize(("seeds", "reason"), [(1, "1 run"), (2, "2 runs")])
def test_few_runs_give_no_verdict_and_no_interval(tmp_path, seeds, reason):
    evaluations = make_evaluations(tmp_path, make_context(seeds), {"students/a": 0.9})
    found = findings.compare_models(evaluations, [("students/a", "student")])
    assert set(found.verdict) == {f"no verdict: {reason}"}
    assert found[["low", "high", "p", "p_corrected", "detectable"]].isna().all(axis=None)
    assert found.difference.notna().all()


def test_identical_models_give_no_verdict(tmp_path):
    evaluations = make_evaluations(tmp_path, make_context(seeds=4), {}, identical=True)
    found = findings.compare_models(evaluations, [("students/a", "students/b")])
    assert (found.difference == 0).all()
    assert set(found.verdict) == {"no verdict: no run differs"}


def test_rounds_are_the_units_where_people_take_turns(tmp_path):
    context = make_context(seeds=8, rounds=4)
    evaluations = make_evaluations(tmp_path, context, {"students/a": 0.6})
    runs = evaluations.differences("students/a", "student", "bench", "own")
    assert basis(runs) == "4 rounds of 20 people, 2 runs each"
    found = significance.estimate(runs)
    values = np.array([run.value for run in runs])
    means = (values[:4] + values[4:]) / 2
    assert found.mean == pytest.approx(values.mean())
    assert found.freedom == 3
    assert found.variance == pytest.approx(means.var(ddof=1) * (1 / 4 + 20 / 60))
    assert len(evaluations.runs("teacher", "bench", "own")) == 4


@pytest.mark.parametrize(("active", "expect_warning"), [([0.004, 0.001, 0.0], True), ([0.4, 0.3, 0.1], False)])
def test_second_stage_without_active_triplets_triggers_a_warning(tmp_path, active, expect_warning):
    path = tmp_path / "history.parquet"
    write_table(path, pd.DataFrame({"step": [0, 1, 2], "active": active, "margin": 0.4}))
    sentences = findings._about_training({"students/a": [str(path)]}, {"students/a": "+ triplet"})
    first = f"triplet: mean margin 0.40; {100 * active[0]:.1f}% of triplets active at the first step"
    assert sentences[0].startswith(first)
    assert (
        any(sentence.startswith("Warning: triplet had almost nothing to learn") for sentence in sentences)
        == expect_warning
    )


def test_runs_of_a_round_are_averaged_where_all_are_tested_on_the_same_people(tmp_path):
    """They share a training set and perhaps a teacher, so there are as many observations as rounds."""
    context = make_context(seeds=8, rounds=4)
    context = dataclasses.replace(context, test_groups={"bench": [0] * 8})
    runs = make_evaluations(tmp_path, context, {"students/a": 0.6}).differences("students/a", "student", "bench", "own")
    assert basis(runs) == "20 people in 4 rounds, 2 runs each"
    found = significance.observations(runs)
    values = np.array([run.value for run in runs])
    means = (values[:4] + values[4:]) / 2
    assert found.number == 4
    assert found.variance == pytest.approx(means.var(ddof=1) * (1 / 4 + 20 / 60))
    assert significance.estimate(runs).variance > found.variance


def test_the_same_weights_tested_on_the_same_pairs_are_one_run(tmp_path):
    context = make_context(seeds=4)
    imported = dataclasses.replace(
        context, weights=context.weights | {"teacher": [0] * 4}, runs=context.runs | {"teacher": [0, 1, 2, 3]}
    )
    evaluations = make_evaluations(tmp_path, imported, {})
    assert len(evaluations.runs("teacher", "bench", "own")) == 1
    assert len(evaluations.runs("student", "bench", "own")) == 4


def test_what_is_known_of_the_split_is_said():
    context = dataclasses.replace(make_context(1), benchmarks={"a": "A", "b": "B", "c": "C"})
    known, unknown, imported = describe_split(context, ["a", "c"], ["teacher"])
    assert known == "Nobody who is tested on A, C was trained on here."
    assert unknown.startswith("Whether anybody was trained on who is tested on B cannot be known")
    assert imported == "On whom Teacher was trained elsewhere is not known here."
    assert describe_split(context, ["a", "b", "c"], []) == ["Nobody who is tested on A, B, C was trained on here."]


def test_tar_at_far_is_a_metric_with_verdicts(tmp_path):
    context = dataclasses.replace(make_context(seeds=5), far={"bench": 0.1})
    evaluations = make_evaluations(tmp_path, context, {"students/a": 1.2, "students/b": 0.5})
    found = findings.compare_models(evaluations, [("students/a", "student")])
    assert found.metric.tolist() == ["TAR at FAR 0.1", "AUC"]
    assert found.verdict.tolist() == ["supported", "supported"]
    rates = {}
    for model in ("students/a", "student"):
        tables_of = [evaluations.table(model, "bench", run) for run in range(5)]
        curves = [verification.roc(table.score.to_numpy(), table.same.to_numpy()) for table in tables_of]
        rates[model] = np.mean([verification.tar_at_far(curve, 0.1, 100) for curve in curves])
    assert found.difference[0] == pytest.approx(100 * (rates["students/a"] - rates["student"]))


def test_every_method_that_ends_below_its_start_is_named():
    labels = {f"students/{name}": f"+ {name}" for name in "abcd"}
    changes = {"students/a": 1.0, "students/b": -0.5, "students/c": -4.0, "students/d": -7.0}
    sentences = findings._about_methods("Bench", "accuracy", changes, ["students/d"], labels)
    below = next(text for text in sentences if text.startswith("End below the student that they start from on Bench"))
    assert below.endswith("b: −0.50; c: −4.00.")
    scratch = next(text for text in sentences if text.startswith("Trained from scratch, and below"))
    assert scratch.endswith("d: −7.00.")
    warnings = [text for text in sentences if text.startswith("Warning")]
    assert len(warnings) == 1
    assert warnings[0].startswith("Warning: c lost 4.00")
    many = {f"students/{number}": 1.0 for number in range(findings.LISTED_METHODS + 1)}
    (none,) = findings._about_methods("Bench", "accuracy", many, [], {model: model for model in many})
    assert none == "No method ends below the student of the first stage on Bench."


def test_tuned_methods_say_what_was_chosen_on_whom():
    tuned = {"settings": ["weight", "training.learning_rate"], "trials": 6, "chosen_on": "8 training people"}
    entry = methods.MethodEntry("rkd", "start from the student", 8, True, 1, {"weight": 2.0}, tuned)
    cells = [cell.strip() for cell in methods._settings_row("+ RKD", entry)]
    assert cells == ["+ RKD", "rkd", "weight: 2.0", "weight, training.learning_rate", "6", "8 training people"]
    untouched = methods._settings_row("+ RKD", dataclasses.replace(entry, settings={}, tuned=None))
    assert [cell.strip() for cell in untouched][2:] == ["–", "nothing", "0", "–"]

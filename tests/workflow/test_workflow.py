"""The DAG itself: a reduced study from images to report, and what is rerun after a change.

The study is run once, in a copy of the repository, so that files can be edited. Every
training has only a few steps: the numbers themselves are meaningless, but they must come
from the weights.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from browser import Browser
from test_vocabulary import TARGETS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.workflow
SMALL = {
    "study": "small",
    "seeds": [0],
    "networks": {"tiny": {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 32}},
    "teacher": {"network": "tiny", "training": {"iterations": 4, "sampling": {"batch_size": 16}}},
    "student": {"network": "tiny", "training": {"iterations": 3, "sampling": {"batch_size": 16}}},
    "second_stage": {"training": {"iterations": 2, "sampling": {"p": 4, "k": 3}}},
    "methods": {"triplet_0.4": None, "triplet_0.5": None},
    "calibration": {"quantiles": [0.0, 1.0]},
    "profile": {"networks": ["tiny"], "runs": 1},
}


OTHER_ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "default",
    "OPENBLAS_CORETYPE": "Nehalem",
    "OMP_NUM_THREADS": "3",
    "OMP_DYNAMIC": "true",
    "MKL_NUM_THREADS": "3",
    "PYTHONHASHSEED": "7",
    "TZ": "Pacific/Chatham",
    "LC_ALL": "C",
}
"""Of another user on another machine."""
ALL_TARGETS = TARGETS | {"reproduce"}


def environment_of_jobs() -> dict[str, str]:
    """That of these tests, but the copy of the repository has its own library, and no job measures coverage: hundreds
    of them would each take a second longer."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "COVERAGE_PROCESS_CONFIG")}


class Study:
    """A copy of the repository with the overlay of a small study, where Snakemake is run."""

    def __init__(self, folder: Path):
        self.root = folder / "repository"
        ignored = shutil.ignore_patterns("results", ".git", ".venv", ".snakemake", "__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT, self.root, ignore=ignored)
        self.results = self.root / "results" / "small"
        self.overlay = dict(SMALL)
        self.screen = ""
        self.configure()

    def configure(self, name: str = "small.yaml", **changes) -> Path:
        path = self.root / name
        path.write_text(yaml.safe_dump(self.overlay | changes))
        return path

    def snakemake(
        self,
        *arguments: str,
        check: bool = True,
        cwd: Path | None = None,
        config: str = "small.yaml",
        variables: dict[str, str] | None = None,
    ):
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        environment = environment_of_jobs() | (variables or {})
        process = subprocess.run(
            [*command, "--configfile", str(self.root / config)],
            cwd=cwd or self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        process.text = process.stdout + process.stderr
        assert not check or process.returncode == 0, process.text[-6000:]
        return process

    def would_run(self, *arguments: str, config: str = "small.yaml") -> set[str]:
        """Jobs that a dry run lists, as ``rule`` or ``rule:wildcards``."""
        text = self.snakemake("-n", *arguments, config=config).text
        jobs = re.split(r"^(?:local)?rule ", text, flags=re.MULTILINE)[1:]
        found = set()
        for job in jobs:
            name = job.split(":", 1)[0]
            wildcards = re.search(r"wildcards: (.*)", job)
            found.add(f"{name}:{wildcards[1]}" if wildcards else name)
        return found - ALL_TARGETS

    def edit(self, path: str, old: str, new: str):
        """A context in which a file of the copy is modified."""
        return _Edit(self.root / path, old, new)


class _Edit:
    def __init__(self, path: Path, old: str, new: str):
        self.path, self.before = path, path.read_text()
        assert old in self.before
        self.after = self.before.replace(old, new)

    def __enter__(self):
        self.path.write_text(self.after)

    def __exit__(self, *exception):
        self.path.write_text(self.before)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("study"))
    study.screen = study.snakemake().text
    return study


def test_screen_has_a_line_per_job_and_snakemakes_log_has_the_rest(study):
    for line in ("teacher, seed 0: 4 steps, last loss", "training set: 240 faces", "jobs done, about"):
        assert line in study.screen
    assert "input:" not in study.screen and "Finished jobid" not in study.screen
    log = Path(re.search(r"Complete log\(s\): (\S+)", study.screen)[1]).read_text()
    assert "input:" in log and "reason:" in log


def test_all_outputs_are_created(study):
    table2 = pd.read_csv(study.results / "tables/table2.csv")
    assert table2.model.tolist() == ["teacher", "student", "triplet_0.3", "triplet_matched", "triplet_distillation"]
    assert {"orl_unseen", "orl_unseen_low", "orl_unseen_high"} <= set(table2)
    table1 = pd.read_csv(study.results / "tables/table1.csv")
    expected_columns = {"network", "size_mib", "parameters", "flops", "flops_elementwise", "macs", "seconds_per_image"}
    assert expected_columns <= set(table1)
    for model in ("teacher", "student", "students/triplet_0.3", "students/triplet_distillation"):
        assert (study.results / model / "seed0/weights.safetensors").is_file()
    assert "are not comparable with its numbers" in (study.results / "tables/table2.html").read_text()
    figures = {path.name for path in (study.results / "figures").iterdir()}
    names = {name.removesuffix(".svg") for name in figures if name.endswith(".svg")}
    assert len(names) == 10
    assert figures == {f"{name}.{kind}" for name in names for kind in ("svg", "png")} | {"failures.html"}
    assert yaml.safe_load((study.results / "config.yaml").read_text())["study"] == "small"
    assert "| ORL, unseen people | 0.1 |" in (study.results / "export/README.md").read_text()


def test_training_and_test_identities_are_disjoint(study):
    from triplet_distillation.faces.store import FaceStore

    identities = FaceStore(study.results / "faces/orl/store.arrow").column("identity")
    pairs = pd.read_parquet(study.results / "split/round0/pairs/orl_unseen.parquet")
    training = pd.read_parquet(study.results / "split/round0/training_set.parquet")
    tested = set(identities[pairs[["a", "b"]].to_numpy().ravel()])
    trained = set(identities[training.row])
    assert len(tested) == 16
    assert len(trained) == 24
    assert not tested & trained


def test_report_is_complete_and_loads_nothing_from_the_web(study):
    report = (study.results / "report.html").read_text()
    for text in (
        "<h1>small</h1>",
        "Table 2: verification accuracy",
        "Calibration of the margins",
        "Failures: the most wrong pairs",
        "Does the student learn the teacher's similarity structure?",
    ):
        assert text in report
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="https?://', report)


FRONT_PAGE = "document.querySelector('.front-page') !== null"


def is_shown(item: str) -> str:
    """Whether the report shows an item, in JavaScript."""
    return f"[...document.querySelectorAll('iframe, img')].some(each => each.src === results[{item!r}].data_uri)"


def tab_to(browser: Browser, condition: str) -> None:
    """Press Tab until a JavaScript condition holds for the element that has the focus, ``active``."""
    for _ in range(100):
        browser.press("Tab")
        if browser.evaluate(f"(active => {condition})(document.activeElement)"):
            return
    raise AssertionError(f"the keyboard does not reach {condition}")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One window for all tests that open the report."""
    with Browser(tmp_path_factory.mktemp("browser"), 1280, 800) as browser:
        yield browser


@pytest.mark.parametrize("width", [400, 1280])
def test_report_opens_offline_at_any_width_without_a_problem(study, browser, width):
    browser.resize(width, 800)
    browser.open(study.results / "report.html")
    browser.wait_for(FRONT_PAGE)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    text = browser.evaluate("document.querySelector('.front-page').innerText")
    for answer in ("Which method is best?", "No verdict: 1 run", "16 people in 1 run", "jobs"):
        assert answer in text
    linked = browser.evaluate("[...document.querySelectorAll('[data-item]')].map(link => link.dataset.item)")
    assert len(linked) >= 10
    for item in linked:
        browser.evaluate("app.setView({navbarMode: 'menu', content: 'metadata'})")
        browser.wait_for(FRONT_PAGE)
        browser.evaluate(f"document.querySelector('[data-item=\"{item}\"]').click()")
        browser.wait_for(is_shown(item))
    assert not browser.problems


def test_keyboard_reaches_every_item_of_the_report(study, browser):
    browser.resize(1280, 800)
    browser.open(study.results / "report.html")
    browser.wait_for(FRONT_PAGE)
    tab_to(browser, "active.dataset.item !== undefined")
    browser.press("Enter")
    browser.wait_for("document.querySelector('iframe') !== null")
    for category, items in browser.evaluate("categories").items():
        tab_to(browser, "active.closest('nav ol li') !== null && active.closest('li').matches(':first-child')")
        browser.press("Enter")
        browser.wait_for(FRONT_PAGE)
        tab_to(browser, f"active.innerText.trim() === {category!r}")
        browser.press("Enter")
        seen = []
        for _ in items["Other"]:
            tab_to(browser, "active.matches('td [role=group] a:first-child')")
            browser.press("Enter")
            seen.append(browser.evaluate("app.state.resultPath"))
            browser.wait_for(is_shown(seen[-1]))
        assert sorted(seen) == sorted(items["Other"])
    assert not browser.problems


def test_finished_study_is_handed_on_in_one_file(study):
    study.snakemake("crate")
    crate = study.results / "crate.zip"
    command = [sys.executable, "-m", "triplet_distillation", "verify", str(crate)]
    environment = os.environ | {"PYTHONPATH": str(study.root / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{crate}: every file is as it was\n")
    with zipfile.ZipFile(crate) as archive:
        names = set(archive.namelist())
    for name in ("report.html", "tables/table2.tex", "figures/roc.png", "tables/timings.csv"):
        assert name in names
    assert "students/triplet_distillation/seed0/weights.safetensors" in names
    assert not any(name.startswith("faces/") and name.endswith(".arrow") for name in names)


def test_second_run_does_nothing(study):
    assert study.would_run() == set()


def test_new_margin_trains_only_its_own_model(study):
    study.configure("margin.yaml", methods=SMALL["methods"] | {"triplet_0.6": {"loss": "triplet", "margin": 0.6}})
    text = study.snakemake("-n", config="margin.yaml").text
    trained = re.findall(r"wildcards: method=(\S+), seed=0", text)
    assert trained == ["triplet_0.6"]
    evaluated = re.findall(r"wildcards: model=(\S+), seed=0", text)
    assert evaluated == ["students/triplet_0.6"] * 2  # its test faces are embedded, and its pairs scored
    assert not re.search(r"^(local)?rule (train|align|embed|calibrate|profile|make_table1):", text, re.MULTILINE)
    assert {"make_table2", "make_report"} <= set(re.findall(r"^(?:local)?rule (\w+):", text, re.MULTILINE))


def test_another_seed_trains_and_evaluates_that_run_alone(study):
    study.configure("seeds.yaml", seeds=[0, 1])
    jobs = study.would_run(config="seeds.yaml")
    methods = ("triplet_0.3", "triplet_matched", "triplet_distillation")
    models = ("student", *(f"students/{method}" for method in methods))
    assert {job for job in jobs if "seed=" in job} == {
        "train:role=student, seed=1",
        "calibrate:further=, distance=squared_euclidean, seed=1",
        "match_margin:method=triplet_distillation, seed=1",
        *(f"distill:method={method}, seed=1" for method in methods),
        *(f"evaluate:model={model}, seed=1" for model in models),
        *(f"embed_test_faces:model={model}, seed=1, dataset=orl" for model in models),
    }
    others = {job.split(":")[0] for job in jobs if "seed=" not in job}
    assert not others & {"align", "profile", "make_pairs", "make_training_set", "export"}
    assert {"make_table2", "make_findings", "make_report"} <= others


def test_control_has_the_mean_margin_of_the_distillation(study):
    distilled, control = (
        pd.read_parquet(study.results / f"students/{name}/seed0/history.parquet").margin
        for name in ("triplet_distillation", "triplet_matched")
    )
    matched = json.loads((study.results / "calibration/matched/triplet_distillation.seed0.json").read_text())
    assert (control == control[0]).all()
    assert control[0] == pytest.approx(matched["margin"], rel=1e-6)
    assert matched["margin"] == pytest.approx(distilled.mean(), rel=1e-5)
    assert not (distilled == distilled[0]).all()


def test_one_run_gives_no_verdict(study):
    found = pd.read_csv(study.results / "tables/comparisons.csv")
    assert set(found.verdict) == {"no verdict: 1 run"}
    assert found[["low", "high", "p", "p_corrected", "detectable"]].isna().all(axis=None)
    assert found[["a", "b"]].iloc[0].tolist() == ["+ triplet distillation", "+ triplet, m matched"]
    assert found.metric.tolist()[:2] == ["accuracy", "AUC"]


def test_rounds_test_different_people_by_models_that_never_saw_them(study):
    from triplet_distillation.faces.store import FaceStore

    benchmark = {"orl_unseen": {"held_out": {"identities": 13, "folds": 2}}}
    methods = SMALL["methods"] | {"triplet_matched": None, "triplet_distillation": None}
    study.configure("rounds.yaml", study="rounds", seeds=[0, 1, 2], rounds=3, benchmarks=benchmark, methods=methods)
    study.snakemake("table2", "results/rounds/tables/findings.html", config="rounds.yaml")
    results = study.results.parent / "rounds"
    identities = FaceStore(results / "faces/orl/store.arrow").column("identity")
    tested = []
    for number in range(3):
        pairs = pd.read_parquet(results / f"split/round{number}/pairs/orl_unseen.parquet")
        trained = set(identities[pd.read_parquet(results / f"split/round{number}/training_set.parquet").row])
        tested.append(set(identities[pairs[["a", "b"]].to_numpy().ravel()]))
        assert len(trained) == 27 and not trained & tested[-1]
    assert len(set.union(*tested)) == sum(map(len, tested)) == 39
    found = pd.read_csv(results / "tables/comparisons.csv")
    assert set(found.basis) == {"3 rounds of 13 people"}
    assert not found.verdict.str.startswith("no verdict").any()
    assert len(list((results / "teacher").iterdir())) == 3  # shared within a round only


def test_study_without_distillation_skips_the_teacher_embeddings(study):
    study.configure(
        "plain.yaml", study="plain", methods=SMALL["methods"] | {"triplet_matched": None, "triplet_distillation": None}
    )
    text = study.snakemake("-n", config="plain.yaml").text
    rules = set(re.findall(r"^(?:local)?rule (\w+):", text, re.MULTILINE))
    assert {"distill", "plot_roc", "make_report"} <= rules
    assert not rules & {"embed", "calibrate", "match_margin", "plot_calibration", "plot_triplets"}


LAST = {"make_timing_table", "make_environment_page", "make_front_page", "make_report"}
"""What follows every result that the report shows."""


def test_changed_caption_rebuilds_only_the_report(study):
    with study.edit("report/roc.rst", "True accept", "The true accept"):
        assert study.would_run() == {"make_report"}


def test_changed_notebook_remakes_its_results_and_page_and_its_text_the_page_alone(study):
    notebook = "workflow/notebooks/similarity_structure.ipynb"
    with study.edit(notebook, "The claims of the study", "All claims of the study"):
        assert study.would_run() == {"make_notebook_page", *LAST}
    with study.edit(notebook, "compare_structures(structures)", "compare_structures(structures).round(3)"):
        assert study.would_run() == {"compare_structures", "make_notebook_page", *LAST}


def test_notebook_runs_by_hand_from_the_results_alone(study, tmp_path):
    shutil.copytree(study.results, tmp_path / "elsewhere")  # what is shared is copied, too
    copy, executed = tmp_path / "elsewhere/notebooks/similarity_structure.ipynb", tmp_path / "executed.ipynb"
    environment = os.environ | {"PYTHONPATH": str(study.root / "src")}
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", str(copy), "--output", str(executed)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    def shown(path: Path) -> list[list]:
        cells = json.loads(path.read_text())["cells"]
        return [[output.get("data") for output in cell["outputs"]] for cell in cells if cell["cell_type"] == "code"]

    assert shown(executed) == shown(study.results / "notebooks/similarity_structure.ipynb")
    assert sum(map(len, shown(executed))) == 4
    structure = pd.read_csv(study.results / "tables/structure.csv")
    assert structure.model.unique().tolist() == ["student", "triplet_0.3", "triplet_matched", "triplet_distillation"]
    verdicts = pd.read_csv(study.results / "tables/structure_comparisons.csv").verdict
    assert set(verdicts) == {"no verdict: 1 run"}


def test_cause_of_a_failed_cell_is_the_last_thing_on_the_screen_and_in_its_log(study, tmp_path):
    """Without Jupyter on the PATH, and with a kernel of the user's that is another program."""
    shutil.copytree(study.results.parent, tmp_path / "results", symlinks=True)
    kernel = tmp_path / "home/.local/share/jupyter/kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["/bin/false"], "display_name": "foreign", "language": "python"}')
    variables = {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "JUPYTER_PREFER_ENV_PATH": "0"}
    target = ["results/small/tables/structure.csv", "--force", "--rerun-triggers", "mtime"]
    arguments = ["--snakefile", str(study.root / "Snakefile"), *target]
    text = study.snakemake(*arguments, cwd=tmp_path, variables=variables).text
    assert text.count("similarity structure on orl: ") == 1
    assert "papermill" not in text
    with study.edit("workflow/notebooks/similarity_structure.ipynb", "measure_structures(s", "measure_nothing(s"):
        process = study.snakemake(*arguments, cwd=tmp_path, variables=variables, check=False)
    assert process.returncode != 0
    log = Path("results/small/logs/compare_structures.log")
    *_, last, where = process.text.rstrip().splitlines()
    assert last.startswith("AttributeError: module 'triplet_distillation.reporting.structure' has no attribute")
    assert where.strip() == f"(log: {log})"
    assert (tmp_path / log).read_text().rstrip().splitlines()[-1] == f"FAILED: {last}"
    assert not list((tmp_path / "home").glob(".ipython*")) and not list((tmp_path / "home").glob(".jupyter*"))


def test_cell_that_is_not_python_is_named(study):
    notebook = "workflow/notebooks/similarity_structure.ipynb"
    with study.edit(notebook, "from triplet_distillation import logs", "%matplotlib inline"):
        process = study.snakemake("-n", check=False)
    assert process.returncode != 0
    assert re.search(r"similarity_structure\.ipynb: .*'%matplotlib inline': a cell must be plain Python", process.text)


def test_changed_loss_retrains_only_the_models_that_use_it(study):
    with study.edit(
        "src/triplet_distillation/losses/triplet.py", "distances, self.margin,", "distances, 2 * self.margin,"
    ):
        jobs = study.would_run()
    retrained = {f"distill:method={method}, seed=0" for method in ("triplet_0.3", "triplet_matched")}
    assert {job for job in jobs if job.startswith(("train:", "distill:"))} == retrained
    assert "evaluate:model=students/triplet_0.3, seed=0" in jobs
    assert "make_table1" not in jobs


def test_comments_docstrings_and_touched_files_rerun_nothing(study):
    loss = "src/triplet_distillation/losses/triplet.py"
    with study.edit(loss, "    def forward", "    # a comment\n    def forward"):
        assert study.would_run() == set()
    with study.edit(loss, "over the batch's triplets", "over all triplets of the batch"):
        assert study.would_run() == set()
    time.sleep(1.1)
    for path in study.root.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()
    assert study.would_run() == set()


def test_changed_evaluation_setting_retrains_nothing(study):
    study.configure("flip.yaml", evaluation={"flip": "add"})
    text = study.snakemake("-n", config="flip.yaml").text
    assert not re.search(r"^(local)?rule (train|distill|embed|embed_test_faces|align):", text, re.MULTILINE)
    assert re.search(r"^(local)?rule evaluate:", text, re.MULTILINE)


def test_table2_follows_the_weights_without_rebuilding_the_report(study, tmp_path):
    for name in ("results", ".snakemake"):
        shutil.copytree(study.root / name, tmp_path / name, symlinks=True)
    results = tmp_path / "results/small"
    report = (results / "report.html").stat().st_mtime_ns
    before = pd.read_csv(results / "tables/table2.csv").set_index("model").orl_unseen
    shutil.copyfile(
        results / "teacher/seed0/weights.safetensors", results / "students/triplet_0.3/seed0/weights.safetensors"
    )
    study.snakemake("table2", "--snakefile", str(study.root / "Snakefile"), cwd=tmp_path)
    after = pd.read_csv(results / "tables/table2.csv").set_index("model").orl_unseen
    assert after["triplet_0.3"] == after["teacher"] == before["teacher"]
    assert after["student"] == before["student"]
    assert (results / "report.html").stat().st_mtime_ns == report


def test_other_studies_do_not_modify_this_one_and_the_same_seed_gives_identical_weights_in_any_environment(study):
    times = {path: path.stat().st_mtime_ns for path in study.results.rglob("*") if path.is_file()}
    study.configure("other.yaml", study="small-again", share=False)
    target = "results/small-again/students/triplet_distillation/seed0/weights.safetensors"
    study.snakemake(target, "--cores", "1", config="other.yaml", variables=OTHER_ENVIRONMENT)
    study.configure("seed.yaml", study="small-seed", seeds=[1])
    study.snakemake(str(Path("results/small-seed/student/seed1/weights.safetensors")), config="seed.yaml")
    assert times == {path: path.stat().st_mtime_ns for path in study.results.rglob("*") if path.is_file()}
    from safetensors.numpy import load_file

    first = load_file(study.results / "students/triplet_distillation/seed0/weights.safetensors")
    again = load_file(study.results.parent / "small-again/students/triplet_distillation/seed0/weights.safetensors")
    assert all((first[name] == again[name]).all() for name in first)
    student = load_file(study.results / "student/seed0/weights.safetensors")
    other = load_file(study.results.parent / "small-seed/student/seed1/weights.safetensors")
    assert any((student[name] != other[name]).any() for name in student)


def test_second_study_on_the_same_photographs_makes_nothing_twice(study):
    entries = {path: path.stat().st_mtime_ns for path in (study.root / "results/shared").rglob("*") if path.is_file()}
    methods = SMALL["methods"] | {"renamed": {"loss": "triplet", "margin": 0.3}, "triplet_0.3": None}
    study.configure("twin.yaml", study="twin", methods=methods)
    targets = ("models", "table1", "table2", "export")
    text = study.snakemake(*targets, config="twin.yaml").text
    twin = study.root / "results/twin"
    kept = set(entries) | {path for path in (study.root / "results/shared").rglob("*") if path.name == "lock"}
    assert {path for path in (study.root / "results/shared").rglob("*") if path.is_file()} == kept
    assert all(path.stat().st_mtime_ns == time for path, time in entries.items() if path.name != "lock")
    assert not list(twin.rglob("checkpoint"))
    for part in ("faces/orl", "teacher/seed0", "student/seed0", "students/renamed/seed0", "profile"):
        assert f"results/twin/{part}" in re.findall(r"^(\S+): .*linked from results/shared/", text, re.MULTILINE)
    for name in ("tables/table1.csv", "export/model.onnx", "student/seed0/timing.json"):
        assert (twin / name).stat().st_size > 0
    tables = [pd.read_csv(folder / "tables/table2.csv") for folder in (study.results, twin)]
    numbers = [sorted(table.drop(columns=["model", "label"]).itertuples(index=False)) for table in tables]
    assert numbers[0] == numbers[1]
    assert study.would_run(*targets, config="twin.yaml") == set() == study.would_run()


def test_study_is_checked_before_anything_is_made(study):
    for _ in range(2):  # what has been checked may have changed
        assert "nothing was found that would stop this study" in study.snakemake("check").text
    benchmarks = {"orl_unseen": {"held_out": {"identities": 39, "folds": 4}}}
    study.configure("impossible.yaml", study="impossible", benchmarks=benchmarks, student={"network": "iresnet100"})
    process = study.snakemake("check", config="impossible.yaml", check=False)
    assert process.returncode != 0
    assert "would stop this study" in process.text
    assert {path.name for path in (study.root / "results/impossible").iterdir()} <= {"logs", "timings"}


def test_upgrade_of_a_library_makes_nothing_again_and_is_named(study, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m\noriginal = m.version\n"
        "m.version = lambda name: '99.0' if name == 'torch' else original(name)\n"
    )
    variables = {"PYTHONPATH": str(tmp_path)}
    assert "Nothing to be done" in study.snakemake("-n", variables=variables).text
    text = study.snakemake("--forcerun", "write_config", variables=variables).text
    (line,) = (line for line in text.splitlines() if "(installed: torch 99.0)" in line)
    assert line.endswith("--forcerun align train distill embed profile")


def test_reproduction_names_the_first_difference(study):
    hashes = json.loads((study.results / "hashes.json").read_text())
    assert hashes["environment"]["portable"]
    published = study.root / "published.json"
    study.configure("published.yaml", published_hashes=str(published))
    assert "there are no published hashes" in study.snakemake("reproduce", config="published.yaml", check=False).text
    published.write_text(json.dumps(hashes))
    assert "reproduced: every bit" in study.snakemake("reproduce", config="published.yaml").text
    hashes["stages"]["embed"]["teacher/seed0/embeddings.npy"]["content"] = "0"
    published.write_text(json.dumps(hashes))
    found = study.snakemake("reproduce", config="published.yaml").text
    assert "teacher/seed0/embeddings.npy (stage embed) is different" in found
    assert not json.loads((study.results / "reproduction.json").read_text())["equal"]


def test_exported_student_compares_images_and_teaches_another_study(study):
    model, images = study.results / "export/model.onnx", study.results / "faces/orl/images"
    first, second = sorted(images.rglob("*.pgm"))[:2]
    command = [sys.executable, "-m", "triplet_distillation", "compare", str(model), str(first), str(second)]
    environment = os.environ | {"PYTHONPATH": str(study.root / "src")}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert re.fullmatch(
        r"score \S+, threshold \S+ at a false accept rate of 0\.1 \(orl_unseen\): (different people|same person)\n",
        output,
    )
    networks = SMALL["networks"] | {"given": {"architecture": "onnx_teacher", "path": str(model)}}
    study.configure("imported.yaml", study="imported", networks=networks, teacher={"network": "given"})
    study.snakemake("table2", "figures", config="imported.yaml")
    results = study.root / "results/imported"
    teacher, student = (
        json.loads(path.read_text())["orl_unseen"]
        for path in (
            results / "evaluation/teacher/seed0/metrics.json",
            study.results / "evaluation/students/triplet_distillation/seed0/metrics.json",
        )
    )
    assert teacher["auc"] == pytest.approx(student["auc"], abs=1e-4)
    assert not (results / "teacher/seed0/history.parquet").exists()
    sidecar = json.loads((results / "teacher/seed0/embeddings.json").read_text())
    assert sidecar["input"]["color_order"] == "RGB"
    assert "onnx_teacher" in str(sidecar["teacher"]["network"])


def test_killed_snakemake_resumes_to_identical_weights(study):
    weights = study.root / "results/killed/student/seed0/weights.safetensors"
    training = {"iterations": 60, "checkpoint_every": 5, "sampling": {"batch_size": 16}}
    study.configure("killed.yaml", study="killed", share=False, student={"network": "tiny", "training": training})
    target = "results/killed/student/seed0/weights.safetensors"
    study.snakemake(target, config="killed.yaml")
    uninterrupted = weights.read_bytes()
    shutil.rmtree(weights.parent)
    environment = environment_of_jobs()
    command = [sys.executable, "-m", "snakemake", "--cores", "2", target, "--configfile", "killed.yaml"]
    running = subprocess.Popen(command, cwd=study.root, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((weights.parent / "checkpoint").glob("*.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.kill()
    running.wait()
    assert not weights.exists()
    assert "cannot be locked" in study.snakemake(target, config="killed.yaml", check=False).text
    study.snakemake("--unlock", config="killed.yaml")
    study.snakemake(target, config="killed.yaml")
    assert weights.read_bytes() == uninterrupted


def test_workflow_runs_from_another_folder_and_as_a_module(study, tmp_path):
    text = study.snakemake("-n", "--snakefile", str(study.root / "Snakefile"), cwd=tmp_path).text
    assert "rule make_report:" in text
    module = tmp_path / "module"
    module.mkdir()
    (module / "Snakefile").write_text(
        f'configfile: "config.yaml"\n\nmodule triplets:\n    snakefile: "{study.root}/workflow/Snakefile"\n'
        "    config: config\n\nuse rule * from triplets as triplets_*\n\nrule mine:\n    default_target: True\n"
        "    input: rules.triplets_run_all.input\n"
    )
    merged = yaml.safe_load((study.results / "config.yaml").read_text())
    (module / "config.yaml").write_text(yaml.safe_dump(merged))
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1"]
    process = subprocess.run(command, cwd=module, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "triplets_make_report" in process.stdout + process.stderr


def test_unknown_key_is_rejected_without_a_traceback(study):
    study.configure("wrong.yaml", evaluatoin={})
    process = study.snakemake("-n", config="wrong.yaml", check=False)
    assert process.returncode != 0
    assert "evaluatoin: unknown key. Did you mean 'evaluation'?" in process.text
    assert "Traceback" not in process.text


def test_cause_of_a_failed_job_is_the_last_thing_on_the_screen_once_and_in_its_log(study):
    benchmarks = {"orl_unseen": {"held_out": {"identities": 39, "folds": 4}}}
    study.configure("failing.yaml", study="failing", benchmarks=benchmarks)
    process = study.snakemake("table2", config="failing.yaml", check=False)
    assert process.returncode != 0
    cause = "ValueError: 1 identities remain to train on"
    assert process.text.count(cause) == 1
    assert "Traceback" not in process.text
    log = Path("results/failing/logs/make_training_set/round0.log")
    *_, last, where = process.text.rstrip().splitlines()
    assert last.startswith(cause)
    assert where.strip() == f"(log: {log})"
    assert "Traceback" in (study.root / log).read_text()
    assert cause in (study.root / log).read_text()


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({"evaluatoin": {}}, "  evaluatoin: unknown key."),
        ({"datasets": {"mine": {"source": "folder", "path": "nowhere"}}, "study": "mine"}, "  datasets.mine.path: "),
        (
            {"datasets": {"mine": {"source": "folder", "path": "config"}}, "study": "orl"},
            "  study: 'orl' is the default",
        ),
    ],
)
def test_wrong_configuration_is_the_last_thing_on_the_screen(study, changes, last):
    study.configure("wrong.yaml", **changes)
    process = study.snakemake("faces", config="wrong.yaml", check=False)
    assert process.returncode != 0
    assert process.text.rstrip().splitlines()[-1].startswith(last)
    assert "Traceback" not in process.text
    assert "File " not in process.text.rpartition("StudyError")[2]


def test_weights_and_embeddings_have_metadata(study):
    from triplet_distillation.networks import weights

    metadata = weights.read_metadata(study.results / "students/triplet_0.3/seed0/weights.safetensors")
    assert "study" not in metadata  # another study has the same weights
    assert "torch" in metadata["libraries"]
    assert metadata["network"]["architecture"] == "mobilefacenet"
    assert len(metadata["digest"]) == 64
    sidecar = json.loads((study.results / "teacher/seed0/embeddings.json").read_text())
    assert sidecar["normalized"] is True

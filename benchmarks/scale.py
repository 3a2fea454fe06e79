"""Peak memory and time of every stage on a store of a million faces, and what 5.8 million would take.

Each stage is the job of its rule: the rule's own script, in a process of its own, with files of that size. Peak
memory is the largest resident set of that process and of those that it starts. Two sizes give a line: the peak at 5.8
million faces is where the line leads, but no less than was measured. Beside it is what the rule asks for at that size.

The faces are real ones: ORL, aligned once, shifted and turned into 20,000 different JPEG files of some 4 KB, as in
InsightFace's packs, and repeated with other identities; 68 faces per identity, as in MS1MV2. Stages that take long are
measured with fewer faces, as ``faces`` says:

- ``align`` has 400 photographs in its shard, with the manifest of all. ``align_photograph``: one of 12 megapixels.
- ``acquire`` and ``align`` read photographs, ``acquire_pack`` and ``align_pack`` an InsightFace training pack.
- ``embed`` and ``embed_test_faces`` use a tiny network, and so do ``train`` and ``distill``, which take a few steps.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "src")  # instead of this folder, whose statistics.py would hide Python's

TARGET = 5_800_000
"""Faces of MS1MV2."""
FEWER = 200_000
"""Faces at which stages are measured that take too long with a million."""
FACES_PER_IDENTITY = 68
DIFFERENT_FACES = 20_000
PHOTOGRAPHS = 400
"""ORL's, which are one shard of the alignment."""
DIMENSIONS = 512
HELD_OUT = {"round": [0, 1], "held_out": {"identities": 40, "folds": 10, "seed": 0}}
TINY = {"architecture": "vit", "depth": 1, "width": 32, "heads": 1, "mlp_ratio": 1.0, "embedding_size": DIMENSIONS}
EXECUTION = {"threads": 1, "device": "cpu"}
TRAINING = {
    "iterations": 4,
    "learning_rate": 0.01,
    "reference_batch": 0,
    "schedule": "cosine",
    "milestones": [],
    "decay": 0.1,
    "warmup": 0,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "clip_norm": 0,
    "augmentation": {"flip": True, "shift": 4, "contrast": 0.2, "brightness": 20},
    "checkpoint_every": 1000,
    "loader_workers": 0,
}
UNIFORM = TRAINING | {"sampling": {"kind": "uniform", "batch_size": 64}}
P_BY_K = TRAINING | {"iterations": 100, "sampling": {"kind": "pk", "p": 10, "k": 18}}
ORIGIN = {"origin": "ORL, repeated", "license": "", "citation": "", "checksum": ""}
CALIBRATION = {"triplets": 1000, "mode": "measured", "quantiles": [0.0, 1.0]}
EXPORT = {
    "far": [0.01],
    "opset": 20,
    "parity_faces": 64,
    "flip": "concatenate",
    "study": "scale",
    "title": "Scale",
    "benchmarks": {"unseen": "Unseen people"},
    "teacher_license": "",
}


class Job(NamedTuple):
    """A rule's job: its ``script``, and what that is given, as the rule names it. Paths are relative to the folder of
    one size. ``most``: faces at which it is measured at most, because of its time."""

    rule: str
    script: str
    input: dict[str, Any]
    output: dict[str, Any]
    params: dict[str, Any]
    wildcards: dict[str, str]
    most: int = TARGET


def jobs(faces: int) -> dict[str, Job]:
    """Stage to its job, in the order of the pipeline; each uses files of those before it."""
    seed = {"seed": "0"}
    folder = {"source": "folder", "path": "photographs"}
    pack = {"source": "insightface_training", "path": "pack"}
    downloads = {"folder": "downloads", "mirror": ""}
    alignment = {"detector": "mtcnn", "batch_size": 8, "shards": 1}
    split = {"source": folder, "protocol": HELD_OUT, "required": {"folds": 10, "impostors": 0}}
    data = {"store": "store.arrow", "images": "photographs"}
    held_out = {"stores": ["store.arrow"], "faces": ["test_faces.parquet"]}
    trained = {"store": "store.arrow", "training_set": "training_set.parquet"}
    teacher = {"training_set": "training_set.parquet", "teacher_embeddings": "embeddings.npy"}
    teachers = {
        "teacher_weights": ["weights.safetensors"],
        "teacher_embeddings": ["embeddings.npy"],
        "teacher_sidecars": ["embeddings.json"],
    }
    distilled = {**teachers, "margins": "margins.json", **trained}
    shared = {"shared_folder": "", "code": ""}

    def acquired(name: str) -> dict[str, str]:
        return {"images": f"{name}_images", "manifest": f"{name}.csv", "origin": f"{name}.json"}

    def shard(name: str) -> dict[str, str]:
        return {"store": f"{name}_shard.arrow", "outcomes": f"{name}_shard.csv"}

    def training(name: str, loss: str, settings: dict) -> tuple[dict, dict]:
        """Outputs and parameters of a training."""
        network = {"name": name, "network": TINY, "loss": loss, "loss_settings": {}}
        files = {"weights": "safetensors", "history": "parquet", "loss_state": "state", "timing": "json"}
        outputs = {each: f"{name}/{each}.{extension}" for each, extension in files.items()}
        return outputs, {"settings": network | {"training": settings, "execution": EXECUTION}, **shared}

    photographs = {"source": folder, "settings": alignment | {"shards": max(1, faces // PHOTOGRAPHS)}}
    return {
        "acquire": Job(
            "acquire",
            "acquire",
            {},
            acquired("photographs_of_all"),
            {"source": folder | {"path": "many"}, "downloads": downloads},
            {},
            FEWER,
        ),
        "align": Job("align", "align", acquired("orl"), shard("orl"), photographs | shared, {"shard": "0"}),
        "align_photograph": Job(
            "align",
            "align",
            acquired("large"),
            shard("large"),
            {"source": folder, "settings": alignment} | shared,
            {"shard": "0"},
        ),
        "merge_shards": Job(
            "merge_shards",
            "merge_shards",
            {"shards": ["half0.arrow", "half1.arrow"], "outcomes": ["half0.csv", "half1.csv"]},
            {"store": "merged.arrow", "outcomes": "alignment.csv"},
            shared,
            {},
        ),
        "make_pairs": Job(
            "make_pairs",
            "make_pairs",
            data,
            {"pairs": "pairs.parquet", "templates": "templates.parquet"},
            split,
            {},
        ),
        "list_test_faces": Job("list_test_faces", "list_test_faces", data, {"faces": "test_faces.parquet"}, split, {}),
        "make_training_set": Job(
            "make_training_set",
            "make_training_set",
            {**held_out, "store": "store.arrow"},
            {"training_set": "training_set.parquet"},
            {"minimum_images": 2},
            {},
        ),
        "train": Job("train", "train", trained, *training("teacher", "arcface", UNIFORM), seed),
        "embed": Job(
            "embed",
            "embed",
            {"weights": "weights.safetensors", "store": "store.arrow"},
            {"embeddings": "tiny.npy", "sidecar": "tiny.json"},
            {"execution": EXECUTION, **shared},
            {},
        ),
        "average_embeddings": Job(
            "average_embeddings", "average_embeddings", teacher, {"means": "means.safetensors"}, {}, {}
        ),
        "calibrate": Job(
            "calibrate",
            "calibrate",
            teacher,
            {"margins": "margins.json", "triplets": "triplets.csv"},
            {"settings": CALIBRATION},
            {"distance": "squared_euclidean", **seed},
        ),
        "match_margin": Job(
            "match_margin",
            "match_margin",
            distilled,
            {"margin": "matched.json"},
            {"settings": {"loss": "triplet_distillation", "loss_settings": {}, "training": P_BY_K}},
            seed,
        ),
        "distill": Job(
            "train",
            "train",
            distilled,
            *training("student", "triplet_distillation", P_BY_K | {"iterations": 4}),
            seed,
        ),
        "embed_test_faces": Job(
            "embed_test_faces",
            "embed_test_faces",
            {"weights": "weights.safetensors", "store": "store.arrow", "faces": ["all_faces.parquet"]},
            {"embeddings": "tiny_all.safetensors"},
            {"execution": EXECUTION, **shared},
            {},
            FEWER,
        ),
        "embed_held_out_faces": Job(
            "embed_test_faces",
            "embed_test_faces",
            {"weights": "weights.safetensors", "store": "store.arrow", "faces": ["test_faces.parquet"]},
            {"embeddings": "kept.safetensors"},
            {"execution": EXECUTION, **shared},
            {},
        ),
        "evaluate": Job(
            "evaluate",
            "evaluate",
            {
                "embeddings": ["kept.safetensors"],
                "stores": ["store.arrow"],
                "pairs": ["pairs.parquet"],
                "templates": ["templates.parquet"],
            },
            {"metrics": "metrics.json", "scores": "scores.parquet"},
            {
                "benchmarks": ["unseen"],
                "settings": {
                    "flip": "concatenate",
                    "far": {"unseen": [0.01]},
                    "templates": {"unseen": {"detector_score": False, "unit_faces": False}},
                },
            },
            {"model": "students/tiny"},
        ),
        "make_quality_table": Job(
            "make_quality_table",
            "make_quality_table",
            {
                "stores": ["store.arrow"],
                "outcomes": ["alignment.csv"],
                "origins": ["origin.json"],
                "training_store": "store.arrow",
                "training_sets": ["training_set.parquet"],
                "benchmark_stores": ["store.arrow"],
                "faces": ["test_faces.parquet"],
            },
            {name: f"quality.{name}" for name in ("csv", "html", "tex")},
            {"datasets": ["scale"], "benchmarks": [["Unseen people", 0, True]]},
            {},
        ),
        "export": Job(
            "export",
            "export",
            {
                "weights": "weights.safetensors",
                "scores": "scores.parquet",
                "metrics": "metrics.json",
                "store": "store.arrow",
                "teacher": "weights.safetensors",
            },
            {"onnx": "export/model.onnx"},
            {"name": "tiny", "settings": EXPORT},
            {},
        ),
        "hash_study": Job(
            "hash_study",
            "hash_study",
            {
                "acquire": ["manifest.csv"],
                "align": ["store.arrow"],
                "split": ["training_set.parquet", "pairs.parquet"],
                "embed": ["embeddings.npy"],
                "evaluate": ["scores.parquet"],
            },
            {"hashes": "hashes.json"},
            {"configuration": "", "folder": "."},
            {},
        ),
        "export_verification_pack": Job(
            "export_verification_pack",
            "export_verification_pack",
            {"store": "store.arrow", "pairs": "pairs.parquet"},
            {"pack": "pairs.bin"},
            {},
            {},
        ),
        "export_training_pack": Job(
            "export_training_pack",
            "export_training_pack",
            {**held_out, "store": "store.arrow"},
            {"records": "pack/train.rec", "index": "pack/train.idx", "properties": "pack/property"},
            {},
            {},
        ),
        "check_training_pack": Job(
            "check_training_pack",
            "check_training_pack",
            {**held_out, "store": "store.arrow", "listing": "listing.csv"},
            {"checked": "checked.json"},
            {},
            {},
        ),
        "acquire_pack": Job(
            "acquire",
            "acquire",
            {},
            acquired("pack"),
            {"source": pack, "downloads": downloads},
            {},
        ),
        "align_pack": Job(
            "align",
            "align",
            acquired("pack"),
            shard("pack"),
            {"source": pack, "settings": alignment, **shared},
            {"shard": "0"},
        ),
    }


class Files:
    """A job's files, parameters or wildcards, as Snakemake gives them to a script."""

    def __init__(self, named: dict[str, Any]):
        self._named = named
        self.__dict__.update(named)
        self.get, self.items = named.get, named.items

    def __iter__(self) -> Iterator[str]:
        for each in self._named.values():
            yield from each if isinstance(each, list) else [each]

    def __getitem__(self, place: int) -> str:
        return list(self)[place]


def run_script(job: Job) -> None:
    """What the process of a job does."""
    parts = {name: Files(getattr(job, name)) for name in ("input", "output", "params", "wildcards")}
    given = SimpleNamespace(**parts, log=[f"{job.script}.log"])
    runpy.run_path(str(ROOT / "workflow/scripts" / f"{job.script}.py"), {"snakemake": given})


# The inputs. They are made in a process of their own, because the peak of a process counts for those that it starts.


def make_inputs(faces: int) -> None:
    """Everything that no stage makes itself, in the working directory."""
    import numpy as np
    import pandas as pd
    import torch

    from triplet_distillation.faces import align, store
    from triplet_distillation.networks import weights
    from triplet_distillation.provenance import file_digest
    from triplet_distillation.tabular import write_table

    acquire_photographs(faces)
    arguments = {"source": {"source": "folder", "path": "photographs"}, "shard": 0}
    settings = {"detector": "mtcnn", "batch_size": 8, "shards": max(1, faces // PHOTOGRAPHS)}
    files = align.AcquiredFiles("orl_images", "orl.csv", "orl.json")
    align.write_shard(files, settings=settings, output="aligned.arrow", outcomes="aligned.csv", **arguments)
    different = list(different_faces("aligned.arrow"))
    metadata = {"detector": "mtcnn", "template": "ArcFace 112×112", **ORIGIN}
    store.write("store.arrow", repeated(different, range(faces)), metadata)
    for number, half in enumerate((range(faces // 2), range(faces // 2, faces))):
        store.write(f"half{number}.arrow", repeated(different, half), metadata)
        with Path(f"half{number}.csv").open("w") as outcomes:
            outcomes.write("path,identity,outcome,reason\n")
            outcomes.writelines(f"{path_of(face)},{identity_of(face)},one face,\n" for face in half)
    write_table("all_faces.parquet", pd.DataFrame({"row": np.arange(faces)}))
    Path("origin.json").write_text(json.dumps(ORIGIN | {"files": {}}))
    torch.manual_seed(0)
    weights.save("weights.safetensors", weights.create(TINY), TINY, {"seed": 0, "digest": ""})
    write_embeddings(faces)
    sidecar = {
        "teacher": {"weights": file_digest("weights.safetensors"), "network": TINY},
        "store": metadata,
        "shape": [faces, 2, DIMENSIONS],
        "normalized": True,
    }
    Path("embeddings.json").write_text(json.dumps(sidecar))


def path_of(face: int) -> str:
    return f"{identity_of(face)}/{face:08d}.jpg"


def identity_of(face: int) -> str:
    return f"person{face // FACES_PER_IDENTITY:06d}"


def acquire_photographs(faces: int) -> None:
    """ORL's photographs, with a manifest of ``faces`` images of which they are the first; many links to them; and one
    photograph of 12 megapixels."""
    import cv2
    import numpy as np

    from triplet_distillation.faces.acquire import write_images

    downloads = {"folder": "downloads", "mirror": ""}
    write_images({"source": "orl"}, "orl_images", downloads, "orl.csv", "orl.json")
    lines = Path("orl.csv").read_text().splitlines()
    header, photographs = lines[0], lines[1:]
    paths = [Path("orl_images", line.split(",")[0]) for line in photographs]
    with Path("orl.csv").open("a") as manifest:
        manifest.writelines(f"{path_of(face)},{identity_of(face)},0,0\n" for face in range(PHOTOGRAPHS, faces))
    with Path("manifest.csv").open("w") as manifest:
        manifest.write(f"{header}\n")
        manifest.writelines(f"{path_of(face)},{identity_of(face)},0,{face:064d}\n" for face in range(faces))
    for face in range(min(faces, jobs(faces)["acquire"].most)):
        link = Path("many", path_of(face)).with_suffix(".pgm")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(paths[face % PHOTOGRAPHS])
    tiles = [cv2.resize(cv2.imread(str(path)), (200, 150)) for path in paths]
    large = np.vstack([np.hstack(tiles[start : start + 20]) for start in range(0, PHOTOGRAPHS, 20)])
    Path("large_images/group").mkdir(parents=True)
    cv2.imwrite("large_images/group/photograph.jpg", large)
    Path("large.csv").write_text(f"{header}\ngroup/photograph.jpg,group,0,0\n")
    Path("large.json").write_text(Path("orl.json").read_text())
    Path("photographs").mkdir()


def different_faces(aligned: str) -> Iterator[bytes]:
    """The aligned faces, each shifted and turned a little in many ways, as JPEG."""
    import cv2
    import numpy as np

    from triplet_distillation.faces.store import FaceStore

    opened = FaceStore(aligned)
    pictures = [cv2.cvtColor(opened.image(row), cv2.COLOR_RGB2BGR) for row in range(len(opened))]
    random = np.random.default_rng(0)
    for number in range(DIFFERENT_FACES):
        turn = cv2.getRotationMatrix2D((56, 56), random.uniform(-15, 15), random.uniform(1, 1.2))
        turn[:, 2] += random.uniform(-6, 6, 2)
        turned = cv2.warpAffine(pictures[number % len(pictures)], turn, (112, 112), borderMode=cv2.BORDER_REFLECT)
        yield cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def repeated(different: list[bytes], faces: range) -> Iterator[Any]:
    """Rows of a store."""
    import numpy as np

    from triplet_distillation.faces.store import ONE_FACE, StoreRow

    landmarks = np.zeros(10, np.float32)
    for face in faces:
        image, label = different[face % len(different)], face // FACES_PER_IDENTITY
        yield StoreRow(image, label, identity_of(face), path_of(face), landmarks, 0.99, ONE_FACE)


def write_embeddings(faces: int) -> None:
    """Unit vectors, near to those of the same identity; a block of them is repeated."""
    import numpy as np

    from triplet_distillation.row_files import growing_file

    random = np.random.default_rng(0)
    centers = np.repeat(random.standard_normal((30, DIMENSIONS)), FACES_PER_IDENTITY, axis=0)[:, None]
    block = centers + 0.5 * random.standard_normal((len(centers), 2, DIMENSIONS))
    block = (block / np.linalg.norm(block, axis=2, keepdims=True)).astype(np.float32)
    with growing_file("embeddings.npy", (faces, 2, DIMENSIONS), "") as growing:
        for start in range(0, faces, len(block)):
            growing.append(block[: faces - start])


def list_pack() -> None:
    """What mxnet would read from the exported pack, as workflow/scripts/read_with_mxnet.py lists it."""
    import hashlib

    from triplet_distillation.faces.insightface import TrainingPack

    pack = TrainingPack("pack")
    with Path("listing.csv").open("w") as listing:
        listing.write("record,label,second_label,sha256,shape\n")
        for number in range(pack.identities.stop):
            labels, content = pack.record(number)
            second = labels[1] if len(labels) > 1 else ""
            digest = hashlib.sha256(content).hexdigest() if content else ""
            listing.write(f"{number},{labels[0]},{second},{digest},{'112x112x3' if content else ''}\n")


# The measurement.


class Measured(NamedTuple):
    """A job at one size: ``peak`` memory (MiB), ``seconds``, and ``gigabytes`` of the inputs that its rule counts."""

    faces: int
    peak: float
    seconds: float
    gigabytes: float


def run_child(folder: Path, task: list) -> tuple[float, float]:
    """Peak memory (MiB) and seconds of a process of this script; its output goes to standard error."""
    environment = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, str(Path(__file__).resolve()), "--task", json.dumps(task)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=sys.stderr)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        logs = "\n".join(path.read_text()[-2000:] for path in folder.glob(f"{task[1]}.log")) if len(task) > 1 else ""
        raise RuntimeError(f"{task[0]} failed in {folder}\n{logs}")
    return used.ru_maxrss / 1024, time.perf_counter() - started


def demands() -> dict[str, dict[str, Any]]:
    """What the rules ask for."""
    return yaml.safe_load((ROOT / "workflow/resources.yaml").read_text())


def counted_gigabytes(folder: Path, job: Job) -> float:
    """Size of the inputs that the demand of a job's rule counts."""
    names = demands()[job.rule].get("inputs", job.input)
    paths = list(Files({name: job.input[name] for name in names if name in job.input}))
    return sum((folder / path).stat().st_size for path in paths) / 2**20 / 1000  # as Snakemake counts megabytes


def measure_size(folder: Path, faces: int, chosen: list[str]) -> dict[str, Measured]:
    """The ``chosen`` stages, and those whose files they need, at one size."""
    found = {}
    run_child(folder, ["inputs", faces])
    for name, job in jobs(faces).items():
        if name not in chosen or faces > job.most:
            continue
        if name == "check_training_pack":
            run_child(folder, ["list_pack"])
        gigabytes = counted_gigabytes(folder, job)
        peak, seconds = run_child(folder, ["job", job.script, *job])
        found[name] = Measured(faces, peak, seconds, gigabytes)
        print(f"{faces} faces, {name}: {peak:.0f} MiB, {seconds:.1f} s", file=sys.stderr)
        for unused in UNUSED_AFTER.get(name, ()):
            (folder / unused).unlink()
    return found


UNUSED_AFTER = {
    "merge_shards": ("half0.arrow", "half1.arrow", "merged.arrow"),
    "check_training_pack": ("listing.csv",),
    "hash_study": ("embeddings.npy",),
}
"""Large files that no later stage reads."""


def line(first: Measured, second: Measured, what: str) -> float:
    """Where the line through two measurements leads at :data:`TARGET` faces."""
    a, b = getattr(first, what), getattr(second, what)
    return a + (b - a) / (second.faces - first.faces) * (TARGET - first.faces)


def summarize(rule: str, first: Measured, second: Measured) -> dict[str, Any]:
    """A stage's entry in the result."""
    demand = demands()[rule]

    def mem_mb(gigabytes: float) -> int:
        return round(demand["mb"] + demand["mb_per_gb"] * gigabytes)

    peak = max(first.peak, second.peak)
    return {
        "rule": rule,
        "faces": [first.faces, second.faces],
        "peaks_mib": [round(first.peak), round(second.peak)],
        "peak_mib": round(peak),
        "peak_mib_at_5_8_million": round(max(peak, line(first, second, "peak"))),
        "seconds": round(first.seconds, 1),  # of 20,000 faces
        "all_seconds": [round(first.seconds, 1), round(second.seconds, 1)],
        "hours_at_5_8_million": round(max(second.seconds, line(first, second, "seconds")) / 3600, 2),
        "mem_mb": mem_mb(line(first, second, "gigabytes")),
        "all_mem_mb": [mem_mb(first.gigabytes), mem_mb(second.gigabytes)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="takes a few minutes: 20 and 120 thousand faces")
    parser.add_argument("--folder", help="where 20 GB are free, 4 GB with --quick")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        kind, *task = json.loads(options.task)
        {"inputs": make_inputs, "list_pack": list_pack, "job": lambda _, *job: run_script(Job(*job))}[kind](*task)
        return
    sizes = [20_000, 120_000] if options.quick else [20_000, FEWER, 1_000_000]
    stages = jobs(TARGET)
    measured: dict[str, list[Measured]] = {name: [] for name in stages}
    for faces in sizes:
        ends = [name for name, job in stages.items() if faces in (sizes[0], max(s for s in sizes if s <= job.most))]
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for name, found in measure_size(Path(folder), faces, ends).items():
                measured[name].append(found)
    result = {name: summarize(stages[name].rule, *found) for name, found in measured.items()}
    print(json.dumps(result | {"quick": options.quick}))


if __name__ == "__main__":
    main()

"""Opening a face store of a million faces and reading at random, against mxnet's reader of a pack of the same faces.

The faces are real ones, repeated. mxnet runs in an environment of its own, created from
envs/mxnet.txt unless --mxnet-python names one.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT / "src")  # instead of this folder, whose statistics.py would hide Python's

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402

from triplet_distillation.faces import insightface, store  # noqa: E402

OURS = """
import json, sys, time
sys.path.insert(0, sys.argv[3])
import numpy as np, cv2
from triplet_distillation.faces.store import FaceStore
cv2.setNumThreads(1)

def resident(kind):
    lines = open("/proc/self/status")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))

start = time.perf_counter()
opened = FaceStore(sys.argv[1])
opening = time.perf_counter() - start
opened.image(0)
after_opening = resident("VmRSS")
rows = np.random.default_rng(0).integers(0, len(opened), int(sys.argv[2]))
start = time.perf_counter()
for row in rows:
    opened.image(row)
seconds = time.perf_counter() - start
measured = {"open_seconds": opening, "resident_mib": after_opening, "private_mib_after_reads": resident("RssAnon")}
print(json.dumps(measured | {"reads_per_second": len(rows) / seconds}))
"""

PEER = """
import json, sys, time
import mxnet, numpy as np
pack = mxnet.recordio.MXIndexedRecordIO(sys.argv[1] + "/train.idx", sys.argv[1] + "/train.rec", "r")
number = len(pack.keys)
rows = 1 + np.random.RandomState(0).randint(0, int(sys.argv[3]), int(sys.argv[2]))
start = time.perf_counter()
for row in rows:
    header, content = mxnet.recordio.unpack(pack.read_idx(int(row)))
    mxnet.image.imdecode(content).asnumpy()
print(json.dumps({"reads_per_second": len(rows) / (time.perf_counter() - start)}))
"""


def repeated(pack: insightface.TrainingPack, count: int):
    """``count`` faces: those of the pack, repeated."""
    nothing = np.full(10, np.nan, np.float32)
    records = [pack.record(each) for each in pack.images]
    for index in range(count):
        record = records[index % len(records)]
        label = int(record.labels[0])
        yield store.StoreRow(record.content, label, str(label), str(index), nothing, float("nan"), store.ONE_FACE)


def mxnet_python(folder: Path) -> str:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin/pip", "install", "--quiet", "-r", ROOT / "envs/mxnet.txt"]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    return str(folder / "bin/python")


def run(python: str, program: str, *arguments) -> dict:
    """The JSON that a program prints; each runs in a process of its own."""
    output = subprocess.run([python, "-c", program, *map(str, arguments)], check=True, capture_output=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="takes less than a minute, with fewer faces")
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--reads", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mxnet-python", help="a Python interpreter with mxnet")
    options = parser.parse_args()
    if options.quick:
        options.faces, options.reads, options.rounds = 50_000, 4_000, 2
    data = Path(os.environ.get("TRIPLET_DISTILLATION_DATASETS", ROOT.parent / "shared" / "datasets"))
    pack = insightface.TrainingPack(data / "packs" / "faces_lfw_112x112")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        python = options.mxnet_python or mxnet_python(folder / "mxnet")
        start = time.perf_counter()
        store.write(folder / "store.arrow", repeated(pack, options.faces), {})
        writing = time.perf_counter() - start
        # a single label, because the repeated faces are not sorted by label, which does not affect the reader
        insightface.write_training_pack(folder, ((0, face.image) for face in repeated(pack, options.faces)))
        rounds = [
            (
                run(sys.executable, OURS, folder / "store.arrow", options.reads, ROOT / "src"),
                run(python, PEER, folder, options.reads, options.faces),
            )
            for _ in range(options.rounds)
        ]
        result = {key: statistics.median(mine[key] for mine, _ in rounds) for key in rounds[0][0]}
        result["peer_reads_per_second"] = statistics.median(theirs["reads_per_second"] for _, theirs in rounds)
        result["ratio"] = statistics.median(
            mine["reads_per_second"] / theirs["reads_per_second"] for mine, theirs in rounds
        )
        result |= {"faces": options.faces, "store_mib": (folder / "store.arrow").stat().st_size / 2**20}
        result["write_faces_per_second"] = options.faces / writing
    print(json.dumps(result))


if __name__ == "__main__":
    main()

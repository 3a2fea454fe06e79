"""Each job is interrupted at random moments, in three ways: the next run leaves the files of an uninterrupted one.

TRIPLET_DISTILLATION_INTERRUPTIONS=10 interrupts each job ten times in each way instead of twice.
"""

import contextlib
import hashlib
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import make_faces

from triplet_distillation.faces import insightface
from triplet_distillation.faces.download import fetch

ROOT = Path(__file__).parents[2]
INTERRUPTIONS = int(os.environ.get("TRIPLET_DISTILLATION_INTERRUPTIONS", "2"))
RANDOM = np.random.default_rng(11)
PREAMBLE = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); from pathlib import Path; "


class Whole(NamedTuple):
    """How long an uninterrupted run takes (s), and the size of the largest file that it writes (bytes)."""

    seconds: float
    size: int


def run_signaled(program: str, whole: Whole, number: signal.Signals, *arguments) -> None:
    """Start a program as the leader of a process group, which gets a signal after a random part of its time."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program, *map(str, arguments)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(float(RANDOM.uniform(0.05, 0.8)) * whole.seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    process.wait()


def run_killed(program: str, whole: Whole, *arguments) -> None:
    run_signaled(program, whole, signal.SIGKILL, *arguments)


def run_terminated(program: str, whole: Whole, *arguments) -> None:
    run_signaled(program, whole, signal.SIGTERM, *arguments)


def run_on_a_full_disk(program: str, whole: Whole, *arguments) -> None:
    """No file can have more than a random part of the bytes of the largest one: writing fails as on a full disk."""
    limit = int(RANDOM.uniform(0.02, 0.95) * whole.size)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + limited + program, *map(str, arguments)],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr


in_three_ways = pytest.mark.parametrize("interrupt", [run_killed, run_terminated, run_on_a_full_disk])


def run_to_completion(program: str, *arguments) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", PREAMBLE + program, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start


class SlowServer(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT in small pieces, starting at the requested byte."""

    content = bytes(RANDOM.integers(0, 256, 400_000, dtype=np.uint8))

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        try:
            for first in range(start, len(self.content), 20_000):
                self.wfile.write(self.content[first : first + 20_000])
                time.sleep(0.02)
        except ConnectionError:
            pass

    def log_message(self, *arguments):
        pass


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/f"
    server.shutdown()
    server.server_close()


@in_three_ways
def test_interrupted_download(tmp_path, address, interrupt):
    digest = hashlib.sha256(SlowServer.content).hexdigest()
    program = (
        "from triplet_distillation.faces import download; download.CHUNK = 10_000; "
        "download.fetch([sys.argv[1]], sys.argv[2], sys.argv[3], tries=1)"
    )
    (tmp_path / "whole").mkdir()
    whole = Whole(run_to_completion(program, address, tmp_path / "whole/f.bin", digest), len(SlowServer.content))
    unfinished = 0
    for number in range(INTERRUPTIONS):
        target = tmp_path / f"{number}/f.bin"
        target.parent.mkdir()
        interrupt(program, whole, address, target, digest)
        assert not target.exists() or target.read_bytes() == SlowServer.content
        unfinished += not target.exists()
        assert fetch([address], target, digest).read_bytes() == SlowServer.content
        assert names_below(target.parent) == names_below(tmp_path / "whole")
    assert unfinished


def names_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def pack(tmp_path):
    faces = make_faces(40, 5)
    insightface.write_training_pack(tmp_path / "pack", ((face.label, face.image) for face in faces))
    return tmp_path / "pack"


@in_three_ways
def test_interrupted_reading_of_a_pack(pack, tmp_path, interrupt):
    program = (
        "from triplet_distillation.faces import acquire, align; "
        "settings = {'source': 'insightface_training', 'path': sys.argv[1]}; out = Path(sys.argv[2]); "
        "out.mkdir(exist_ok=True); nowhere = {'folder': 'downloads', 'mirror': ''}; "
        "images, manifest, origin = (str(out / name) for name in ('images', 'm.csv', 'o.json')); "
        "acquire.write_images(settings, images, nowhere, manifest, origin); "
        "align.write_shard(align.AcquiredFiles(images, manifest, origin), settings, {}, 0, "
        "str(out / 's.arrow'), str(out / 's.csv'))"
    )
    check_interrupted_and_rerun(program, tmp_path, pack, interrupt)


@in_three_ways
def test_interrupted_alignment(tmp_path, interrupt):
    program = (
        "from triplet_distillation.faces import acquire, align; align.PORTION = 8; settings = {'source': 'orl'}; "
        "out = Path(sys.argv[2]); "
        "out.mkdir(exist_ok=True); nowhere = {'folder': 'downloads', 'mirror': ''}; "
        "images, manifest, origin = (str(out / name) for name in ('images', 'm.csv', 'o.json')); "
        "acquire.write_images(settings, images, nowhere, manifest, origin); "
        "align.write_shard(align.AcquiredFiles(images, manifest, origin), settings, "
        "{'detector': 'mtcnn', 'batch_size': 4, 'shards': 8}, 0, str(out / 's.arrow'), str(out / 's.csv'))"
    )
    check_interrupted_and_rerun(program, tmp_path, "", interrupt)


def check_interrupted_and_rerun(program: str, folder: Path, source, interrupt: Callable[..., None]) -> None:
    """Nothing that differs from an uninterrupted run, and no other file, may remain."""
    seconds = run_to_completion(program, source, folder / "undisturbed")
    whole = Whole(seconds, (folder / "undisturbed/s.arrow").stat().st_size)
    expected = (folder / "undisturbed/s.arrow").read_bytes()
    unfinished = 0
    for number in range(INTERRUPTIONS):
        out = folder / str(number)
        interrupt(program, whole, source, out)
        assert not (out / "s.arrow").exists() or (out / "s.arrow").read_bytes() == expected
        unfinished += not (out / "s.arrow").exists()
        run_to_completion(program, source, out)
        assert (out / "s.arrow").read_bytes() == expected
        assert (out / "s.csv").read_bytes() == (folder / "undisturbed/s.csv").read_bytes()
        left = set(names_below(out)) ^ set(names_below(folder / "undisturbed"))
        if left and all(re.fullmatch(r"\.(s|m|o)\..*\d+\.(arrow|csv|json)", name) for name in left):
            pytest.xfail(f"atomic_write leaves the temporary file of a killed process: {left}")
        assert not left
    assert unfinished

"""Each job is killed at four random moments: the next run finishes with the files of an uninterrupted one."""

import hashlib
import http.server
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import make_faces

from triplet_distillation.faces import insightface
from triplet_distillation.faces.download import fetch

ROOT = Path(__file__).parents[2]
KILLS = 4
RANDOM = np.random.default_rng(11)
PREAMBLE = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); from pathlib import Path; "


def run_killed(program: str, uninterrupted_seconds: float, *arguments) -> None:
    """Start a program and kill it after a random fraction of the time that it takes."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program, *map(str, arguments)], stderr=subprocess.DEVNULL
    )
    time.sleep(float(RANDOM.uniform(0.05, 1.0)) * uninterrupted_seconds)
    process.kill()
    process.wait()


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


def test_killed_download(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowServer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/f"
    digest = hashlib.sha256(SlowServer.content).hexdigest()
    program = (
        "from triplet_distillation.faces import download; download.CHUNK = 10_000; "
        "download.fetch([sys.argv[1]], sys.argv[2], sys.argv[3])"
    )
    seconds = run_to_completion(program, address, tmp_path / "whole.bin", digest)
    unfinished = 0
    for number in range(KILLS):
        target = tmp_path / f"{number}.bin"
        run_killed(program, seconds, address, target, digest)
        assert not target.exists() or target.read_bytes() == SlowServer.content
        unfinished += not target.exists()
        assert fetch([address], target, digest).read_bytes() == SlowServer.content
    assert unfinished >= KILLS // 2
    server.shutdown()
    server.server_close()


@pytest.fixture
def pack(tmp_path):
    faces = make_faces(40, 5)
    insightface.write_training_pack(tmp_path / "pack", ((face.label, face.image) for face in faces))
    return tmp_path / "pack"


def test_killed_reading_of_a_pack(pack, tmp_path):
    program = (
        "from triplet_distillation.faces import acquire, align; "
        "settings = {'source': 'insightface_training', 'path': sys.argv[1]}; out = Path(sys.argv[2]); "
        "out.mkdir(exist_ok=True); nowhere = {'folder': 'downloads', 'mirror': ''}; "
        "images, manifest, origin = (str(out / name) for name in ('images', 'm.csv', 'o.json')); "
        "acquire.write_images(settings, images, nowhere, manifest, origin); "
        "align.write_shard(align.AcquiredFiles(images, manifest, origin), settings, {}, 0, "
        "str(out / 's.arrow'), str(out / 's.csv'))"
    )
    check_killed_and_rerun(program, tmp_path, pack)


def test_killed_alignment(tmp_path):
    program = (
        "from triplet_distillation.faces import acquire, align; settings = {'source': 'orl'}; out = Path(sys.argv[2]); "
        "out.mkdir(exist_ok=True); nowhere = {'folder': 'downloads', 'mirror': ''}; "
        "images, manifest, origin = (str(out / name) for name in ('images', 'm.csv', 'o.json')); "
        "acquire.write_images(settings, images, nowhere, manifest, origin); "
        "align.write_shard(align.AcquiredFiles(images, manifest, origin), settings, "
        "{'detector': 'mtcnn', 'batch_size': 8, 'shards': 8}, 0, str(out / 's.arrow'), str(out / 's.csv'))"
    )
    check_killed_and_rerun(program, tmp_path, "")


def check_killed_and_rerun(program: str, folder: Path, source) -> None:
    seconds = run_to_completion(program, source, folder / "undisturbed")
    expected = (folder / "undisturbed/s.arrow").read_bytes()
    unfinished = 0
    for number in range(KILLS):
        out = folder / str(number)
        run_killed(program, seconds, source, out)
        assert not (out / "s.arrow").exists() or (out / "s.arrow").read_bytes() == expected
        unfinished += not (out / "s.arrow").exists()
        run_to_completion(program, source, out)
        assert (out / "s.arrow").read_bytes() == expected
        assert (out / "s.csv").read_bytes() == (folder / "undisturbed/s.csv").read_bytes()
    assert unfinished >= KILLS // 2

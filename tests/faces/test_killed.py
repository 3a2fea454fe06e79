"""Download and alignment are interrupted at random moments: the next run leaves the files of an uninterrupted one."""

import hashlib
import http.server
import threading
import time

import numpy as np
import pytest
from conftest import make_faces
from interruptions import (
    INTERRUPTIONS,
    RANDOM,
    Whole,
    check_interrupted_and_rerun,
    in_three_ways,
    names_below,
    run_to_completion,
)

from triplet_distillation.faces import insightface
from triplet_distillation.faces.download import fetch


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
    check_interrupted_and_rerun(program, tmp_path, pack, interrupt, ("s.arrow", "s.csv"))


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
    check_interrupted_and_rerun(program, tmp_path, "", interrupt, ("s.arrow", "s.csv"))

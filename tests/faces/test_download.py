"""Downloads over a bad line, from bad servers, from folders; archives that would write elsewhere."""

import hashlib
import http.server
import io
import os
import tarfile
import threading

import pytest

from triplet_distillation.faces.archive import ArchiveError, extract
from triplet_distillation.faces.download import DownloadError, fetch

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; ``behavior`` has one word for each request to come, then it behaves."""

    behavior: list[str] = []  # noqa: RUF012
    requests: list[str] = []  # noqa: RUF012

    def do_GET(self):
        kind = self.behavior.pop(0) if self.behavior else "good"
        self.requests.append(self.headers.get("Range", ""))
        if kind in ("500", "404"):
            return self.send_error(int(kind))
        content, status = CONTENT, 200
        if kind == "html":
            content = b"<!DOCTYPE html><html>please log in</html>"
        elif kind == "wrong":
            content = b"x" * 1000
        elif "Range" in self.headers and kind != "no ranges":
            content, status = CONTENT[int(self.headers["Range"][6:-1]) :], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 3] if kind == "closes" else content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def address():
    Server.behavior, Server.requests = [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/file.bin"
    server.shutdown()
    thread.join()
    server.server_close()


def get(address, folder, **settings):
    return fetch([address], folder / "file.bin", SHA256, wait=0.01, **settings)


def test_a_good_server(address, tmp_path):
    assert get(address, tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_what_is_there_is_not_fetched_again(address, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    get(address, tmp_path)
    assert Server.requests == []


def test_a_file_that_is_there_but_wrong_is_replaced(address, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"half")
    assert get(address, tmp_path).read_bytes() == CONTENT


def test_a_server_that_closes_midway_is_asked_for_the_rest(address, tmp_path):
    Server.behavior = ["closes", "closes"]
    assert get(address, tmp_path).read_bytes() == CONTENT
    third = len(CONTENT) // 3
    assert Server.requests[:2] == ["", f"bytes={third}-"]


def test_a_server_that_knows_no_ranges_sends_all_again(address, tmp_path):
    Server.behavior = ["closes", "no ranges"]
    assert get(address, tmp_path).read_bytes() == CONTENT


def test_errors_that_pass(address, tmp_path):
    Server.behavior = ["500", "500"]
    assert get(address, tmp_path).read_bytes() == CONTENT


def test_what_is_unfinished_looks_unfinished_and_is_gone_on_with(address, tmp_path):
    Server.behavior = ["closes"]
    with pytest.raises(DownloadError, match="the server closed the connection after"):
        get(address, tmp_path, tries=1)
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin.part"]
    get(address, tmp_path)
    assert Server.requests[-1].startswith("bytes=")


@pytest.mark.parametrize(
    ("kind", "message"), [("500", "500"), ("404", "404"), ("html", "web page"), ("wrong", "SHA-256 is")]
)
def test_a_server_that_will_not_do(address, tmp_path, kind, message):
    Server.behavior = [kind] * 10
    with pytest.raises(DownloadError, match=message) as error:
        get(address, tmp_path)
    assert "manually" in str(error.value)
    assert SHA256 in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_next_address_is_tried(address, tmp_path):
    Server.behavior = ["404"]
    assert fetch([address, address], tmp_path / "file.bin", SHA256, wait=0.01).read_bytes() == CONTENT


def test_folders_and_file_addresses(tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "file.bin").write_bytes(CONTENT)
    unreachable = "http://127.0.0.1:9/file.bin"
    assert get(unreachable, tmp_path / "a", mirror=str(mirror)).read_bytes() == CONTENT
    assert get((mirror / "file.bin").as_uri(), tmp_path / "b").read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="No such file"):
        get((mirror / "other.bin").as_uri(), tmp_path / "c")


def archive(path, *members, content=b"x"):
    with tarfile.open(path, "w:gz") as opened:
        for member in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(content) if member.isreg() else 0
            opened.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return path


def link(name, target, kind):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_a_good_archive(tmp_path):
    extract(archive(tmp_path / "a.tgz", "lfw/Anna/1.jpg"), tmp_path / "out")
    assert (tmp_path / "out/lfw/Anna/1.jpg").read_bytes() == b"x"


@pytest.mark.parametrize(
    "member",
    [
        "../outside",
        "lfw/../../outside",
        "/tmp/triplet-distillation-outside",
        link("lfw/link", "/etc/passwd", tarfile.SYMTYPE),
        link("lfw/link", "../../outside", tarfile.SYMTYPE),
        link("lfw/link", "../outside", tarfile.LNKTYPE),
        link("lfw/device", "", tarfile.CHRTYPE),
        link("lfw/pipe", "", tarfile.FIFOTYPE),
    ],
    ids=lambda member: member if isinstance(member, str) else f"{member.name} to {member.linkname}",
)
def test_an_archive_that_would_reach_outside(tmp_path, member):
    out = tmp_path / "a" / "out"
    absolute = isinstance(member, str) and member.startswith("/")
    hostile = archive(tmp_path / "a.tgz", "lfw/good.jpg", member)
    if absolute:  # the leading slash is taken off, and the file lands inside
        extract(hostile, out)
        assert not os.path.lexists(member)
    else:
        with pytest.raises(ArchiveError, match=r"a\.tgz"):
            extract(hostile, out)
    inside = {path for path in tmp_path.rglob("*") if out in path.parents}
    outside = {path for path in tmp_path.rglob("*") if not path.is_dir()} - inside
    assert outside == {hostile}


@pytest.mark.parametrize("share", [0, 2, 5, 9])
def test_a_truncated_archive(tmp_path, share):
    whole = archive(tmp_path / "a.tgz", *(f"lfw/{n}.jpg" for n in range(50)), content=os.urandom(5000))
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) * share // 10])
    with pytest.raises(ArchiveError, match="cannot be read to its end"):
        extract(whole, tmp_path / "out")

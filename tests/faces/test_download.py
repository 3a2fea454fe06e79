"""Downloads over bad connections, from faulty servers and from folders; archives that would write elsewhere."""

import hashlib
import http.server
import io
import os
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from triplet_distillation.faces import download
from triplet_distillation.faces.archive import ArchiveError, extract
from triplet_distillation.faces.download import DownloadError, fetch

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; ``behavior`` has one word per upcoming request, after that the server works normally."""

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


def test_two_downloads_of_one_file_wait_for_each_other(address, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: get(address, tmp_path), range(4)))
    assert {path.read_bytes() for path in found} == {CONTENT}
    assert Server.requests == [""]


def test_second_download_completes_what_the_first_could_not(address, tmp_path):
    """The one that waits goes on from the unfinished file, and nobody removes it in between."""
    Server.behavior = ["closes", "404"]
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(get, address, tmp_path, tries=2) for _ in range(2)]
    assert sorted(type(result.exception()).__name__ for result in results) == ["DownloadError", "NoneType"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert Server.requests[-1] == f"bytes={len(CONTENT) // 3}-"


def test_correct_file_in_a_folder_that_cannot_be_written_is_used(address, tmp_path, monkeypatch):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    monkeypatch.setattr(download, "locked", pytest.fail)
    assert get(address, tmp_path).read_bytes() == CONTENT
    assert not Server.requests


def visible_files(folder):
    """Names of its files, without the hidden lock."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def get(address, folder, **settings):
    return fetch([address], folder / "file.bin", SHA256, wait=0.01, **settings)


def test_good_server(address, tmp_path):
    assert get(address, tmp_path).read_bytes() == CONTENT
    assert visible_files(tmp_path) == ["file.bin"]


def test_existing_file_is_not_fetched_again(address, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    get(address, tmp_path)
    assert Server.requests == []


def test_existing_file_with_wrong_content_is_replaced(address, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"half")
    assert get(address, tmp_path).read_bytes() == CONTENT


def test_download_resumes_if_the_server_closes_midway(address, tmp_path):
    Server.behavior = ["closes", "closes"]
    assert get(address, tmp_path).read_bytes() == CONTENT
    third = len(CONTENT) // 3
    assert Server.requests[:2] == ["", f"bytes={third}-"]


def test_download_restarts_if_the_server_does_not_support_ranges(address, tmp_path):
    Server.behavior = ["closes", "no ranges"]
    assert get(address, tmp_path).read_bytes() == CONTENT


def test_temporary_errors_are_retried(address, tmp_path):
    Server.behavior = ["500", "500"]
    assert get(address, tmp_path).read_bytes() == CONTENT


def test_partial_download_has_its_own_name_and_is_resumed(address, tmp_path):
    Server.behavior = ["closes"]
    with pytest.raises(DownloadError, match="the server closed the connection after"):
        get(address, tmp_path, tries=1)
    assert visible_files(tmp_path) == ["file.bin.part"]
    get(address, tmp_path)
    assert Server.requests[-1].startswith("bytes=")


@pytest.mark.parametrize(
    ("kind", "message"), [("500", "500"), ("404", "404"), ("html", "web page"), ("wrong", "SHA-256 is")]
)
def test_unusable_server_is_reported(address, tmp_path, kind, message):
    Server.behavior = [kind] * 10
    with pytest.raises(DownloadError, match=message) as error:
        get(address, tmp_path)
    assert "manually" in str(error.value)
    assert SHA256 in str(error.value)
    assert visible_files(tmp_path) == []


def test_next_address_is_tried(address, tmp_path):
    Server.behavior = ["404"]
    assert fetch([address, address], tmp_path / "file.bin", SHA256, wait=0.01).read_bytes() == CONTENT


def test_mirror_folders_and_file_urls(tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "file.bin").write_bytes(CONTENT)
    unreachable = "http://127.0.0.1:9/file.bin"
    assert get(unreachable, tmp_path / "a", mirror=str(mirror)).read_bytes() == CONTENT
    assert get((mirror / "file.bin").as_uri(), tmp_path / "b").read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="No such file"):
        get((mirror / "other.bin").as_uri(), tmp_path / "c")


def make_archive(path, *members, content=b"x"):
    with tarfile.open(path, "w:gz") as output:
        for member in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(content) if member.isreg() else 0
            output.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return path


def make_link(name, target, kind):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_good_archive(tmp_path):
    extract(make_archive(tmp_path / "a.tgz", "lfw/Anna/1.jpg"), tmp_path / "out")
    assert (tmp_path / "out/lfw/Anna/1.jpg").read_bytes() == b"x"


@pytest.mark.parametrize(
    "member",
    [
        "../outside",
        "lfw/../../outside",
        "/tmp/triplet-distillation-outside",
        make_link("lfw/link", "/etc/passwd", tarfile.SYMTYPE),
        make_link("lfw/link", "../../outside", tarfile.SYMTYPE),
        make_link("lfw/link", "../outside", tarfile.LNKTYPE),
        make_link("lfw/device", "", tarfile.CHRTYPE),
        make_link("lfw/pipe", "", tarfile.FIFOTYPE),
    ],
    ids=lambda member: member if isinstance(member, str) else f"{member.name} to {member.linkname}",
)
def test_archive_members_cannot_escape_the_folder(tmp_path, member):
    out = tmp_path / "a" / "out"
    absolute = isinstance(member, str) and member.startswith("/")
    hostile = make_archive(tmp_path / "a.tgz", "lfw/good.jpg", member)
    if absolute:  # the leading slash is stripped, and the file ends up inside
        extract(hostile, out)
        assert not os.path.lexists(member)
    else:
        with pytest.raises(ArchiveError, match=r"a\.tgz"):
            extract(hostile, out)
    inside = {path for path in tmp_path.rglob("*") if out in path.parents}
    outside = {path for path in tmp_path.rglob("*") if not path.is_dir()} - inside
    assert outside == {hostile}


@pytest.mark.parametrize("tenths", [0, 2, 5, 9])
def test_truncated_archive_is_rejected(tmp_path, tenths):
    truncated = make_archive(tmp_path / "a.tgz", *(f"lfw/{n}.jpg" for n in range(50)), content=os.urandom(5000))
    content = truncated.read_bytes()
    truncated.write_bytes(content[: len(content) * tenths // 10])
    with pytest.raises(ArchiveError, match="cannot be read to its end"):
        extract(truncated, tmp_path / "out")

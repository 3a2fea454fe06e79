"""Downloads that are either complete and verified, or absent."""

import logging
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import NamedTuple

from triplet_distillation.files import locked
from triplet_distillation.logs import progress
from triplet_distillation.provenance import file_digest

log = logging.getLogger(__name__)
CHUNK = 1 << 20


class DownloadError(RuntimeError):
    """No URL delivered the file; the message lists each response, and how to get the file manually."""


def fetch(
    urls: list[str],
    target: str | Path,
    sha256: str,
    *,
    mirror: str | None = None,
    tries: int = 4,
    wait: float = 1.0,
) -> Path:
    """Get a file from the first URL that delivers it, verified before it is named ``target``.

    An interrupted download resumes where it stopped, in this run or the next one; an
    unfinished file is kept next to the target under another name. Two processes that want the same file wait for each
    other.

    Args:
        urls: ``https:``, ``http:`` or ``file:`` URLs, or plain paths, in the order in which they are tried.
        target: path of the finished file; if it exists and is correct, nothing is downloaded.
        sha256: expected hex digest.
        mirror: local folder that is searched first, by the file's name.
        tries: how often each URL is tried.
        wait: seconds before the second try, doubled for every further one.

    Raises:
        DownloadError: no URL delivered the correct file.
    """
    target = Path(target)
    if _is_correct(target, sha256):  # without a lock, so that the folder may be read-only
        return target
    with locked(target.with_name(f".{target.name}.lock")):
        if not _is_correct(target, sha256):
            _download(urls, target, sha256, mirror, Retries(tries, wait))
    return target


def _is_correct(target: Path, sha256: str) -> bool:
    return target.is_file() and file_digest(target) == sha256


class Retries(NamedTuple):
    """How often a URL is tried, and the seconds before the second try, doubled for every further one."""

    tries: int
    wait: float


def _download(urls: list[str], target: Path, sha256: str, mirror: str | None, retries: Retries) -> None:
    partial = target.with_name(f"{target.name}.part")
    in_mirror = [str(Path(mirror) / target.name)] if mirror and (Path(mirror) / target.name).is_file() else []
    responses = []
    for url in [*in_mirror, *urls]:
        for attempt in range(retries.tries):
            if attempt:
                time.sleep(retries.wait * 2 ** (attempt - 1))
            try:
                _append(url, partial)
                found = file_digest(partial)
                if found == sha256:
                    partial.replace(target)
                    return
                responses.append(f"{url}: {_wrong_content(partial, found, sha256)}")
                partial.unlink()
                break
            except (OSError, urllib.error.URLError) as error:
                responses.append(f"{url}, try {attempt + 1}: {error}")
                log.warning(responses[-1])
                if isinstance(error, FileNotFoundError) or getattr(error, "code", 500) < 500:
                    break
    raise DownloadError(
        f"{target.name} could not be downloaded:\n  " + "\n  ".join(responses) + f"\nDownload it manually to {target} "
        f"(its SHA-256 must be {sha256}) and run again."
    )


def _wrong_content(path: Path, found: str, expected: str) -> str:
    with path.open("rb") as opened:
        start = opened.read(256).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "the server sent a web page instead of the file (such as a login page)"
    return f"SHA-256 is {found}, not {expected}"


def _append(url: str, partial: Path) -> None:
    """Complete ``partial``, downloading only what is missing if the server supports it."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("", "file"):
        shutil.copyfile(urllib.request.url2pathname(parts.path) if parts.scheme else url, partial)
        return
    held = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={held}-"} if held else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing follows what is held: it is complete, or belongs to another file
            return
        raise
    with response:
        resumed = held and response.status == 206
        length = response.headers.get("Content-Length")
        expected = None if length is None else int(length) + (held if resumed else 0)
        with partial.open("ab" if resumed else "wb") as output:
            for chunk in progress(iter(lambda: response.read(CHUNK), b""), f"download {partial.stem}", "MiB"):
                output.write(chunk)
            output.flush()
            os.fsync(output.fileno())
    if expected is not None and partial.stat().st_size < expected:
        raise OSError(f"the server closed the connection after {partial.stat().st_size} of {expected} bytes")

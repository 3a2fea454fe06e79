"""Downloads that are either whole and checked or not there."""

import logging
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from triplet_distillation.logs import progress
from triplet_distillation.provenance import file_digest

log = logging.getLogger(__name__)
CHUNK = 1 << 20


class DownloadError(RuntimeError):
    """No address gave the file; the message says what each answered, and what to do by hand."""


def fetch(
    addresses: list[str],
    target: str | Path,
    sha256: str,
    *,
    mirror: str | None = None,
    tries: int = 4,
    wait: float = 1.0,
) -> Path:
    """Get a file from the first address that gives it, checked before it is called ``target``.

    A download that breaks off goes on where it stopped, in this run or the next one; what
    is unfinished lies beside the target under another name.

    Args:
        addresses: ``https:``, ``http:`` or ``file:`` addresses or plain paths, in the order to try.
        target: path of the finished file; where it is there and right, nothing is fetched.
        sha256: hex digest that the file must have.
        mirror: folder that is looked into first, by the file's name.
        tries: how often each address is tried.
        wait: seconds before the second try; doubled for each further one.

    Raises:
        DownloadError: no address gave the right file.
    """
    target = Path(target)
    if target.is_file() and file_digest(target) == sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    in_mirror = [str(Path(mirror) / target.name)] if mirror and (Path(mirror) / target.name).is_file() else []
    answers = []
    for address in [*in_mirror, *addresses]:
        for attempt in range(tries):
            if attempt:
                time.sleep(wait * 2 ** (attempt - 1))
            try:
                _append(address, partial)
                found = file_digest(partial)
                if found == sha256:
                    partial.replace(target)
                    return target
                answers.append(f"{address}: {_wrong_content(partial, found, sha256)}")
                partial.unlink()
                break
            except (OSError, urllib.error.URLError) as error:
                answers.append(f"{address}, try {attempt + 1}: {error}")
                log.warning(answers[-1])
                if isinstance(error, FileNotFoundError) or getattr(error, "code", 500) < 500:
                    break
    raise DownloadError(
        f"{target.name} could not be had:\n  " + "\n  ".join(answers) + f"\nGet it by hand, put it to {target} "
        f"(its SHA-256 must be {sha256}) and run again."
    )


def _wrong_content(path: Path, found: str, wanted: str) -> str:
    with path.open("rb") as opened:
        start = opened.read(256).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "the server sent a web page instead of the file (a login, or a notice)"
    return f"SHA-256 is {found}, not {wanted}"


def _append(address: str, partial: Path) -> None:
    """Bring ``partial`` to the full length; what it holds already is not fetched again where the server can."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme in ("", "file"):
        shutil.copyfile(urllib.request.url2pathname(parts.path) if parts.scheme else address, partial)
        return
    held = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={held}-"} if held else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing beyond what is held: it is whole, or of another file
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
        raise OSError(f"the server closed after {partial.stat().st_size} of {expected} bytes")

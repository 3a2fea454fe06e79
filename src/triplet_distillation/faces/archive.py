"""Safe extraction: an archive cannot write outside its folder."""

import tarfile
from pathlib import Path

from triplet_distillation.logs import progress


class ArchiveError(ValueError):
    """An archive that is damaged, or that would write outside its folder."""


def extract(archive: str | Path, folder: str | Path) -> None:
    """Extract a tar archive (with any compression) into ``folder``: plain files and folders only.

    Raises:
        ArchiveError: a member has an absolute path, escapes the folder, is a link or a device, or the
            archive is truncated; the message names the archive and the member. Files
            extracted before the error stay in ``folder``, for the caller to remove.
    """
    folder = Path(folder)
    try:
        with tarfile.open(archive, "r|*") as opened:
            for member in progress(opened, f"extract {Path(archive).name}", "file"):
                if not (member.isfile() or member.isdir()):
                    raise ArchiveError(f"{archive}: {member.name!r} is a link or a device, not a file")
                opened.extract(member, folder, filter="data")
    except tarfile.FilterError as error:
        raise ArchiveError(f"{archive}: {error}: it would be written outside {folder}") from error
    except (tarfile.ReadError, EOFError, OSError) as error:
        raise ArchiveError(f"{archive} cannot be read to its end ({error}): download it again") from error

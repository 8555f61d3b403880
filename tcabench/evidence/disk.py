"""Files that are there whole or not at all, and what a full disk is called."""

import errno
import os
from pathlib import Path

from tcabench.errors import EvidenceError

CAUSES = {
    errno.ENOSPC: ("disk-full", "the disk is full; free some space"),
    errno.EDQUOT: ("disk-full", "the disk quota is used up; free some space"),
    errno.EFBIG: ("disk-full", "the file size limit is reached (ulimit -f); raise it"),
    errno.EACCES: ("no-permission", "permission denied; choose a folder you may write to (--out)"),
    errno.EPERM: ("no-permission", "permission denied; choose a folder you may write to (--out)"),
    errno.EROFS: ("no-permission", "the file system is read-only; choose another folder (--out)"),
}


def evidence_error(err: OSError, path: Path) -> EvidenceError:
    """`err` as the error that a user can act on; its kind is "disk-full", "no-permission" or "write-failed"."""
    kind, what = CAUSES.get(err.errno or 0, ("write-failed", err.strerror or str(err)))
    return EvidenceError(f"cannot write {path}: {what}", kind=kind)


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that after a crash either all of it is there or what was there before.

    raises: EvidenceError when it cannot be written; nothing is left behind then.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as err:
        part.unlink(missing_ok=True)
        raise evidence_error(err, path) from err


def write_all(fd: int, data: bytes) -> None:
    """Every byte of `data` to `fd`. raises: OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself last through a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

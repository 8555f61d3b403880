"""The ledger of a rig: every run that was started on it, each entry holding the hash of the one before.

It is copied into each bundle, so that the best of n runs shows as one of n.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from tcabench.errors import EvidenceError, NotVerified
from tcabench.evidence.canonical import canonical, read_canonical
from tcabench.evidence.disk import evidence_error, write_all

STATES = ("started", "sealed", "incomplete")
FIRST = "0" * 64


def append_ledger(path: Path, run_id: str, state: str, wall_ns: int) -> bytes:
    """Add "started", "sealed" or "incomplete" for `run_id`; the whole ledger comes back, as it now stands.

    Runs that end at the same time wait for each other. A last line torn by a crash is cut off, and the new entry
    says so. raises: EvidenceError when it cannot be written or the chain does not hold.
    """
    if state not in STATES:
        raise ValueError(f"{state!r} is not one of {STATES}")
    try:
        with _locked(path) as fd:
            return _append(fd, path, {"run_id": run_id, "state": state, "wall_ns": str(wall_ns)})
    except OSError as err:
        raise evidence_error(err, path) from err


def read_ledger(data: bytes) -> tuple[dict[str, Any], ...]:
    """The entries in `data`, whose chain must hold from the first to the last. raises: NotVerified."""
    entries: list[dict[str, Any]] = []
    previous = FIRST
    if data and not data.endswith(b"\n"):
        raise NotVerified("ledger.jsonl: its last line is torn", kind="ledger")
    for line in data.split(b"\n")[:-1]:
        entry = read_canonical(line, "ledger.jsonl")
        if not isinstance(entry, dict) or entry.get("prev") != previous or entry.get("n") != len(entries):
            raise NotVerified(f"ledger.jsonl: entry {len(entries)} does not follow the one before it", kind="ledger")
        entries.append(entry)
        previous = sha256(line).hexdigest()
    return tuple(entries)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _append(fd: int, path: Path, news: dict[str, Any]) -> bytes:
    data = _content(fd)
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.ftruncate(fd, len(whole))
        news["after_torn_line"] = True
    try:
        entries = read_ledger(whole)
    except NotVerified as err:
        raise EvidenceError(f"{path}: {err}. Move the file away to begin a new ledger", kind="ledger") from err
    lines = whole.splitlines()
    previous = sha256(lines[-1]).hexdigest() if lines else FIRST
    line = canonical({"n": len(entries), "prev": previous, **news}) + b"\n"
    write_all(fd, line)
    os.fsync(fd)
    return whole + line


def _content(fd: int) -> bytes:
    with open(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.read()

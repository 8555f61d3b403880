"""Runs a function that a model wrote, apart from us.

The code runs in an interpreter of its own (no site packages, no path of ours), with an environment that holds the seed
of hashes alone, in a temporary folder, in a session of its own that is killed as a group, without any open file but a
pipe; `inside` limits its CPU time, memory, file size, open files and processes, and refuses those ways to write, to
start processes, to open sockets and to load foreign libraries that Python's audit events or its own lists know of.
Reading is bounded in time and bytes.

What this does not protect from: it is a fence, not a wall. There is no namespace, no system-call filter and no other
user: the code can read every file that the user can read, the workload's answers among them, and code written to break
out of the interpreter itself can get past the refusals. Under root, the limit on processes does not hold, and limits
can be raised. It is made for the mistakes of models, not for an attacker; whoever does not trust a model runs the bench
in a container. A function too slow for the limits is wrong, and on a machine that is loaded enough so is a quick one.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryDirectory
from time import monotonic
from typing import IO, Any

INSIDE = Path(__file__).with_name("inside.py")
READY = b"ready\n"  # what `inside` says before it runs anything that it was given
MOST_BYTES = 100_000
ALONE = ("-P", "-s", "-S")  # what -I does, but for the one variable that makes the order of sets the same every time


@dataclass(frozen=True, slots=True)
class Limits:
    """What the code may use: CPU seconds, seconds by the clock, bytes of address space."""

    cpu_s: int = 2
    wall_s: float = 20.0
    memory_bytes: int = 512 * 1024 * 1024


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Ran:
    """What came back: one result for each call, or None and `why`."""

    results: tuple[Any, ...] | None
    why: str = ""


class NotStarted(Exception):
    """The sandbox itself could not be had here: that says nothing of the code."""


def call(source: str, function: str, arguments: Sequence[Sequence[Any]], limits: Limits = LIMITS) -> Ran:
    """The results of calling `function`, as `source` defines it, with each of `arguments` (JSON values).

    raises: NotStarted where there is no sandbox (another system than POSIX, no interpreter, no room to start one).
    """
    if os.name != "posix" or not sys.executable:
        raise NotStarted("code is only run on a POSIX system with an interpreter of its own")
    given = {"source": source, "function": function, "arguments": arguments, "limits": asdict(limits)}
    said = _said(json.dumps(given).encode(), limits.wall_s)
    if not said.startswith(READY):
        raise NotStarted("the sandbox did not start")
    return _read(said.removeprefix(READY), len(arguments))


def _said(given: bytes, wall_s: float) -> bytes:
    """What the child wrote until it closed its end, its time was up, or it wrote too much."""
    with TemporaryDirectory(prefix="tcabench-") as folder:
        try:
            child = Popen(
                [sys.executable, *ALONE, str(INSIDE)], stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=folder,
                env={"PYTHONHASHSEED": "0"}, start_new_session=True,
            )  # fmt: skip
        except OSError as err:
            raise NotStarted(f"the sandbox did not start: {err.strerror or err}") from err
        with child:
            try:
                return _exchanged(child, given, monotonic() + wall_s)
            finally:
                # before the child is reaped: until then nobody else can have its number
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)


def _exchanged(child: Popen[bytes], given: bytes, until_s: float) -> bytes:
    if child.stdin is None or child.stdout is None:
        raise NotStarted("the sandbox has no pipes")
    with suppress(BrokenPipeError):
        child.stdin.write(given)
        child.stdin.close()
    return _until(child.stdout, until_s)


def _until(pipe: IO[bytes], until_s: float) -> bytes:
    said = bytearray()
    with DefaultSelector() as waiting:
        waiting.register(pipe, EVENT_READ)
        while len(said) <= MOST_BYTES and waiting.select(max(0.0, until_s - monotonic())):
            piece = os.read(pipe.fileno(), 65_536)
            if not piece:
                break
            said += piece
    return bytes(said)


def _read(said: bytes, count: int) -> Ran:
    """The child's account. It is the code's word too, as both write into one pipe: anything may stand there."""
    if len(said) > MOST_BYTES:
        return Ran(None, "the results are too long")
    try:
        told = json.loads(said)
    except (ValueError, RecursionError):
        return Ran(None, "it did not end within its limits")
    if isinstance(told, dict) and isinstance(told.get("results"), list) and len(told["results"]) == count:
        return Ran(tuple(told["results"]))
    error = told.get("error") if isinstance(told, dict) else None
    return Ran(None, str(error)[:80] if error else "it gave no results")

"""How the run and its sampler talk: a JSON object per line, over the sampler's stdin and stdout."""

import json
import math
import os
import select
import time
from collections.abc import Sequence
from enum import Enum
from typing import Any, get_type_hints

from tcabench import errors
from tcabench.errors import TcaError
from tcabench.records import Channel

CHUNK_BYTES = 65_536
MESSAGE = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
Message = dict[str, Any]


class Inlet:
    """Messages that arrive on a file descriptor. Read it from one thread at a time."""

    def __init__(self, fd: int) -> None:
        self.fd, self._kept = fd, b""

    def receive(self, within_s: float | None = None) -> Message | None:
        """The next message; None when the other side is gone. raises: TimeoutError."""
        until_s = None if within_s is None else time.monotonic() + within_s
        while b"\n" not in self._kept:
            if not wait_for([self.fd], None if until_s is None else max(0.0, until_s - time.monotonic())):
                raise TimeoutError
            if not (data := os.read(self.fd, CHUNK_BYTES)):
                return None
            self._kept += data
        line, _, self._kept = self._kept.partition(b"\n")
        message: Message = json.loads(line)
        return message


def wait_for(fds: Sequence[int], within_s: float | None) -> bool:
    """Whether one of `fds` has something to read, or its end, within that time. `poll`, because a load generator may
    have more files open than `select` can count."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if within_s is None else math.ceil(within_s * 1000)))


def send(fd: int, message: Message) -> None:
    """Write the whole message. raises: OSError when the other side is gone; ValueError, TypeError for what is no JSON
    (then nothing was written)."""
    data = memoryview(MESSAGE.encode(message).encode("ascii") + b"\n")
    while data:
        data = data[os.write(fd, data) :]


def channel_to_row(channel: Channel) -> dict[str, Any]:
    """A channel as JSON can hold it."""
    return {name: getattr(channel, name) for name in get_type_hints(Channel)}


def channel_from_row(row: dict[str, Any]) -> Channel:
    """The channel again, exactly."""
    kinds = get_type_hints(Channel)
    return Channel(**{
        name: kinds[name](value) if issubclass(kinds[name], Enum) else value for name, value in row.items()
    })  # fmt: skip


def error_to_row(err: TcaError) -> dict[str, str]:
    """An error as JSON can hold it; a plug-in's own class of error travels as the one it derives from."""
    ours = next(one.__name__ for one in type(err).__mro__ if one.__module__ == errors.__name__)
    return {"type": ours, "message": str(err), "kind": err.kind}


def error_from_row(row: dict[str, str]) -> TcaError:
    """The error again."""
    kind: type[TcaError] = getattr(errors, row["type"])
    return kind(row["message"], row["kind"])

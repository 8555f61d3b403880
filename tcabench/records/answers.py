"""What became of the requests."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a request ended. Everything but OK counts as an error."""

    OK = "ok"
    UNREACHABLE = "unreachable"  # no connection, or it broke before the response head
    HTTP_4XX = "http_4xx"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    STREAM_CUT = "stream_cut"  # the stream ended without its closing event
    MALFORMED = "malformed"  # bytes that are not the protocol
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"  # we stopped it: end of drain, Ctrl-C


@dataclass(frozen=True, slots=True)
class Work:
    """By the server's own count: multiply-adds, and bytes read for them, of one request. `reason`: "done", or by what
    they were spared."""

    request: int
    reason: str
    macs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Trace:
    """What happened to one request; all times in ns of the run's monotonic clock.

    `due_ns` is the scheduled instant in open loop (None in closed loop); latencies count from it where it exists, so a
    late client cannot hide queueing. `chunk_ns` holds the arrival of each content-bearing chunk. `output_tok` and
    `prompt_tok` are the server's `usage`, `recount_tok` is our count of `text` (None: not given, no tokenizer).
    `right`: whether the answer was graded right; None where it was not graded.
    """

    index: int
    prompt_id: str
    max_tok: int
    due_ns: int | None
    sent_ns: int
    end_ns: int
    chunk_ns: tuple[int, ...]
    status: Status
    http_status: int | None
    error: str
    finish_reason: str | None
    text: str
    prompt_tok: int | None
    output_tok: int | None
    recount_tok: int | None
    server_id: str | None
    right: bool | None = None

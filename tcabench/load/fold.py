"""Events as they happened, folded into one Trace a request. A run and the recovery of a broken one share it."""

from collections.abc import Iterable, Mapping
from typing import Any

from tcabench.records import Status, Trace, Work


def fold(events: Iterable[Mapping[str, Any]], ended_ns: int) -> tuple[Trace, ...]:
    """Traces in order of their index. A request without its "end" event is CANCELLED at `ended_ns`:
    the run broke off before its answer did."""
    sent: dict[int, Mapping[str, Any]] = {}
    chunks: dict[int, list[Mapping[str, Any]]] = {}
    ends: dict[int, Mapping[str, Any]] = {}
    for event in events:
        if event["e"] == "sent":
            sent[event["i"]] = event
        elif event["e"] == "chunk":
            chunks.setdefault(event["i"], []).append(event)
        else:
            ends[event["i"]] = event
    broken = {"t": ended_ns, "status": Status.CANCELLED.value, "err": "the run broke off before the answer ended"}
    return tuple(trace(sent[i], chunks.get(i, []), ends.get(i, broken)) for i in sorted(sent))


def fold_work(events: Iterable[Mapping[str, Any]]) -> tuple[Work, ...]:
    """What the server told of its work, request by request in their order; () where it told nothing."""
    told = {event["i"]: event["work"] for event in events if event["e"] == "end" and "work" in event}
    return tuple(Work(index, reason, *told[index][reason]) for index in sorted(told) for reason in sorted(told[index]))


def trace(sent: Mapping[str, Any], chunks: list[Mapping[str, Any]], end: Mapping[str, Any]) -> Trace:
    """One request's Trace from its events."""
    return Trace(
        index=sent["i"],
        prompt_id=sent["p"],
        max_tok=sent["max"],
        due_ns=sent["due"],
        sent_ns=sent["t"],
        end_ns=end["t"],
        chunk_ns=tuple(c["t"] for c in chunks),
        status=Status(end["status"]),
        http_status=end.get("http"),
        error=end["err"],
        finish_reason=end.get("finish"),
        text="".join(c["s"] for c in chunks),
        prompt_tok=end.get("prompt"),
        output_tok=end.get("output"),
        recount_tok=None,
        server_id=end.get("sid"),
    )

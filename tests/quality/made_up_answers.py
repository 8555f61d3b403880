"""Answers made up for the detectors: ordinary ones, of which a test changes what it is about."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tcabench.quality import Finding, detect
from tcabench.records import Status, Trace

MS = 1_000_000
WORDS = (
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbour", "island", "juniper", "kettle", "lantern",
    "meadow", "north", "orchard", "pepper", "quarry", "river", "stone", "timber", "umber", "valley", "willow", "yarrow",
)  # fmt: skip


def words(i: int, n: int = 24) -> str:
    """Text of n words that does not repeat itself, another one for each i."""
    return " ".join(f"{WORDS[(i * 7 + k * 5) % len(WORDS)]}{(i + k * k) % 97}" for k in range(n))


def answer(i: int, **changes: Any) -> Trace:
    """Request i: 24 tokens asked for and given, the first after 100 ms, then one every 20 ms."""
    sent = i * 1000 * MS
    chunks = tuple(sent + (100 + 20 * k) * MS for k in range(24))
    made = Trace(
        index=i, prompt_id=f"p{i}", max_tok=24, due_ns=None, sent_ns=sent, end_ns=chunks[-1] + MS, chunk_ns=chunks,
        status=Status.OK, http_status=200, error="", finish_reason="length", text=words(i), prompt_tok=9,
        output_tok=24, recount_tok=24, server_id=None,
    )  # fmt: skip
    return replace(made, **changes)


def some(n: int, of: int, change: Callable[[Trace], Trace]) -> list[Trace]:
    """`of` ordinary answers, the first n of them changed."""
    return [change(answer(i)) if i < n else answer(i) for i in range(of)]


def found(name: str, traces: Sequence[Trace], pinned: bool = True) -> Finding:
    """The one finding of that name."""
    (one,) = [finding for finding in detect(traces, pinned) if finding.name == name]
    return one

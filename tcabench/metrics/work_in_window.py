"""What the server says it did and was spared in the window: counted by it, metered by nobody."""

from collections import defaultdict
from collections.abc import Sequence
from math import fsum
from typing import Any

from tcabench.records import Trace, Window, Work
from tcabench.timeline.tokens import share_between, tokens_between
from tcabench.units import decimal

DONE = "done"


def work_in_window(work: Sequence[Work], traces: Sequence[Trace], window: Window | None) -> dict[str, Any] | None:
    """Multiply-adds (`macs`) and bytes by reason, `done` first, each request by the share of its chunks in the window;
    their share of all that was done and spared, and what comes to an output token. Numbers are decimal strings; None
    where no server told of any, or there is no window."""
    if not work or window is None:
        return None
    shares = {trace.index: share_between(trace, window.start_ns, window.end_ns) for trace in traces}
    told = {row.request for row in work if shares.get(row.request, 0.0) > 0}
    tokens = tokens_between((t for t in traces if t.index in told), window.start_ns, window.end_ns)
    parts: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in work:
        share = shares.get(row.request, 0.0)
        parts[row.reason].append((row.macs * share, row.bytes * share))
    sums = {reason: (fsum(a for a, _ in rows), fsum(b for _, b in rows)) for reason, rows in parts.items()}
    whole = tuple(fsum(each[i] for each in sums.values()) for i in (0, 1))
    order = sorted(sums, key=lambda reason: (reason != DONE, -sums[reason][0], reason))
    return {
        "requests": str(len(told)),
        "silent": str(sum(share > 0 and index not in told for index, share in shares.items())),
        "tokens": decimal(tokens),
        "reasons": [{"reason": reason, **_row(sums[reason], whole, tokens)} for reason in order],
        "whole": _row((whole[0], whole[1]), whole, tokens),
    }


def _row(sums: tuple[float, float], whole: Sequence[float], tokens: float) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, value, all_of_it in zip(("macs", "bytes"), sums, whole, strict=True):
        found[name] = decimal(value)
        found[f"{name}_share"] = decimal(value / all_of_it) if all_of_it > 0 else None
        found[f"{name}_per_token"] = decimal(value / tokens) if tokens > 0 else None
    return found

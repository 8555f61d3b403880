"""Joules of prefill per prompt token."""

from math import fsum

from tcabench.metrics.account import of_split
from tcabench.metrics.interval import per
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Trace, Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": E_prefill / prompt tokens} in J/token, E_prefill by the split that the account names.

    A prompt counts by the share of its time from sending to the first content that lies in the window, as its energy
    does. That time holds queueing and the network; tokens that the server had cached count as if they were computed.
    """
    energy = of_split(m, lambda split: split.prefill)
    if isinstance(energy, NotMetered):
        return {"": energy}
    waiting = [(trace, share) for trace in m.traces if (share := _share(m, trace)) > 0]
    if any(trace.prompt_tok is None for trace, _ in waiting):
        return {"": NotMetered("some answers came without the server's count of prompt tokens")}
    tokens = fsum((trace.prompt_tok or 0) * share for trace, share in waiting)
    return {
        "": per(energy, tokens, "J/token") if tokens > 0 else NotMetered("no prompt was taken in within the window")
    }


def _share(m: Measured, trace: Trace) -> float:
    """How much (0..1) of a request's prefill lies in the window; 0 for one that never had any content."""
    if not trace.chunk_ns:
        return 0.0
    start_ns, end_ns = trace.sent_ns, max(trace.chunk_ns[0], trace.sent_ns + 1)
    inside_ns = min(end_ns, m.window.end_ns) - max(start_ns, m.window.start_ns)
    return max(0, inside_ns) / (end_ns - start_ns)


SPEC = MetricSpec("j_per_prompt_token_prefill", "J/token", lower_is_better=True, compute=compute)

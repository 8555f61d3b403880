"""Traces and energies with figures that can be worked out by hand."""

from typing import Any

from tcabench.records import Energy, NotMetered, Quantity, Status, Trace, Window

S = 1_000_000_000
WINDOW = Window(0, 10 * S, 10 * S, 20 * S, 80 * S, 90 * S, "planned duration reached")


def trace(index: int, sent_s: float, first_s: float, gap_s: float, tokens: int, **more: Any) -> Trace:
    """A request whose first token comes `first_s` after sending and each further one `gap_s` later."""
    sent = round(sent_s * S)
    chunks = tuple(round((sent_s + first_s + gap_s * i) * S) for i in range(tokens))
    settings: dict[str, Any] = {
        "index": index, "prompt_id": f"p{index}", "max_tok": tokens, "due_ns": None, "sent_ns": sent,
        "end_ns": chunks[-1] if chunks else sent, "chunk_ns": chunks, "status": Status.OK, "http_status": 200,
        "error": "", "finish_reason": "length", "text": "", "prompt_tok": 5, "output_tok": tokens,
        "recount_tok": tokens, "server_id": None,
    }  # fmt: skip
    return Trace(**(settings | more))


def energy(joules: float, rel: float = 0.0, blocks: int = 12) -> Energy:
    """`joules` over WINDOW, evenly, with a relative half-width of `rel`."""
    total = Quantity(joules, joules * (1 - rel), joules * (1 + rel), "J")
    watts = Quantity(joules / 60, joules * (1 - rel) / 60, joules * (1 + rel) / 60, "W")
    parts = tuple(joules / blocks for _ in range(blocks))
    return Energy("chip", total, watts, watts, NotMetered("no idle phase"), (), (), "E1", "made up", parts)

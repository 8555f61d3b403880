"""Joules per output token: the measurand that every efficiency claim comes down to."""

from tcabench.metrics.interval import per, widen
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.metrics.spread import block_tokens, spread_rel
from tcabench.records import NotMetered, Status, Value
from tcabench.timeline import output_tok, tokens_between


def tokens_in_window(m: Measured) -> float | NotMetered:
    """Output tokens that arrived in the window, or why they cannot be counted."""
    uncounted = sum(1 for t in m.traces if t.status is Status.OK and output_tok(t) is None)
    if uncounted:
        return NotMetered(
            f"{uncounted} answers came without `usage` and no tokenizer was at hand to count them (--tokenizer)"
        )
    beyond = sum(1 for t in m.traces if t.status is Status.OK and (t.output_tok or 0) > t.max_tok)
    if beyond:
        return NotMetered(f"in {beyond} answers `usage` counts more tokens than were asked for (max_tokens): it lies")
    tokens = tokens_between(m.traces, m.window.start_ns, m.window.end_ns)
    return tokens if tokens > 0 else NotMetered("no output token arrived in the window")


def energy_per_token(m: Measured) -> Value:
    """E / N in J/token: energy inside the boundary over the window, by the output tokens that arrived in it.

    The interval joins the energy's own (meter, edges, sampling) with the spread within the run.
    Source: research practice of ML.ENERGY and InferenceX; the budget follows JCGM 100:2008 (GUM), 5.1.
    """
    if isinstance(m.energy, NotMetered):
        return m.energy
    total, tokens = m.energy.total, tokens_in_window(m)
    if isinstance(total, NotMetered):
        return total
    if isinstance(tokens, NotMetered):
        return tokens
    return widen(per(total, tokens, "J/token"), spread_rel(m, block_tokens))


def compute(m: Measured) -> dict[str, Value]:
    """{"": J/token}."""
    return {"": energy_per_token(m)}


SPEC = MetricSpec("j_per_output_token", "J/token", lower_is_better=True, compute=compute)

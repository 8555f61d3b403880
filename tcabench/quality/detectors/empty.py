"""Answers that say nothing."""

from collections.abc import Sequence

from tcabench.quality.detectors.finding import Finding, answered, examples, surely_above
from tcabench.records import Trace

# One in twenty: a model now and then ends at once, and whoever reads the answers would notice more than that.
MAX_SHARE = 0.05

SAYS = (
    "An answer of one token or none costs next to nothing and is of no use. Above one in twenty the energy for each "
    "request is that of a server that hardly answers."
)


def detect(traces: Sequence[Trace], pinned: bool) -> tuple[Finding, ...]:
    """Answers without a letter; where the length was left to the model, those of one token too. Requests for a
    single token are left out."""
    done = answered(traces)
    judged = [t for t in done if t.max_tok > 1]
    empty = [t for t in judged if not t.text.strip() or (not pinned and tokens(t) == 1)]
    found = Finding(
        name="empty",
        title="no text at all" if pinned else "no text, or a single token",
        count=len(empty),
        of=len(judged),
        left_out=len(done) - len(judged),
        examples=examples(empty),
        says=SAYS,
        is_suspect=surely_above(len(empty), len(judged), MAX_SHARE),
    )
    return (found,)


def tokens(trace: Trace) -> int | None:
    """Tokens of the answer by the server's count, else by ours, else unknown."""
    return trace.recount_tok if trace.output_tok is None else trace.output_tok

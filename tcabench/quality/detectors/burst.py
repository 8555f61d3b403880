"""Answers that arrive whole, at once, where they should arrive as they are written."""

from collections.abc import Sequence

from tcabench.quality.detectors.empty import tokens
from tcabench.quality.detectors.finding import Finding, answered, examples, surely_above
from tcabench.records import Trace

# Fewer tokens than this may well travel in one packet.
MIN_TOK = 16
# 50 us a token is 20,000 tokens/s to one reader. A model of 1 GB would have to be read through 20,000 times a second
# for that, 20 TB/s; an H200's memory gives 4.8 TB/s (NVIDIA's data sheet).
MIN_NS_PER_TOK = 50_000
# One in twenty: a network that stalls now and then delivers in a burst too.
MAX_SHARE = 0.05

SAYS = (
    "These answers came whole, in one burst, faster than models write. They were taken from a store, or something "
    "between the server and us held them back. Either way the times between their tokens are not the model's."
)


def detect(traces: Sequence[Trace], pinned: bool) -> tuple[Finding, ...]:
    """Answers of many tokens whose first and last chunk lie less than 50 us a token apart."""
    done = [t for t in answered(traces) if t.chunk_ns]
    judged = [t for t in done if written(t) >= MIN_TOK]
    bursts = [t for t in judged if span_ns(t) < MIN_NS_PER_TOK * written(t)]
    found = Finding(
        name="burst",
        title="whole answer in one burst",
        count=len(bursts),
        of=len(judged),
        left_out=len(done) - len(judged),
        examples=examples(bursts),
        says=SAYS,
        is_suspect=surely_above(len(bursts), len(judged), MAX_SHARE),
    )
    return (found,)


def written(trace: Trace) -> int:
    """Tokens of the answer; where nobody counted them, its chunks, which are at most as many."""
    counted = tokens(trace)
    return len(trace.chunk_ns) if counted is None else counted


def span_ns(trace: Trace) -> int:
    """From the first to the last chunk, in ns."""
    return trace.chunk_ns[-1] - trace.chunk_ns[0]

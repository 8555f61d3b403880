"""Answers that end before the length that was asked for."""

from collections.abc import Sequence

from tcabench.quality.detectors.finding import Finding, answered, examples
from tcabench.records import Trace

# Servers differ in whether the mark that ends an answer is counted as one of its tokens.
SLACK_TOK = 1
# A server that takes `ignore_eos` has no reason to end any answer early. One in a hundred leaves room for the prompt
# that fills the model's context, and for nothing else.
MAX_SHARE = 0.01

PINNED = (
    "Every answer was to have exactly the length asked for. A shorter one costs less energy and answers less; above "
    "one in a hundred, figures for each request compare with nobody else's."
)
FREE = (
    "These answers say that they ended for having reached the longest length allowed, and are shorter than that. The "
    "server has a limit of its own, or cuts answers off to save work."
)


def detect(traces: Sequence[Trace], pinned: bool) -> tuple[Finding, ...]:
    """With pinned output: answers of fewer tokens than asked for, however they ended. Else: those that ended for
    "length" short of it. By the server's own count, as a recount cannot see end marks; without one, left out."""
    ended = [t for t in answered(traces) if pinned or t.finish_reason == "length"]
    judged = [(t, t.output_tok) for t in ended if t.output_tok is not None]
    short = [t for t, tok in judged if tok < t.max_tok - SLACK_TOK]
    found = Finding(
        name="shortened",
        title="shorter than the pinned length" if pinned else "cut off before the longest length allowed",
        count=len(short),
        of=len(judged),
        left_out=len(ended) - len(judged),
        examples=examples(short),
        says=PINNED if pinned else FREE,
        is_suspect=len(short) > MAX_SHARE * len(judged),
    )
    return (found,)

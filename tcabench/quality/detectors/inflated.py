"""Tokens that a server counts and does not deliver."""

from collections.abc import Sequence

from tcabench.quality.detectors.finding import Finding, answered, examples
from tcabench.records import Trace

# Text counted again may come out a few tokens apart: end marks have no text, and a model's own cuts are not always
# those of its tokenizer. With output pinned at 64 tokens an honest server lay 1 % above; one in twenty is well beyond.
MAX_EXCESS = 0.05
SLACK_TOK = 2  # of a short answer, one end mark is already more than MAX_EXCESS

SAYS = (
    "The server counts more tokens than its text has when counted again with the model's own tokenizer: {usage} "
    "against {recount} in all. Tokens per kWh grow with such a count at no cost; above 5 % the server's count must be "
    "explained, e.g. by hidden reasoning that is not delivered."
)
NONE = "No answer has both the server's count and ours, so the server's count was not checked."


def detect(traces: Sequence[Trace], pinned: bool) -> tuple[Finding, ...]:
    """Answers with more than 5 % (and two tokens) above the recount; suspect where their sum over the run is."""
    done = answered(traces)
    both = [(t, t.output_tok, t.recount_tok) for t in done if t.output_tok is not None and t.recount_tok is not None]
    usage, recount = sum(u for _, u, _ in both), sum(r for _, _, r in both)
    inflated = [t for t, u, r in both if u - r > max(SLACK_TOK, MAX_EXCESS * r)]
    found = Finding(
        name="inflated",
        title="more tokens counted than delivered",
        count=len(inflated),
        of=len(both),
        left_out=len(done) - len(both),
        examples=examples(inflated),
        says=SAYS.format(usage=usage, recount=recount) if both else NONE,
        is_suspect=bool(inflated) and usage - recount > MAX_EXCESS * recount,
    )
    return (found,)

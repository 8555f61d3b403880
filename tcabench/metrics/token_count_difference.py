"""The server's token count against the model's own tokenizer."""

from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Quantity, Status, Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": sum of usage / sum of recount - 1} over answered requests that have both, unit 1.

    A few per cent are normal: text that is tokenised again may split otherwise than it was generated, and an
    end-of-text token is counted but not visible. A server that counts what it did not send shows here.
    """
    both = [
        (t.output_tok, t.recount_tok)
        for t in m.traces
        if t.status is Status.OK and t.output_tok is not None and t.recount_tok is not None
    ]
    recounted = sum(recount for _, recount in both)
    if recounted == 0:
        return {"": NotMetered("nothing to compare: no `usage`, or no tokenizer at hand (--tokenizer)")}
    return {"": Quantity.exact(sum(usage for usage, _ in both) / recounted - 1, "1")}


SPEC = MetricSpec("token_count_difference", "1", lower_is_better=True, compute=compute)

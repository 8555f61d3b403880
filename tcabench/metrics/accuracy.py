"""The share of graded answers that are right."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tcabench.metrics.sample import begun_in_window
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Quantity, Value
from tcabench.records.quantity import wilson

NOT_GRADED = NotMetered("no answer in the window was graded")


def compute(m: Measured) -> dict[str, Value]:
    """{"": right answers / graded answers} to requests that began in the window, unit 1; see `share_right`.

    A request that ended in an error was not answered right. Answers that could not be graded are left out.
    """
    graded = [(t.prompt_id, t.right) for t in begun_in_window(m) if t.right is not None]
    return {"": share_right(graded) if graded else NOT_GRADED}


def share_right(graded: Sequence[tuple[str, bool]]) -> Quantity:
    """Right answers / answers, unit 1, of (prompt id, right) pairs, at least one; the interval is Wilson's at 95 %.

    The interval counts prompts, not answers: a prompt that is asked again tells nothing new about the model, whose
    answers to it are all but the same.
    """
    share = sum(right for _, right in graded) / len(graded)
    low, high = wilson(share, len({prompt for prompt, _ in graded}))
    return Quantity(share, low, high, "1")


def tally(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and share, over all and by kind, of rows with "prompt", "kind" and "right" (None: not graded), as they
    stand in `quality.json`."""
    found = list(rows)
    kinds = sorted({row["kind"] for row in found})
    by_kind = {kind: _counts([row for row in found if row["kind"] == kind]) for kind in kinds}
    return {"overall": _counts(found), "kinds": by_kind}


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The share is None where nothing was graded. Decimals travel as text, as in `result.json`."""
    graded = [(row["prompt"], row["right"]) for row in rows if row["right"] is not None]
    counts = {
        "answers": len(rows),
        "graded": len(graded),
        "right": sum(right for _, right in graded),
        "prompts": len({prompt for prompt, _ in graded}),
    }
    if not graded:
        return {**counts, "accuracy": None}
    share = share_right(graded)
    return {**counts, "accuracy": {"value": repr(share.value), "low": repr(share.low), "high": repr(share.high)}}


SPEC = MetricSpec("accuracy", "1", lower_is_better=False, compute=compute)

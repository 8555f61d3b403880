"""A-25: do the grades in `quality.json` agree with the requests, and its counts with its grades?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tcabench.metrics.accuracy import tally
from tcabench.records import Status, Trace


def misgraded(traces: Sequence[Trace], quality: Mapping[str, Any]) -> Iterator[str]:
    """Every contradiction. Whether a grade is deserved is not judged here: the outputs are in the evidence, the right
    answers in the workload of that digest."""
    account = quality.get("graded") or {}
    rows = account.get("items", [])
    told = {row["index"]: (row["prompt"], row["right"]) for row in rows}
    if len(told) != len(rows):
        yield "a request is graded twice"
    for trace in traces:
        if trace.right is not None and trace.index not in told:
            yield f"request {trace.index} has a grade that the quality record does not know"
        if trace.right and trace.status is not Status.OK:
            yield f"request {trace.index} is graded right, and was not answered"
    known = {trace.index: (trace.prompt_id, trace.right) for trace in traces}
    if any(known.get(index) != grade for index, grade in told.items()):
        yield "the quality record grades other requests, or otherwise, than the requests say"
    if (rows or "overall" in account or "kinds" in account) and tally(rows) != {
        name: account.get(name) for name in ("overall", "kinds")
    }:
        yield "the counts of the quality record are not those of its grades"

"""Grades of the metered answers, and the account of them in `quality.json`: workload, graders and metrics together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tcabench.errors import TcaError
from tcabench.metrics.accuracy import tally
from tcabench.plan import PlannedWorkload
from tcabench.quality.grading import Grade, grade
from tcabench.records import Prompt, Status, Trace
from tcabench.workload import load_workload

WITHIN = "all requests of the load, warm-up and drain included; the metrics count those of the window"


def graded(traces: Sequence[Trace], planned: PlannedWorkload) -> tuple[tuple[Trace, ...], dict[str, Any]]:
    """The traces with `right` filled in, and the `graded` part of `quality.json`, as {"graded": {...}}; nothing of a
    workload that has no graded prompt.

    The prompts come from the workload of the plan's name and digest, so that a recovered run is graded too. A
    workload that was given by its path, or has changed since, cannot be found again: then the account says why.
    """
    try:
        workload = load_workload(planned.name)
    except TcaError as err:
        return tuple(traces), _none(f"the workload {planned.name!r} cannot be found by its name: {err}")
    if workload.digest != planned.digest:
        return tuple(traces), _none(f"the workload {planned.name!r} here is not the one that was run")
    prompts = {prompt.id: prompt for prompt in workload.prompts if prompt.grader is not None}
    if not prompts:
        return tuple(traces), {}
    grades = _grades([trace for trace in traces if trace.prompt_id in prompts], prompts)
    rows = [_row(trace, prompts[trace.prompt_id], grades[trace.index]) for trace in traces if trace.index in grades]
    told = tuple(replace(t, right=grades[t.index].right) if t.index in grades else t for t in traces)
    return told, {"graded": {"digest": workload.digest, "over": WITHIN, **tally(rows), "items": rows}}


def _grades(traces: Sequence[Trace], prompts: Mapping[str, Prompt]) -> dict[int, Grade]:
    """A grade for each request, by its index. The same text to the same prompt is graded once."""
    known: dict[tuple[str, str], Grade] = {}
    found: dict[int, Grade] = {}
    for trace in traces:
        if trace.status is not Status.OK:
            found[trace.index] = Grade(False, f"not answered: {trace.status}")
            continue
        key = trace.prompt_id, trace.text
        known[key] = found[trace.index] = known[key] if key in known else _grade(trace, prompts[trace.prompt_id])
    return found


def _grade(trace: Trace, prompt: Prompt) -> Grade:
    if prompt.grader is None or prompt.answer is None:
        return Grade(None, "the prompt states no answer")
    return grade(prompt.grader, trace.text, prompt.answer)


def _row(trace: Trace, prompt: Prompt, given: Grade) -> dict[str, Any]:
    return {"index": trace.index, "prompt": prompt.id, "kind": prompt.kind, "right": given.right, "why": given.why}


def _none(why: str) -> dict[str, Any]:
    return {"graded": {"none": why}}

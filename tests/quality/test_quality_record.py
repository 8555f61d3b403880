"""From the answers to `quality.json` and from there to the page."""

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

from tcabench.pipeline import _quality, as_kept
from tcabench.provenance import has_random_weights
from tcabench.quality import DETECTORS, detect, detected
from tcabench.report.sections.tokens import findings
from tcabench.verify.audits import unsaid
from tcabench.workload import load_workload
from tests.quality.made_up_answers import answer, some
from tests.quality.test_grades import planned

RANDOM = {"model.weights": {"value": "drawn at random", "source": "the engine"}}


def plan(pinned: bool) -> Any:
    """As much of a plan as the record is made of: how answers were asked for, and of a workload without graders."""
    return SimpleNamespace(pinned=pinned, workload=planned("chat", load_workload("chat").digest))


def refusing() -> list[Any]:
    return some(30, 40, lambda trace: answer(trace.index, text="I cannot assist with <b>this</b>."))


def test_the_quality_record_holds_the_recount_and_the_findings() -> None:
    _, quality = _quality(refusing(), None, {}, plan(True))
    assert list(quality) == ["recount", "detected"]
    assert {row["name"] for row in quality["detected"]} >= set(DETECTORS.builtin)


def test_pinned_or_not_comes_from_the_plan() -> None:
    early = some(40, 40, lambda trace: answer(trace.index, output_tok=4, finish_reason="stop"))
    said = {p: _quality(early, None, {}, plan(p))[1]["detected"][0] for p in (True, False)}
    assert (said[True]["suspect"], said[False]["suspect"]) == (True, False)


def test_drawn_weights_have_no_findings() -> None:
    assert has_random_weights(RANDOM)
    assert list(_quality(refusing(), None, RANDOM, plan(True))[1]) == ["none"]


def test_the_page_lists_suspects_first_and_what_was_not_looked_at_last() -> None:
    rows = findings(as_kept(detected(detect(refusing(), True)))["detected"])
    assert [row["word"] for row in rows] == ["SUSPECT"] + ["no suspicion"] * 5 + ["not checked"] * 2
    assert rows[0]["title"] == "refusals"
    assert (rows[0]["count"], rows[0]["of"], rows[0]["examples"]) == ("30", "40", "0, 1, 2, 3, 4")
    assert rows[0]["share"].replace("\u00a0", " ") == "75 % (60 % to 86 %)"


def test_a_record_without_findings_or_with_odd_ones_does_not_break_the_page() -> None:
    assert findings(None) == []
    assert findings("no list") == []
    assert findings([1, {}, {"share": "?", "examples": None}])[0]["word"] == "not checked"


def test_findings_that_were_changed_before_sealing_are_caught() -> None:
    traces = refusing()
    told = as_kept(detected(detect(traces, True)))
    raw: Any = SimpleNamespace(traces=traces, plan={"pinned": True}, quality=told)
    assert list(unsaid(raw)) == []
    changed = deepcopy(told)
    next(row for row in changed["detected"] if row["suspect"])["suspect"] = False
    assert list(unsaid(SimpleNamespace(traces=traces, plan=raw.plan, quality=changed)))  # type: ignore[arg-type]
    short = {"detected": told["detected"][1:]}
    assert list(unsaid(SimpleNamespace(traces=traces, plan=raw.plan, quality=short)))  # type: ignore[arg-type]

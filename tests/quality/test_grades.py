"""From traces to grades, from grades to accuracy and J per correct answer, and the audit that follows them."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcabench.evidence.tables import read_traces, write_traces
from tcabench.grades import graded
from tcabench.metrics import compute
from tcabench.metrics.accuracy import share_right, tally
from tcabench.plan import PlannedWorkload
from tcabench.records import NotMetered, Quantity, Status, Trace
from tcabench.records.quantity import wilson
from tcabench.verify.grades import misgraded
from tcabench.workload import load_workload
from tests.metrics.made_up import WINDOW, energy, trace

NAMES = ["accuracy", "j_per_correct_answer"]
GRADED = load_workload("graded")
ANSWERS = {prompt.id: prompt.answer or "" for prompt in GRADED.prompts}


def planned(name: str = "graded", digest: str = GRADED.digest) -> PlannedWorkload:
    return PlannedWorkload(name=name, version=1, digest=digest, pin_output=False, temperature=0)


def said(index: int, prompt_id: str, text: str, **more: Any) -> Trace:
    """An answer of ten tokens, wholly in the window."""
    return trace(index, 25 + index, 0.1, 0.01, 10, prompt_id=prompt_id, text=text, **more)


def played() -> list[Trace]:
    """Two copies right (one prompt, twice), one sum wrong, one sum not answered."""
    copied, added = "graded-copy-001", "graded-arithmetic-001"
    return [
        said(0, copied, ANSWERS[copied]),
        said(1, copied, f" {ANSWERS[copied]}\n"),
        said(2, added, "7"),
        said(3, added, ANSWERS[added], status=Status.STREAM_CUT),
    ]


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_as_published(right: int, n: int, low: float, high: float) -> None:
    """Newcombe, Stat. Med. 17 (1998) 857, table I, method 3."""
    assert wilson(right / n, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(1 - right / n, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_a_prompt_that_is_asked_again_narrows_nothing() -> None:
    once = share_right([("a", True), ("b", False)])
    again = share_right([("a", True), ("b", False)] * 50)
    assert (once.low, once.high) == (again.low, again.high) == wilson(0.5, 2)


def test_traces_are_graded_and_the_account_says_how() -> None:
    told, quality = graded(played(), planned())
    assert [t.right for t in told] == [True, True, False, False]
    account = quality["graded"]
    assert [row["why"] for row in account["items"]] == ["", "", "the last number is 7", "not answered: stream_cut"]
    assert {kind: (c["answers"], c["right"], c["prompts"]) for kind, c in account["kinds"].items()} == {
        "copy": (2, 2, 1), "arithmetic": (2, 0, 1),
    }  # fmt: skip
    assert account["overall"]["accuracy"]["value"] == "0.5"
    assert account["digest"] == GRADED.digest


def test_grades_come_back_from_the_evidence() -> None:
    told, _ = graded(played(), planned())
    assert read_traces(write_traces((*told, said(4, "x", "")))) == (*told, said(4, "x", ""))


@pytest.mark.parametrize(
    ("workload", "why"),
    [(planned(digest="0" * 64), "not the one that was run"), (planned("nowhere"), "cannot be found by its name")],
)
def test_a_workload_that_is_not_the_one_that_ran_leaves_all_ungraded(workload: PlannedWorkload, why: str) -> None:
    told, quality = graded(played(), workload)
    assert [t.right for t in told] == [None] * 4
    assert why in quality["graded"]["none"]


def test_a_workload_without_graders_has_no_grades() -> None:
    assert graded(played(), planned("chat", load_workload("chat").digest)) == (tuple(played()), {})


def test_a_sandbox_that_is_not_there_is_told_and_not_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    told, quality = graded([said(0, "graded-code-001", "def add(): pass")], planned())
    assert told[0].right is None
    assert "did not start" in quality["graded"]["items"][0]["why"]
    assert quality["graded"]["overall"] == {"answers": 1, "graded": 0, "right": 0, "prompts": 0, "accuracy": None}


def test_metrics_of_graded_answers() -> None:
    told, _ = graded(played(), planned())
    values = compute(NAMES, told, energy(300.0), WINDOW)
    accuracy, joules = values["accuracy"], values["j_per_correct_answer"]
    assert isinstance(accuracy, Quantity)
    assert isinstance(joules, Quantity)
    assert (accuracy.value, accuracy.low, accuracy.high) == (0.5, *wilson(0.5, 2))
    assert joules.value == pytest.approx(150)
    assert joules.unit == "J/answer"
    assert joules.low < 150 < joules.high


def test_answers_count_where_their_window_is() -> None:
    """One right answer before the window, one half in it: accuracy knows neither, energy is divided by the half."""
    before = replace(said(0, "a", ""), sent_ns=0, chunk_ns=(1, 2), right=True)
    half = trace(1, 15, 0.5, 1.0, 10, right=True)
    values = compute(NAMES, [before, half], energy(30), WINDOW)
    assert isinstance(values["accuracy"], NotMetered)
    assert isinstance(values["j_per_correct_answer"], Quantity)
    assert values["j_per_correct_answer"].value == pytest.approx(60)


def test_without_grades_or_right_answers_there_is_no_figure() -> None:
    def why(*traces: Trace) -> list[str]:
        values = compute(NAMES, traces, energy(30), WINDOW).values()
        return [v.why if isinstance(v, NotMetered) else repr(v.value) for v in values]

    assert why(said(0, "a", "")) == ["no answer in the window was graded"] * 2
    assert why(said(0, "a", "", right=False)) == ["0.0", "no answer in the window was right"]
    unmetered = compute(NAMES, [said(0, "a", "", right=True)], NotMetered("no meter"), WINDOW)
    assert unmetered["j_per_correct_answer"] == NotMetered("no meter")
    assert isinstance(unmetered["accuracy"], Quantity)


def spoilt(change: Callable[[dict[str, Any]], None]) -> list[str]:
    told, quality = graded(played(), planned())
    account = deepcopy(quality)
    change(account["graded"])
    return list(misgraded(told, account))


def test_the_audit_finds_nothing_in_an_honest_account() -> None:
    told, quality = graded(played(), planned())
    assert list(misgraded(told, quality)) == []
    assert list(misgraded(played(), {})) == []
    assert list(misgraded(played(), {"graded": {"none": "why"}})) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a["items"][2].update(right=True), "otherwise, than the requests say"),
        (lambda a: a["items"][0].update(prompt="graded-copy-002"), "grades other requests"),
        (lambda a: a["items"][0].update(kind="needle"), "counts of the quality record"),
        (lambda a: a["overall"].update(right=3), "counts of the quality record"),
        (lambda a: a["overall"]["accuracy"].update(value="0.9"), "counts of the quality record"),
        (lambda a: a["items"].pop(), "does not know"),
        (lambda a: a["items"].append(a["items"][0]), "graded twice"),
    ],
)
def test_the_audit_finds_what_was_changed(change: Callable[[dict[str, Any]], None], told: str) -> None:
    assert any(told in fault for fault in spoilt(change))


def test_the_audit_finds_a_right_answer_that_was_never_given() -> None:
    lying = said(0, "graded-copy-001", "", status=Status.TIMEOUT, right=True)
    rows = [{"index": 0, "prompt": lying.prompt_id, "kind": "copy", "right": True, "why": ""}]
    faults = list(misgraded([lying], {"graded": {**tally(rows), "items": rows}}))
    assert faults == ["request 0 is graded right, and was not answered"]

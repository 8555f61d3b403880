"""Right answers in pairs."""

import pytest

from tcabench.quality.paired import Paired, graded, paired
from tcabench.quality.verdict import Standing, stand
from tcabench.records import Message, Prompt
from tcabench.records.quality import Reply
from tests.quality.test_quality_verdict import agreed, like


@pytest.mark.parametrize(
    ("lost", "gained", "p_value"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (6, 0, 2 / 64), (8, 2, 112 / 1024), (10, 2, 158 / 4096), (3, 3, 1.0)],
)
def test_the_exact_test(lost: int, gained: int, p_value: float) -> None:
    assert Paired(100, 50, 50, lost, gained).p_value == pytest.approx(p_value)
    assert Paired(100, 50, 50, gained, lost).p_value == pytest.approx(p_value)


def test_many_questions_are_no_overflow() -> None:
    assert Paired(3000, 2000, 400, 1600, 0).p_value == 0.0


@pytest.mark.parametrize(("lost", "gained", "is_worse"), [(6, 0, True), (5, 0, False), (0, 6, False), (10, 2, True)])
def test_worse_is_beyond_chance_and_one_sided(lost: int, gained: int, is_worse: bool) -> None:
    right = Paired(100, 50, 50 - lost + gained, lost, gained)
    found = stand(agreed(), like(0, 0), 0.01, 0, right)
    assert right.is_worse is is_worse
    assert (found.standing is Standing.WORSE) is is_worse


def prompt(name: str, grader: str | None = "exact") -> Prompt:
    return Prompt(name, (Message("user", "say a"),), 4, "a" if grader else None, grader)


def test_answers_are_graded_and_paired() -> None:
    prompts = [prompt("1"), prompt("2"), prompt("3"), prompt("4", None), prompt("5")]
    ours = [Reply("1", "a"), Reply("2", "a"), Reply("3", "b"), Reply("4", "a"), Reply("5", "a")]
    theirs = [Reply("5", error="HTTP 500"), Reply("3", "a"), Reply("2", "b"), Reply("1", "a"), Reply("4", "b")]
    found = paired(graded(prompts, ours), graded(prompts, theirs))
    assert found == Paired(graded=4, reference_right=3, candidate_right=2, lost=2, gained=1)
    assert paired(ours, theirs) is None

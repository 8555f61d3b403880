"""Greedy answers against greedy answers: where they part, and what that is."""

from dataclasses import replace
from math import log

import pytest

from tcabench.quality.agreement import FLOAT32_ERROR, Fate, agreement, self_error
from tcabench.records.quality import Reply, Token


def reply(text: str, name: str = "a", second: float = log(0.3), **more: object) -> Reply:
    """One token a letter, held at 0.5; the best alternative is `#`, and then `?`."""
    tokens = tuple(Token(c, log(0.5), ((c, log(0.5)), ("#", second), ("?", log(0.01)))) for c in text)
    return Reply(name, text, tokens, "stop", len(text), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("candidate", "second", "at", "fate", "margin"),
    [
        ("abXd", log(0.3), 2, Fate.FAULT, log(50)),  # not among the best: at least as far off as the least of them
        ("ab#d", log(0.3), 2, Fate.FAULT, log(5 / 3)),
        ("ab#d", log(0.5) - FLOAT32_ERROR, 2, Fate.TIE, FLOAT32_ERROR),
        ("ab#d", log(0.5) - 2.1 * FLOAT32_ERROR, 2, Fate.FAULT, 2.1 * FLOAT32_ERROR),
        ("abXd", log(0.5) - FLOAT32_ERROR, 2, Fate.FAULT, log(50)),  # a tie with another token excuses nothing
        ("ab", log(0.3), 2, Fate.ENDED, log(5 / 3)),
        ("ab", log(0.5) - FLOAT32_ERROR, 2, Fate.TIE, FLOAT32_ERROR),  # the end may be what was as good
        ("abcde", log(0.3), 4, Fate.UNKNOWN, None),  # the reference had ended: it tells nothing of that place
    ],
)
def test_the_first_difference(candidate: str, second: float, at: int, fate: Fate, margin: float | None) -> None:
    found = agreement([reply("abcd", second=second)], [reply(candidate)], 0.0)
    (parting,) = found.partings
    assert (parting.at, parting.fate, found.same, found.units) == (at, fate, 0, at + 1)
    assert parting.margin == (None if margin is None else pytest.approx(margin))


def test_equal_answers_bound_the_share_that_differs() -> None:
    found = agreement([reply("abc"), reply("de", "b")], [reply("de", "b"), reply("abc")], 0.0)
    assert (found.compared, found.same, found.units, found.partings) == (2, 2, 5, ())
    assert found.flip_bound == pytest.approx(1 - 0.05 ** (1 / 5))


def test_three_in_n_is_what_the_bound_comes_to() -> None:
    found = agreement([reply("a" * 10_000)], [reply("a" * 10_000)], 0.0)
    assert found.flip_bound == pytest.approx(3 / 10_000, rel=2e-3)


def test_without_log_probabilities_characters_are_compared_and_nothing_is_excused() -> None:
    bare = [Reply("a", "abcd"), Reply("b", "xy")]
    found = agreement(bare, [Reply("a", "abXd"), Reply("b", "xy")], 0.0)
    assert (found.is_tokens, found.units, found.same) == (False, 5, 1)
    assert found.count(Fate.UNKNOWN) == 1
    assert agreement(bare, bare, 0.0).flip_bound is None  # characters are no draws


def test_tokens_that_are_not_those_of_the_text_are_a_fault() -> None:
    (parting,) = agreement([reply("abcd")], [replace(reply("abcd"), text="something else")], 0.0).partings
    assert (parting.fate, parting.at, parting.margin, parting.candidate) == (Fate.FAULT, 4, None, "something else")


def test_an_end_that_only_one_of_them_tells_is_no_difference() -> None:
    told = replace(reply("abcd"), tokens=(*(reply("abcd").tokens or ()), Token("<end>", -0.1)))
    assert agreement([told], [reply("abcd")], 0.0).same == agreement([reply("abcd")], [told], 0.0).same == 1
    assert agreement([told], [replace(reply("abcd"), finish="length")], 0.0).count(Fate.ENDED) == 1


def test_a_larger_error_of_the_reference_makes_more_ties() -> None:
    near = [reply("abcd", second=log(0.5) - 0.01)]
    assert agreement(near, [reply("#")], 0.0).count(Fate.FAULT) == 1
    assert agreement(near, [reply("#")], 0.01).count(Fate.TIE) == 1


def test_errors_are_named_and_never_agree() -> None:
    reference = [reply("ab"), reply("cd", "b"), Reply("c", error="HTTP 500")]
    found = agreement(reference, [Reply("a", error="HTTP 503"), reply("cd", "b"), reply("x", "c")], 0.0)
    assert (found.compared, found.same, found.failed) == (1, 1, ("a",))


def test_the_references_own_error_is_taken_until_it_parts_from_itself() -> None:
    once = Reply("a", tokens=(Token("a", -1.0), Token("b", -2.0), Token("c", -1.0)))
    again = Reply("a", tokens=(Token("a", -1.001), Token("b", -2.003), Token("d", -9.0)))
    assert self_error([once], [again]) == pytest.approx(0.003)
    assert self_error([once], []) == 0.0

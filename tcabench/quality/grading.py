"""Is an output the right answer? One function for each way to tell; all but `code` are pure."""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tcabench.quality.sandbox import NotStarted, call

FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
BULLET = re.compile(r"^(?:[-*\u2022]|\d+[.)])\s+")
NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w)")
QUOTES = "\"'`\u201c\u201d\u2018\u2019"


@dataclass(frozen=True, slots=True)
class Grade:
    """`right` is None where no grade could be given; `why` is empty for a right answer."""

    right: bool | None
    why: str = ""


RIGHT = Grade(True)


def grade(grader: str, output: str, answer: str) -> Grade:
    """The grade of `output` by the grader of that name. An `answer` that the grader cannot use, or a grader that
    is not known, leaves it ungraded and says why."""
    if grader not in GRADERS:
        return Grade(None, f"no grader {grader!r}")
    try:
        return GRADERS[grader](output, answer)
    except Unusable as err:
        return Grade(None, f"the stated answer is not what the grader {grader!r} takes: {err}")


class Unusable(Exception):
    """The answer that a workload states is not of the form that its grader takes."""


def tidy(text: str) -> str:
    """`text` in Unicode's composed form, runs of white space as one space, without quotes around all of it."""
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    while len(spaced) > 1 and spaced[0] in QUOTES and spaced[-1] in QUOTES:
        spaced = spaced[1:-1].strip()
    return spaced


def exact(output: str, answer: str) -> Grade:
    """Right where both are the same once tidied; case and punctuation count."""
    return RIGHT if tidy(output) == tidy(answer) else Grade(False, "not the same text")


def number(output: str, answer: str) -> Grade:
    """Right where the last number in the output is the answer's, in exact decimal arithmetic. "1,200" is 1200."""
    wanted = numbers(answer)
    if len(wanted) != 1:
        raise Unusable("not one number")
    found = numbers(output)
    if not found:
        return Grade(False, "no number")
    return RIGHT if found[-1] == wanted[0] else Grade(False, f"the last number is {found[-1]:f}"[:80])


def numbers(text: str) -> list[Decimal]:
    """Every number written in `text`, in its order. A hyphen right after a word or a number is not a minus."""
    return [Decimal(found.replace(",", "")) for found in NUMBER.findall(text.replace("\u2212", "-"))]


def fact(output: str, answer: str) -> Grade:
    """Right where the output holds the fact, as whole words in any case, and none of the decoys (answers of the same
    kind that the text offers too): naming everything is no answer. `answer`: {"fact": text, "decoys": [text ...]}."""
    stated = _object(answer, "fact", "decoys")
    if any(holds(output, decoy) for decoy in stated["decoys"]):
        return Grade(False, "names a wrong one")
    return RIGHT if holds(output, stated["fact"]) else Grade(False, "does not name it")


def holds(text: str, phrase: str) -> bool:
    """Whether `phrase` stands in `text` as whole words, in any case, with any white space between them."""
    words = r"\s+".join(re.escape(word) for word in tidy(phrase).casefold().split())
    return re.search(rf"(?<!\w){words}(?!\w)", tidy(text).casefold()) is not None


def lines(output: str, answer: str) -> Grade:
    """Right where the output's lines are the answer's, in order, bullets and numbering apart, in any case."""
    return RIGHT if _lines(output) == _lines(answer) else Grade(False, "not the same lines")


def _lines(text: str) -> list[str]:
    tidied = (tidy(BULLET.sub("", line.strip())).casefold() for line in unfenced(text).splitlines())
    return [line for line in tidied if line]


def unfenced(text: str) -> str:
    """What stands in the first fenced block of `text` (which may be cut off), or all of it where there is none."""
    found = FENCE.search(text)
    return found[1] if found else text


def as_json(output: str, answer: str) -> Grade:
    """Right where the output is one JSON value (in a fence or not) and equal to the answer's. 1 and 1.0 are equal,
    1 and true are not; the order of keys does not count, a key given twice is wrong."""
    wanted = _stated(answer)
    try:
        found = _parsed(unfenced(output))
    except (ValueError, RecursionError):
        return Grade(False, "not valid JSON")
    return RIGHT if same(found, wanted) else Grade(False, "JSON with other values")


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)


def _no_twins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; unlike in Python, true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def code(output: str, answer: str) -> Grade:
    """Right where the function that the output defines gives the right result in every case, run in the sandbox.
    `answer`: {"function": name, "cases": [[[argument ...], result] ...]}; the results stay on this side."""
    stated = _object(answer, "function", "cases")
    try:
        wanted = [result for _, result in stated["cases"]]
        given = [arguments for arguments, _ in stated["cases"]]
    except (TypeError, ValueError) as err:
        raise Unusable("cases are [arguments, result]") from err
    try:
        ran = call(unfenced(output), stated["function"], given)
    except NotStarted as err:
        return Grade(None, str(err))
    if ran.results is None:
        return Grade(False, ran.why)
    return RIGHT if same(list(ran.results), wanted) else Grade(False, "a wrong result")


def _object(answer: str, *names: str) -> dict[str, Any]:
    stated = _stated(answer)
    if not isinstance(stated, dict) or set(stated) != set(names):
        raise Unusable(f"not an object of {' and '.join(names)}")
    return stated


def _stated(answer: str) -> Any:
    try:
        return _parsed(answer)
    except (ValueError, RecursionError) as err:
        raise Unusable(str(err)) from err


GRADERS: dict[str, Callable[[str, str], Grade]] = {
    "exact": exact, "number": number, "fact": fact, "list": lines, "json": as_json, "code": code,
}  # fmt: skip

"""Every grader, by tables of outputs that are right, wrong, and beyond grading."""

import json

import pytest

from tcabench.quality.grading import GRADERS, grade

FACT = json.dumps({"fact": "blue ladder", "decoys": ["red drum", "Oslo"]})
OBJECT = '{"name": "Ada", "age": 34, "tags": ["a", 1.5], "ok": true, "none": null}'
ADDS = json.dumps({"function": "add", "cases": [[[1, 2], 3], [[-4, 4], 0]]})
EVEN = json.dumps({"function": "even", "cases": [[[2], True], [[3], False]]})

RIGHT = [
    ("exact", "QK-12", "QK-12"),
    ("exact", "  The  cat\nsat. \n", "The cat sat."),
    ("exact", '"The cat sat."', "The cat sat."),
    ("exact", "`QK-12`", "QK-12"),
    ("exact", "cafe\u0301", "caf\u00e9"),
    ("number", "62", "62"),
    ("number", "56 + 6 = 62.", "62"),
    ("number", "The answer is **1,200** apples", "1200"),
    ("number", "62.0", "62"),
    ("number", "it is -7", "-7"),
    ("number", "\u22127", "-7"),
    ("number", "pages 3-7", "7"),
    ("fact", "It lies under the Blue  Ladder.", FACT),
    ("fact", "blue ladder", FACT),
    ("list", "fig\npear\nplum", "fig\npear\nplum"),
    ("list", "- Fig\n\n* pear\n\u2022 plum\n", "fig\npear\nplum"),
    ("list", "1. fig\n2) pear\n3. plum", "fig\npear\nplum"),
    ("list", "```\nfig\npear\nplum\n```", "fig\npear\nplum"),
    ("json", OBJECT, OBJECT),
    ("json", '```json\n{"b": 2, "a": 1.0}\n```\nThere you are.', '{"a": 1, "b": 2}'),
    ("code", "def add(a, b):\n    return a + b", ADDS),
    ("code", "Sure!\n```python\ndef add(a, b):\n    return a + b\n```\nIt adds.", ADDS),
    ("code", "```\nimport math\ndef add(a, b): return math.floor(a + b)\nprint(add(1, 1))", ADDS),
    ("code", "add = lambda a, b: b + a", ADDS),
    ("code", "def even(n):\n    return n % 2 == 0", EVEN),
]
WRONG = [
    ("exact", "", "QK-12"),
    ("exact", "qk-12", "QK-12"),
    ("exact", "QK-12!", "QK-12"),
    ("exact", "Here it is: QK-12", "QK-12"),
    ("number", "", "62"),
    ("number", "sixty-two", "62"),
    ("number", "62 or 63", "62"),
    ("number", "620", "62"),
    ("number", "6.2", "62"),
    ("number", "x62", "62"),
    ("number", "-62", "62"),
    ("fact", "", FACT),
    ("fact", "a ladder", FACT),
    ("fact", "blueladder", FACT),
    ("fact", "the blue ladders", FACT),
    ("fact", "either the blue ladder or the red drum", FACT),
    ("list", "fig, pear, plum", "fig\npear\nplum"),
    ("list", "pear\nfig\nplum", "fig\npear\nplum"),
    ("list", "fig\npear", "fig\npear\nplum"),
    ("list", "Here you are:\nfig\npear\nplum", "fig\npear\nplum"),
    ("json", "", "{}"),
    ("json", "{'a': 1}", '{"a": 1}'),
    ("json", '{"a": 1} and more', '{"a": 1}'),
    ("json", '{"a": "1"}', '{"a": 1}'),
    ("json", '{"a": true}', '{"a": 1}'),
    ("json", '{"a": 2, "a": 1}', '{"a": 1}'),
    ("json", '{"a": 1, "b": 2}', '{"a": 1}'),
    ("json", "[1, 2]", "[2, 1]"),
    ("json", "[NaN]", "[1]"),
    ("json", "[" * 100_000, "[1]"),
    ("code", "", ADDS),
    ("code", "def add(a, b):\n    return a - b", ADDS),
    ("code", "def sum(a, b):\n    return a + b", ADDS),
    ("code", "def add(a, b) return a + b", ADDS),
    ("code", "def add(a):\n    return a", ADDS),
    ("code", "add = 3", ADDS),
    ("code", "def even(n):\n    return 1 - n % 2", EVEN),
    ("code", "def even(n):\n    return str(n % 2 == 0)", EVEN),
]
UNUSABLE = [
    ("vibes", "x", "x"),
    ("number", "62", "62 or 63"),
    ("number", "62", "none"),
    ("fact", "x", "x"),
    ("fact", "x", '{"fact": "x"}'),
    ("json", "{}", "{"),
    ("code", "def add(): pass", "add"),
    ("code", "def add(): pass", '{"function": "add", "cases": [1]}'),
]


@pytest.mark.parametrize(("grader", "output", "answer"), RIGHT)
def test_right(grader: str, output: str, answer: str) -> None:
    given = grade(grader, output, answer)
    assert given.right is True, given.why
    assert given.why == ""


@pytest.mark.parametrize(("grader", "output", "answer"), WRONG)
def test_wrong(grader: str, output: str, answer: str) -> None:
    given = grade(grader, output, answer)
    assert given.right is False
    assert given.why


@pytest.mark.parametrize(("grader", "output", "answer"), UNUSABLE)
def test_beyond_grading(grader: str, output: str, answer: str) -> None:
    given = grade(grader, output, answer)
    assert given.right is None
    assert given.why


def test_the_tables_have_every_grader() -> None:
    assert {row[0] for row in RIGHT} == {row[0] for row in WRONG} == set(GRADERS)

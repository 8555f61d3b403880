"""Items that ask for a small Python function. Results are computed here, from a reference of one line each."""

import json
from collections.abc import Callable
from typing import Any

from tcabench.quality.dice import Dice, Item

TEXTS = ("banana bread", "a quiet evening", "Mississippi", "x", "stone and water")
ROWS: tuple[list[int], ...] = ([4, 18, 7, 31, 2], [12, 12, 5], [], [40, 3, 9, 27, 16, 1], [8])
BAGS: tuple[list[str], ...] = (["pear", "fig", "apricot"], ["oak"], [], ["elderberry", "nut", "plum", "kiwi"])
SPARE = 8  # a number may lie that far below or above the limit that it is held to
Task = tuple[str, str, str, Callable[[Any], Any], list[Any]]


def code(dice: Dice, turn: int) -> Item:
    """A function of one argument to write under a given name, with hidden cases."""
    name, argument, does, reference, inputs = FAMILIES[turn % len(FAMILIES)](dice)
    cases = [[[given], reference(given)] for given in inputs]
    ask = f"Write a Python function `{name}({argument})` that returns {does}. Write only the code."
    return Item("code", "code", ask, json.dumps({"function": name, "cases": cases}), 160)


def around(limit: int) -> list[int]:
    """Whole numbers on, near and far from `limit`."""
    return [limit, limit - 1, limit + 1, 0, limit + SPARE, -limit]


def add(dice: Dice) -> Task:
    k = dice.number(3, 60)
    return f"add_{k}", "n", f"n plus {k}", lambda n: n + k, around(k)


def times(dice: Dice) -> Task:
    k = dice.number(3, 60)
    return f"times_{k}", "n", f"n multiplied by {k}", lambda n: n * k, around(k)


def multiple(dice: Dice) -> Task:
    k = dice.number(3, 30)
    does = f"True if n is a multiple of {k}, and False if not"
    return f"is_multiple_of_{k}", "n", does, lambda n: n % k == 0, [*around(k), 5 * k]


def above(dice: Dice) -> Task:
    k = dice.number(3, 30)
    does = f"a list of the numbers that are greater than {k}, in the same order"
    return f"above_{k}", "numbers", does, lambda row: [n for n in row if n > k], [*ROWS, [k, k + 1]]


def sum_above(dice: Dice) -> Task:
    k = dice.number(3, 30)
    does = f"the sum of the numbers that are greater than {k}"
    return f"sum_above_{k}", "numbers", does, lambda row: sum(n for n in row if n > k), [*ROWS, [k, k + 1]]


def first(dice: Dice) -> Task:
    k = dice.number(2, 12)
    return f"first_{k}", "text", f"the first {k} characters of text", lambda text: text[:k], list(TEXTS)


def last(dice: Dice) -> Task:
    k = dice.number(2, 12)
    return f"last_{k}", "text", f"the last {k} characters of text", lambda text: text[-k:], list(TEXTS)


def repeat(dice: Dice) -> Task:
    k = dice.number(2, 12)
    return f"repeat_{k}", "text", f"text repeated {k} times", lambda text: text * k, list(TEXTS)


def letter(dice: Dice) -> Task:
    x = dice.one("abdeginostuw")
    does = f'how many times the letter "{x}" occurs in text'
    return f"count_{x}", "text", does, lambda text: text.count(x), list(TEXTS)


def longer(dice: Dice) -> Task:
    k = dice.number(2, 9)
    does = f"a list of the words that have more than {k} letters, in the same order"
    return f"longer_than_{k}", "words", does, lambda bag: [w for w in bag if len(w) > k], [*BAGS, ["a" * k, "b" * 10]]


def joined(dice: Dice) -> Task:
    sign, name = dice.one((("-", "dash"), ("+", "plus"), ("/", "slash"), ("_", "underscore"), (";", "semicolon")))
    does = f'the words joined into one string with "{sign}" between them'
    return f"join_with_{name}", "words", does, sign.join, list(BAGS)


def power(dice: Dice) -> Task:
    k = dice.number(2, 9)
    return f"power_{k}", "n", f"n to the power of {k}", lambda n: n**k, [0, 1, 2, 3, -2, 10]


def clamp(dice: Dice) -> Task:
    low, high = dice.number(2, 9), dice.number(20, 60)
    does = f"n, but {low} if n is less than {low}, and {high} if n is greater than {high}"
    return f"clamp_{low}_{high}", "n", does, lambda n: min(max(n, low), high), [*around(low), *around(high)]


def remainder(dice: Dice) -> Task:
    k = dice.number(3, 30)
    return f"remainder_{k}", "n", f"the remainder when n is divided by {k}", lambda n: n % k, [k, 0, k + 1, 7 * k - 1]


def every(dice: Dice) -> Task:
    k = dice.number(2, 9)
    does = f"a list of the items whose index is a multiple of {k}"
    long = [list(range(40)), *ROWS]
    return f"every_{k}", "items", does, lambda row: row[::k], long


def swapped(dice: Dice) -> Task:
    x, y = dice.some("abeginost", 2)
    does = f'text with every "{x}" replaced by "{y}"'
    return f"replace_{x}_{y}", "text", does, lambda text: text.replace(x, y), list(TEXTS)


def begins(dice: Dice) -> Task:
    x = dice.one("abcdefghklmnoprstw")
    does = f'True if word begins with the letter "{x}", and False if not'
    return f"begins_with_{x}", "word", does, lambda w: w.startswith(x), [x, f"{x}oat", f"z{x}", "", "quill"]


def position(dice: Dice) -> Task:
    k = dice.number(3, 30)
    does = f"the index of the first {k} in numbers, or -1 if {k} is not in it"
    rows = [*ROWS, [k], [1, 2, k, k]]
    return f"index_of_{k}", "numbers", does, lambda row: row.index(k) if k in row else -1, rows


FAMILIES: tuple[Callable[[Dice], Task], ...] = (
    add, times, multiple, above, sum_above, first, last, repeat, letter, longer, joined, power, clamp, remainder, every,
    swapped, begins, position,
)  # fmt: skip

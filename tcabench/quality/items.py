"""The items of the workload `graded`: pure and seeded, the same on every machine."""

import json
from collections.abc import Callable, Iterator

from tcabench.quality.dice import Dice, Item
from tcabench.quality.passages import extraction, needle
from tcabench.quality.tasks import code
from tcabench.quality.words import ANIMALS, CITIES, COLOURS, FRUITS, NAMES, PLACES, THINGS, VERBS, WEEKDAYS

SEED = 20_261
ALONE = "Write nothing else."
Make = Callable[[Dice, int], Item]


def copy(dice: Dice, turn: int) -> Item:
    """A sentence, a code or a row of words, to be written again as it is."""
    what, text = _copied(dice, turn)
    return Item("copy", "exact", f"Repeat this {what} exactly as it is. {ALONE}\n\n{text}", text, 48)


def _copied(dice: Dice, turn: int) -> tuple[str, str]:
    who, thing, colour = dice.one(NAMES), dice.one(THINGS), dice.one(COLOURS)
    if turn % 3 == 0:
        day, place = dice.one(WEEKDAYS), dice.one(PLACES)
        return "sentence", f"{who} {dice.one(VERBS)} the {colour} {thing} near the {place} on {day}."
    if turn % 3 == 1:
        letters = "".join(dice.some("ABCDEFGHJKLMNPQRSTUVWXYZ", 3))
        return "code", f"{letters}-{dice.number(1000, 9999)}-{dice.number(10, 99)}"
    return "line", " ".join(dice.some((*THINGS, *ANIMALS), dice.number(4, 7)))


def arithmetic(dice: Dice, turn: int) -> Item:
    """A sum, a difference, a product, or a small story with one of them."""
    return Item("arithmetic", "number", *_sum(dice, turn), 48)


def _sum(dice: Dice, turn: int) -> tuple[str, str]:
    a, b, c = dice.number(20, 99), dice.number(3, 19), dice.number(2, 9)
    who, fruit, closing = dice.one(NAMES), dice.one(FRUITS), "Answer with the number alone."
    stories = (
        (f"What is {a} + {b}?", a + b),
        (f"What is {a} - {b}?", a - b),
        (f"What is {b} * {c}?", b * c),
        (f"{who} has {a} {fruit} and buys {b} more. How many {fruit} does {who} have now?", a + b),
        (f"{who} has {a} {fruit} and gives away {b}. How many {fruit} are left?", a - b),
        (f"{who} fills {c} bags with {b} {fruit} each. How many {fruit} is that in all?", b * c),
    )
    question, result = stories[turn % len(stories)]
    return f"{question} {closing}", str(result)


def form(dice: Dice, turn: int) -> Item:
    """Given words in a given form: capital letters, lines of a list, or a JSON object."""
    return (_capitals, _lines, _object)[turn % 3](dice)


def _capitals(dice: Dice) -> Item:
    words = f"{dice.one(COLOURS)} {dice.one(THINGS)}"
    return Item("format", "exact", f'Write "{words}" in capital letters. {ALONE}', words.upper(), 32)


def _lines(dice: Dice) -> Item:
    words = dice.some((*FRUITS, *ANIMALS), dice.number(3, 5))
    ask = f"Turn this into a list with one bullet point for each word, in the same order. {ALONE}\n\n{', '.join(words)}"
    return Item("format", "list", ask, "\n".join(words), 48)


def _object(dice: Dice) -> Item:
    who, age, city = dice.one(NAMES), dice.number(19, 78), dice.one(CITIES)
    ask = (
        f'Write a JSON object with the keys "name", "age" and "city" for this person: {who} is {age} years old and '
        f"lives in {city}. The age is a number. {ALONE}"
    )
    return Item("format", "json", ask, json.dumps({"name": who, "age": age, "city": city}), 64)


KINDS: dict[str, tuple[Make, int]] = {
    "copy": (copy, 90),
    "extraction": (extraction, 90),
    "arithmetic": (arithmetic, 90),
    "format": (form, 90),
    "needle": (needle, 72),
    "code": (code, 90),
}


def build() -> bytes:
    """`prompts.jsonl` of the workload `graded`."""
    lines = (line for kind in KINDS for line in _numbered(kind))
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _numbered(kind: str) -> Iterator[dict[str, object]]:
    for number, item in enumerate(items(kind), start=1):
        yield {
            "id": f"graded-{kind}-{number:03}",
            "messages": [{"role": "user", "content": item.text}],
            "max_tok": item.max_tok,
            "kind": item.kind,
            "grader": item.grader,
            "answer": item.answer,
        }


def items(kind: str) -> Iterator[Item]:
    """Every item of one kind, no two asking the same; what comes out twice is drawn again."""
    make, count = KINDS[kind]
    dice, asked = Dice(SEED + sorted(KINDS).index(kind)), set[str]()
    while len(asked) < count:
        item = make(dice, len(asked))
        if item.text not in asked:
            asked.add(item.text)
            yield item

"""Writes prompts.jsonl of this folder from fragments.txt, the same bytes on every machine.

Four kinds of record, four questions each, every question at four depths with another answer. In a fragment `[40-60]` is
a number drawn from that range, `{rain|snow}` one of the words, and `@` in a fact to be found stands for the answer.
`python generate.py` rewrites the file; `build()` returns its bytes. Only `Random.random()` is drawn from, because it is
the only method whose sequence Python keeps from version to version.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SEED = 60_601
DEPTHS = (0.08, 0.35, 0.62, 0.92)
ASK = 'Answer from the record alone, in one sentence. Write the result on the last line in the form "Answer: ...".'


@dataclass
class Needle:
    """A fact to be found. Of two facts the last one holds the answer, and the first says what it is about."""

    facts: list[str] = field(default_factory=list)
    question: str = ""
    answers: list[str] = field(default_factory=list)


@dataclass
class Kind:
    """One kind of record: its headings, how many entries, the sentences for each part of an entry, what is hidden."""

    name: str
    head: dict[str, str] = field(default_factory=dict)
    parts: dict[str, list[str]] = field(default_factory=dict)
    needles: list[Needle] = field(default_factory=list)


class Dice:
    """Seeded choices made from `random()` alone."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def cycle(self, pool: Sequence[str]) -> Iterator[str]:
        """Every member of `pool` once before any comes again, in another order each time."""
        while True:
            yield from sorted(pool, key=lambda _: self.rng.random())

    def told(self, fragment: str) -> str:
        """A fragment with its words and numbers drawn."""
        text = re.sub(r"\{([^}]+)\}", lambda m: next(self.cycle(m[1].split("|"))), fragment)
        return re.sub(r"\[(\d+)-(\d+)\]", lambda m: str(self.number(int(m[1]), int(m[2]))), text)


def kinds() -> list[Kind]:
    """What fragments.txt holds, in its order."""
    found = []
    for block in Path(__file__).with_name("fragments.txt").read_text("utf-8").strip().split("\n\n"):
        title, *lines = block.split("\n")
        kind = Kind(title.removeprefix("== "))
        for line in lines:
            _read(kind, *line.split(": ", 1))
        found.append(kind)
    return found


def _read(kind: Kind, key: str, text: str) -> None:
    if key.isdigit():
        kind.parts.setdefault(key, []).append(text)
    elif key not in ("needle", "ask", "answers"):
        kind.head[key] = text
    else:
        if key == "needle" and (not kind.needles or kind.needles[-1].answers):
            kind.needles.append(Needle())
        needle = kind.needles[-1]
        if key == "needle":
            needle.facts.append(text)
        elif key == "ask":
            needle.question = text
        else:
            needle.answers = text.split(" | ")


def record(kind: Kind, needle: Needle, answer: str, depth: float, dice: Dice) -> str:
    """The whole record. The facts lie at `depth` (0..1) and, if there are two, half a record away from there."""
    low, high = kind.head["entries"].split("-")
    count = dice.number(int(low), int(high))
    pools = [dice.cycle(pool) for pool in kind.parts.values()]
    entries = [[dice.told(next(pool)) for pool in pools] for _ in range(count)]
    place = int(depth * count)
    places = sorted({place, (place + count // 2) % count}) if len(needle.facts) == 2 else [place]
    for at, fact in zip(places, needle.facts, strict=True):
        entries[at].insert(dice.number(1, len(entries[at])), fact.replace("@", answer))
    first = int(kind.head["first"])
    blocks = [f"{kind.head['entry'].replace('#', str(first + i))}. {' '.join(e)}" for i, e in enumerate(entries)]
    return "\n\n".join([dice.told(kind.head["title"]), *blocks])


def build() -> bytes:
    """prompts.jsonl: each kind, each needle, each depth."""
    dice, lines = Dice(SEED), []
    for d, depth in enumerate(DEPTHS):
        for k, kind in enumerate(kinds()):
            for n, needle in enumerate(kind.needles):
                answer = needle.answers[(d + n + k) % len(needle.answers)]
                content = f"{record(kind, needle, answer, depth, dice)}\n\nQuestion: {needle.question} {ASK}"
                identity = f"long-{kind.name}-{n + 1}-at-{round(depth * 100):02d}"
                messages = [{"role": "user", "content": content}]
                lines.append(json.dumps({"id": identity, "messages": messages, "answer": answer}, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


if __name__ == "__main__":
    Path(__file__).with_name("prompts.jsonl").write_bytes(build())

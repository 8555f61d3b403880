"""Writes prompts.jsonl of this folder from fragments.txt, the same bytes on every machine.

Each subject of fragments.txt is told in four forms: a newspaper article, minutes, a memo and a letter to members. In a
fragment `[40-60]` is a number drawn from that range and `{spring|autumn}` one of the words. `python generate.py`
rewrites the file; `build()` returns its bytes. Only `Random.random()` is drawn from, because it is the only method
whose sequence Python keeps from version to version.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

SEED = 31_337
T = TypeVar("T")
Facts = dict[str, list[str]]

ASKS = (
    "Summarise the following text in three sentences.",
    "Give the main points of this text as five short bullet points.",
    "Write a summary of at most 80 words for a reader who has no time to read the whole text.",
    "Summarise this text: what happened, why, what is being done, and what is still open?",
    "What are the most important facts and figures in this text? Answer in one paragraph.",
    "Write a headline and a two-sentence summary for this text.",
)
OFFICES = ("Operations", "Planning", "Communications", "Finance", "Legal Affairs", "Facilities")
MONTHS = ("January", "March", "May", "June", "September", "October", "November")
LEADS = (
    "What began as a minor matter has kept many people busy in recent months.",
    "It was a topic at every kitchen table in the area, and now there is an interim result.",
    "A review that was presented this week shows what went wrong and what has been learned.",
    "After months of debate there is some clarity at last, although not everyone is content.",
)
CLOSINGS = (
    "Readers who wish to comment can do so at the next public session.",
    "Until then, those concerned will need some patience.",
    "One thing is agreed on all sides: nobody wants to go through it a second time.",
    "The next months will show whether the measures are enough.",
)
THANKS = (
    "Thank you for your patience and for the many letters, including the angry ones.",
    "We know that this is a long letter, but we would rather tell you too much than too little.",
    "Please pass this on to neighbours who do not receive our letters.",
    "Our thanks go to everyone who lent a hand without being asked.",
)


class Dice:
    """Seeded choices made from `random()` alone."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def one(self, pool: Sequence[T]) -> T:
        """One member of `pool`."""
        return pool[int(self.rng.random() * len(pool))]

    def most(self, pool: Sequence[T]) -> list[T]:
        """`pool` in its order; one member is left out, as often as not, where there are three or more."""
        gone = self.number(0, len(pool) - 1) if len(pool) > 2 and self.number(0, 1) else -1
        return [x for i, x in enumerate(pool) if i != gone]

    def told(self, fragment: str) -> str:
        """A fragment with its numbers and words drawn."""
        text = re.sub(r"\[(\d+)-(\d+)\]", lambda m: f"{self.number(int(m[1]), int(m[2])):,}", fragment)
        return re.sub(r"\{([^}]+)\}", lambda m: self.one(m[1].split("|")), text)


def subjects() -> list[tuple[str, Facts]]:
    """Title and fragments by section, in the order of fragments.txt."""
    found = []
    for block in Path(__file__).with_name("fragments.txt").read_text("utf-8").strip().split("\n\n"):
        title, *lines = block.split("\n")
        facts: Facts = {}
        for line in lines:
            section, text = line.split(": ", 1)
            facts.setdefault(section, []).append(text)
        found.append((title.removeprefix("== "), facts))
    return found


def article(title: str, facts: Facts, dice: Dice) -> str:
    """A newspaper article."""
    order = ("setting", "problem", "cause", "voices", "action", "cost", "open")
    paragraphs = [f"{title}\n\n{dice.one(LEADS)}"]
    paragraphs += [" ".join(dice.most(facts[section])) for section in order]
    return "\n\n".join([*paragraphs, dice.one(CLOSINGS)])


def minutes(title: str, facts: Facts, dice: Dice) -> str:
    """Minutes of a meeting."""
    head = (
        f"MINUTES\nSubject: {facts['about'][0]}\n"
        f"Date: {dice.number(2, 27)} {dice.one(MONTHS)}, {dice.number(9, 16)}:00\n"
        f"Present: the heads of {OFFICES[0]}, {dice.one(OFFICES[1:3])} and {dice.one(OFFICES[3:])}; "
        f"{dice.number(2, 9)} guests"
    )
    items = (
        ("Situation", facts["setting"] + facts["problem"]),
        ("Causes", facts["cause"]),
        ("Discussion", facts["voices"]),
        ("Decisions and measures", facts["action"]),
        ("Costs", facts["cost"]),
        ("Open points", facts["open"]),
    )
    body = [f"{i}. {name}\n" + " ".join(dice.most(lines)) for i, (name, lines) in enumerate(items, 1)]
    end = f"The next meeting is in {dice.number(2, 6)} weeks."
    return "\n\n".join([head, *body, f"{end} The minutes count as approved unless somebody objects by then."])


def memo(title: str, facts: Facts, dice: Dice) -> str:
    """A memo that begins with what is to be decided."""
    head = f"MEMO\nFrom: {dice.one(OFFICES)}\nTo: the management board\nSubject: {facts['about'][0]}"
    ask = (
        "You are asked to take note of the state of affairs and to release the funds named below by the end of "
        f"{dice.one(MONTHS)}."
    )
    points = "\n".join(f"- {line}" for line in dice.most(facts["action"]))
    return "\n\n".join(
        [
            head,
            ask,
            " ".join(dice.most(facts["problem"])) + " " + " ".join(facts["cause"]),
            "Background. " + " ".join(dice.most(facts["setting"])),
            "Measures that are under way or proposed:\n" + points,
            "Money. " + " ".join(facts["cost"]),
            "Positions. " + " ".join(dice.most(facts["voices"])),
            "Risks. " + " ".join(facts["open"]),
        ]
    )


def letter(title: str, facts: Facts, dice: Dice) -> str:
    """A letter to members and neighbours, which begins with the measures."""
    return "\n\n".join(
        [
            "Dear members, dear neighbours,",
            f"many of you have asked about {facts['about'][0]}. Here is what we know today.",
            "First, what is being done. " + " ".join(dice.most(facts["action"])),
            "How did it come to this? " + " ".join(dice.most(facts["setting"]) + facts["problem"]),
            "We have looked for the reasons. " + " ".join(facts["cause"]),
            "Of course it costs money. " + " ".join(facts["cost"]),
            "We have listened to different sides. " + " ".join(dice.most(facts["voices"])),
            "Not everything is settled. " + " ".join(facts["open"]),
            f"{dice.one(THANKS)}\n\nWith kind regards\nThe board",
        ]
    )


FORMS = (article, minutes, memo, letter)


def build() -> bytes:
    """prompts.jsonl: every subject in every form."""
    dice, lines = Dice(SEED), []
    for number, (title, facts) in enumerate(subjects(), 1):
        for form in FORMS:
            drawn = {section: [dice.told(line) for line in some] for section, some in facts.items()}
            content = f"{dice.one(ASKS)}\n\n{form(title, drawn, dice)}"
            identity = f"summarize-{number:02d}-{form.__name__}"
            message = {"role": "user", "content": content}
            lines.append(json.dumps({"id": identity, "messages": [message]}, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


if __name__ == "__main__":
    Path(__file__).with_name("prompts.jsonl").write_bytes(build())

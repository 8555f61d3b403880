"""Items about a text: a fact in a few sentences, and one among many."""

import json

from tcabench.quality.dice import Dice, Item
from tcabench.quality.words import ANIMALS, CITIES, COLOURS, DOORS, FRUITS, JOBS, NAMES, PLACES, THINGS, WEEKDAYS

PARAGRAPHS, SENTENCES = 5, 6


def fact(right: str, others: list[str]) -> str:
    """The answer in the form that the grader `fact` takes."""
    return json.dumps({"fact": right, "decoys": others})


def extraction(dice: Dice, turn: int) -> Item:
    """Three people, each with a town and a job; one of the six is asked for."""
    people, towns, jobs = dice.some(NAMES, 3), dice.some(CITIES, 3), dice.some(JOBS, 3)
    told = [f"{n} lives in {c} and works as a {j}." for n, c, j in zip(people, towns, jobs, strict=True)]
    asked = dice.number(0, 2)
    if turn % 2 == 0:
        question, pool = f"In which city does {people[asked]} live? Answer with the city alone.", towns
    else:
        question, pool = f"What is the job of {people[asked]}? Answer with the job alone.", jobs
    others = [word for word in pool if word != pool[asked]]
    return Item("extraction", "fact", f"{' '.join(told)}\n\n{question}", fact(pool[asked], others), 24)


def needle(dice: Dice, turn: int) -> Item:
    """Where one of three keys is, told once in a page about other things; `turn` moves the place of the sentence."""
    doors, things, colours = dice.some(DOORS, 3), dice.some(THINGS, 3), dice.some(COLOURS, 3)
    hidden = [f"{c} {t}" for c, t in zip(colours, things, strict=True)]
    told = [f"The key of the {d} lies under the {h}." for d, h in zip(doors, hidden, strict=True)]
    page = [filler(dice) for _ in range(PARAGRAPHS * SENTENCES)]
    for sentence, at in zip(told, (turn, turn + 10, turn + 20), strict=True):
        page[at % len(page)] = sentence
    text = "\n\n".join(" ".join(page[i : i + SENTENCES]) for i in range(0, len(page), SENTENCES))
    question = f"Under what does the key of the {doors[0]} lie? Answer from the text, with a few words alone."
    return Item("needle", "fact", f"{text}\n\n{question}", fact(hidden[0], hidden[1:]), 24)


def filler(dice: Dice) -> str:
    """A sentence about nothing that is asked for."""
    who, other = dice.some(NAMES, 2)
    place, animal, fruit, day = dice.one(PLACES), dice.one(ANIMALS), dice.one(FRUITS), dice.one(WEEKDAYS)
    return dice.one((
        f"On {day} {who} walked to the {place} and back again.",
        f"{who} bought {dice.number(3, 40)} {fruit} and shared them with {other}.",
        f"Near the {place} somebody had seen a {animal}, but nobody believed it.",
        f"{who} and {other} spoke for an hour about the old {place}.",
        f"The {place} stays closed on {day}, as it always has.",
        f"It rained for {dice.number(2, 9)} hours, and the {animal} did not come out.",
        f"{who} wrote a letter to {other} and forgot to send it.",
        f"A bag of {fruit} cost {dice.number(2, 12)} coins at the {place} that week.",
    ))  # fmt: skip

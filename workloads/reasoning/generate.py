"""Writes prompts.jsonl of this folder: problems with one known answer, the same bytes on every machine.

`python generate.py` rewrites the file; `build()` returns its bytes. Only `Random.random()` is drawn from, because it is
the only method whose sequence Python keeps from version to version.
"""

import json
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import combinations, permutations, product
from math import comb, gcd
from pathlib import Path
from typing import TypeVar

from tcabench.quality.dice import Dice

SEED = 20_250
ROUNDS = 6
CLOSING = 'Think it through step by step. Write the result on the last line in the form "Answer: ...".'
T = TypeVar("T")
Problem = tuple[str, str]

NAMES = ("Ada", "Bruno", "Chiara", "Deniz", "Emil", "Farah", "Goran", "Hanna", "Ivo", "Jonna", "Kofi", "Lena")
TOWNS = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def pick(dice: Dice, pool: Sequence[T]) -> T:
    """One member of `pool`, by the draws that these problems were first made with."""
    return dice.some(pool, 1)[0]


def shopping(dice: Dice) -> Problem:
    """Prices, a discount on one item, change from a note."""
    who, thing, other = pick(dice, NAMES), *dice.some(("notebooks", "lamps", "mugs", "plants", "cushions", "trays"), 2)
    a, b, pa, pb = dice.number(3, 9), dice.number(2, 6), dice.number(4, 15), dice.number(6, 20)
    off = pick(dice, (10, 20, 25, 50))
    cents = a * pa * 100 + b * pb * (100 - off)
    note = (cents // 10_000 + 1) * 100
    left = note * 100 - cents
    text = (
        f"{who} buys {a} {thing} at {pa} euros each and {b} {other} at {pb} euros each. There is {off} % off the "
        f"{other}, nothing off the {thing}. {who} pays with {note} euros. How much change is due, in euros and cents?"
    )
    return text, f"{left // 100}.{left % 100:02d}"


def trains(dice: Dice) -> Problem:
    """Two trains that meet: distance over the sum of the speeds."""
    va, vb, hours = dice.number(6, 12) * 10, dice.number(5, 11) * 10, dice.number(2, 5)
    head_start = pick(dice, (30, 60))
    distance = (va + vb) * hours + va * head_start // 60
    one, two = dice.some(TOWNS, 2)
    text = (
        f"{one} and {two} are {distance} km apart on a straight line. A train leaves {one} for {two} at 08:00 with a "
        f"steady {va} km/h. {head_start} minutes later another leaves {two} for {one} with a steady {vb} km/h. "
        "At what time of day do they meet?"
    )
    minutes = 8 * 60 + head_start + hours * 60
    return text, f"{minutes // 60:02d}:{minutes % 60:02d}"


def ages(dice: Dice) -> Problem:
    """A linear equation in words."""
    old, young = dice.some(NAMES, 2)
    now, factor, later = dice.number(5, 14), dice.number(3, 5), dice.number(4, 12)
    elder = factor * now
    total = elder + now + 2 * later
    text = (
        f"{old} is {factor} times as old as {young} is today. In {later} years their ages will add up to {total}. "
        f"How old is {old} today?"
    )
    return text, str(elder)


def tanks(dice: Dice) -> Problem:
    """Filling and draining at constant rates."""
    fill, drain = dice.number(14, 30), dice.number(3, 9)
    minutes, alone = dice.number(12, 40), dice.number(5, 15)
    volume = fill * alone + (fill - drain) * minutes
    text = (
        f"An empty tank holds {volume} litres. A pipe fills it with {fill} litres a minute. After {alone} minutes "
        f"somebody opens the drain by mistake, which lets out {drain} litres a minute, and leaves it open. How many "
        "minutes after the pipe was opened is the tank full?"
    )
    return text, str(alone + minutes)


def order(dice: Dice) -> Problem:
    """Five people in a row; clues are added until one order is left."""
    people = dice.some(NAMES, 5)
    truth = {name: place for place, name in enumerate(people)}
    clues: list[str] = []
    left = [dict(zip(p, range(5), strict=True)) for p in permutations(sorted(people))]
    pairs = dice.some(list(combinations(sorted(people), 2)), 10)
    while len(left) > 1:
        a, b = pairs.pop()
        clue, holds = _order_clue(a, b, truth, dice)
        fewer = [case for case in left if holds(case)]
        if len(fewer) < len(left):
            left = fewer
            clues.append(clue)
    asked = dice.number(2, 4)
    ordinal = {2: "second", 3: "third", 4: "fourth"}[asked]
    text = (
        f"Five runners finished a race without a tie: {', '.join(sorted(people))}. {' '.join(clues)} "
        f"Who came {ordinal}?"
    )
    return text, people[asked - 1]


def _order_clue(a: str, b: str, truth: dict[str, int], dice: Dice) -> tuple[str, Callable[[dict[str, int]], bool]]:
    gap = truth[b] - truth[a]
    if abs(gap) == 1 and dice.number(0, 1):
        first, second = (a, b) if gap > 0 else (b, a)
        return f"{second} came right after {first}.", lambda case: case[second] - case[first] == 1
    if abs(gap) > 2:
        told = f"Exactly {abs(gap) - 1} runners came in between {a} and {b}."
        return told, lambda case: abs(case[a] - case[b]) == abs(gap)
    first, second = (a, b) if gap > 0 else (b, a)
    return f"{first} was faster than {second}.", lambda case: case[first] < case[second]


def knights(dice: Dice) -> Problem:
    """Islanders who always lie or always tell the truth; drawn again until one reading is left."""
    while True:
        people = dice.some(NAMES, 3)
        said = [_claim(speaker, people, dice) for speaker in people]
        fits = [
            case
            for case in (dict(zip(people, kinds, strict=True)) for kinds in product((True, False), repeat=3))
            if all(case[who] == holds(case) for who, (_, holds) in zip(people, said, strict=True))
        ]
        if len(fits) == 1 and any(fits[0].values()):
            break
    told = " ".join(f'{who} says: "{text}"' for who, (text, _) in zip(people, said, strict=True))
    text = (
        "On an island everybody is either a knight, who always tells the truth, or a knave, who always lies. You meet "
        f"{people[0]}, {people[1]} and {people[2]}. {told} Who is a knight? Name every knight in alphabetical order."
    )
    return text, ", ".join(sorted(who for who, is_knight in fits[0].items() if is_knight))


def _claim(speaker: str, people: list[str], dice: Dice) -> tuple[str, Callable[[dict[str, bool]], bool]]:
    a, b = [who for who in people if who != speaker]
    return pick(
        dice,
        (
            (f"{a} is a knave.", lambda case: not case[a]),
            (f"{b} is a knight.", lambda case: case[b]),
            (f"{a} and {b} are of the same kind.", lambda case: case[a] == case[b]),
            ("Exactly one of us three is a knight.", lambda case: sum(case.values()) == 1),
            (f"{b} and I are of different kinds.", lambda case: case[b] != case[speaker]),
        ),
    )


def calendar(dice: Dice) -> Problem:
    """A day of the week some days ahead."""
    start = date(2024, 1, 1) + timedelta(days=dice.number(0, 700))
    days = dice.number(40, 300)
    end = start + timedelta(days=days)
    text = (
        f"{start:%d %B %Y} is a {DAYS[start.weekday()]}. A lease that begins on that day ends exactly {days} days "
        "later. On which day of the week, and in which month, does it end?"
    )
    return text, f"{DAYS[end.weekday()]}, {end:%B}"


def committees(dice: Dice) -> Problem:
    """Counting choices with one condition."""
    cooks, waiters, size = dice.number(4, 7), dice.number(4, 8), dice.number(3, 4)
    ways = comb(cooks + waiters, size) - comb(cooks, size) - comb(waiters, size)
    text = (
        f"A restaurant has {cooks} cooks and {waiters} waiters. A group of {size} of them goes to a trade fair. The "
        "group must have at least one cook and at least one waiter in it. In how many ways can it be chosen?"
    )
    return text, str(ways)


def shortest(dice: Dice) -> Problem:
    """The quickest way through a small road map, by trying all."""
    towns = list(TOWNS)
    roads = {pair: dice.number(7, 40) for pair in dice.some(list(combinations(towns, 2)), 10)}
    roads.setdefault((towns[0], towns[1]), dice.number(30, 60))
    roads.setdefault((towns[1], towns[5]), dice.number(30, 60))
    start, goal = towns[0], towns[5]
    cost = {**roads, **{(b, a): minutes for (a, b), minutes in roads.items()}}
    ways = []
    for stops in range(5):
        for middle in permutations(towns[1:5], stops):
            legs = list(zip((start, *middle), (*middle, goal), strict=True))
            if all(leg in cost for leg in legs):
                ways.append(sum(cost[leg] for leg in legs))
    listed = "; ".join(f"{a} to {b}, {minutes} minutes" for (a, b), minutes in sorted(roads.items()))
    text = (
        f"These roads can be driven in both directions: {listed}. How many minutes does the quickest way from {start} "
        f"to {goal} take?"
    )
    return text, str(min(ways))


def packing(dice: Dice) -> Problem:
    """The best load for a limited weight, by trying all."""
    things = dice.some(("tent", "stove", "rope", "camera", "drone", "blanket", "lantern", "radio"), 5)
    weight = {thing: dice.number(2, 9) for thing in things}
    worth = {thing: dice.number(3, 15) for thing in things}
    limit = sum(weight.values()) // 2
    loads = [load for count in range(6) for load in combinations(things, count)]
    best = max(sum(worth[t] for t in load) for load in loads if sum(weight[t] for t in load) <= limit)
    listed = ", ".join(f"{thing} ({weight[thing]} kg, {worth[thing]} points)" for thing in things)
    text = (
        f"A porter can carry at most {limit} kg. Each thing can be taken once or left behind: {listed}. What is the "
        "largest number of points that the porter can carry?"
    )
    return text, str(best)


def workshop(dice: Dice) -> Problem:
    """Jobs on two machines: the earliest end, by trying all splits."""
    hours = [dice.number(1, 9) for _ in range(6)]
    splits = product((0, 1), repeat=len(hours))
    best = min(max(sum(h for h, m in zip(hours, split, strict=True) if m == k) for k in (0, 1)) for split in splits)
    text = (
        f"A workshop has two identical machines and six jobs, which take {', '.join(map(str, hours[:-1]))} and "
        f"{hours[-1]} hours. A job runs on one machine without a break, and each machine does one job at a time. What "
        "is the smallest number of hours after which all jobs can be finished?"
    )
    return text, str(best)


def gears(dice: Dice) -> Problem:
    """When periodic events coincide again: the least common multiple."""
    a, b, c = dice.some((6, 8, 9, 10, 12, 14, 15, 18, 20), 3)
    period = a * b // gcd(a, b)
    period = period * c // gcd(period, c)
    text = (
        f"Three lighthouses flash together at midnight. The first flashes every {a} seconds, the second every {b} and "
        f"the third every {c}. After how many seconds do all three flash together for the next time?"
    )
    return text, str(period)


FAMILIES = (shopping, trains, ages, tanks, order, knights, calendar, committees, shortest, packing, workshop, gears)


def build() -> bytes:
    """prompts.jsonl: each family `ROUNDS` times, in turn."""
    dice, lines = Dice(SEED), []
    for turn in range(ROUNDS):
        for family in FAMILIES:
            text, answer = family(dice)
            identity = f"reasoning-{family.__name__}-{turn + 1}"
            message = {"role": "user", "content": f"{text}\n\n{CLOSING}"}
            lines.append(json.dumps({"id": identity, "messages": [message], "answer": answer}, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


if __name__ == "__main__":
    Path(__file__).with_name("prompts.jsonl").write_bytes(build())

"""The samples that the ReLU-gated model and its SiLU twin learn from: answers of the default model to prompts drawn
from a few templates. No data set is needed, and whoever has the engine can draw the very same ones again: prompts come
from a seeded generator, and a seeded answer of the engine depends on its seed and its prompt alone.

Learning a teacher's samples is sequence-level distillation. Source: Kim and Rush, arXiv 1606.07947.
"""

import asyncio
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

PROMPT_SEED, ANSWER_SEED = 20, 7_000_000
TEMPERATURE = (
    0.8  # at 1 the teacher, a small model itself, loses its thread, and its samples hold more chance than text
)
MOST_TOK = 200  # of an answer
HELD_OUT_EVERY = 20  # prompts: 5 %
IN_FLIGHT = 64  # at each server
TIMEOUT_S = 900.0

ANIMALS = (
    "cat", "dog", "fox", "bear", "rabbit", "owl", "mouse", "horse", "duck", "frog", "elephant", "lion", "turtle",
    "penguin", "squirrel", "bee", "whale", "sheep",
)  # fmt: skip
PEOPLE = ("Lily", "Tom", "Mia", "Ben", "Anna", "Max", "Emma", "Jack", "Sara", "Leo")
THINGS = (
    "ball", "boat", "kite", "hat", "book", "lamp", "key", "bell", "basket", "map", "bicycle", "umbrella", "box", "cake",
)  # fmt: skip
PLACES = ("forest", "garden", "farm", "river", "mountain", "village", "beach", "lake", "park", "island")
TOPICS = (
    "rain", "snow", "the sun", "the moon", "wind", "trees", "flowers", "bread", "milk", "sleep", "fire", "water",
    "a rainbow", "the seasons", "a bridge", "a train", "a clock", "music", "friendship", "the sea",
)  # fmt: skip
STYLES = ("for a young child", "in simple words", "in a few short sentences", "with one example")
TEMPLATES: Mapping[str, Sequence[Sequence[str]]] = {
    "Write a short, simple story about a {} and a {} near the {}.": (ANIMALS, ANIMALS, PLACES),
    "Write a short, simple story about {} and a lost {}.": (PEOPLE, THINGS),
    "Write a short, simple story about {}, who meets a {} near the {}.": (PEOPLE, ANIMALS, PLACES),
    "Tell a bedtime story about a {} who finds a {}.": (ANIMALS, THINGS),
    "Describe a {} {}.": (ANIMALS, STYLES),
    "Where does a {} live, and what does it eat? Answer {}.": (ANIMALS, STYLES),
    "Explain {} {}.": (TOPICS, STYLES),
    "Why do people like {}? Answer {}.": (TOPICS, STYLES),
    "Describe a day near the {} with {} and a {}.": (PLACES, PEOPLE, ANIMALS),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One document: the teacher's answer to a prompt. `is_whole`: it ended by itself, not at the limit."""

    id: int
    seed: int
    prompt: str
    text: str
    teacher_tok: int
    is_whole: bool

    @property
    def is_held_out(self) -> bool:
        """Whether no training sees it."""
        return self.id % HELD_OUT_EVERY == 0


def prompts(count: int) -> list[str]:
    """`count` different prompts, the same each time; a shorter list is the beginning of a longer one.

    raises: ValueError when the templates have fewer.
    """
    rng = random.Random(PROMPT_SEED)
    drawn = [list(_filled(template, slots, rng)) for template, slots in TEMPLATES.items()]
    mixed: list[str] = []
    while len(mixed) < count and any(drawn):
        # by turns in proportion to the square root of what is left, so that no template drowns the others
        chosen = rng.choices(drawn, [len(rest) ** 0.5 for rest in drawn])[0]
        mixed.append(chosen.pop())
    if len(mixed) < count:
        raise ValueError(f"the templates make {len(mixed)} prompts, not {count}")
    return mixed


def _filled(template: str, slots: Sequence[Sequence[str]], rng: random.Random) -> Iterator[str]:
    every = [words for words in product(*slots) if len(set(words)) == len(words)]
    rng.shuffle(every)
    for words in every:
        yield template.format(*words).replace(" a elephant", " an elephant").replace(" a owl", " an owl")


def generate(urls: Sequence[str], count: int, file: Path) -> float:
    """Ask the servers at `urls`, all of the same model, for the answers that `file` lacks, and sort it; wall time in s.
    What is there stays: a run that was broken off goes on.

    raises: RuntimeError with the server's words where it refuses.
    """
    asked = dict(enumerate(prompts(count)))
    done = {sample.id for sample in read(file)} if file.exists() else set()
    began_s = time.monotonic()
    asyncio.run(_ask_all(urls, {i: text for i, text in asked.items() if i not in done}, file))
    write(sorted(read(file), key=lambda sample: sample.id), file)
    return time.monotonic() - began_s


async def _ask_all(urls: Sequence[str], asked: Mapping[int, str], file: Path) -> None:
    import aiohttp

    waiting, timeout = iter(asked.items()), aiohttp.ClientTimeout(total=TIMEOUT_S)
    with file.open("a", encoding="utf-8") as out:

        async def worker(session: aiohttp.ClientSession, url: str) -> None:
            for number, prompt in waiting:
                sample = await _ask(session, url, number, prompt)
                out.write(_line(sample))
                out.flush()

        async with (
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session,
            asyncio.TaskGroup() as group,
        ):
            for place in range(IN_FLIGHT * len(urls)):
                group.create_task(worker(session, urls[place % len(urls)]))


async def _ask(session: Any, url: str, number: int, prompt: str) -> Sample:
    seed = ANSWER_SEED + number
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": MOST_TOK, "temperature": TEMPERATURE,
            "seed": seed, "model": "default"}  # fmt: skip
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        if response.status != 200:
            raise RuntimeError(f"{url}: {response.status} {(await response.text())[:500]}")
        document = await response.json()
    choice, tokens = document["choices"][0], document["usage"]["completion_tokens"]
    return Sample(number, seed, prompt, choice["message"]["content"], tokens, choice["finish_reason"] == "stop")


def read(file: Path) -> list[Sample]:
    """The samples of `file`, a JSON object a line."""
    return [Sample(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def write(samples: Sequence[Sample], file: Path) -> None:
    """All of it or nothing."""
    part = file.with_name(f"{file.name}.part")
    part.write_text("".join(map(_line, samples)), "utf-8")
    part.replace(file)


def samples_sha256(samples: Sequence[Sample]) -> str:
    """sha256 of a file that holds exactly these."""
    return sha256("".join(map(_line, samples)).encode()).hexdigest()


def _line(sample: Sample) -> str:
    return f"{json.dumps(asdict(sample), ensure_ascii=False)}\n"

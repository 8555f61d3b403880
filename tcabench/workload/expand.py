"""A workload as the endless list of requests that a run sends, the same for the same seed on every machine."""

from collections.abc import Iterator
from hashlib import sha256
from random import Random

from tcabench.records import Arrivals, Prompt, Request, Workload
from tcabench.workload.arrivals import offsets


def expand(workload: Workload, seed: int, arrivals: Arrivals | None = None) -> Iterator[Request]:
    """Requests without end; each pass sends every prompt once, in another seeded order.

    `arrivals` stands in for the workload's own. raises: UsageError at once for arrivals that make no sense.
    """
    arrivals = arrivals or workload.arrivals
    return _requests(workload, seed, offsets(arrivals, derived(seed, "arrivals")))


def derived(seed: int, *path: object) -> int:
    """A seed of 31 bits for one use of the run's seed; uses do not correlate. 31 bits fit every server's field."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") >> 1


def _requests(workload: Workload, seed: int, due: Iterator[float | None]) -> Iterator[Request]:
    for index, (prompt, due_s) in enumerate(zip(_passes(workload.prompts, seed), due, strict=False)):
        yield Request(
            index=index,
            prompt_id=prompt.id,
            messages=prompt.messages,
            max_tok=prompt.max_tok,
            pin_output=workload.pin_output,
            temperature=workload.temperature,
            seed=derived(seed, "request", index),
            due_s=due_s,
        )


def _passes(prompts: tuple[Prompt, ...], seed: int) -> Iterator[Prompt]:
    """The prompts, over and over, shuffled anew each time (by sort keys: `Random.shuffle` may change with Python)."""
    rng = Random(derived(seed, "order"))
    while True:
        yield from sorted(prompts, key=lambda _: rng.random())

"""The load of the engines' benchmark: a closed loop of chat requests over HTTP, and what a row of them cost."""

import asyncio
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psutil

TIMEOUT_S = 900.0


class Asked(NamedTuple):
    """One prompt: its number among all, its chat messages, the same as rendered text, and how many tokens that is."""

    serial: int
    messages: Sequence[Mapping[str, str]]
    text: str
    ids: Sequence[int]


class Answer(NamedTuple):
    """What came back, and how many tokens the server counted."""

    text: str
    prompt_tok: int
    output_tok: int


@dataclass(frozen=True, slots=True)
class Row:
    """One engine at one concurrency. CPU times in s: of the engine's process tree, and of the client beside it."""

    answers: Sequence[Answer]
    wall_s: float
    cpu_s: float
    client_cpu_s: float

    @property
    def tokens(self) -> int:
        """Output tokens, all requests together."""
        return sum(answer.output_tok for answer in self.answers)

    @property
    def tokens_per_s(self) -> float:
        """End to end: prefill, waiting and HTTP are in it."""
        return self.tokens / self.wall_s

    @property
    def cpu_s_per_token(self) -> float:
        """CPU seconds of the engine for each output token."""
        return self.cpu_s / self.tokens

    @property
    def cores(self) -> float:
        """How many cores were busy: a row that should saturate the machine and does not was disturbed."""
        return (self.cpu_s + self.client_cpu_s) / self.wall_s


def tree_cpu_s(pid: int) -> float:
    """CPU time of a process and all below it in s, those that ended and were waited for among it."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended just now; its parent's children_* have it
        total += times.user + times.system + times.children_user + times.children_system
    return total


def own_cpu_s() -> float:
    """CPU time of this process in s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def closed_loop(url: str, bodies: Sequence[Mapping[str, Any]], concurrency: int, pid: int) -> Row:
    """The row of `bodies`, POSTed to `url` with `concurrency` in flight until all are answered; `pid` is the server.

    raises: RuntimeError with the server's words where it refuses.
    """
    cpu_s, client_s, began_s = tree_cpu_s(pid), own_cpu_s(), time.monotonic()
    answers = asyncio.run(_all(url, bodies, concurrency))
    wall_s = time.monotonic() - began_s
    return Row(answers, wall_s, tree_cpu_s(pid) - cpu_s, own_cpu_s() - client_s)


async def _all(url: str, bodies: Sequence[Mapping[str, Any]], concurrency: int) -> list[Answer]:
    import aiohttp

    waiting, answers = iter(enumerate(bodies)), dict[int, Answer]()

    async def worker(session: aiohttp.ClientSession) -> None:
        for index, body in waiting:
            answers[index] = await _one(session, url, body)

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=concurrency)) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(concurrency):
            group.create_task(worker(session))
    return [answers[index] for index in range(len(bodies))]


async def _one(session: Any, url: str, body: Mapping[str, Any]) -> Answer:
    async with session.post(url, json=body) as response:
        if response.status != 200:
            raise RuntimeError(f"{url}: {response.status} {(await response.text())[:500]}")
        document = await response.json()
    choice, usage = document["choices"][0], document["usage"]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    return Answer(text or "", usage["prompt_tokens"], usage["completion_tokens"])

"""What the engines' answers are compared with: `transformers` generate in float32, in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.engine_client import Answer, Asked, Row, own_cpu_s, tree_cpu_s
from benchmarks.peer import ROOT

SELF_ERROR_OF = 4  # sequences from which the reference's own error is measured


class Reference:
    """The process. It is asked one thing at a time and sleeps in between."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one order. raises: RuntimeError when the process has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def render(self, first_serial: int, prompts: Sequence[Sequence[Mapping[str, str]]]) -> list[Asked]:
        """The prompts with their texts and token ids."""
        made = self.ask({"render": prompts})
        rows = zip(prompts, made["texts"], made["ids"], strict=True)
        return [Asked(first_serial + i, *row) for i, row in enumerate(rows)]

    def row(self, prompts: Sequence[Asked], batch: int, output_tok: int) -> tuple[Row, dict[int, list[int]]]:
        """What generating at `batch` cost, and the token ids by the prompt's number."""
        order = {"generate": [prompt.ids for prompt in prompts], "batch": batch, "output_tok": output_tok}
        cpu_s, client_s, began_s = tree_cpu_s(self._process.pid), own_cpu_s(), time.monotonic()
        made = self.ask(order)
        wall_s = time.monotonic() - began_s
        answers = [
            Answer(text, len(asked.ids), len(ids))
            for asked, ids, text in zip(prompts, made["ids"], made["texts"], strict=True)
        ]
        row = Row(answers, wall_s, tree_cpu_s(self._process.pid) - cpu_s, own_cpu_s() - client_s)
        return row, {asked.serial: ids for asked, ids in zip(prompts, made["ids"], strict=True)}

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the reference ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def reference(folder: Path, log: Path) -> Iterator[Reference]:
    """The reference on the model in `folder`, loaded."""
    command = [sys.executable, str(Path(__file__).with_name("engine_generate.py")), str(folder)]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    with (
        log.open("w") as err,
        subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True
        ) as process,
    ):
        try:
            found = Reference(process)
            found._answer()
            yield found
        finally:
            process.kill()


@dataclass
class Known:
    """Sequences of the reference, by prompt number; one at batch 1 counts before one from a batch."""

    alone: dict[int, list[int]] = field(default_factory=dict)
    batched: dict[int, list[int]] = field(default_factory=dict)

    def of(self, serial: int) -> list[int] | None:
        """The reference's token ids, if it computed this prompt."""
        return self.alone.get(serial, self.batched.get(serial))


@dataclass(frozen=True, slots=True)
class Identity:
    """How many sequences were compared and how many are the same. Of the others, a `tie` is one where the reference's
    choice was closer than twice its own error; a `fault` is one where it was not."""

    compared: int
    same: int
    ties: int
    faults: int


def identity(
    asking: Reference, known: Known, prompts: Sequence[Asked], answers: Sequence[Answer], self_error: float | None
) -> Identity:
    """The answers against the reference: the same text, of as many tokens (`Server.row` counts them). Without
    `self_error` differences are not looked into, for that takes a dense pass each: all are called faults."""
    both = zip(prompts, answers, strict=False)  # of a slow peer only the first were asked
    pairs = [(asked, answer, ids) for asked, answer in both if (ids := known.of(asked.serial))]
    texts = asking.ask({"decode": [ids for _, _, ids in pairs]})["texts"]
    other = [
        {"prompt": asked.ids, "reference": ids, "text": answer.text}
        for (asked, answer, ids), text in zip(pairs, texts, strict=True)
        if answer.text.strip() != text.strip()
    ]
    margins = asking.ask({"differences": other})["margins"] if other and self_error is not None else []
    ties = sum(margin < 2 * (self_error or 0.0) for margin in margins)
    return Identity(len(pairs), len(pairs) - len(other), ties, len(other) - ties)

"""What a page budget costs in quality and gives in time, at several lengths of context: functions, and by itself
`python benchmarks/sparsity_pages.py quality|speed [--contexts 2048 7500] [--budgets 256 512 1024 2048 4096]`.

The texts are records of the workload `long-context`, one after the other, with the last one's question, in the chat
template. Their prompts are computed once, densely, and found in the cache by every budget; then two ends are scored in
decode mode, one token given after the other: the record's own last words, and what the dense model answers.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reference_engine.config import Budget, EngineConfig
from reference_engine.engine import Engine
from reference_engine.kernels.build import kinds_here
from reference_engine.kernels.native import NativeModel
from reference_engine.model.chat import render_chat
from reference_engine.model.load import load
from reference_engine.model.pull import console_progress, pull
from reference_engine.model.tokenizer import Tokenizer, load_tokenizer
from reference_engine.request import Delta, Request, Sampling
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.text import WholeText
from tcabench.quality.likeness import LEAST_TEXTS, Likeness, likeness
from tcabench.records.quality import Score, Token

ROOT = Path(__file__).resolve().parents[1]
CONTEXTS, BUDGETS = (2048, 4096, 7500), (256, 512, 1024, 2048, 4096)
RECORD_TOK, ANSWER_TOK, TOP = 128, 64, 5  # scored of each text
MARGIN = log(1.01)  # EQUIVALENT: the 90 % interval of the log-perplexity's difference lies within it
MARK = "\x00"


@dataclass(frozen=True, slots=True)
class LongText:
    """A prompt of exactly the asked length in tokens. `record_end`: how many of them lie before the end of the record,
    where the template's words follow."""

    name: str
    ids: tuple[int, ...]
    record_end: int


def records() -> list[str]:
    """The user messages of the workload, each a record and a question."""
    lines = (ROOT / "workloads/long-context/prompts.jsonl").read_text().splitlines()
    return [json.loads(line)["messages"][0]["content"] for line in lines]


def long_texts(tokenizer: Tokenizer, count: int, context: int) -> list[LongText]:
    """`count` texts of `context` tokens; no two end in the same record."""
    shell = render_chat(tokenizer.chat_template or "", [{"role": "user", "content": MARK}], tokenizer.special)
    before, after = (tokenizer.encode(part, False) for part in shell.split(MARK))
    known, texts = records(), list[LongText]()
    for i in range(count):
        body = list[int]()
        for back in range(len(known)):
            if len(body) >= context:
                break
            at = (i * 5 + back * 17) % len(known)
            body = tokenizer.encode(known[at] + ("\n\n" if back else ""), False) + body
        body = body[-(context - len(before) - len(after)) :]
        texts.append(LongText(f"{context}-{i}", (*before, *body, *after), len(before) + len(body)))
    return texts


class Bench:
    """The default model with a cache for one long text, whose budget may be changed between requests."""

    def __init__(self, context: int, checkpoint: Path, threads: int | None = None) -> None:
        room = EngineConfig(kv_tok=context + 512, draft_tok=0)
        spare = EngineConfig(kv_tok=room.kv_tok, budget=Budget(pages=4))  # keeps what pages are chosen by
        self.model = NativeModel(load(checkpoint, keep_blocks=True), spare, kinds_here()[0], threads)
        self.engine = Engine(self.model, room)

    def ended(
        self, name: str, prompt: Sequence[int], given: Sequence[int], new_tok: int, budget: Budget
    ) -> list[Delta]:
        """What follows `prompt`: `given`, or greedy tokens where there is none."""
        asked = Request(
            name, len(prompt), list(prompt), Sampling(new_tok, logprobs=TOP, ignore_eos=True), WholeText(str)
        )
        asked.given = (*prompt, *given) if given else ()
        self.model.limit(budget)
        self.engine.submit(asked)
        deltas = list[Delta]()
        while self.engine.busy:
            deltas += self.engine.step()
        return deltas


def scores(bench: Bench, texts: Sequence[LongText], budgets: Sequence[Budget]) -> dict[int, dict[str, list[Score]]]:
    """By pages of the budget (0: dense), and by which end of the texts: the log-probabilities of every text."""
    found: dict[int, dict[str, list[Score]]] = {b.pages: {"record": [], "answer": []} for b in (Budget(), *budgets)}
    for text in texts:
        answer = [d.token for d in bench.ended(text.name, text.ids, (), ANSWER_TOK, Budget())]
        cut = text.record_end - RECORD_TOK
        ends = {"record": (text.ids[:cut], text.ids[cut : text.record_end]), "answer": (text.ids, tuple(answer))}
        for budget in (Budget(), *budgets):
            for kind, (prompt, given) in ends.items():
                deltas = bench.ended(text.name, prompt, given, len(given), budget)
                found[budget.pages][kind].append(Score(text.name, tuple(map(_token, deltas))))
        print(f"{text.name} scored", file=sys.stderr, flush=True)
    return found


def _token(delta: Delta) -> Token:
    told = delta.logprob
    assert told is not None  # it was asked for
    return Token(str(told.token), told.logprob, tuple((str(token), value) for token, value in told.top))


def compared(found: dict[int, dict[str, list[Score]]]) -> dict[int, dict[str, Likeness]]:
    """Each budget against dense: the record's end, the answer, and both as one text."""
    both = {pages: {**ends, "both": [_joined(*pair) for pair in zip(*ends.values(), strict=True)]}
            for pages, ends in found.items()}  # fmt: skip
    return {
        pages: {kind: like for kind in ends if (like := likeness(both[0][kind], ends[kind])) is not None}
        for pages, ends in both.items() if pages
    }  # fmt: skip


def _joined(one: Score, other: Score) -> Score:
    return Score(one.id, one.tokens + other.tokens)


def is_equivalent(like: Likeness) -> bool:
    """Whether the perplexity's change is within 1 % with 90 % confidence (two one-sided tests at 5 %)."""
    return like.texts >= LEAST_TEXTS and like.nll.low90 >= -MARGIN and like.nll.high90 <= MARGIN


def step_times(model: NativeModel, ids: Sequence[int], steps: int) -> tuple[list[float], list[float]]:
    """Wall and CPU seconds of the last `steps` decode steps over `ids`, whose keys are in the first pages."""
    asked = Request("timed", len(ids) - steps, list(ids), Sampling(1), WholeText(str))
    asked.pages = list(range(-(-len(ids) // 16)))
    wall, cpu = list[float](), list[float]()
    for at in range(len(ids) - steps, len(ids)):
        began, worked = time.perf_counter(), time.process_time()
        model.run(StepPlan((Segment(asked, at, 1, True),)), [])
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - worked)
    return wall, cpu


def speed(
    model: NativeModel,
    ids: Sequence[int],
    contexts: Sequence[int],
    budgets: Sequence[int],
    rounds: int,
    steps: int = 10,
) -> dict[tuple[int, int], list[tuple[float, float]]]:
    """By context and budget in tokens (0: dense), for each round the median ms of a step and of its CPU time. The
    variants take turns. A context of 64 tokens stands for a step with no attention to speak of."""
    asked = Request("filled", len(ids), list(ids), Sampling(1), WholeText(str))
    asked.pages = list(range(-(-len(ids) // 16)))
    for start in range(0, len(ids), 256):
        model.run(StepPlan((Segment(asked, start, min(256, len(ids) - start), False),)), [])
    taken: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for context in (64, *contexts):
            for budget in (0, *budgets):
                if budget < context and (context > 64 or not budget):
                    model.limit(Budget(pages=budget // 16))
                    each = step_times(model, ids[:context], steps)
                    taken.setdefault((context, budget), []).append((median_ms(each[0]), median_ms(each[1])))
    return taken


def median_ms(seconds: Sequence[float]) -> float:
    """Of seconds, in ms."""
    return statistics.median(seconds) * 1e3


def show_speed(taken: dict[tuple[int, int], list[tuple[float, float]]]) -> None:
    """One line for each context and budget; ratios are medians over rounds of the round's own."""
    bare = [wall for wall, _ in taken[64, 0]]
    for (context, budget), rounds in taken.items():
        dense = [wall for wall, _ in taken[context, 0]]
        wall = [each for each, _ in rounds]
        ratios = [d / w for d, w in zip(dense, wall, strict=True)]
        attention = [(d - b) / (w - b) for d, w, b in zip(dense, wall, bare, strict=True) if w > b] or [0.0]
        print(
            f"context {context:5} budget {budget or 'all':>5}: step {statistics.median(wall):6.2f} ms (least "
            f"{min(wall):6.2f}), CPU {statistics.median(cpu for _, cpu in rounds):6.2f} ms; step x"
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), attention x"
            f"{statistics.median(attention):.2f} ({min(attention):.2f} to {max(attention):.2f})",
            flush=True,
        )


def show_quality(context: int, told: dict[int, dict[str, Likeness]]) -> None:
    """One line for each budget and kind of end."""
    for pages, ends in told.items():
        for kind, like in ends.items():
            print(
                f"context {context} budget {pages * 16:5} {kind:6}: same best {like.same_best:.4f}, log-perplexity "
                f"{like.nll.mean:+.4f} [{like.nll.low90:+.4f}, {like.nll.high90:+.4f}], KL {like.kl.mean:.5f}, "
                f"{like.texts} texts, {like.tokens} tokens{'  EQUIVALENT' if is_equivalent(like) else ''}",
                flush=True,
            )


def main() -> int:
    """Measure and show; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("quality", "speed"))
    parser.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS)
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--texts", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dense-layers", type=int, default=Budget().dense_layers)
    args = parser.parse_args()
    with console_progress() as progress:
        path = pull(progress)
    tokenizer = load_tokenizer(path, load(path, keep_blocks=True).sha256)
    bench = Bench(max(args.contexts), path)
    print(f"load {os.getloadavg()[0]:.1f}")
    if args.what == "speed":
        ids = long_texts(tokenizer, 1, max(args.contexts))[0].ids
        show_speed(speed(bench.model, ids, args.contexts, args.budgets, args.rounds))
        return 0
    for context in args.contexts:
        budgets = [Budget(pages=b // 16, dense_layers=args.dense_layers) for b in args.budgets if b < context]
        found = scores(bench, long_texts(tokenizer, args.texts, context), budgets)
        show_quality(context, compared(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

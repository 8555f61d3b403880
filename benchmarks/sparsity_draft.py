"""Whether sparse drafts pay: `python benchmarks/sparsity_draft.py [--context 8000] [--batches 1 4]`.

Exact self-speculation: the next few tokens are drafted by steps with a page budget, then one dense step computes them
all and keeps those that it would have chosen itself; it writes every key anew. Source: Leviathan et al., arXiv
2211.17192; sparse attention for the draft: Sun et al., "TriForce", arXiv 2404.11912. Tokens are compared with plain
decoding's.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.sparsity_pages import long_texts
from reference_engine.config import Budget, EngineConfig
from reference_engine.kernels.build import kinds_here
from reference_engine.kernels.native import NativeModel
from reference_engine.model.load import load
from reference_engine.model.pull import console_progress, pull
from reference_engine.model.tokenizer import load_tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.text import WholeText

PAGE, STEP_TOK = 16, 256


def filled(model: NativeModel, ids: Sequence[int], batch: int, new_tok: int) -> list[list[int]]:
    """Pages for `batch` requests that begin with `ids`, each in memory of its own; all but the last token computed."""
    width = -(-(len(ids) + new_tok + 16) // PAGE)
    pages = [list(range(i * width, (i + 1) * width)) for i in range(batch)]
    asked = _request(ids, pages[0])
    for start in range(0, len(ids) - 1, STEP_TOK):
        count = min(STEP_TOK, len(ids) - 1 - start)
        model.run(StepPlan((Segment(asked, start, count, False),)), [])
    last = Segment(asked, len(ids) - 2, 1, False)
    copies = tuple((pages[0][at], other[at]) for other in pages[1:] for at in range(-(-len(ids) // PAGE)))
    model.run(StepPlan((last,), copies), [])
    return pages


def _request(ids: Sequence[int], pages: list[int]) -> Request:
    made = Request("draft", len(ids), list(ids), Sampling(1), WholeText(str))
    made.pages = pages
    return made


def decoded(
    model: NativeModel, prompts: Sequence[Sequence[int]], pages: Sequence[list[int]], new_tok: int, drafts: int,
    budget: Budget,
) -> tuple[list[list[int]], float, float]:  # fmt: skip
    """`new_tok` greedy tokens for each prompt, the seconds they took, and the share of drafts that were right.

    `drafts`: how many tokens are drafted ahead in every round, 0 for plain decoding. Requests go in step; who has its
    tokens waits.
    """
    asked = [_request(ids, own) for ids, own in zip(prompts, pages, strict=True)]
    right = tried = 0
    began = time.perf_counter()
    while min(one.output_tok for one in asked) < new_tok:
        going = [one for one in asked if one.output_tok < new_tok]
        guesses = _guessed(model, going, drafts, budget) if drafts else [[] for _ in going]
        segments = (
            Segment(one, len(one.tokens) - 1, 1 + len(own), True, tuple(own))
            for one, own in zip(going, guesses, strict=True)
        )
        plan = StepPlan(tuple(segments))
        greedy = iter(model.run(plan, []).greedy)
        for one, own in zip(going, guesses, strict=True):
            chosen = [next(greedy) for _ in range(1 + len(own))]
            kept = next((i for i, guess in enumerate(own) if guess != chosen[i]), len(own))
            one.tokens += chosen[: kept + 1]
            right, tried = right + kept, tried + len(own)
    took = time.perf_counter() - began
    return [one.tokens[one.prompt_tok :][:new_tok] for one in asked], took, right / tried if tried else 0.0


def _guessed(model: NativeModel, going: Sequence[Request], drafts: int, budget: Budget) -> list[list[int]]:
    """What steps with a page budget would say next; their keys are overwritten by the step that checks."""
    known = [len(one.tokens) for one in going]
    model.limit(budget)
    for _ in range(drafts):
        segments = tuple(Segment(one, len(one.tokens) - 1, 1, True) for one in going)
        for one, token in zip(going, model.run(StepPlan(segments), []).greedy, strict=True):
            one.tokens.append(token)
    model.limit(Budget())
    guesses = [one.tokens[count:] for one, count in zip(going, known, strict=True)]
    for one, count in zip(going, known, strict=True):
        del one.tokens[count:]
    return guesses


def main() -> int:
    """Measure and show; 0, or 1 when a token differs from plain decoding's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--context", type=int, default=8000)
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 4))
    parser.add_argument("--budgets", type=int, nargs="+", default=(256, 512, 1024))
    parser.add_argument("--drafts", type=int, nargs="+", default=(3,))
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with console_progress() as progress:
        path = pull(progress)
    checkpoint = load(path, keep_blocks=True)
    tokenizer = load_tokenizer(path, checkpoint.sha256)
    config = EngineConfig(kv_tok=max(args.batches) * (args.context + args.tokens + 64), budget=Budget(pages=4))
    model = NativeModel(checkpoint, config, kinds_here()[0])
    model.limit(Budget())
    ids = long_texts(tokenizer, 1, args.context)[0].ids
    pages = filled(model, ids, max(args.batches), args.tokens)
    openings = [(*ids[:-1], token) for token in (ids[-1], *ids[-40:])]
    print(f"load {os.getloadavg()[0]:.1f}, filled", flush=True)
    faults, plain = 0, list[list[int]]()
    for batch in args.batches:
        ways = [(0, 0), *((drafts, budget) for drafts in args.drafts for budget in args.budgets)]
        took: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
        for _ in range(args.rounds):
            for drafts, budget in ways:
                made, seconds, right = decoded(
                    model, openings[:batch], pages[:batch], args.tokens, drafts, Budget(pages=budget // PAGE)
                )
                plain = made if not drafts else plain
                faults += made != plain
                took[drafts, budget].append(seconds)
                ratios = [one / other for one, other in zip(took[0, 0], took[drafts, budget], strict=False)]
                print(
                    f"batch {batch}, {drafts} drafts of {budget}: {batch * args.tokens / seconds:.2f} token/s, "
                    f"right {right:.3f}, x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                    f"{'' if made == plain else '  OTHER TOKENS'}",
                    flush=True,
                )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

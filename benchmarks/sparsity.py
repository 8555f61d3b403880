"""What leaving work out is worth, and what it costs: `make bench-sparsity`. The peer is the engine itself with every
such lever off, in the same process, in turn. See README.md.

Parts: `tier` the exact tier and each lever of it, at batch 1, 16 and 64; `pages` page budgets at 2k and 8k of context,
time and quality; `gates` what gate thresholds do to the answers; `twins` the ReLU-gated model with and without its
zeros, and the break-even of its kernels (needs --twins, see relu.py). Each writes results/sparsity_PART.json; `gates`,
which is measured once, beside this file.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine import versions
from benchmarks.figures import Figures, Measured, at_least, at_most, told
from benchmarks.sparsity_budget import page_quality_rows, page_speed_rows
from benchmarks.sparsity_picture import ONCE, result_of
from benchmarks.sparsity_quality import gate_rows
from benchmarks.sparsity_relu import break_even_rows, relu_rows
from benchmarks.sparsity_speed import EXACT, Load, Ran, Runner, Variant, chat_prompts, in_turn
from reference_engine.model.pull import console_progress, pull
from reference_engine.model.tokenizer import load_tokenizer

ROUNDS = 3
DENSE, TIER = Variant("dense", EXACT), Variant("exact tier")
LEVERS = ("skipping", "certified-head", "prefix", "speculation")
SINGLE = tuple(Variant(f"{lever} alone", EXACT - {lever}) for lever in LEVERS)
LOADS = (Load("1", 1, 8, 64), Load("16", 16, 32, 64), Load("64", 64, 128, 64))
QUICK = (Load("1", 1, 1, 4), Load("2", 2, 2, 4))
FASTER, ALIKE = 1.15, 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each part, show and write it; 0."""
    asked = _asked(arguments)
    for name in asked.only:
        figures = Figures()
        for number, rows in enumerate(PARTS[name](asked), 1):
            print(f"{name}, round {number}", flush=True)
            figures.take(rows)
        rounds = 1 if name in ONCE else asked.rounds
        figures.show(f"sparsity, {name}: {rounds} round(s)")
        if asked.writes:
            figures.write(result_of(name), versions([]), rounds)
    return 0


Rounds = Iterator[Iterator[Measured]]


def _tier(asked: argparse.Namespace) -> Rounds:
    runner = _runner(asked.model)
    for number in range(1, asked.rounds + 1):
        yield _tier_rows(runner, QUICK if asked.quick else LOADS, number)


def _pages(asked: argparse.Namespace) -> Rounds:
    taken = page_quality_rows(asked.model)  # first: it finds the smallest budget that is EQUIVALENT
    yield iter(taken)
    for _ in range(asked.rounds):
        yield page_speed_rows(asked.model, taken)


def _gates(asked: argparse.Namespace) -> Rounds:
    yield gate_rows()


def _twins(asked: argparse.Namespace) -> Rounds:
    relu, silu = (_runner(asked.twins / name) for name in ("relu-model", "silu-model"))
    for number in range(1, asked.rounds + 1):
        yield relu_rows(relu, number)
        yield break_even_rows(silu, number)


PARTS: Mapping[str, Callable[[argparse.Namespace], Rounds]] = {
    "tier": _tier, "pages": _pages, "gates": _gates, "twins": _twins,
}  # fmt: skip


def _runner(weights: Path) -> Runner:
    tokenizer = load_tokenizer(weights, "")
    return Runner(weights, tokenizer, chat_prompts(tokenizer))


def _tier_rows(runner: Runner, loads: Sequence[Load], number: int) -> Iterator[Measured]:
    """Every variant at every load, each beside the dense one of the same round."""
    faults = tokens = 0
    for wanted in loads:
        ran: dict[str, Ran] = {}
        for variant in in_turn((DENSE, TIER, *SINGLE), number):
            print(f"  {variant.name} at {wanted.name}", flush=True)
            ran[variant.name] = runner.run(variant, wanted)
        yield from _rows(ran, wanted)
        for variant in (TIER, *SINGLE):
            answers = ran[variant.name].answers
            faults += sum(a != b for a, b in zip(ran[DENSE.name].answers, answers, strict=True))
            tokens += sum(map(len, answers))
    yield at_most("answers that are not the dense ones", faults, 0, "answers")
    yield told("tokens compared", tokens, "greedy tokens a round")


def _rows(ran: Mapping[str, Ran], wanted: Load) -> Iterator[Measured]:
    dense = ran[DENSE.name]
    yield told(f"dense at {wanted.name}", dense.tokens_per_s, "tokens/s")
    for name, each in ran.items():
        at, ratio = f"{name} at {wanted.name}", each.tokens_per_s / dense.tokens_per_s
        if name == TIER.name:
            yield at_least(f"{at}: over dense", ratio, FASTER if wanted.batch == 1 else ALIKE, "x tokens/s")
        elif name != DENSE.name:
            yield told(f"{at}: over dense", ratio, "x tokens/s")
        yield told(f"{at}: CPU", each.cpu_s_per_token * 1e3, "ms/token")
        yield told(f"{at}: read", each.done.bytes / 1e6, "MB/token")
        yield told(f"{at}: multiplied", each.done.macs / 1e6, "M multiply-adds/token")


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small round of `tier`: does it still run?")
    parser.add_argument("--rounds", type=int, help=f"how often all is measured in turn ({ROUNDS})")
    parser.add_argument("--only", help=f"parts: {', '.join(PARTS)} (all; without --twins all but that)")
    parser.add_argument("--twins", type=Path, metavar="FOLDER", help="holds relu-model/ and silu-model/")
    parser.add_argument("--model", type=Path, help="folder or GGUF (the default model)")
    asked = parser.parse_args(arguments)
    all_parts = ["tier"] if asked.quick else [name for name in PARTS if name != "twins" or asked.twins]
    asked.only = asked.only.split(",") if asked.only else all_parts
    if unknown := set(asked.only) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: known are {', '.join(PARTS)}")
    if "twins" in asked.only and asked.twins is None:
        parser.error("the part twins needs --twins FOLDER; relu.py makes one")
    asked.rounds = asked.rounds or (1 if asked.quick else ROUNDS)
    asked.writes = not (asked.quick or asked.rounds < ROUNDS or asked.model)
    if asked.model is None:
        with console_progress() as progress:
            asked.model = pull(progress)
    return asked


if __name__ == "__main__":
    sys.exit(main())

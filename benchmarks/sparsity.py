"""What leaving work out is worth, and what it costs: `make bench-sparsity`. The peer is the engine itself with every
such lever off, in the same process, in turn. See README.md. Writes results/sparsity.json and pictures beside it.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine import versions
from benchmarks.figures import Figures, Measured, at_least, at_most, told
from benchmarks.sparsity_quality import compared
from benchmarks.sparsity_relu import break_even_rows, relu_rows
from benchmarks.sparsity_speed import EXACT, Load, Ran, Runner, Variant, chat_prompts, in_turn
from reference_engine.config import Budget
from reference_engine.model.pull import console_progress, pull
from reference_engine.model.tokenizer import load_tokenizer
from tcabench.parity import Parity

RESULT = Path(__file__).parent / "results" / "sparsity.json"
ROUNDS = 3
DENSE = Variant("dense", EXACT)
TIER = Variant("exact tier")
SINGLE = tuple(
    Variant(f"{lever} alone", EXACT - {lever}) for lever in ("skipping", "certified-head", "prefix", "speculation")
)
PAGES = tuple(Variant(f"pages {tok}", EXACT, Budget(pages=tok // 16)) for tok in (256, 512, 1024, 2048))
SHORT = (Load("1", 1, 8, 64), Load("16", 16, 32, 64), Load("64", 64, 128, 64))
LONG = (Load("2k context", 1, 1, 64, 2048), Load("8k context", 1, 1, 64, 8000))
FASTER, ALIKE = 1.15, 1.0
GATES = ("0.05", "0.1", "0.25", "0.4", "0.5")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and, where all was measured, write; 0."""
    asked = _asked(arguments)
    figures = Figures()
    with console_progress() as progress:
        weights = pull(progress)
    runner = _runner(weights)
    loads = [Load(each.name, each.batch, each.batch, 8, min(each.prompt_tok, 512)) for each in (*SHORT, *LONG)]
    for number in range(1, asked.rounds + 1):
        print(f"round {number} of {asked.rounds}", flush=True)
        figures.take(_speeds(runner, loads if asked.quick else (*SHORT, *LONG), number))
    if asked.relu is not None:
        twins = [_runner(asked.relu / name) for name in ("relu-model", "silu-model")]
        for number in range(1, asked.rounds + 1):
            print(f"twins, round {number} of {asked.rounds}", flush=True)
            figures.take(relu_rows(twins[0], number))
            figures.take(break_even_rows(twins[1], number))
    with tempfile.TemporaryDirectory() as folder:
        for workload, prompts, max_tok in (("chat", 24, 64), ("graded", 120, None)):
            if not asked.quick:
                figures.take(
                    _qualities(
                        workload,
                        compared(
                            {name: ("--gate-sparsity", name) for name in GATES},
                            (),
                            workload,
                            prompts,
                            max_tok,
                            Path(folder),
                        ),
                    )
                )
    figures.show(f"sparsity: {asked.rounds} round(s)")
    if not asked.quick:
        figures.write(asked.out, versions([]), asked.rounds)
    return 0


def _runner(weights: Path) -> Runner:
    tokenizer = load_tokenizer(weights, "")
    return Runner(weights, tokenizer, chat_prompts(tokenizer))


def _speeds(runner: Runner, loads: Sequence[Load], number: int) -> Iterator[Measured]:
    """Every variant at every load it is meant for, each beside the dense one of the same round."""
    faults = tokens = 0
    for wanted in loads:
        variants = (DENSE, TIER, *SINGLE) if wanted.whole else (DENSE, TIER, *PAGES)
        ran: dict[str, Ran] = {}
        for variant in in_turn(variants, number):
            print(f"  {variant.name} at {wanted.name}", flush=True)
            ran[variant.name] = runner.run(variant, wanted)
        yield from _rows(ran, wanted)
        pairs = zip(ran[DENSE.name].answers, ran[TIER.name].answers, strict=True)
        faults += sum(a != b for a, b in pairs)
        tokens += sum(map(len, ran[TIER.name].answers))
    yield at_most("exact tier: answers that are not the dense ones", faults, 0, "answers")
    yield told("exact tier: tokens compared", tokens, "greedy tokens")


def _rows(ran: Mapping[str, Ran], wanted: Load) -> Iterator[Measured]:
    dense = ran[DENSE.name]
    yield told(f"dense at {wanted.name}", dense.tokens_per_s, "tokens/s")
    for name, each in ran.items():
        at = f"{name} at {wanted.name}"
        ratio = each.tokens_per_s / dense.tokens_per_s
        if name == TIER.name and wanted.whole:
            yield at_least(f"{at}: over dense", ratio, FASTER if wanted.batch == 1 else ALIKE, "x tokens/s")
        elif name != DENSE.name:
            yield told(f"{at}: over dense", ratio, "x tokens/s")
        yield told(f"{at}: CPU", each.cpu_s_per_token * 1e3, "ms/token")
        yield told(f"{at}: read", each.done.bytes / 1e6, "MB/token")
        yield told(f"{at}: multiplied", each.done.macs / 1e6, "M multiply-adds/token")


def _qualities(workload: str, found: Mapping[str, Parity]) -> Iterator[Measured]:
    for name, parity in found.items():
        at, made = f"{name} on {workload}", parity.compared
        agreed, like = made.agreement, made.likeness
        yield told(f"{at}: same answers", agreed.same / agreed.compared, f"share of {agreed.compared}")
        if like is not None:
            yield told(f"{at}: perplexity", 100 * like.perplexity_rel, "% more")
            yield told(f"{at}: KL", like.kl.mean, "nat/token, at least")
        if made.right is not None:
            yield told(
                f"{at}: right",
                made.right.candidate_right / made.right.graded,
                f"share of {made.right.graded}; dense {made.right.reference_right / made.right.graded:.3f}",
            )


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small round: does it still run?")
    parser.add_argument("--rounds", type=int, help=f"how often all is measured in turn ({ROUNDS})")
    parser.add_argument(
        "--relu", type=Path, metavar="FOLDER", help="with relu-model/ and silu-model/, as relu.py makes it"
    )
    parser.add_argument("--out", type=Path, default=RESULT, help=f"the JSON (results/{RESULT.name})")
    asked = parser.parse_args(arguments)
    asked.rounds = asked.rounds or (1 if asked.quick else ROUNDS)
    return asked


if __name__ == "__main__":
    sys.exit(main())

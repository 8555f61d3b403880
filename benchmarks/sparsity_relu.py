"""What exact zeros are worth: a ReLU-gated model with and without them left out, from batch 1 to 16."""

from collections.abc import Iterator, Sequence

from benchmarks.figures import Measured, at_least, at_most, told
from benchmarks.sparsity_speed import Load, Ran, Runner, Variant, in_turn
from reference_engine.config import Budget

GUESSES = frozenset({"speculation"})
ZEROS, PLAIN = Variant("zeros left out", GUESSES), Variant("dense twin", GUESSES | {"zeros"})
BATCHES = (1, 2, 4, 8, 16)
OUTPUT_TOK, PROMPT_TOK, FASTER = 192, 32, 1.5


def relu_rows(runner: Runner, number: int, batches: Sequence[int] = BATCHES) -> Iterator[Measured]:
    """One round. Guesses are off in both, so that a step has as many rows as there are requests."""
    for batch in batches:
        wanted = Load(str(batch), batch, batch, OUTPUT_TOK, PROMPT_TOK)
        ran: dict[str, Ran] = {}
        for variant in in_turn((PLAIN, ZEROS), number):
            ran[variant.name] = runner.run(variant, wanted)
        dense, sparse = ran[PLAIN.name], ran[ZEROS.name]
        at = f"ReLU model, batch {batch}"
        yield told(f"{at}: dense twin", dense.tokens_per_s, "tokens/s")
        ratio, unit = sparse.tokens_per_s / dense.tokens_per_s, "x tokens/s"
        yield (
            at_least(f"{at}: zeros left out", ratio, FASTER, unit)
            if batch == 1
            else told(f"{at}: zeros left out", ratio, unit)
        )
        yield told(f"{at}: neurons multiplied for a row", sparse.density, "share")
        yield told(f"{at}: neurons read in a step", sparse.union, "share")
        yield told(f"{at}: read, dense twin", dense.done.bytes / 1e6, "MB/token")
        yield told(f"{at}: read, zeros left out", sparse.done.bytes / 1e6, "MB/token")
        yield told(f"{at}: CPU, dense twin", dense.cpu_s_per_token * 1e3, "ms/token")
        yield told(f"{at}: CPU, zeros left out", sparse.cpu_s_per_token * 1e3, "ms/token")
        yield at_most(
            f"{at}: other answers",
            sum(a != b for a, b in zip(dense.answers, sparse.answers, strict=True)),
            0,
            "answers",
        )


THRESHOLDS = (1e-4, 0.01, 0.03, 0.1, 0.2, 0.4)  # of a SiLU gate, from nearly all neurons to few
CUT_BATCHES = (1, 4, 16)


def break_even_rows(runner: Runner, number: int, batches: Sequence[int] = CUT_BATCHES) -> Iterator[Measured]:
    """One round of the SiLU twin with every gate cut at ever higher thresholds: the same kernels at any density. What
    it says is wrong by then; only its speed is looked at."""
    dense = Variant("all neurons", GUESSES | {"zeros"})
    layers = runner.model(dense).spec.layers
    cut = [Variant(f"gates cut at {each:g}", GUESSES, Budget(gate=(each,) * layers)) for each in THRESHOLDS]
    for batch in batches:
        wanted = Load(str(batch), batch, batch, OUTPUT_TOK // 2, PROMPT_TOK)
        ran = {variant.name: runner.run(variant, wanted) for variant in in_turn((dense, *cut), number)}
        for variant in cut:
            each, at = ran[variant.name], f"{variant.name}, batch {batch}"
            yield told(f"{at}: neurons multiplied for a row", each.density, "share")
            yield told(f"{at}: neurons read in a step", each.union, "share")
            yield told(f"{at}: over all neurons", each.tokens_per_s / ran[dense.name].tokens_per_s, "x tokens/s")

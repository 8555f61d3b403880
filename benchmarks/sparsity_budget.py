"""Page budgets as figures: how good the answers stay, and how much faster attention gets."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.figures import Measured, at_least, told
from benchmarks.sparsity_pages import BUDGETS, Bench, compared, is_equivalent, long_texts, scores, speed
from reference_engine.config import Budget
from reference_engine.model.tokenizer import load_tokenizer

CONTEXTS, LONGEST = (2048, 7936), 7936
TEXTS, FASTER = 12, 1.5
EQUIVALENT = "EQUIVALENT at 1 %"


def page_quality_rows(weights: Path) -> list[Measured]:
    """Each budget against attention to all pages, on long texts; see `sparsity_pages`."""
    tokenizer, rows = load_tokenizer(weights, ""), list[Measured]()
    bench = Bench(LONGEST, weights)
    for context in CONTEXTS:
        budgets = [Budget(pages=tok // 16) for tok in BUDGETS if tok < context]
        for pages, ends in compared(scores(bench, long_texts(tokenizer, TEXTS, context), budgets)).items():
            like, at = ends["both"], f"budget {pages * 16} of {context}"
            for name, value in (("", like.nll.mean), (", low", like.nll.low90), (", high", like.nll.high90)):
                rows.append(told(f"{at}: log-perplexity{name}", value, "nat/token more; 90 % interval over texts"))
            rows.append(told(f"{at}: KL", like.kl.mean, "nat/token, at the least"))
            rows.append(told(f"{at}: same best token", like.same_best, f"share of {like.tokens}"))
            rows.append(told(f"{at}: {EQUIVALENT}", float(is_equivalent(like)), "1 where it is"))
    return rows


def page_speed_rows(weights: Path, quality: Sequence[Measured]) -> Iterator[Measured]:
    """One round: a step of one request, and the part of it that is attention, against attention to all pages."""
    bench = Bench(LONGEST, weights)
    ids = long_texts(load_tokenizer(weights, ""), 1, LONGEST)[0].ids
    taken = speed(bench.model, ids, CONTEXTS, BUDGETS, 3)
    bare, least = median(wall for wall, _ in taken[64, 0]), smallest(quality)
    for (context, budget), rounds in taken.items():
        wall, cpu = (median(values) for values in zip(*rounds, strict=True))
        at = f"budget {budget} of {context}" if budget else f"all pages of {context}"
        yield told(f"{at}: step", wall, "ms")
        yield told(f"{at}: CPU", cpu, "ms/token")
        if not budget:
            continue
        dense = median(each for each, _ in taken[context, 0])
        yield told(f"{at}: step over all pages", dense / wall, "x speed")
        attention = (dense - bare) / max(wall - bare, 1e-3)
        goal = context == LONGEST and budget == least
        name, unit = f"{at}: attention over all pages", "x speed"
        yield at_least(name, attention, FASTER, unit) if goal else told(name, attention, unit)


def smallest(quality: Sequence[Measured]) -> int | None:
    """The smallest budget in tokens that is EQUIVALENT at the longest context, and all larger ones too."""
    ends = f" of {LONGEST}: {EQUIVALENT}"
    held = {int(row.name.split()[1]): row.value for row in quality if row.name.endswith(ends)}
    found = None
    for budget in sorted(held, reverse=True):
        if not held[budget]:
            break
        found = budget
    return found

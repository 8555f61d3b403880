"""Work done and spared, request by request. Counted by what the kernels report, not metered: joules are for meters."""

from collections.abc import Mapping

from reference_engine.config import EngineConfig, ModelSpec
from reference_engine.request import Request
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.sparse.certified_head import CertifiedHead
from reference_engine.sparse.gate_thresholds import GateThresholds
from reference_engine.sparse.logits import UnneededLogits
from reference_engine.sparse.pages import PageBudget
from reference_engine.sparse.pattern import Pattern, Sizes, Work
from reference_engine.sparse.prefix import Prefix
from reference_engine.sparse.seen import Seen
from reference_engine.sparse.zeros import Zeros

PATTERNS: tuple[Pattern, ...] = (
    Prefix(), UnneededLogits(), CertifiedHead(), Zeros(), GateThresholds(), PageBudget()
)  # fmt: skip
DONE = "done"
SHARED_QUERIES = 12  # queries that look at a page while it is at hand; `MOST_QUERIES` of the native step


class WorkAccount:
    """Adds each step to the requests that caused it, and says in the end what that comes to."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        spec, config = sizes.spec, sizes.config
        self.patterns = tuple(each for each in PATTERNS if _is_on(each, spec, config))
        self._looks = spec.layers * spec.kv_heads  # times that a page is looked at for one row
        budget = config.budget
        self._picks = budget.pages * spec.kv_heads * max(0, spec.layers - budget.dense_layers)  # pages that a row picks
        self._together = max(1, SHARED_QUERIES // (spec.heads // spec.kv_heads))

    def admitted(self, request: Request) -> None:
        """Count what a newly admitted request found in the cache."""
        if request.prefix_tok and not request.done.prefix_rows:
            request.done.prefix_rows = request.prefix_tok
            request.done.prefix_pages = self._looks * self._before(0, request.prefix_tok, 1)

    def stepped(self, plan: StepPlan, seen: Seen | None) -> None:
        """Count a step, before its tokens are appended."""
        choices, first = sum(map(self._chosen, plan.segments)), 0
        for segment in plan.segments:
            self.admitted(segment.request)
            self._add_rows(segment, plan.tokens, choices)
            if seen is not None:
                self._add_seen(segment, seen, first, plan.tokens, choices)
            first += segment.count

    def of(self, request: Request) -> Mapping[str, Work]:
        """By reason what the request was spared, and under `DONE` what was done for it. Together they are what a dense
        engine with no cache does in the same steps; what comes to nothing is not listed."""
        sizes, done = self.sizes, request.done
        whole = Work(
            (done.rows + done.prefix_rows) * (sizes.row_macs + sizes.choice_macs)
            + (done.pages + done.prefix_pages) * sizes.page.macs,
            done.steps * (sizes.layer_bytes + sizes.head_bytes) + (done.fetched + done.prefix_pages) * sizes.page.bytes,
        )
        spared = {pattern.lever: pattern.spared(sizes, done) for pattern in self.patterns}
        left = whole
        for work in spared.values():
            left = left - work
        return {DONE: left} | {name: work for name, work in spared.items() if work != Work()}

    def _add_rows(self, segment: Segment, rows: int, choices: int) -> None:
        done, share = segment.request.done, segment.count / rows
        done.rows += segment.count
        done.choices += self._chosen(segment)
        done.pages += self._looks * self._before(segment.start, segment.count, 1)
        done.fetched += self._looks * self._before(segment.start, segment.count, self._together)
        done.steps += share
        done.heads += share if choices else 0.0

    def _add_seen(self, segment: Segment, seen: Seen, first: int, rows: int, choices: int) -> None:
        done, share = segment.request.done, segment.count / rows
        done.left_neurons += int(seen.left_neurons[first : first + segment.count].sum())
        left = seen.left_pages[first : first + segment.count]
        if left.any():
            done.left_pages += int(left.sum())
            done.scored_pages += int(left.sum() + (left > 0).sum() * self._picks)
            done.unread_pages += float(left.sum() / seen.left_pages.sum()) * seen.unread_pages
        done.unread_neurons += share * seen.unread_neurons
        if seen.head_rows is not None:
            done.screened += self._chosen(segment)
            done.head_rows += seen.head_rows * self._chosen(segment) / choices

    def _chosen(self, segment: Segment) -> int:
        """Rows of the segment that go through the head: without skipping all do, chosen after or not."""
        return segment.choices if self.sizes.config.has("skipping") else segment.count

    def _before(self, start: int, count: int, together: int) -> int:
        """Pages up to the last of each `together` rows, of the rows at [start, start + count), summed."""
        page_tok, end = self.sizes.config.page_tok, start + count
        if together > 1 or count < 2 * page_tok:
            return sum((min(at + together, end) - 1) // page_tok + 1 for at in range(start, end, together))
        return _pages_below(end, page_tok) - _pages_below(start, page_tok)


def _pages_below(tokens: int, page_tok: int) -> int:
    """Pages that lie before and around each token below `tokens`, summed."""
    full, rest = divmod(tokens, page_tok)
    return page_tok * full * (full + 1) // 2 + rest * (full + 1)


def _is_on(pattern: Pattern, spec: ModelSpec, config: EngineConfig) -> bool:
    return pattern.lever in config.levers and pattern.why_dense(spec, config) is None

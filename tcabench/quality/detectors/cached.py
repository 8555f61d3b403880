"""Answers that were not computed again: the same prompt, the same answer, in a fraction of the time."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from tcabench.quality.detectors.burst import span_ns
from tcabench.quality.detectors.finding import Finding, answered, examples
from tcabench.records import Trace

# With fewer repeats, one server that was cold at first makes the share.
MIN_REPEATS = 8
# A fifth of the time to the first token. The ordinary spread between two askings of one prompt, by queueing and by what
# else is in the batch, is a factor of 2 to 3; a store answers tens to thousands of times sooner.
FIRST_TOKEN_RATIO = 0.2
# Half of the time that the rest of the answer took at first. A server that kept the *prompt* begins sooner and then
# writes at its usual pace, as slowly as the batch lets it; one that kept the *answer* has nothing to write.
REST_RATIO = 0.5
# One repeat in ten: a store that forgets nearly everything still shows, the odd quick answer does not.
MAX_SHARE = 0.1

CACHED = (
    "Asked again, these prompts brought the same answer, begun in less than a fifth of the first time and written in "
    "less than half of it: answers from a store, which cost no computing. That the answer is the same is no sign by "
    "itself, as it should be at temperature 0."
)
KEPT = (
    "Asked again, these prompts brought the same answer, begun in less than a fifth of the first time but written at "
    "the usual pace. Servers that keep their work on prompts seen before do that, and rightly so; prompts that are "
    "asked once cost more. A store that feigns the pace looks the same from outside."
)
TOO_FEW = f" Fewer than {MIN_REPEATS} repeats here: too few to say, so none was judged."


class Pair(NamedTuple):
    """A prompt's first answer, and a later one to the same prompt, asked when the first had ended."""

    first: Trace
    later: Trace


def detect(traces: Sequence[Trace], pinned: bool) -> tuple[Finding, ...]:
    """Repeats whose answer was kept ("cached"), and repeats whose prompt was ("prompt_kept", never suspect).

    Only repeats within `traces` are seen; what was asked before them, e.g. by a load marker, is not.
    """
    done = [t for t in answered(traces) if t.chunk_ns and t.text]
    firsts, pairs = paired(done)
    repeats = pairs if len(pairs) >= MIN_REPEATS else []
    usual_ns = median(ttft_ns(t) for t in firsts) if firsts else 0.0
    sooner = [p for p in repeats if p.first.text == p.later.text and is_sooner(p, usual_ns)]
    stored = [p.later for p in sooner if is_rest_quick(p)]
    kept = [p.later for p in sooner if not is_rest_quick(p)]
    n, left_out, note = len(repeats), len(done) - len(repeats), "" if repeats else TOO_FEW
    is_suspect = len(stored) > MAX_SHARE * n
    return (
        Finding("cached", "from a store", len(stored), n, left_out, examples(stored), CACHED + note, is_suspect),
        Finding("prompt_kept", "prompts kept from before", len(kept), n, left_out, examples(kept), KEPT + note, False),
    )  # fmt: skip


def paired(done: Sequence[Trace]) -> tuple[list[Trace], list[Pair]]:
    """The first answer to each prompt, and each later one beside it. What was asked while the first was still being
    written is neither: no store could have had it."""
    firsts: dict[str, Trace] = {}
    pairs = []
    for trace in sorted(done, key=lambda t: (t.sent_ns, t.index)):
        first = firsts.setdefault(trace.prompt_id, trace)
        if first is not trace and trace.sent_ns >= first.end_ns:
            pairs.append(Pair(first, trace))
    return list(firsts.values()), pairs


def is_sooner(pair: Pair, usual_ns: float) -> bool:
    """Whether the later answer began far sooner than its own first one *and* than first ones do: so neither one slow
    start nor one prompt that is short makes it so."""
    return ttft_ns(pair.later) < FIRST_TOKEN_RATIO * min(ttft_ns(pair.first), usual_ns)


def is_rest_quick(pair: Pair) -> bool:
    """Whether the tokens after the first were not written at the pace of the first time. An answer that arrived in one
    piece has no pace: its time to the first token was that of the whole."""
    return span_ns(pair.first) <= 0 or span_ns(pair.later) < REST_RATIO * span_ns(pair.first)


def ttft_ns(trace: Trace) -> int:
    """From sending to the first chunk, in ns: the server's part, without our own lateness."""
    return trace.chunk_ns[0] - trace.sent_ns

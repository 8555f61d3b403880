"""Answers that decline to answer."""

from collections.abc import Sequence

from tcabench.quality.detectors.finding import Finding, answered, examples, surely_above
from tcabench.records import Trace

# One in twenty. The shipped prompts ask for nothing that anybody would have to refuse.
MAX_SHARE = 0.05
OPENINGS = ("", "sorry, ", "sorry, but ", "i'm sorry, ", "i'm sorry, but ", "i am sorry, ", "i am sorry, but ",
            "i apologize, ", "i apologize, but ", "unfortunately, ")  # fmt: skip
PHRASES = (
    "i can't help with", "i cannot help with", "i can't assist", "i cannot assist", "i'm unable to", "i am unable to",
    "i'm not able to", "i am not able to", "i can't provide", "i cannot provide", "i can't answer", "i cannot answer",
    "i can't fulfill", "i cannot fulfill", "i can't comply", "i cannot comply", "i can't do that", "i cannot do that",
    "i won't help", "i will not help", "i must decline", "i have to decline", "i'm not allowed to",
    "i am not allowed to", "as an ai language model, i can", "this request cannot be",
)  # fmt: skip
BEGINNINGS = tuple(opening + phrase for opening in OPENINGS for phrase in PHRASES)
LONGEST = max(map(len, BEGINNINGS))

SAYS = (
    "These answers begin by declining, though the prompts are harmless. That is a loss of quality, not a proof of "
    "fraud: a refusal is short and cheap, so a server that refuses much looks thriftier than it is."
)


def detect(traces: Sequence[Trace], pinned: bool) -> tuple[Finding, ...]:
    """Answers that begin with a refusal in English, as people and models write one."""
    done = answered(traces)
    judged = [t for t in done if t.text.strip()]
    refused = [t for t in judged if is_refusal(t.text)]
    found = Finding(
        name="refused",
        title="refusals",
        count=len(refused),
        of=len(judged),
        left_out=len(done) - len(judged),
        examples=examples(refused),
        says=SAYS,
        is_suspect=surely_above(len(refused), len(judged), MAX_SHARE),
    )
    return (found,)


def is_refusal(text: str) -> bool:
    """Whether `text` begins by declining, whatever its case, apostrophes, leading blanks and marks."""
    start = text.lstrip(" \t\r\n\"'*_>#")[: 2 * LONGEST]
    return " ".join(start.replace("\u2019", "'").lower().split()).startswith(BEGINNINGS)

"""A comparison as plain values, for JSON."""

from dataclasses import asdict
from typing import Any

from tcabench.parity.measure import Parity
from tcabench.parity.systems import System


def document(parity: Parity, reference: System, candidate: System) -> dict[str, Any]:
    """All that was found, what it rests on, and what was decided before."""
    planned, made = parity.planned, parity.compared
    agreed, like = made.agreement, made.likeness
    return {
        "verdict": made.found.standing.value,
        "why": made.found.why,
        "reference": {"name": reference.name, **reference.facts},
        "candidate": {"name": candidate.name, **candidate.facts},
        "planned": {
            "prompts": [prompt.id for prompt in planned.prompts], "max_tok": planned.max_tok,
            "perplexity_margin": planned.margin, "concurrency": planned.concurrency,
        },
        "agreement": {**asdict(agreed), "flip_bound": agreed.flip_bound},
        "likeness": {**asdict(like), "perplexity_rel": like.perplexity_rel} if like else {"why": made.unscored},
        "graded": {**asdict(made.right), "p_value": made.right.p_value} if made.right else None,
        "cached_prompts": made.cached,
    }  # fmt: skip

"""A quantile whose sample cannot bound it from above passes no upper limit, and still may fail one."""

import pytest

from tcabench.policy import judge, parse_policy
from tcabench.records import Outcome, Quantity

FACTS = {"grade": "E2", "boundary": "chip", "complete": True, "window_s": 60.0, "stat_rel": 0.01, "lost_rel": 0.0}


@pytest.mark.parametrize(
    ("limit", "outcome"), [("0.5 s", Outcome.FAIL), ("1.5 s", Outcome.INCONCLUSIVE), ("9 s", Outcome.INCONCLUSIVE)]
)
def test_upper_limits(limit: str, outcome: Outcome) -> None:
    text = f"id: p\nversion: 1\ntitle: t\nchecks: [{{id: a, metric: ttft.p99, '<=': {limit}}}]\n"
    value = Quantity(1.0, 0.8, 1.2, "s", open_above=True)
    judged = judge(parse_policy(text.encode()), {"ttft.p99": value}, FACTS)
    assert judged.overall is outcome
    assert "open]" in judged.verdicts[-1].reason


def test_an_error_rate_of_zero_says_how_much_longer_it_takes() -> None:
    text = "id: p\nversion: 1\ntitle: t\nchecks: [{id: a, metric: error_rate, '<=': 0.01}]\n"
    judged = judge(parse_policy(text.encode()), {"error_rate": Quantity(0.0, 0.0, 0.02, "1")}, FACTS)
    assert judged.overall is Outcome.INCONCLUSIVE
    assert judged.verdicts[-1].decide_s == pytest.approx(60)

"""Laws of the guard band, for any interval and limit."""

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tcabench.policy import Policy, judge, parse_policy
from tcabench.records import Outcome, Quantity, Verdict

FACTS: dict[str, Any] = {"grade": "E2", "complete": True, "window_s": 60.0, "stat_rel": 0.01, "lost_rel": 0.0}
PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
signs = st.sampled_from([">=", "<=", ">", "<"])
positive = st.floats(1e-3, 1e9)
limits = st.decimals("0.001", "1000000000", places=3)
widths = st.floats(0, 1e6)


def policy(sign: str, limit: object, rule: str = "guard_band") -> Policy:
    text = f"id: p\nversion: 1\ntitle: P\ndecision_rule: {rule}\n"
    text += f'checks: [{{id: t, metric: output_tokens_per_kwh, "{sign}": {limit} token/kWh}}]\n'
    return parse_policy(text.encode())


def verdict(of: Policy, value: float, low: float, high: float, **facts: Any) -> Verdict:
    values = {"output_tokens_per_kwh": Quantity(value, low, high, "token/kWh")}
    return next(v for v in judge(of, values, FACTS | facts).verdicts if v.check == "t")


@given(signs, limits, positive, widths, widths, widths, widths)
def test_widening_never_turns_pass_into_fail_or_fail_into_pass(
    sign: str, limit: object, value: float, down: float, up: float, more_down: float, more_up: float
) -> None:
    of = policy(sign, limit)
    narrow = verdict(of, value, value - down, value + up).outcome
    wide = verdict(of, value, value - down - more_down, value + up + more_up).outcome
    assert wide in (narrow, OPEN)


@given(signs, limits, positive, widths, widths)
def test_where_the_guard_band_decides_the_simple_rule_agrees(
    sign: str, limit: object, value: float, down: float, up: float
) -> None:
    guarded = verdict(policy(sign, limit), value, value - down, value + up).outcome
    simple = verdict(policy(sign, limit, "simple"), value, value - down, value + up).outcome
    assert simple is not OPEN
    assert guarded in (simple, OPEN)


@given(limits, positive, widths, widths)
def test_opposite_signs_give_opposite_verdicts(limit: object, value: float, down: float, up: float) -> None:
    opposite = {PASS: FAIL, FAIL: PASS, OPEN: OPEN}
    one = verdict(policy(">=", limit), value, value - down, value + up).outcome
    assert verdict(policy("<", limit), value, value - down, value + up).outcome is opposite[one]


@given(signs, limits, positive, widths, widths)
def test_weak_evidence_never_passes(sign: str, limit: object, value: float, down: float, up: float) -> None:
    of = policy(sign, limit)
    for facts in ({"grade": "E0"}, {"grade": None}, {"complete": False}):
        assert verdict(of, value, value - down, value + up, **facts).outcome is not PASS


@given(positive, st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(0.01, 0.99))
def test_after_the_stated_time_the_interval_clears_the_limit(
    value: float, rest: float, spread: float, at: float
) -> None:
    """The half-width that is left after decide_s more seconds is the distance to the limit."""
    half = (rest * rest + spread * spread) ** 0.5
    limit = float(f"{value * (1 - at * half):.12e}")
    margin = (value - limit) / value
    assume(margin < half * 0.999)
    found = verdict(policy(">=", f"{limit:.12e}"), value, value * (1 - half), value * (1 + half), stat_rel=spread)
    assert found.outcome is OPEN
    if margin <= rest * 0.999:
        assert found.decide_s is None
    elif margin >= rest * 1.001:
        assert found.decide_s is not None
        shrunk = spread * spread * 60 / (60 + found.decide_s)
        assert abs((rest * rest + shrunk) ** 0.5 - margin) < 1e-6

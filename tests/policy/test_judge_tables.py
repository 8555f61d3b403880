"""Verdicts: tables of PASS, FAIL, INCONCLUSIVE and NOT APPLICABLE, and what decides overall."""

from typing import Any

import pytest

from tcabench.policy import judge, parse_policy
from tcabench.records import Judgement, NotMetered, Outcome, Quantity, Value, Verdict

HEAD = "id: p\nversion: 1\ntitle: P\n"
TOKENS = 'checks: [{id: t, metric: output_tokens_per_kwh, ">=": 100 token/kWh}]\n'
FACTS: dict[str, Any] = {
    "grade": "E2",
    "boundary": "chip",
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "model_sha256": "a" * 64,
    "workload": "chat",
    "workload_version": 1,
    "workload_digest": "b" * 64,
    "window_s": 60.0,
    "concurrency": 8,
    "complete": True,
    "stat_rel": 0.02,
    "lost_rel": 0.0,
}
PASS, FAIL, OPEN, OUT = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.NOT_APPLICABLE


def tokens(value: float, low: float, high: float) -> dict[str, Value]:
    return {"output_tokens_per_kwh": Quantity(value, low, high, "token/kWh")}


def judged(yaml: str, values: dict[str, Value], **facts: Any) -> Judgement:
    return judge(parse_policy((HEAD + yaml).encode()), values, FACTS | facts)


def row(judgement: Judgement, check: str) -> Verdict:
    return next(v for v in judgement.verdicts if v.check == check)


@pytest.mark.parametrize(
    ("sign", "low", "high", "outcome"),
    [
        (">=", 101, 120, PASS),
        (">=", 100, 120, PASS),
        (">=", 99.999, 120, OPEN),
        (">=", 80, 100, OPEN),
        (">=", 80, 99.999, FAIL),
        (">", 100, 120, OPEN),
        (">", 100.001, 120, PASS),
        (">", 80, 100, FAIL),
        ("<=", 80, 100, PASS),
        ("<=", 80, 100.001, OPEN),
        ("<=", 100, 120, OPEN),
        ("<=", 100.001, 120, FAIL),
        ("<", 80, 100, OPEN),
        ("<", 80, 99.999, PASS),
        ("<", 100, 120, FAIL),
        (">=", 100, 100, PASS),
        ("<", 100, 100, FAIL),
    ],
)
def test_guard_band(sign: str, low: float, high: float, outcome: Outcome) -> None:
    yaml = TOKENS.replace(">=", sign)
    judgement = judged(yaml, tokens((low + high) / 2, low, high))
    assert row(judgement, "t").outcome is outcome
    assert judgement.overall is outcome


@pytest.mark.parametrize(("value", "outcome"), [(100, PASS), (99.9, FAIL), (250, PASS)])
def test_the_simple_rule_looks_at_the_value_alone(value: float, outcome: Outcome) -> None:
    judgement = judged("decision_rule: simple\n" + TOKENS, tokens(value, 1, 1000))
    assert judgement.overall is outcome
    assert "simple rule" in row(judgement, "t").reason


def test_a_pass_says_clause_numbers_and_limit() -> None:
    verdict = row(judged(TOKENS, tokens(15_000, 14_000, 16_000)), "t")
    assert verdict.clause == "output_tokens_per_kwh >= 100 token/kWh"
    assert verdict.limit == "100 token/kWh"
    assert (
        verdict.reason == "15,000 [14,000, 16,000] token/kWh against >= 100 token/kWh: holds over the whole interval."
    )
    assert verdict.value == Quantity(15_000, 14_000, 16_000, "token/kWh")
    assert verdict.decide_s is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "gives no value output_tokens_per_kwh"),
        ({"output_tokens_per_kwh": NotMetered("no meter was open")}, "was not metered: no meter was open"),
        ({"output_tokens_per_kwh": Quantity(1, 1, 1, "token/J")}, "in token/J here, but the limit is in token/kWh"),
        (tokens(200, 210, 220), "not in order"),
        (tokens(float("nan"), 200, 220), "not in order"),
    ],
)
def test_what_cannot_be_compared_is_inconclusive(values: dict[str, Value], told: str) -> None:
    judgement = judged(TOKENS, values)
    assert judgement.overall is OPEN
    assert told in row(judgement, "t").reason


@pytest.mark.parametrize(
    ("grade", "wanted", "outcome"),
    [
        ("E0", "E1", OPEN),
        ("E1", "E1", PASS),
        ("E7", "E1", PASS),
        (None, "E0", OPEN),
        ("E4", "E5", OPEN),
        ("E9", "E0", OPEN),
    ],
)
def test_grade(grade: str | None, wanted: str, outcome: Outcome) -> None:
    yaml = f"evidence: {{min_grade: {wanted}}}\n{TOKENS}"
    assert judged(yaml, tokens(200, 190, 210), grade=grade).overall is outcome


def test_an_estimate_is_refused_by_a_policy_that_does_not_mention_grades() -> None:
    assert judged(TOKENS, tokens(200, 190, 210), grade="E0").overall is OPEN


def test_below_the_grade_energy_figures_do_not_fail_either() -> None:
    judgement = judged(TOKENS, tokens(50, 40, 60), grade="E0")
    assert judgement.overall is OPEN
    assert "It would be missed, but the evidence is not what the policy asks for" in row(judgement, "t").reason


def test_below_the_grade_a_failed_error_rate_still_fails() -> None:
    yaml = 'checks: [{id: errors, metric: error_rate, "<=": 0.01}]\n'
    values: dict[str, Value] = {"error_rate": Quantity.exact(0.5, "1")}
    assert judged(yaml, values, grade="E0").overall is FAIL


@pytest.mark.parametrize(
    ("levers", "outcome", "told"),
    [
        ({"batching": "equivalent", "prefix": "equivalent"}, PASS, "2 on, all equivalent: batching, prefix"),
        ({}, PASS, "No lever is on"),
        ({"batching": "equivalent", "page-budget": "approximate"}, FAIL, "page-budget: approximate"),
        ({"magic": "quantum", "zeros": "approximate"}, FAIL, "zeros"),
        ({"magic": "quantum"}, OPEN, "Whether magic may change an answer"),
        (None, OPEN, "does not say which levers are on"),
        ("all", OPEN, "does not say which levers are on"),
    ],
)
def test_levers(levers: Any, outcome: Outcome, told: str) -> None:
    judgement = judged("levers: equivalent\n" + TOKENS, tokens(200, 190, 210), levers=levers)
    assert judgement.overall is outcome
    assert row(judgement, "system.levers").outcome is outcome
    assert told in row(judgement, "system.levers").reason
    clause = "checks: [{id: mine, kind: equivalent_levers}]\n"
    assert row(judged(clause, {}, levers=levers), "mine").outcome is outcome
    assert judged(TOKENS, tokens(200, 190, 210), levers=levers).overall is PASS  # who does not ask is not told


def compared(verdict: str, **news: Any) -> dict[str, Any]:
    return {"verdict": verdict, "reference": "dense", "margin": 0.01, "prompts": 24} | news


@pytest.mark.parametrize(
    ("least", "answers", "outcome", "told"),
    [
        ("identical", compared("IDENTICAL"), PASS, "IDENTICAL against dense on 24 prompts"),
        ("equivalent", compared("IDENTICAL"), PASS, "IDENTICAL"),
        ("equivalent", compared("EQUIVALENT"), PASS, "EQUIVALENT"),
        ("identical", compared("EQUIVALENT"), FAIL, "not all are equal"),
        ("equivalent", compared("WORSE"), FAIL, "WORSE"),
        ("equivalent", compared("WORSE", prompts=2), FAIL, "WORSE"),
        ("equivalent", compared("INCONCLUSIVE"), OPEN, "More prompts"),
        ("equivalent", compared("EQUIVALENT", margin=0.5), OPEN, "a margin of 50 %, and the policy allows 1 %"),
        ("identical", compared("IDENTICAL", prompts=3), OPEN, "asks for 24 prompts"),
        ("identical", compared("IDENTICAL", metered={"prompts": "9", "same": "9"}), PASS, "IDENTICAL"),
        ("identical", compared("IDENTICAL", metered={"prompts": "9", "same": "8"}), OPEN, "only 8 were answered so"),
        ("identical", None, OPEN, "run with --reference"),
    ],
)
def test_answers(least: str, answers: Any, outcome: Outcome, told: str) -> None:
    judgement = judged(f"quality: {least}\n" + TOKENS, tokens(200, 190, 210), answers=answers)
    assert judgement.overall is outcome
    assert told in row(judgement, "system.quality").reason


@pytest.mark.parametrize(
    ("extra", "outcome"),
    [
        ("", OPEN),
        (", min_prompts: 8", PASS),
        (", min_prompts: 8, reference: dense", PASS),
        (", min_prompts: 8, reference: 'http://*'", OPEN),
        (", min_prompts: 8, max_margin: 0.001", OPEN),
    ],
)
def test_a_clause_may_ask_for_more_or_less_of_the_comparison(extra: str, outcome: Outcome) -> None:
    clause = f"checks: [{{id: mine, kind: answers, least: identical{extra}}}]\n"
    assert judged(clause, {}, answers=compared("IDENTICAL", prompts=8)).overall is outcome


@pytest.mark.parametrize(
    ("window_s", "outcome"), [(30.0, PASS), (29.9, OPEN), (600, PASS), (None, OPEN), (float("nan"), OPEN)]
)
def test_window(window_s: float | None, outcome: Outcome) -> None:
    yaml = "evidence: {min_window_s: 30}\n" + TOKENS
    assert judged(yaml, tokens(200, 190, 210), window_s=window_s).overall is outcome


def test_a_short_window_says_how_much_is_missing() -> None:
    judgement = judged("evidence: {min_window_s: 30}\n" + TOKENS, tokens(200, 190, 210), window_s=20.0)
    assert row(judgement, "evidence.min_window_s").decide_s == 10
    assert row(judgement, "t").outcome is OPEN


@pytest.mark.parametrize("complete", [False, None])
def test_an_incomplete_run_never_passes(complete: bool | None) -> None:
    judgement = judged(TOKENS, tokens(200, 190, 210), complete=complete)
    assert judgement.overall is OPEN
    assert PASS not in {row(judgement, "run.complete").outcome, row(judgement, "t").outcome}


def test_an_incomplete_run_may_fail() -> None:
    assert judged(TOKENS, tokens(50, 40, 60), complete=False).overall is FAIL


@pytest.mark.parametrize(
    ("scope", "facts", "inside"),
    [
        ("model: '*llama-3.1-8b*'", {}, True),
        ("model: ['*qwen*', '*LLAMA-3.1-8B*']", {}, True),
        ("model: llama-3.1-8b", {}, False),
        ("model: '*'", {"model": None}, False),
        (f"model_sha256: {'a' * 64}", {}, True),
        (f"model_sha256: {'a' * 64}", {"model_sha256": None}, False),
        ("workload: chat", {}, True),
        ("workload: code", {}, False),
        ("workload_version: 1", {}, True),
        ("workload_version: 2", {}, False),
        (f"workload_digest: {'b' * 64}", {}, True),
        (f"workload_digest: {'c' * 64}", {}, False),
        ("boundary: [node, chip]", {}, True),
        ("boundary: [node]", {}, False),
        ("concurrency: [8, 16]", {}, True),
        ("concurrency: [16]", {}, False),
        ("concurrency: [8]", {"concurrency": None}, False),
    ],
)
@pytest.mark.parametrize("value", [200.0, 50.0])
def test_out_of_scope_neither_passes_nor_fails(scope: str, facts: dict[str, Any], inside: bool, value: float) -> None:
    judgement = judged(f"scope: {{{scope}}}\n{TOKENS}", tokens(value, value - 1, value + 1), **facts)
    if inside:
        assert judgement.overall is (PASS if value > 100 else FAIL)
    else:
        assert {v.outcome for v in judgement.verdicts} == {OUT}
        assert judgement.overall is OUT
        assert "Out of scope: " in judgement.reason


def test_every_difference_in_scope_is_named() -> None:
    reason = judged("scope: {boundary: [node], workload: code}\n" + TOKENS, tokens(200, 190, 210)).reason
    assert "workload is chat, not code" in reason
    assert "boundary is chip, not node" in reason


def test_a_warning_does_not_decide() -> None:
    yaml = (
        'checks: [{id: t, metric: output_tokens_per_kwh, ">=": 100 token/kWh}, '
        '{id: w, metric: output_tokens_per_kwh, ">=": 900 token/kWh, severity: warn}]\n'
    )
    judgement = judged(yaml, tokens(200, 190, 210))
    assert row(judgement, "w").outcome is FAIL
    assert row(judgement, "w").severity == "warn"
    assert judgement.overall is PASS
    assert "Warnings that do not: w" in judgement.reason


def test_one_failure_outweighs_what_is_open() -> None:
    yaml = TOKENS.replace("[", '[{id: open, metric: ttft.p50, "<=": 1 s}, ')
    judgement = judged(yaml, tokens(50, 40, 60))
    assert row(judgement, "open").outcome is OPEN
    assert judgement.overall is FAIL
    assert judgement.reason.startswith("t: ")


def test_a_check_of_another_kind_can_warn() -> None:
    yaml = TOKENS.replace("]", ", {id: calibrated, kind: min_grade, grade: E5, severity: warn}]")
    judgement = judged(yaml, tokens(200, 190, 210))
    assert row(judgement, "calibrated").outcome is OPEN
    assert judgement.overall is PASS


def test_absent_facts_are_never_in_favour() -> None:
    policy = parse_policy((HEAD + "evidence: {min_window_s: 1}\n" + TOKENS).encode())
    judgement = judge(policy, tokens(200, 190, 210), {})
    assert {v.outcome for v in judgement.verdicts} == {OPEN}


# --- how long it would take ---------------------------------------------------------------------


def test_the_time_that_would_decide_makes_the_interval_clear_the_limit() -> None:
    """h^2 = r^2 + s^2 with h = 10 %, s = 8 %, r = 6 %; at margin m = 7 % it takes s^2/(m^2 - r^2) = 64/13 windows."""
    verdict = row(judged(TOKENS, tokens(100 / 0.93, 90 / 0.93, 110 / 0.93), stat_rel=0.08), "t")
    assert verdict.outcome is OPEN
    assert verdict.decide_s == pytest.approx(60 * (64 / 13 - 1), rel=1e-6)
    assert "235.4 s more of measuring" in verdict.reason


@pytest.mark.parametrize(
    ("values", "facts", "told"),
    [
        (tokens(105, 95, 115), {"stat_rel": 0.01}, "a better meter might"),
        (tokens(105, 95, 115), {"stat_rel": None}, "spread within the run is not known"),
        (tokens(105, 95, 115), {"window_s": None}, "no window to extend"),
        (tokens(100, 90, 110), {"stat_rel": 0.1}, "lies on the limit"),
    ],
)
def test_no_time_would_decide(values: dict[str, Value], facts: dict[str, Any], told: str) -> None:
    verdict = row(judged(TOKENS, values, **facts), "t")
    assert verdict.outcome is OPEN
    assert verdict.decide_s is None
    assert told in verdict.reason


def test_latency_shrinks_as_a_whole_with_time() -> None:
    yaml = 'checks: [{id: fast, metric: ttft.p50, "<=": 0.2 s}]\n'
    verdict = row(judged(yaml, {"ttft.p50": Quantity(0.16, 0.08, 0.24, "s")}, stat_rel=None), "fast")
    assert verdict.decide_s == pytest.approx(180)  # half-width 50 %, margin 25 %: four windows of 60 s


def test_a_peak_is_not_decided_by_time() -> None:
    yaml = 'checks: [{id: peak, metric: power_peak, "<=": 700 W}]\n'
    verdict = row(judged(yaml, {"power_peak": Quantity(690, 650, 730, "W")}), "peak")
    assert (verdict.outcome, verdict.decide_s) == (OPEN, None)
    assert "A longer run would not decide it" in verdict.reason


@pytest.mark.parametrize(
    ("facts", "outcome", "told"),
    [
        ({"lost_rel": 0.05}, Outcome.PASS, "allows 5 %"),
        ({"lost_rel": 0.0501}, Outcome.INCONCLUSIVE, "Repair the meter"),
        ({"lost_rel": None}, Outcome.INCONCLUSIVE, "Nothing is known of the readings"),
        ({"lost_rel": 1.5}, Outcome.INCONCLUSIVE, "Nothing is known of the readings"),
        ({"clock_faults": ("redfish.pdu: it jumped by 5 s",)}, Outcome.INCONCLUSIVE, "jumped by 5 s"),
    ],
)
def test_lost_readings_and_a_clock_that_jumped_leave_the_run_undecided(
    facts: dict[str, Any], outcome: Outcome, told: str
) -> None:
    judgement = judged(TOKENS, tokens(200, 190, 210), **facts)
    assert row(judgement, "evidence.readings").outcome is outcome
    assert told in row(judgement, "evidence.readings").reason
    assert judgement.overall is outcome


def test_a_policy_may_allow_more_lost_readings() -> None:
    judgement = judged("evidence: {max_lost_rel: 0.3}\n" + TOKENS, tokens(200, 190, 210), lost_rel=0.29)
    assert judgement.overall is Outcome.PASS

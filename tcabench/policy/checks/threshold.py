"""A metric against a limit, with its uncertainty: the check most clauses are."""

import operator
from collections.abc import Mapping
from math import inf
from typing import Any, Self

from pydantic import Field, model_validator

from tcabench.policy.checks.check import Check, Facts, Rule
from tcabench.policy.decide import decide
from tcabench.policy.limits import Limit, parse_limit, plain
from tcabench.records import NotMetered, Outcome, Quantity, Value, Verdict

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
Given = Any  # what it is, `parse_limit` says better than a type error


class Threshold(Check):
    """`{id, metric, ">=": "15000 token/kWh"}`: exactly one of >=, <=, >, <, in the metric's own unit."""

    metric: str
    at_least: Given = Field(default=None, alias=">=")
    at_most: Given = Field(default=None, alias="<=")
    above: Given = Field(default=None, alias=">")
    below: Given = Field(default=None, alias="<")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if len(self._given()) != 1:
            raise ValueError("give exactly one limit: '>=', '<=', '>' or '<'")
        self.limit()
        return self

    def _given(self) -> dict[str, Any]:
        pairs = zip(OPERATORS, (self.at_least, self.at_most, self.above, self.below), strict=True)
        return {sign: given for sign, given in pairs if given is not None}

    def limit(self) -> Limit:
        """The limit. raises: ValueError for a wrong unit (at the door only: a policy that was loaded has none)."""
        return parse_limit(next(iter(self._given().values())), self.metric)

    def judge(self, values: Mapping[str, Value], facts: Facts, rule: Rule) -> Verdict:
        """PASS if the whole interval holds, FAIL if the whole of it misses, else INCONCLUSIVE.

        Under the rule "simple" the value alone counts. source: JCGM 106:2012, 8.3 (guarded acceptance and rejection).
        """
        sign, limit = next(iter(self._given())), self.limit()
        clause, value = f"{self.metric} {sign} {limit}", values.get(self.metric)
        reason = _unusable(self.metric, value, limit)
        if reason or not isinstance(value, Quantity):
            return self.verdict(Outcome.INCONCLUSIVE, clause, reason, value, str(limit))
        outcome = _outcome(value, sign, limit, rule)
        told = f"{_shown(value)} against {sign} {limit}"
        if outcome is not Outcome.INCONCLUSIVE:
            held = "holds" if outcome is Outcome.PASS else "is missed"
            by = " by the value (simple rule)" if rule == "simple" else " over the whole interval"
            return self.verdict(outcome, clause, f"{told}: {held}{by}.", value, str(limit))
        decide_s, cure = decide(self.metric, value, limit, facts)
        return self.verdict(
            outcome, clause, f"{told}: the limit lies within the interval. {cure}", value, str(limit), decide_s
        )


def _unusable(metric: str, value: Value | None, limit: Limit) -> str:
    """Why `value` cannot be compared with `limit`; "" if it can."""
    if value is None:
        return f"This run gives no value {metric}."
    if isinstance(value, NotMetered):
        return f"{metric} was not metered: {value.why}"
    if value.unit != limit.unit:
        return f"{metric} is in {value.unit} here, but the limit is in {limit.unit}; correct the policy."
    if not value.low <= value.value <= value.high:
        return f"The interval of {metric} is not in order: {value.low} <= {value.value} <= {value.high} does not hold."
    return ""


def _outcome(value: Quantity, sign: str, limit: Limit, rule: Rule) -> Outcome:
    ends = (value.value,) if rule == "simple" else (value.low, inf if value.open_above else value.high)
    held = {OPERATORS[sign](end, limit.value) for end in ends}
    if held == {True}:
        return Outcome.PASS
    return Outcome.FAIL if held == {False} else Outcome.INCONCLUSIVE


def _shown(value: Quantity) -> str:
    unit = "" if value.unit == "1" else f" {value.unit}"
    if value.low == value.high and not value.open_above:
        return f"{plain(value.value)}{unit}"
    high = "open" if value.open_above else plain(value.high)
    return f"{plain(value.value)} [{plain(value.low)}, {high}]{unit}"

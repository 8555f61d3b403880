"""The measuring window is long enough."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from tcabench.policy.checks.check import Check, Facts, Rule
from tcabench.policy.limits import plain
from tcabench.records import Outcome, Quantity, Value, Verdict


class MinWindow(Check):
    window_s: Annotated[float, Field(gt=0, le=1_000_000)]

    def judge(self, values: Mapping[str, Value], facts: Facts, rule: Rule) -> Verdict:
        """PASS, or INCONCLUSIVE with the seconds that are missing."""
        limit = f"{plain(self.window_s)} s"
        clause, found_s = f"measuring window >= {limit}", facts.get("window_s")
        if not isinstance(found_s, int | float) or not 0 <= found_s < float("inf"):
            return self.verdict(Outcome.INCONCLUSIVE, clause, "The run has no measuring window.", limit=limit)
        value = Quantity.exact(float(found_s), "s")
        reason = f"The window is {plain(found_s)} s; the policy asks for {limit}."
        if found_s >= self.window_s:
            return self.verdict(Outcome.PASS, clause, reason, value, limit)
        missing_s = self.window_s - found_s
        reason += f" Measure {plain(missing_s)} s longer."
        return self.verdict(Outcome.INCONCLUSIVE, clause, reason, value, limit, missing_s)

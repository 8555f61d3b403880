"""The readings behind the energy are sound: few were lost, no meter's clock jumped, no counter started anew."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from tcabench.policy.checks.check import Check, Facts, Rule
from tcabench.policy.limits import plain
from tcabench.records import Outcome, Quantity, Value, Verdict


class Readings(Check):
    """`max_lost_rel`: the share of the window that may lie between readings that were lost, late or frozen."""

    max_lost_rel: Annotated[float, Field(ge=0, le=1)] = 0.05

    def judge(self, values: Mapping[str, Value], facts: Facts, rule: Rule) -> Verdict:
        """PASS, or INCONCLUSIVE: an energy with holes shows neither that a limit is kept nor that it is missed."""
        limit = f"{plain(100 * self.max_lost_rel)} %"
        clause, lost = f"readings lost <= {limit} of the window, clocks and counters sound", facts.get("lost_rel")
        if not isinstance(lost, int | float) or not 0 <= lost <= 1:
            return self.verdict(Outcome.INCONCLUSIVE, clause, "Nothing is known of the readings.", limit=limit)
        value = Quantity.exact(100 * float(lost), "%")
        if clocks := facts.get("clock_faults"):
            return self.verdict(
                Outcome.INCONCLUSIVE, clause, f"A meter's clock did not hold: {clocks[0]}.", value, limit
            )
        if broken := facts.get("broken_counters"):
            why = f"A meter started anew in the window: {broken[0]}. Find out why, and run again."
            return self.verdict(Outcome.INCONCLUSIVE, clause, why, value, limit)
        reason = f"{plain(100 * lost)} % of the window has no sound reading; the policy allows {limit}."
        if lost <= self.max_lost_rel:
            return self.verdict(Outcome.PASS, clause, reason, value, limit)
        return self.verdict(Outcome.INCONCLUSIVE, clause, reason + " Repair the meter and run again.", value, limit)

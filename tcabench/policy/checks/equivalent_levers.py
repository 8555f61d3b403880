"""No lever is on that may change an answer: mathematically equivalent savings only."""

from collections.abc import Mapping

from tcabench.policy.checks.check import Check, Facts, Rule
from tcabench.records import Outcome, Value, Verdict

CLAUSE = "every lever that is on is equivalent"
KINDS = ("equivalent", "approximate")


class EquivalentLevers(Check):
    """What a lever is, the server says: it leaves the answers as they are by its arithmetic (equivalent), or it may
    change them (approximate). Source of the line: MLPerf inference rules, closed division, model equivalence."""

    def judge(self, values: Mapping[str, Value], facts: Facts, rule: Rule) -> Verdict:
        """FAIL with the approximate levers that are on; INCONCLUSIVE where the server does not say; else PASS."""
        levers = facts.get("levers")
        if not isinstance(levers, Mapping):
            reason = "The server does not say which levers are on; equal answers do not show how they were come by."
            return self.verdict(Outcome.INCONCLUSIVE, CLAUSE, reason)
        if approximate := sorted(name for name, kind in levers.items() if kind == "approximate"):
            reason = f"{', '.join(approximate)}: approximate, so answers may change. Switch it off and run again."
            return self.verdict(Outcome.FAIL, CLAUSE, reason)
        if unknown := sorted(name for name, kind in levers.items() if kind not in KINDS):
            reason = f"Whether {', '.join(unknown)} may change an answer, the server does not say."
            return self.verdict(Outcome.INCONCLUSIVE, CLAUSE, reason)
        told = f"{len(levers)} on, all equivalent: {', '.join(sorted(levers))}" if levers else "No lever is on"
        return self.verdict(Outcome.PASS, CLAUSE, f"{told}, by the server's own word.")

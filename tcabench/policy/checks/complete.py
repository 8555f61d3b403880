"""The run went to its end."""

from collections.abc import Mapping

from tcabench.policy.checks.check import Check, Facts, Rule
from tcabench.records import Outcome, Value, Verdict


class Complete(Check):
    def judge(self, values: Mapping[str, Value], facts: Facts, rule: Rule) -> Verdict:
        """PASS for a complete run, else INCONCLUSIVE: what was cut off can fail, it cannot pass."""
        if facts.get("complete") is True:
            return self.verdict(Outcome.PASS, "the run is complete", "The run went through all its phases.")
        reason = "The run did not go to its end, so it can fail this policy, but not pass it. Run it again."
        return self.verdict(Outcome.INCONCLUSIVE, "the run is complete", reason)

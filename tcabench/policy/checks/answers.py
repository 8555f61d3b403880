"""The answers were compared with a reference in the run itself, and stood."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from tcabench.policy.checks.check import Check, Facts, Rule
from tcabench.policy.limits import plain
from tcabench.records import Outcome, Quantity, Value, Verdict

Least = Literal["identical", "equivalent"]


class Answers(Check):
    """`least`: the verdict asked for. Of a comparison on fewer than `min_prompts` prompts, by a wider margin than
    `max_margin`, or with a reference that `reference` (a shell pattern) does not name, nothing is concluded; nor, where
    identical answers are asked for, if those of the metered load are known to be others than those compared."""

    least: Least
    max_margin: Annotated[float, Field(ge=0, le=1)] = 0.01
    min_prompts: Annotated[int, Field(ge=1)] = 24
    reference: Annotated[str, Field(min_length=1)] | None = None

    def judge(self, values: Mapping[str, Value], facts: Facts, rule: Rule) -> Verdict:
        """PASS for a verdict that is good enough, FAIL for one that is not, INCONCLUSIVE where there is none."""
        clause, found = f"answers {self.least} to a reference's", facts.get("answers")
        if not isinstance(found, Mapping):
            reason = "The run's answers were not compared with a reference; run with --reference."
            return self.verdict(Outcome.INCONCLUSIVE, clause, reason)
        word, told = found["verdict"], f"{found['verdict']} against {found['reference']} on {found['prompts']} prompts"
        if word == "WORSE":
            return self.verdict(Outcome.FAIL, clause, f"The answers are {told}.", limit=self.least)
        if missing := self._missing(found):
            return self.verdict(Outcome.INCONCLUSIVE, clause, f"The answers are {told}, but {missing}.")
        value = Quantity.exact(float(found["prompts"]), "prompt")
        if word == "IDENTICAL" or (word == "EQUIVALENT" and self.least == "equivalent"):
            return self.verdict(Outcome.PASS, clause, f"The answers are {told}.", value, self.least)
        if word == "EQUIVALENT":
            reason = f"The answers are {told}: not all are equal, and the policy asks for it."
            return self.verdict(Outcome.FAIL, clause, reason, value, self.least)
        reason = f"The comparison is {told}. More prompts may decide it."
        return self.verdict(Outcome.INCONCLUSIVE, clause, reason, value, self.least)

    def _missing(self, found: Mapping[str, object]) -> str:
        """What the comparison lacks of what the policy asks for; "" where nothing."""
        margin, prompts, name = float(str(found["margin"])), int(str(found["prompts"])), str(found["reference"])
        if margin > self.max_margin:
            return f"by a margin of {plain(100 * margin)} %, and the policy allows {plain(100 * self.max_margin)} %"
        if prompts < self.min_prompts:
            return f"the policy asks for {self.min_prompts} prompts"
        if self.reference is not None and not fnmatchcase(name, self.reference):
            return f"the policy asks for the reference {self.reference}"
        met = found.get("metered")
        if self.least == "identical" and isinstance(met, Mapping) and met["same"] != met["prompts"]:
            return f"of {met['prompts']} that the metered load was asked too only {met['same']} were answered so there"
        return ""

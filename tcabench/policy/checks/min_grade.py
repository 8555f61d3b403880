"""The evidence grade (E0 to E7), computed from the evidence, is at least the one asked for."""

from collections.abc import Mapping
from typing import Literal

from tcabench.policy.checks.check import Check, Facts, Rule
from tcabench.records import Outcome, Value, Verdict

GRADES = ("E0", "E1", "E2", "E3", "E4", "E5", "E6", "E7")
Grade = Literal["E0", "E1", "E2", "E3", "E4", "E5", "E6", "E7"]


class MinGrade(Check):
    grade: Grade

    def judge(self, values: Mapping[str, Value], facts: Facts, rule: Rule) -> Verdict:
        """PASS, or INCONCLUSIVE: weak evidence shows neither that a limit is kept nor that it is missed."""
        found, clause = facts.get("grade"), f"evidence grade >= {self.grade}"
        if found not in GRADES:
            reason = f"No power was metered, so there is no grade; the policy asks for {self.grade}. Name a meter."
            return self.verdict(Outcome.INCONCLUSIVE, clause, reason, limit=self.grade)
        if GRADES.index(found) < GRADES.index(self.grade):
            reason = f"The evidence is of grade {found}, the policy asks for {self.grade}; it takes a better meter."
            return self.verdict(Outcome.INCONCLUSIVE, clause, reason, limit=self.grade)
        reason = f"The evidence is of grade {found}; the policy asks for {self.grade}."
        return self.verdict(Outcome.PASS, clause, reason, limit=self.grade)

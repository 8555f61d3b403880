"""What every check is: a record at the policy door that can give a verdict."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from tcabench.door import Door
from tcabench.records import Outcome, Value, Verdict

Facts = Mapping[str, Any]
Rule = Literal["guard_band", "simple"]


class Check(Door):
    """One clause. A check of severity "warn" is shown, but never decides the overall verdict."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    severity: Literal["fail", "warn"] = "fail"

    def judge(self, values: Mapping[str, Value], facts: Facts, rule: Rule) -> Verdict:
        """The verdict on a run with these values and facts (see `judge.judge`)."""
        raise NotImplementedError(f"{type(self).__name__} has no judge method")

    def verdict(
        self,
        outcome: Outcome,
        clause: str,
        reason: str,
        value: Value | None = None,
        limit: str | None = None,
        decide_s: float | None = None,
    ) -> Verdict:
        """A verdict under this check's name and severity."""
        return Verdict(self.id, outcome, clause, reason, value, limit, decide_s, self.severity)

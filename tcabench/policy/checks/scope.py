"""What the policy is about. A run outside it is NOT APPLICABLE, never a pass."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tcabench.policy.checks.check import Check, Facts, Rule
from tcabench.records import Outcome, Value, Verdict

Boundary = Literal["chip", "node", "rack", "facility"]
Glob = Annotated[str, Field(min_length=1)]
Globs = Annotated[list[Glob], Field(min_length=1), BeforeValidator(lambda x: [x] if isinstance(x, str) else x)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1)]

LISTS = ("boundary", "concurrency")
SINGLES = ("model_sha256", "workload", "workload_version", "workload_digest")


class Scope(Check):
    """Every key that is given must hold. `model` is a shell pattern or several, compared without regard to case."""

    id: str = "scope"
    model: Globs | None = None
    model_sha256: Sha256 | None = None
    workload: Glob | None = None
    workload_version: Count | None = None
    workload_digest: Sha256 | None = None
    boundary: Annotated[list[Boundary], Field(min_length=1)] | None = None
    concurrency: Annotated[list[Count], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not any(getattr(self, key) is not None for key in ("model", *SINGLES, *LISTS)):
            raise ValueError("nothing is given; leave scope out for a policy about any run")
        return self

    def judge(self, values: Mapping[str, Value], facts: Facts, rule: Rule) -> Verdict:
        """PASS inside the scope, else NOT APPLICABLE with every difference."""
        clause = "in scope: " + ", ".join(f"{key} {_told(wanted)}" for key, wanted in self._wanted())
        misses = [f"{key} is {_told(facts.get(key))}, not {_told(wanted)}" for key, wanted in self._missed(facts)]
        if misses:
            return self.verdict(Outcome.NOT_APPLICABLE, clause, f"Out of scope: {'; '.join(misses)}.")
        return self.verdict(Outcome.PASS, clause, "The run is what this policy is about.")

    def _wanted(self) -> Iterator[tuple[str, Any]]:
        for key in ("model", *SINGLES, *LISTS):
            if (wanted := getattr(self, key)) is not None:
                yield key, wanted

    def _missed(self, facts: Facts) -> Iterator[tuple[str, Any]]:
        for key, wanted in self._wanted():
            found = facts.get(key)
            if key == "model":
                holds = found is not None and any(fnmatchcase(str(found).lower(), glob.lower()) for glob in wanted)
            else:
                holds = found in wanted if key in LISTS else found == wanted
            if not holds:
                yield key, wanted


def _told(x: Any) -> str:
    if x is None:
        return "not known"
    return " or ".join(str(part) for part in x) if isinstance(x, list) else str(x)

"""What verifying a report comes to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from tcabench.records import Judgement, Outcome


class Checked(StrEnum):
    OK = "OK"
    FAIL = "FAIL"
    NOT_CHECKED = "NOT CHECKED"


class Standing(StrEnum):
    """Only VALID is good. Whoever signed must be known, and every byte must be as it was signed."""

    VALID = "VALID"
    PAGE_ALTERED = "DATA VALID BUT PAGE ALTERED"
    INVALID = "INVALID"
    UNKNOWN_SIGNER = "UNKNOWN SIGNER"


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    name: str
    outcome: Checked
    detail: str


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature: `owner` and `role` are None when the verifier does not know the key."""

    keyid: str
    owner: str | None
    role: str | None
    holds: bool


@dataclass(frozen=True, slots=True)
class Verification:
    """The seven steps and what they add up to.

    `statement` is what was signed, `result` the result.json that it covers: both None unless they could be read,
    and worth nothing unless `verdict` says so. `judgement` is under `judged_by`, over the recomputed values.
    `differences` lists what recomputing found otherwise; `warnings` what a reader should know though nothing is
    wrong with the evidence.
    """

    path: str
    verdict: Standing
    steps: tuple[Step, ...]
    statement: Mapping[str, Any] | None
    signatures: tuple[Signature, ...]
    complete: bool | None
    result: Mapping[str, Any] | None
    judgement: Judgement | None
    judged_by: str | None
    has_own_policy: bool
    differences: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """5 unless VALID. With a policy of the verifier's own: 0 pass, 3 fail, 6 otherwise; else 0."""
        if self.verdict is not Standing.VALID:
            return 5
        if not self.has_own_policy:
            return 0
        overall = self.judgement.overall if self.judgement else None
        if overall is Outcome.FAIL:
            return 3
        return 0 if overall is Outcome.PASS and self.complete else 6


def verification_document(found: Verification) -> dict[str, Any]:
    """`found` as JSON-ready values, its exit code included."""
    return {**asdict(found), "exit_code": found.exit_code}

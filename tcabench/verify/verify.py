"""The seven steps, in order. Offline: nothing here, nor anything it uses, opens a connection."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from tcabench.errors import NotVerified, TcaError
from tcabench.evidence.dsse import Envelope, holds
from tcabench.evidence.pack import check_manifest
from tcabench.evidence.signers.file_key import fingerprint
from tcabench.evidence.statement import Digests, build_statement, subjects
from tcabench.policy import BUILTIN, Policy, judge, load_policy
from tcabench.records import Judgement, Outcome
from tcabench.units import NS_PER_S
from tcabench.verify.audits import audit
from tcabench.verify.container import Container, open_container
from tcabench.verify.recompute import Derived, Raw, derive_from, differences, read_raw
from tcabench.verify.shown import shown_numbers, wrong_numbers
from tcabench.verify.trust import Trust
from tcabench.verify.verification import Checked, Signature, Standing, Step, Verification

CLOCK_STEP_NS = 60 * NS_PER_S  # a wall clock may be set right during a run
# what evidence of any content can make our own arithmetic raise; anything else is a bug of ours
UNUSABLE = (TcaError, KeyError, TypeError, ValueError, ArithmeticError, IndexError, AttributeError, RecursionError)
Told = tuple[Checked, str]


@dataclass(slots=True)
class Case:
    """What is known so far. `data_faults` make the evidence worthless, `page_faults` only the page."""

    path: Path
    trust: Trust
    policy: Policy | None
    container: Container | None = None
    raw: Raw | None = None
    derived: Derived | None = None
    judgement: Judgement | None = None
    judged_by: str | None = None
    signatures: tuple[Signature, ...] = ()
    data_faults: list[str] = field(default_factory=list)
    page_faults: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def opened(self) -> Container:
        """The report taken apart. raises: NotVerified when step 1 did not get that far."""
        if self.container is None:
            raise NotVerified("the report could not be opened")
        return self.container

    def is_unknown(self) -> bool:
        """Whether somebody signed whom the verifier does not know."""
        return any(signature.owner is None for signature in self.signatures)


def verify(path: Path, trust: Trust, policy: Policy | None = None) -> Verification:
    """What the report (or bare `.tcab`) at `path` is worth, by the keys in `trust` and, if given, the `policy` of
    the verifier's own. Whatever is in the file ends in a Verification, never in an exception.

    raises: UsageError when there is no such file.
    """
    case = Case(path, trust, policy)
    steps = tuple(_step(number, name, check, case) for number, (name, check) in enumerate(STEPS, start=1))
    container, raw = case.container, case.raw
    return Verification(
        path=str(path),
        verdict=_standing(case),
        steps=steps,
        statement=container.statement if container else None,
        signatures=case.signatures,
        complete=container.predicate["complete"] if container else None,
        result=raw.result if raw else None,
        judgement=case.judgement,
        judged_by=case.judged_by,
        has_own_policy=policy is not None,
        differences=tuple(case.differences),
        warnings=tuple(case.warnings),
    )


def _standing(case: Case) -> Standing:
    if case.data_faults or case.container is None:
        return Standing.INVALID
    if case.is_unknown() or not case.signatures:
        return Standing.UNKNOWN_SIGNER
    return Standing.PAGE_ALTERED if case.page_faults else Standing.VALID


def _step(number: int, name: str, check: Callable[[Case], Told], case: Case) -> Step:
    """One step; where the evidence is not whole, those that would work on it are not taken."""
    if case.data_faults and name in NEEDS_WHOLE_EVIDENCE:
        return Step(number, name, Checked.NOT_CHECKED, "the evidence is not whole")
    try:
        outcome, detail = check(case)
    except NotVerified as err:
        case.data_faults.append(str(err))
        outcome, detail = Checked.FAIL, str(err)
    return Step(number, name, outcome, detail)


def _container(case: Case) -> Told:
    case.container = found = open_container(case.path)
    if found.was_rewrapped:
        case.page_faults.append("the line ends in the signature slot were changed")
        return Checked.FAIL, "the line ends in the signature slot were changed on the way"
    where = "a bundle by itself" if found.page is None else "embedded" if found.page.evidence else "beside the page"
    return Checked.OK, f"{len(found.members)} members, evidence {where}, {len(found.envelopes)} signature(s)"


def _hashes(case: Case) -> Told:
    container = case.opened()
    signed = subjects(container.statement)
    data = list(_changed_data(container, signed))
    page = list(_changed_page(container, signed))
    case.data_faults += data
    case.page_faults += page
    if data or page:
        return Checked.FAIL, "; ".join(data + page)
    covered = "bundle and members" if container.page is None else "bundle, members and page"
    return Checked.OK, f"{covered} are as signed" + ("; no page was given" if container.page is None else "")


def _changed_data(container: Container, signed: dict[str, str]) -> Iterator[str]:
    if sha256(container.tcab).hexdigest() != signed["evidence.tcab"]:
        yield "the bundle is not the one that was signed"
    try:
        pack = check_manifest(container.members)
    except NotVerified as err:
        yield str(err)
        return
    if pack.merkle_root != signed["evidence"] or pack.run_id != container.predicate["run_id"]:
        yield "the members are not those that were signed"
    if sha256(container.members["policy.yaml"]).hexdigest() != signed["policy"]:
        yield "policy.yaml is not the one that was signed"


def _changed_page(container: Container, signed: dict[str, str]) -> Iterator[str]:
    if container.page is not None and container.page.sha256() != signed["page"]:
        yield "the page is not the one that was signed"


def _signatures(case: Case) -> Told:
    case.signatures = tuple(_seen(envelope, case.trust) for envelope in case.opened().envelopes)
    forged = [s for s in case.signatures if s.owner is not None and not s.holds]
    if forged:
        raise NotVerified("; ".join(f"the signature of {s.owner} does not hold" for s in forged), kind="signatures")
    told = "; ".join(_signed_by(signature) for signature in case.signatures)
    return (Checked.FAIL if case.is_unknown() else Checked.OK), told


def _seen(envelope: Envelope, trust: Trust) -> Signature:
    key = trust.get(envelope.keyid)
    if key is None:
        return Signature(envelope.keyid, None, None, holds=False)
    return Signature(envelope.keyid, key.owner, key.role, holds(envelope, key.public_key))


def _signed_by(signature: Signature) -> str:
    short = fingerprint(signature.keyid)
    if signature.owner is None:
        return f"key {short} is not among those you trust; ask whose it is, then add it with --trust"
    return f"{signature.owner} ({signature.role}), key {short}"


def _time(case: Case) -> Told:
    signed_at_ns = int(case.opened().predicate["signed_at_ns"])
    stated = datetime.fromtimestamp(signed_at_ns // NS_PER_S, UTC).isoformat().replace("+00:00", "Z")
    case.raw = _usable("evidence", read_raw, case.opened().members)
    ended_ns = _usable("events.jsonl", _ended_wall_ns, case.raw)
    if ended_ns is not None and signed_at_ns < ended_ns - CLOCK_STEP_NS:
        raise NotVerified(f"signed at {stated}, before the run had ended", kind="time")
    return Checked.NOT_CHECKED, f"no time-stamp token; {stated} is the signer's own word"


def _ended_wall_ns(raw: Raw) -> int | None:
    """Wall time of the last event by the run's own anchor, None without one."""
    anchors = [event for event in raw.events if event["event"] == "wall_anchor"]
    if not anchors:
        return None
    latest: int = max(event["t"] for event in raw.events)
    return int(anchors[0]["wall_ns"]) + latest - int(anchors[0]["t"])


def _recompute(case: Case) -> Told:
    container = case.opened()
    raw = case.raw = case.raw or _usable("evidence", read_raw, container.members)
    derived, expected = _usable("the numbers cannot be computed", derive_from, raw)
    case.derived = derived
    case.differences += differences(raw.result, expected)
    case.differences += _usable("statement", _unlike_statement, container, raw, expected)
    case.data_faults += case.differences
    wrong, shown = _page_numbers(container, expected | derived.on_page())
    (case.page_faults if case.page_faults else case.data_faults).extend(wrong)
    faults = case.differences + wrong
    if faults:
        return Checked.FAIL, f"{len(faults)} differences: {'; '.join(faults[:5])}"
    numbers = f"; {shown} numbers on the page are these, its words are the signer's" if container.page else ""
    return Checked.OK, (
        f"{len(expected['values'])} values from {len(raw.traces)} requests and {len(raw.samples)} readings: all the "
        f"same{numbers}"
    )


def _page_numbers(container: Container, expected: dict[str, Any]) -> tuple[list[str], int]:
    """What is wrong about the numbers on the page, and how many it has."""
    if container.page is None:
        return [], 0
    try:
        return list(wrong_numbers(container.page, expected)), len(shown_numbers(container.page))
    except NotVerified as err:
        return [str(err)], 0


def _unlike_statement(container: Container, raw: Raw, expected: dict[str, Any]) -> list[str]:
    """Where the signed statement says other than the evidence."""
    signed, predicate = subjects(container.statement), container.predicate
    digests = Digests(signed["evidence"], signed["evidence.tcab"], signed["page"], signed["policy"])
    rebuilt = build_statement(expected, raw.plan, digests, predicate["tool"]["version"], int(predicate["signed_at_ns"]))
    return list(differences(container.statement, rebuilt, "/statement"))


def _audits(case: Case) -> Told:
    if case.raw is None:
        raise NotVerified("the evidence could not be read")
    derived = case.derived
    energy, parity = (derived.energy, derived.parity) if derived else (None, None)
    audits = _usable("evidence", audit, case.raw, case.opened().members["ledger.jsonl"], energy, parity)
    faults = [f"{found.id} {found.name}: {fault}" for found in audits for fault in found.faults]
    warnings = [f"{found.id} {found.name}: {warning}" for found in audits for warning in found.warnings]
    case.data_faults += faults
    case.warnings += warnings
    told = f"{len(audits)} audits" + (f"; note {'; '.join(warnings)}" if warnings else "")
    return (Checked.FAIL, "; ".join(faults[:5])) if faults else (Checked.OK, told)


def _policy(case: Case) -> Told:
    if case.derived is None or case.raw is None:
        raise NotVerified("there are no values to judge")
    own = case.policy
    case.judgement = judge(own, case.derived.values, case.derived.facts) if own else case.derived.judgement
    case.judged_by = f"your policy {own.id}" if own else f"the bundle's own policy {_named(case.raw.policy)}"
    incomplete = "" if case.opened().predicate["complete"] else "INCOMPLETE run, which can pass nothing: "
    told = f"{incomplete}{case.judgement.overall} under {case.judged_by}"
    if own is None:
        return Checked.NOT_CHECKED, f"none of yours was given (--policy); {told}"
    if case.judgement.overall is Outcome.FAIL:
        return Checked.FAIL, f"{told}: {case.judgement.reason}"
    passed = case.judgement.overall is Outcome.PASS and not incomplete
    return (Checked.OK if passed else Checked.NOT_CHECKED), f"{told}: {case.judgement.reason}"


def _named(policy: Policy) -> str:
    """The policy's id, and whether it is the built-in one of that name: anybody may call their own file so."""
    if policy.id not in BUILTIN:
        return policy.id
    return (
        policy.id if policy.digest == load_policy(policy.id).digest else f"{policy.id} (NOT the built-in of that name)"
    )


def _usable(what: str, use: Callable[..., Any], *given: Any) -> Any:
    """`use(*given)`, where anything in the evidence that cannot be used is a fault of the evidence."""
    try:
        return use(*given)
    except NotVerified:
        raise
    except UNUSABLE as err:
        said = str(err) if isinstance(err, TcaError) else f"{type(err).__name__}: {err}"
        raise NotVerified(f"{what}: {said}", kind="unusable") from err


STEPS: tuple[tuple[str, Callable[[Case], Told]], ...] = (
    ("container", _container),
    ("hashes", _hashes),
    ("signatures", _signatures),
    ("time", _time),
    ("recompute", _recompute),
    ("audits", _audits),
    ("policy", _policy),
)
NEEDS_WHOLE_EVIDENCE = {"time", "recompute", "audits", "policy"}

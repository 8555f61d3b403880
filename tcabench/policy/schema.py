"""The policy door: YAML, by name or path, as a `Policy` that can be judged."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tcabench.door import Door, checked, read_yaml
from tcabench.errors import PluginError, UsageError
from tcabench.policy.checks import CHECKS
from tcabench.policy.checks.answers import Answers, Least
from tcabench.policy.checks.check import Check, Rule
from tcabench.policy.checks.complete import Complete
from tcabench.policy.checks.equivalent_levers import EquivalentLevers
from tcabench.policy.checks.min_grade import Grade, MinGrade
from tcabench.policy.checks.min_window import MinWindow
from tcabench.policy.checks.readings import Readings
from tcabench.policy.checks.scope import Scope

BUILTIN = ("indicative", "letter-15k", "llama-3.1-8b-chat")
RESERVED = (
    "scope", "run.complete", "evidence.min_grade", "evidence.min_window_s", "evidence.readings", "system.levers",
    "system.quality",
)  # fmt: skip
DEFAULT_GRADE: Grade = "E1"  # an estimate (E0) is accepted only by a policy that says so


class Evidence(Door):
    min_grade: Grade = DEFAULT_GRADE
    min_window_s: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    max_lost_rel: Annotated[float, Field(ge=0, le=1)] = 0.05


class PolicyFile(Door):
    """A policy as it stands in the file; each of `checks` is read by its own kind. `levers: equivalent` refuses levers
    that may change an answer; `quality` asks for the run's own comparison with a reference, and at least that verdict.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[int, Field(ge=1)]
    title: Annotated[str, Field(min_length=1)]
    note: str = ""
    scope: Scope | None = None
    evidence: Evidence = Evidence()
    levers: Literal["equivalent"] | None = None
    quality: Least | None = None
    decision_rule: Rule = "guard_band"
    checks: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy ready to judge. `digest` is the sha256 (hex) of `yaml_bytes`, the file as it was read.

    `requirements` are about the run as evidence (complete, scope, grade, window) and the system's levers and answers,
    `clauses` about its values.
    """

    id: str
    version: int
    title: str
    note: str
    decision_rule: Rule
    requirements: tuple[Check, ...]
    clauses: tuple[Check, ...]
    digest: str
    yaml_bytes: bytes


def load_policy(name_or_path: str) -> Policy:
    """A built-in policy by name, or one from a file (any text with a `/`, or ending in .yaml or .yml).

    raises: UsageError saying which names there are, or what is wrong in the file.
    """
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        try:
            return parse_policy(Path(name_or_path).expanduser().read_bytes(), name_or_path)
        except OSError as err:
            raise UsageError(f"policy {name_or_path}: cannot be read: {err.strerror}") from err
    if name_or_path not in BUILTIN:
        close = get_close_matches(name_or_path, BUILTIN, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"no policy {name_or_path!r}.{hint} Known: {', '.join(BUILTIN)}; or give the path of a YAML file"
        )
    file = files("tcabench.policy") / "builtin" / f"{name_or_path}.yaml"
    return parse_policy(file.read_bytes(), f"{name_or_path}.yaml")


def parse_policy(yaml_bytes: bytes, where: str = "policy.yaml") -> Policy:
    """The policy in `yaml_bytes`. raises: UsageError naming `where`, the field and the cure."""
    raw = checked(PolicyFile, read_yaml(yaml_bytes, where), where)
    clauses = tuple(_clause(item, f"{where}: checks.{i}") for i, item in enumerate(raw.checks))
    _refuse_empty(clauses, where)
    _refuse_twins(clauses, where)
    return Policy(
        id=raw.id,
        version=raw.version,
        title=raw.title,
        note=raw.note,
        decision_rule=raw.decision_rule,
        requirements=_requirements(raw),
        clauses=clauses,
        digest=sha256(yaml_bytes).hexdigest(),
        yaml_bytes=yaml_bytes,
    )


def _requirements(raw: PolicyFile) -> tuple[Check, ...]:
    found: list[Check] = [Complete(id="run.complete")]
    if raw.scope:
        found.append(raw.scope)
    found.append(MinGrade(id="evidence.min_grade", grade=raw.evidence.min_grade))
    found.append(Readings(id="evidence.readings", max_lost_rel=raw.evidence.max_lost_rel))
    if raw.evidence.min_window_s:
        found.append(MinWindow(id="evidence.min_window_s", window_s=raw.evidence.min_window_s))
    if raw.levers:
        found.append(EquivalentLevers(id="system.levers"))
    if raw.quality:
        found.append(Answers(id="system.quality", least=raw.quality))
    return tuple(found)


def _clause(item: dict[str, Any], where: str) -> Check:
    """One entry of `checks`; its `kind` (by default threshold) says which record reads the rest."""
    kind = item.get("kind", "threshold")
    if not isinstance(kind, str):
        raise UsageError(f"{where}: kind: {kind!r} is not the name of a check")
    try:
        found = CHECKS.load(kind)
    except PluginError as err:
        raise PluginError(f"{where}: kind: {err}") from err
    if not (isinstance(found, type) and issubclass(found, Check)):
        raise PluginError(f"{where}: kind: {kind!r} is not a Check (tcabench.policy.checks.check)")
    return checked(found, {key: part for key, part in item.items() if key != "kind"}, where)


def _refuse_empty(clauses: Sequence[Check], where: str) -> None:
    if not clauses:
        raise UsageError(f"{where}: checks: the policy asks for nothing, so it cannot be met; add at least one check")
    if all(clause.severity == "warn" for clause in clauses):
        raise UsageError(f"{where}: checks: all are of severity warn, so nothing could fail; make one of them fail")


def _refuse_twins(clauses: Sequence[Check], where: str) -> None:
    for name, times in Counter(clause.id for clause in clauses).items():
        if times > 1:
            raise UsageError(f"{where}: checks: id {name!r} is used {times} times; ids must be unique")
        if name in RESERVED:
            raise UsageError(f"{where}: checks: id {name!r} is reserved for the policy's own requirements; rename it")

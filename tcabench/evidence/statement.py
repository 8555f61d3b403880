"""The in-toto statement that is signed: which bytes it is about, and what was found, in few words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tcabench.errors import NotVerified
from tcabench.evidence.canonical import canonical, read_canonical

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
# in-toto wants a URI that tells the type apart, and allows one that leads nowhere. An https URI would hand the
# meaning of our type to whoever holds that host name, and this project holds none: hence a URN.
PREDICATE_TYPE = "urn:tcabench:predicate:energy-benchmark:v1"
HEADLINE = (
    "output_tokens_per_kwh",
    "j_per_output_token",
    "j_per_request",
    "power_mean",
    "output_tokens_per_s",
    "ttft.p50",
    "error_rate",
)
ALWAYS = ("evidence", "evidence.tcab", "page", "policy", "workload")
SHA256 = re.compile(r"[0-9a-f]{64}")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Digests:
    """What a statement is about, each as hex sha256: the Merkle root of the members, the zip, the page with its
    slot emptied, and the policy file."""

    evidence: str
    tcab: str
    page: str
    policy: str


def build_statement(
    result: Mapping[str, Any], plan: Mapping[str, Any], digests: Digests, tool_version: str, signed_at_ns: int
) -> dict[str, Any]:
    """The statement over a run. `result` is `result.json`, `signed_at_ns` wall time (Unix epoch).

    There is no challenge from a buyer yet, and the predicate says so rather than leaving it out.
    """
    sha256s = {
        "evidence": digests.evidence,
        "evidence.tcab": digests.tcab,
        "page": digests.page,
        "policy": digests.policy,
        "workload": plan["workload"]["digest"],
        "model": plan["model_sha256"],
    }
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": bare(h)}} for name, h in sha256s.items() if h is not None],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "run_id": result["run_id"],
            "tool": {"name": "tcabench", "version": tool_version},
            "complete": result["complete"],
            "grade": result["grade"],
            "boundary": result["boundary"],
            "model": plan["model"],
            "values": {name: result["values"][name] for name in HEADLINE if name in result["values"]},
            "policy": dict(result["policy"]),
            "overall": result["overall"],
            "signed_at_ns": str(signed_at_ns),
            "challenge": None,
        },
    }


def write_statement(statement: Mapping[str, Any]) -> bytes:
    """The bytes that are signed. raises: ValueError for an integer of 2^53 or more."""
    return canonical(statement)


def read_statement(payload: bytes) -> dict[str, Any]:
    """The statement in a verified payload. raises: NotVerified unless it is one of ours, complete and canonical."""
    document = read_canonical(payload, "statement")
    if not isinstance(document, dict) or set(document) != {"_type", "subject", "predicateType", "predicate"}:
        raise _refused("not an in-toto statement")
    if (document["_type"], document["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise _refused(f"its type is {document['predicateType']!r}, which this version does not know")
    missing = [name for name in ALWAYS if name not in subjects(document)]
    if missing:
        raise _refused(f"it says nothing about {', '.join(missing)}")
    _check_predicate(document["predicate"])
    return document


def subjects(statement: Mapping[str, Any]) -> dict[str, str]:
    """Name -> hex sha256 of everything the statement is about. raises: NotVerified."""
    found: dict[str, str] = {}
    for subject in statement["subject"] if isinstance(statement["subject"], list) else [None]:
        match subject:
            case {"name": str(name), "digest": {"sha256": str(digest)}} if SHA256.fullmatch(digest):
                if name in found:
                    raise _refused(f"two subjects are named {name!r}")
                found[name] = digest
            case _:
                raise _refused("a subject is not a name with a sha256")
    return found


def bare(digest: str) -> str:
    """`digest` as 64 hex digits, without a leading "sha256:". raises: ValueError when it is not one."""
    hexadecimal = digest.removeprefix("sha256:")
    if not SHA256.fullmatch(hexadecimal):
        raise ValueError(f"{digest!r} is not a sha256")
    return hexadecimal


def _check_predicate(predicate: Any) -> None:
    match predicate:
        case {
            "run_id": str(run_id),
            "tool": {"name": str(), "version": str()},
            "complete": bool(),
            "overall": str(),
            "signed_at_ns": str(signed_at),
            "policy": {"id": str(), "digest": str()},
        }:
            if RUN_ID.fullmatch(run_id) and re.fullmatch(r"[0-9]{1,19}", signed_at):
                return
    raise _refused("its predicate does not have the fields of an energy benchmark")


def _refused(why: str) -> NotVerified:
    return NotVerified(f"statement: {why}", kind="statement")

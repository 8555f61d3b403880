"""A finished run made of arithmetic alone, and a page around it: the same bytes every time.

Forty requests of 64 tokens, four at a time, each 4 s long; one GPU at 300 W under load and 60 W idle, read ten times
a second as power and as an energy counter. In the 36 s window: 36 requests, 2304 tokens, 10800 J.
"""

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from tcabench.evidence import SealedRun, append_ledger, result_document, seal
from tcabench.evidence.signers.file_key import FileKey, open_file_key
from tcabench.evidence.slot import EVIDENCE_OPEN, SLOT_OPEN, encoded
from tcabench.metrics.compute import DEFAULT_METRICS
from tcabench.policy import Policy, load_policy
from tcabench.records import Channel, Kind, PowerSample, RunRecord, Status, Trace
from tcabench.units import NS_PER_S
from tcabench.verify import Trust, TrustedKey, derive

START = 10**16  # ns: a machine that has been up for 116 days, past 2^53
IDLE_S, WARMUP_S, MEASURE_S, ANSWER_S, TOKENS, SLOTS = 4, 4, 36, 4, 64, 4
LOAD_START = START + IDLE_S * NS_PER_S
LOAD_STOP = LOAD_START + (WARMUP_S + MEASURE_S) * NS_PER_S
DRAIN_END = LOAD_STOP + ANSWER_S * NS_PER_S
AFTER_END = DRAIN_END + IDLE_S * NS_PER_S
WALL_NS = 1_780_000_000 * NS_PER_S
SIGNED_AT_NS = WALL_NS + 100 * NS_PER_S
LOAD_W, IDLE_W = 300, 60


def plan_of(run_id: str, policy: Policy) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "tool_version": "0.1.0",
        "endpoint": "http://127.0.0.1:8000/v1",
        "api": "chat",
        "model": "sample-model",
        "model_sha256": sha256(b"weights").hexdigest(),
        "workload": {
            "name": "chat",
            "version": 1,
            "digest": sha256(b"workload").hexdigest(),
            "pin_output": True,
            "temperature": 0.0,
        },
        "arrivals": {"kind": "closed", "concurrency": SLOTS, "rate_per_s": None},
        "concurrency": SLOTS,
        "requests": None,
        "timeout_s": 300.0,
        "pinned": True,
        "meters": ["nvml"],
        "window": {"idle_s": IDLE_S, "warmup_s": WARMUP_S, "measure_s": MEASURE_S, "drain_s": 10.0},
        "seed": 7,
        "marker": None,
        "site": None,
        "boundary": "chip",
        "metrics": list(DEFAULT_METRICS),
        "policy": {"id": policy.id, "digest": policy.digest},
    }


def channels() -> tuple[Channel, ...]:
    power = Channel(
        "nvml:gpu0:power", "nvml", "gpu0", Kind.POWER, "W", "chip", 0.95, 1.05, 0.001, 100_000_000, 100_000_000, False,
        "data sheet",
    )  # fmt: skip
    return (power, replace(power, id="nvml:gpu0:energy", kind=Kind.ENERGY, unit="J"))


def samples() -> tuple[PowerSample, ...]:
    found, joules = [], 0.0
    for tick in range((AFTER_END - START) // 100_000_000 + 1):
        t_ns = START + tick * 100_000_000
        watts = LOAD_W if LOAD_START <= t_ns < LOAD_STOP + ANSWER_S * NS_PER_S else IDLE_W
        found += [PowerSample(t_ns, 40_000, "nvml:gpu0:power", watts)]
        found += [PowerSample(t_ns, 40_000, "nvml:gpu0:energy", joules)]
        joules += watts / 10
    return tuple(found)


def traces() -> tuple[Trace, ...]:
    count = SLOTS * (WARMUP_S + MEASURE_S) // ANSWER_S
    return tuple(_trace(index) for index in range(count))


def _trace(index: int) -> Trace:
    sent_ns = LOAD_START + index // SLOTS * ANSWER_S * NS_PER_S
    chunk_ns = tuple(sent_ns + (token + 1) * 60_000_000 for token in range(TOKENS))
    return Trace(
        index, f"chat-{index:03}", TOKENS, None, sent_ns, chunk_ns[-1] + 1_000, chunk_ns, Status.OK, 200, "", "length",
        f"answer {index}: ä <b>&amp;</b> ", 20, TOKENS, TOKENS, f"id-{index}",
    )  # fmt: skip


def events(last: str = "idle_after_end") -> tuple[dict[str, Any], ...]:
    phases = {"idle_start": START, "idle_end": LOAD_START, "load_start": LOAD_START, "load_stop": LOAD_STOP}
    phases |= {"drain_end": DRAIN_END, "idle_after_start": DRAIN_END, "idle_after_end": AFTER_END}
    kept = list(phases)[: list(phases).index(last) + 1]
    anchor = {"t": START, "event": "wall_anchor", "wall_ns": str(WALL_NS), "error_ns": 100}
    return (anchor, *({"t": phases[name], "event": "phase", "phase": name} for name in kept))


def record(run_id: str = "20261123T120000Z-abc123", complete: bool = True, last: str = "idle_after_end") -> RunRecord:
    """The run, its values and verdicts derived by the real stages under the policy `indicative`."""
    policy = load_policy("indicative")
    plan = plan_of(run_id, policy)
    derived = derive(plan, channels(), traces(), samples(), events(last), policy, complete)
    return RunRecord(
        run_id=run_id,
        complete=complete,
        plan=plan,
        sut={"gpu0": {"value": "Sample GPU", "source": "test"}},
        channels=channels(),
        samples=samples(),
        traces=traces(),
        window=derived.window,
        energy=derived.energy,
        values=derived.values,
        judgement=derived.judgement,
        quality={},
        events=events(last),
    )


def result_of(run: RunRecord) -> dict[str, Any]:
    policy = run.plan["policy"]
    return result_document(
        run.run_id, run.complete, run.window, run.energy, run.values, run.judgement, policy["id"], policy["digest"]
    )


def page_of(result: Mapping[str, Any], evidence: bytes | None) -> bytes:
    """A minimal page: every number of the result, the slot, and the evidence if it is to be embedded."""
    rows = "".join(
        f'<li><data data-tca="values/{html.escape(name)}/value" value="{value["value"]}">{value["value"]}</data></li>'
        for name, value in result["values"].items()
        if "value" in value
    )
    block = f"{EVIDENCE_OPEN.decode()}{encoded(evidence)}</script>" if evidence else ""
    head = "<!doctype html><meta charset=utf-8><title>run</title><style>li{color:#123}</style>"
    body = f"<h1>{html.escape(result['overall'])}</h1><ul>{rows}</ul>{SLOT_OPEN.decode()}</script>{block}"
    return f"{head}<body>{body}</body>\n".encode()


@dataclass(frozen=True)
class Sealed:
    """A sealed run, who signed it, and the trust of someone who knows that key."""

    run: SealedRun
    record: RunRecord
    key: FileKey
    trust: Trust


Render = Callable[[Mapping[str, Any], bytes | None], bytes]


def trust_in(*keys: FileKey) -> Trust:
    return Trust({key.keyid: TrustedKey(key.keyid, key.public_key, "Rig 1", "vendor") for key in keys})


def sealed_in(
    folder: Path, run: RunRecord | None = None, render: Render = page_of, key: FileKey | None = None
) -> Sealed:
    """`run` sealed into `folder/<run_id>`, signed with the key in `folder/key` unless another is given."""
    run = run or record()
    key = key or open_file_key(folder / "key" / "ed25519.pem")
    place = folder / run.run_id
    place.mkdir(parents=True)
    append_ledger(folder / "ledger.jsonl", run.run_id, "started", WALL_NS)
    ledger = append_ledger(folder / "ledger.jsonl", run.run_id, "sealed", SIGNED_AT_NS)
    result = result_of(run)
    sealed = seal(
        place,
        run,
        policy_yaml=load_policy("indicative").yaml_bytes,
        ledger=ledger,
        render=lambda evidence: render(result, evidence),
        signer=key,
        signed_at_ns=SIGNED_AT_NS,
    )
    return Sealed(sealed, run, key, trust_in(key))

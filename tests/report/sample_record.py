"""A finished run made of arithmetic alone: the same record every time, with every part of a report filled.

`result_of` gives the `result.json` that belongs to a record.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from tcabench.evidence.document import result_document
from tcabench.quality import detect, detected
from tcabench.records import (
    Alignment,
    Carbon,
    Channel,
    Component,
    DomainEnergy,
    Energy,
    Facility,
    Health,
    Heat,
    Judgement,
    Kind,
    NotMetered,
    Outcome,
    PowerSample,
    Quantity,
    Rung,
    RunRecord,
    Split,
    Status,
    Trace,
    Value,
    Verdict,
    Window,
)

S = 1_000_000_000
ZERO = 5_000 * S
SIGNER = {
    "name": "rig key",
    "algorithm": "Ed25519",
    "fingerprint": "SHA256:o3Yk7hA0c9dXb1Jm2qEw5tR8uVzLpNfGsTi6KyHxQe4",
}
STANDING = (
    ("ML.ENERGY v3, 838 configurations: best", "GPU", 0.0284, 127e6, "2026-05", "ML.ENERGY Benchmark v3"),
    ("ML.ENERGY v3, 838 configurations: median", "GPU", 0.602, 5.98e6, "2026-05", "ML.ENERGY Benchmark v3"),
    ("ML.ENERGY v3, 838 configurations: worst", "GPU", 34.3, 105e3, "2026-05", "ML.ENERGY Benchmark v3"),
    ("MLPerf v5.1, Llama 3.1 8B Offline, 8 B200", "wall", 0.0642, 56.1e6, "2025-09", "MLCommons Inference v5.1"),
    ("MLPerf v5.1, Llama 2 70B Server, 8 B200", "wall", 0.105, 34.2e6, "2025-09", "MLCommons Inference v5.1"),
    ("MLPerf v5.1, Llama 3.1 405B Server, 8 B200", "wall", 7.66, 470e3, "2025-09", "MLCommons Inference v5.1"),
    ("MLPerf v4.1, Llama 2 70B Offline, 8 H200", "wall", 0.244, 14.8e6, "2024-08", "MLCommons Inference v4.1"),
)
STANDING_ROWS = tuple(
    dict(zip(("what", "boundary", "j_per_token", "tokens_per_kwh", "date", "source"), row, strict=True))
    for row in STANDING
)


def wobble(i: int) -> float:
    """A number in [-1, 1) that looks irregular and is the same every time."""
    return (i * 2_654_435_761 % 4_294_967_296) / 2_147_483_648 - 1


def quantity(value: float, rel: float, unit: str) -> Quantity:
    return Quantity(value, value * (1 - rel), value * (1 + rel), unit)


def trace(i: int, start_s: float, tokens: int = 64, step_s: float = 0.021) -> Trace:
    """An answered request: first content after about 90 ms, then a token about every 21 ms."""
    sent = ZERO + round(start_s * S)
    at, times = 0.09 * (1.3 + wobble(i)), []
    for n in range(tokens):
        times.append(sent + round(at * S))
        at += step_s * (1.2 + 0.9 * wobble(1000 * i + n))
    end = times[-1] + 2_000_000
    return Trace(
        index=i, prompt_id=f"chat-{i % 64 + 1:03d}", max_tok=tokens, due_ns=None, sent_ns=sent, end_ns=end,
        chunk_ns=tuple(times), status=Status.OK, http_status=200, error="", finish_reason="length",
        text="words " * tokens, prompt_tok=38, output_tok=tokens, recount_tok=tokens - (i % 40 == 7), server_id=f"r{i}",
    )  # fmt: skip


def failed(one: Trace, status: Status, http: int | None, error: str) -> Trace:
    return replace(
        one, status=status, http_status=http, error=error, chunk_ns=(), output_tok=None, recount_tok=None,
        finish_reason=None, text="",
    )  # fmt: skip


def traces(count: int, total_s: float) -> tuple[Trace, ...]:
    """`count` requests evenly from 0 to `total_s`, a few of them failed."""
    made = [trace(i, total_s * i / max(count, 1)) for i in range(count)]
    for i in range(11, count, 37):
        made[i] = failed(made[i], Status.HTTP_429, 429, "rate limit reached, retry after 1 s")
    for i in range(29, count, 61):
        made[i] = failed(made[i], Status.STREAM_CUT, 200, "the stream ended after 12 events without [DONE]")
    return tuple(made)


WINDOW = Window(ZERO - 10 * S, ZERO - S, ZERO, ZERO + 20 * S, ZERO + 110 * S, ZERO + 118 * S, "planned length reached",
                ZERO + 118 * S, ZERO + 120 * S)  # fmt: skip


def power_w(t_s: float, i: int) -> float:
    if t_s < 0 or t_s > 118:
        return 71.5 + 1.5 * wobble(i)
    ramp = min(1.0, 0.4 + t_s / 12) * (1.0 if t_s < 110 else 0.7)
    return 75 + 410 * ramp + 28 * math.sin(t_s / 3.1) + 22 * wobble(i)


def channel(domain: str, kind: Kind, unit: str, estimate: bool = False) -> Channel:
    gain = (1 / 3, 3.0) if estimate else (0.95, 1.05)
    return Channel(
        id=f"nvml/{domain}/{kind}", meter="estimate" if estimate else "nvml", domain=domain, kind=kind, unit=unit,
        boundary="chip", gain_low=gain[0], gain_high=gain[1], resolution=0.001, update_ns=100_000_000,
        period_ns=100_000_000, is_estimate=estimate,
        accuracy_source="CPU time times 15 W a core" if estimate else "vendor: within 5 % of the reading",
    )  # fmt: skip


def samples(gap: tuple[float, float] = (63.0, 66.5)) -> tuple[PowerSample, ...]:
    """A reading every 100 ms from 11 s before the load to 2 s after the drain, none inside `gap`."""
    found, energy_j = [], 0.0
    for i in range(1310):
        t_s = -11 + i * 0.1
        energy_j += power_w(t_s, i) * 0.1
        if gap[0] < t_s < gap[1]:
            continue
        t_ns = ZERO + round(t_s * S)
        found.append(PowerSample(t_ns, 40_000, "nvml/gpu0/power", power_w(t_s, i)))
        found.append(PowerSample(t_ns + 50_000, 30_000, "nvml/gpu0/energy", energy_j))
    return tuple(found)


def energy(estimate: bool = False) -> Energy:
    total = Quantity(42_310.0, 14_100.0, 126_900.0, "J") if estimate else quantity(42_310.0, 0.0563, "J")
    method = "integral" if estimate else "counter"
    parts = (
        Component("meter gain", 0.667 if estimate else 0.05, 2.0 if estimate else 0.05, "the meter's stated class"),
        Component("spread within the run", 0.021, 0.021, "12 blocks of the window, k = 2"),
        Component("window edges", 0.0011, 0.0011, "one reading period at either end"),
        Component("gaps", 0.0146, 0.0146, "3.5 s without readings, held between idle and peak power"),
    )
    return Energy(
        boundary="chip", total=total, mean_power=replace(scaled(total, 1 / 90), unit="W"),
        peak_power=quantity(535.2, 0.05, "W"), idle_power=quantity(71.6, 0.05, "W"),
        domains=(DomainEnergy("gpu0", method, f"nvml/gpu0/{'power' if estimate else 'energy'}", total,
                              None if estimate else 0.0043, 1, 3.5),),
        components=parts, grade="E0" if estimate else "E2",
        grade_why="the only power channel is a model" if estimate else "counter and integral agree within 0.43 %",
        block_j=tuple(3_525.8 + 40 * wobble(i) for i in range(12)), idle_before=quantity(71.2, 0.05, "W"),
        idle_after=quantity(72.0, 0.05, "W"), dynamic=quantity(35_866.0, 0.058, "J"),
        ladder=(Rung("chip", total, replace(scaled(total, 1 / 90), unit="W"), "E2", "an energy counter"),
                Rung("rack", quantity(61_020.0, 0.012, "J"), quantity(678.0, 0.012, "W"), "E5", "a class 1 meter"),
                Rung("facility", NotMetered("no meter"), NotMetered("no meter"), None, "no cooling meter")),
        split=Split(quantity(4_100.0, 0.06, "J"), quantity(37_900.0, 0.06, "J"), quantity(310.0, 0.06, "J"), "evenly"),
        facility=plant(), carbon=carbon(),
        alignments=(Alignment("nvml", 0, 50_000, "host clock"),
                    Alignment("redfish.pdu", 1_503_000_000, 19_000_000, "load marker", 0.0312),
                    Alignment("csv.plant", 0, 1_000_000_000, "host clock", None, "its clock jumped by 5 s <b>")),
        health=(Health("nvml/gpu0/power", 900, 865, 2, 0, 0.0, 3.5, 0.0389, ("3.5 s without a reading",)),
                Health("nvml/gpu0/energy", 900, 865, 2, 1, 0.0, 3.5, 0.0389, ())),
    )  # fmt: skip


def plant() -> Facility:
    """Cooling and loss as a site with a shared CDU has them."""
    return Facility(
        it=quantity(61_020.0, 0.012, "J"), it_all=quantity(241_000.0, 0.01, "J"), share=quantity(0.2532, 0.015, "1"),
        cooling=quantity(2_410.0, 0.04, "J"), loss=NotMetered("no meter upstream"), ppue=quantity(1.0395, 0.002, "1"),
        erf=NotMetered("nothing is reused"), ere=NotMetered("nothing is reused"), wue=NotMetered("no water meter"),
        cer=quantity(25.1, 0.05, "1"), rule="energy: the share of IT energy in the window", tier="M2",
        heat=(Heat("loop1", quantity(58_000.0, 0.03, "J"), quantity(12.1, 0.02, "L/min"), quantity(8.3, 0.02, "K"),
                   "PG25", -0.0495, "fans warm the room <b>"),),
        notes=("IT is metered at the output of the PDU: category 2",),
    )  # fmt: skip


def carbon() -> Carbon:
    """What a site in a named grid emits, with nothing bought."""
    return Carbon(
        "rack", quantity(6.4, 0.2, "g"), NotMetered("nothing was bought"), quantity(0.8, 0.3, "g"),
        quantity(381.0, 0.2, "g/kWh"), NotMetered("nothing was bought"), "Ember via Our World in Data, DE 2023", "",
        "1,500 kg over 5 years, the operator's figure",
    )  # fmt: skip


def scaled(q: Quantity, factor: float) -> Quantity:
    return Quantity(q.value * factor, q.low * factor, q.high * factor, q.unit)


def latency(made: tuple[Trace, ...]) -> dict[str, Value]:
    """p50, p90 and p99 in s by nearest rank, each a few percent wide."""
    kept = [t for t in made if t.status is Status.OK and WINDOW.start_ns <= t.sent_ns < WINDOW.end_ns]
    samples = {
        "ttft": [(t.chunk_ns[0] - t.sent_ns) / S for t in kept],
        "itl": [(b - a) / S for t in kept for a, b in pairwise(t.chunk_ns)],
        "tpot": [(t.chunk_ns[-1] - t.chunk_ns[0]) / S / (len(t.chunk_ns) - 1) for t in kept],
        "e2e": [(t.end_ns - t.sent_ns) / S for t in kept],
    }
    found: dict[str, Value] = {}
    for name, figures in samples.items():
        for p in (50, 90, 99):
            if figures:
                x = sorted(figures)[min(len(figures) - 1, len(figures) * p // 100)]
                found[f"{name}.p{p}"] = Quantity(x, x * 0.97, x * 1.05, "s")
            else:
                found[f"{name}.p{p}"] = NotMetered("no answered request began in the window")
    return found


def values(total: Value, output_tok: int, made: tuple[Trace, ...]) -> dict[str, Value]:
    """The figures of a run that wrote `output_tok` tokens with `total` J; without energy those are absent."""
    found: dict[str, Value] = {}
    if isinstance(total, Quantity):
        found["j_per_output_token"] = replace(scaled(total, 1 / output_tok), unit="J/token")
        kwh, low, high = (3.6e6 * output_tok / j for j in (total.value, total.high, total.low))
        found["output_tokens_per_kwh"] = Quantity(kwh, low, high, "token/kWh")
        found["j_per_request"] = replace(scaled(total, 64 / output_tok), unit="J/request")
    else:
        for name in ("j_per_output_token", "output_tokens_per_kwh", "j_per_request"):
            found[name] = total
    found |= latency(made)
    found["output_tokens_per_s"] = quantity(output_tok / 90, 0.012, "token/s")
    found["requests_per_s"] = quantity(output_tok / 64 / 90, 0.012, "request/s")
    found["error_rate"] = Quantity(0.0417, 0.0213, 0.0758, "1")
    found["output_tokens"] = Quantity.exact(float(output_tok), "token")
    found["window_s"] = Quantity.exact(90.0, "s")
    found["ppue_interim"] = quantity(1.0395, 0.002, "1")
    found["heat_removed.loop1"] = quantity(0.0161, 0.03, "kWh")
    found["energy_total"] = NotMetered("no meter") if isinstance(total, NotMetered) else quantity(0.01175, 0.05, "kWh")
    found["sci_g_per_1k_output_tokens"] = quantity(0.42, 0.2, "g/ktoken")
    found["token_count_difference"] = Quantity(0.000391, 0.000391, 0.000391, "1")
    return found


def verdicts(found: Mapping[str, Value]) -> tuple[Verdict, ...]:
    return (
        Verdict("efficiency", Outcome.PASS, "output_tokens_per_kwh >= 15000 token/kWh",
                "the whole interval is above 15,000 token/kWh", found["output_tokens_per_kwh"],
                "15000 token/kWh", None),
        Verdict("first-token", Outcome.INCONCLUSIVE, "ttft.p99 <= 0.2 s", "0.1944 s to 0.2104 s straddles the limit",
                found["ttft.p99"], "0.2 s", 185.0),
        Verdict("errors", Outcome.FAIL, "error_rate <= 0.01", "4.2 % is above 1 % with its whole interval",
                found["error_rate"], "0.01", None, "warn"),
        Verdict("grade", Outcome.PASS, "evidence grade E1 or better", "the evidence earns E2", None, "E1", None),
    )  # fmt: skip


PLAN: dict[str, Any] = {
    "model": "SmolLM2-135M-Instruct",
    "endpoint": "http://127.0.0.1:8100/v1",
    "workload": {"name": "chat", "version": 1, "digest": "sha256:" + "4f" * 32},
    "seed": 20260,
    "arrivals": {"kind": "closed", "concurrency": 8, "rate_per_s": None},
    "window": {"idle_s": 9.0, "warmup_s": 20.0, "measure_s": 90.0, "drain_s": 30.0},
    "policy": "letter-15k",
    "boundary": "chip",
}
SUT: dict[str, Any] = {
    "gpu0": {
        "name": {"value": "NVIDIA H200", "source": "NVML nvmlDeviceGetName"},
        "driver": {"value": "580.95.05", "source": "NVML nvmlSystemGetDriverVersion"},
        "power limit": {"value": 700, "unit": "W", "source": "NVML nvmlDeviceGetEnforcedPowerLimit"},
        "clocks locked": {"value": None, "why": "not permitted without root", "source": "NVML"},
    },
    "host": {
        "cpu": {"value": "16 cores", "source": "/proc/cpuinfo"},
        "memory": {"value": "128 GiB", "source": "/proc/meminfo"},
    },
    "server": {"version": {"not_metered": "the server does not say", "source": "GET /v1/models"}},
    "model": {"sha256": {"value": "b7" * 32, "source": "the model file"}},
}


def record(requests: int = 240, estimate: bool = False) -> RunRecord:
    """A complete run of `requests` requests, at grade E2, or E0 when `estimate`."""
    spent = energy(estimate)
    made = traces(requests, 112.0)
    found = values(spent.total, 15_360 * requests // 240 or 64, made)
    clauses = verdicts(found)
    return RunRecord(
        run_id="2026-11-23T14-05-09Z-7c1e42", complete=True, plan=PLAN, sut=SUT,
        channels=(channel("gpu0", Kind.POWER, "W", estimate), channel("gpu0", Kind.ENERGY, "J", estimate)),
        samples=samples(), traces=made, window=WINDOW, energy=spent, values=found,
        judgement=Judgement("letter-15k", Outcome.INCONCLUSIVE, "first-token is undecided; 185 s more would decide it",
                            clauses),
        quality={"tokenizer": "the model's own", "requests recounted": requests} | detected(detect(made, True)),
        events=({"t": ZERO, "event": "phase", "phase": "load_start"},
                {"t": ZERO + 63 * S, "event": "meter_error", "meter": "nvml", "why": "GPU is lost <b>"},
                {"t": ZERO + 110 * S, "event": "sampler_cost", "meter": "", "cpu_s": 0.9, "wall_s": 130.0,
                 "reads": 2600, "share": 0.0069}),
    )  # fmt: skip


def unmetered() -> RunRecord:
    """The same run with no meter at all."""
    why = NotMetered("no meter was connected")
    base = record()
    found = values(why, 15_360, base.traces)
    bare = Energy("chip", why, why, why, why, (), (), None, "no power or energy channel", ())
    return replace(
        base, channels=(), samples=(), energy=bare, values=found,
        judgement=replace(base.judgement, verdicts=verdicts(found)),
    )  # fmt: skip


def result_of(run: RunRecord) -> dict[str, Any]:
    """The result document of `run`, as a real run writes it."""
    return result_document(
        run.run_id, run.complete, run.window, run.energy, run.values, run.judgement,
        run.judgement.policy_id, "sha256:" + "0a" * 32,
    )  # fmt: skip

"""How much came out, how fast, and what went wrong."""

from collections import Counter
from typing import Any

from tcabench.records import Status, Trace
from tcabench.report.charts import ecdf_chart
from tcabench.report.numbers import human
from tcabench.report.sections import Section
from tcabench.report.series import Ecdf, ecdf
from tcabench.report.view import Facts, answered, cell, float_at, latencies_s

DEFINITIONS = {
    "ttft": ("TTFT", "time to first token: from sending (open loop: from the scheduled instant) to the first content"),
    "itl": ("ITL", "inter-token latency: between one piece of content and the next of the same answer"),
    "tpot": ("TPOT", "time per output token: from the first to the last content, over the tokens after the first"),
    "e2e": ("e2e", "end to end: from sending (open loop: from the scheduled instant) to the end of the answer"),
}
PERCENTILES = ("p50", "p90", "p99")
STATUS_WORDS = {
    Status.OK: "answered in full",
    Status.UNREACHABLE: "no connection, or it broke before the response head",
    Status.HTTP_4XX: "refused as a bad request (4xx)",
    Status.HTTP_429: "refused as one too many (429)",
    Status.HTTP_5XX: "server error (5xx)",
    Status.STREAM_CUT: "the stream ended without its closing event",
    Status.MALFORMED: "bytes that are not the protocol",
    Status.TIMEOUT: "no answer in time",
    Status.CANCELLED: "stopped by the bench: end of drain, or interrupted",
}
MOST_ERRORS = 20
MOST_CHARS = 500
TWIN_SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


def build(facts: Facts) -> dict[str, Any]:
    samples = latencies_s(facts.record)
    curves = {name: curve for name in samples if (curve := ecdf(samples[name])) is not None}
    failed = [t for t in facts.record.traces if t.status is not Status.OK]
    return {
        "rates": [
            ("output tokens per second", cell(facts, "values/output_tokens_per_s")),
            ("requests per second", cell(facts, "values/requests_per_s")),
            ("output tokens in the window", cell(facts, "values/output_tokens")),
            ("length of the window", cell(facts, "values/window_s")),
            ("error rate", cell(facts, "values/error_rate")),
        ],
        "rows": [latency_row(facts, name) for name in DEFINITIONS],
        "svgs": [chart(facts, name, curve) for name, curve in curves.items()],
        "twin": [{"name": DEFINITIONS[n][0], "count": c.count, "at": twin(c)} for n, c in curves.items()],
        "twin_shares": [f"{100 * s:g} %" for s in TWIN_SHARES],
        "population": len(answered(facts.record)),
        "statuses": statuses(facts),
        "errors": [error(t) for t in failed[:MOST_ERRORS]],
        "more_errors": max(0, len(failed) - MOST_ERRORS),
        "requests": len(facts.record.traces),
    }


def latency_row(facts: Facts, name: str) -> dict[str, Any]:
    short, words = DEFINITIONS[name]
    return {"name": short, "words": words, "cells": [cell(facts, f"values/{name}.{p}") for p in PERCENTILES]}


def chart(facts: Facts, name: str, curve: Ecdf) -> str:
    found = {p: float_at(facts, f"values/{name}.{p}/value") for p in PERCENTILES}
    marks = {p: v for p, v in found.items() if v is not None}
    words = ", ".join(f"{p} {human(repr(v), 's', 3)}" for p, v in marks.items()) or "no percentile in the result"
    desc = f"Share of {curve.count} values at or below each time, log scale. {words}."
    return ecdf_chart(f"ecdf-{name}", DEFINITIONS[name][0], curve, marks, desc)


def twin(curve: Ecdf) -> list[str]:
    """The time below which each of `TWIN_SHARES` of the values lies, read off the drawn curve."""
    return [human(repr(next(x for x, s in zip(curve.x_s, curve.share, strict=True) if s >= share)), "s", 3)
            for share in TWIN_SHARES]  # fmt: skip


def statuses(facts: Facts) -> list[dict[str, Any]]:
    counts = Counter(t.status for t in facts.record.traces)
    return [
        {"status": str(s), "words": STATUS_WORDS[s], "count": counts[s]} for s in Status if counts[s] or s is Status.OK
    ]


def error(trace: Trace) -> dict[str, str]:
    """A failed request as the table tells it; a very long message is cut, and shows it."""
    text = trace.error if len(trace.error) <= MOST_CHARS else trace.error[:MOST_CHARS] + " …"
    return {
        "index": str(trace.index),
        "prompt": trace.prompt_id,
        "status": str(trace.status),
        "http": "" if trace.http_status is None else str(trace.http_status),
        "text": text or "no text",
    }


SECTION = Section("latency", "Throughput and latency", build)

"""What the engine reports about itself: Prometheus metrics, and one JSON line per finished request."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import IO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from reference_engine.request import Request
from reference_engine.schedule.plan import StepPlan
from reference_engine.schedule.scheduler import Scheduler
from reference_engine.schedule.tally import Tally

NS_PER_S = 1e9
LATENCY_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300)
BATCH_TOK = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """An `Observer` that keeps counters in a registry of its own; `text` is the body of /metrics."""

    def __init__(self, model: str) -> None:
        self.registry = registry = CollectorRegistry()
        info = Gauge("engine_model_info", "The model served", ["model"], registry=registry)
        info.labels(model=model).set(1)
        self._requests = Counter("engine_requests", "Requests ended", ["finish_reason"], registry=registry)
        self._prompt = Counter("engine_prompt_tokens", "Prompt tokens of ended requests", registry=registry)
        self._output = Counter(
            "engine_generated_tokens", "Tokens generated, end-of-sequence included", registry=registry
        )
        self._computed = Counter("engine_computed_tokens", "Tokens run through the model", registry=registry)
        self._skipped = Counter(
            "engine_skipped_tokens", "Tokens that cost no step of their own, and why", ["reason"], registry=registry
        )
        self._work = _WorkGauges(registry)
        self._drafted = Counter("engine_drafted_tokens", "Tokens guessed and checked", registry=registry)
        self._accepted = Counter("engine_accepted_tokens", "Guesses that were right", registry=registry)
        self._told = Tally()
        self._steps = Counter("engine_steps", "Engine steps", registry=registry)
        self._preempted = Gauge("engine_preemptions", "Preemptions by recompute since start", registry=registry)
        self._running = Gauge("engine_requests_running", "Requests in the batch", registry=registry)
        self._waiting = Gauge("engine_requests_waiting", "Requests in the queue", registry=registry)
        self._pages = Gauge("engine_kv_pages", "KV pages in all", registry=registry)
        self._pages_kept = Gauge(
            "engine_kv_pages_kept", "Free KV pages whose content may be wanted again", registry=registry
        )
        self._pages_used = Gauge("engine_kv_pages_used", "KV pages held by requests", registry=registry)
        self._step_s = Histogram("engine_step_seconds", "Time of one step", buckets=LATENCY_S, registry=registry)
        self._step_tok = Histogram(
            "engine_step_tokens", "Tokens computed in one step", buckets=BATCH_TOK, registry=registry
        )
        self._first_s = Histogram(
            "engine_first_token_seconds", "Arrival to first token", buckets=LATENCY_S, registry=registry
        )
        self._whole_s = Histogram(
            "engine_request_seconds", "Arrival to last token", buckets=LATENCY_S, registry=registry
        )

    def stepped(self, plan: StepPlan, took_ns: int, scheduler: Scheduler) -> None:
        self._steps.inc()
        self._computed.inc(plan.tokens)
        self._count(scheduler.tally)
        self._step_s.observe(took_ns / NS_PER_S)
        self._step_tok.observe(plan.tokens)
        self._preempted.set(scheduler.preemptions)
        self.look(scheduler)

    def _count(self, tally: Tally) -> None:
        """Add what was done and spared since the last look."""
        told, self._told = self._told, replace(tally)
        self._output.inc(tally.generated_tok - told.generated_tok)
        self._drafted.inc(tally.drafted_tok - told.drafted_tok)
        self._accepted.inc(tally.accepted_tok - told.accepted_tok)
        self._skipped.labels(reason="prefix").inc(tally.prefix_tok - told.prefix_tok)
        self._skipped.labels(reason="draft").inc(tally.accepted_tok - told.accepted_tok)

    def look(self, scheduler: Scheduler) -> None:
        """Take the gauges from the scheduler as it stands."""
        self._running.set(len(scheduler.running))
        self._waiting.set(len(scheduler.waiting))
        self._pages.set(scheduler.pool.size)
        self._pages_kept.set(scheduler.pool.kept)
        self._pages_used.set(scheduler.pool.size - scheduler.pool.free)

    def finished(self, request: Request) -> None:
        self._requests.labels(finish_reason=request.finish).inc()
        self._prompt.inc(request.prompt_tok)
        self._work.add(request)
        if request.first_ns is not None:
            self._first_s.observe((request.first_ns - request.received_ns) / NS_PER_S)
        if request.finished_ns is not None:
            self._whole_s.observe((request.finished_ns - request.received_ns) / NS_PER_S)

    def text(self) -> bytes:
        """The metrics in Prometheus text format."""
        return generate_latest(self.registry)


class _WorkGauges:
    """Work of ended requests by what became of it: done, or spared by a lever."""

    def __init__(self, registry: CollectorRegistry) -> None:
        told = "of ended requests since start: done, or spared by a lever (below 0 where it cost more than it spared)"
        self._macs = Gauge("engine_work_macs", f"Multiply-adds {told}", ["what"], registry=registry)
        self._bytes = Gauge("engine_work_bytes", f"Bytes read {told}", ["what"], registry=registry)

    def add(self, request: Request) -> None:
        for what, work in request.work.items():
            self._macs.labels(what=what).inc(work.macs)
            self._bytes.labels(what=what).inc(work.bytes)


class RequestLog:
    """An `Observer` that appends one JSON line per ended request, flushed as it is written.

    Times are ns of the machine's monotonic clock, which every process on it shares; `finished_unix_s` is wall time.
    """

    def __init__(self, file: Path) -> None:
        """raises: OSError when `file` cannot be opened for appending."""
        self._out: IO[str] = file.open("a", encoding="utf-8")
        self._is_broken = False

    def stepped(self, plan: StepPlan, took_ns: int, scheduler: Scheduler) -> None:
        """Steps are not logged."""

    def finished(self, request: Request) -> None:
        line = {
            "id": request.id,
            "prompt_tokens": request.prompt_tok,
            "completion_tokens": request.output_tok,
            "finish_reason": request.finish,
            "received_ns": request.received_ns,
            "first_ns": request.first_ns,
            "finished_ns": request.finished_ns,
            "finished_unix_s": round(time.time(), 6),
            "preempted": request.preempted,
            "cached_tokens": request.prefix_tok,
            "work": {
                what: {"macs": round(work.macs), "bytes": round(work.bytes)} for what, work in request.work.items()
            },
        }
        try:
            self._out.write(json.dumps(line) + "\n")
            self._out.flush()
        except OSError as err:  # a full disk costs the log, not the server
            if not self._is_broken:
                print(f"the request log cannot be written any more: {err}", file=sys.stderr, flush=True)
            self._is_broken = True

"""The engine: requests in, tokens out, one step at a time. Single-threaded; `server.bridge` gives it a thread."""

import time
from collections.abc import Sequence
from typing import Protocol

from reference_engine.config import EngineConfig
from reference_engine.errors import RequestError
from reference_engine.model.scores import Model, Scores
from reference_engine.request import Delta, Finish, Request, TokenLogprob
from reference_engine.sampling import draw, logprobs
from reference_engine.schedule.plan import StepPlan
from reference_engine.schedule.scheduler import Scheduler


class Observer(Protocol):
    """Who wants to know. Called from the engine's thread, between steps."""

    def stepped(self, plan: StepPlan, took_ns: int, scheduler: Scheduler) -> None: ...

    def finished(self, request: Request) -> None: ...


class Engine:
    """Submit requests, call `step` until `busy` is False."""

    def __init__(self, model: Model, config: EngineConfig, observers: Sequence[Observer] = ()) -> None:
        self.model, self.spec, self.config, self.observers = model, model.spec, config, tuple(observers)
        self.context_tok = min(self.spec.context_tok, config.pages * config.page_tok)
        self.scheduler = Scheduler(config)

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    def submit(self, request: Request) -> None:
        """Queue a request. raises: RequestError when it cannot be served (context, queue)."""
        most = request.prompt_tok + request.sampling.max_tok
        if most > self.context_tok:
            raise RequestError(
                f"{request.prompt_tok} prompt tokens and up to {request.sampling.max_tok} more exceed the context "
                f"of {self.context_tok} tokens",
                "context_length_exceeded",
            )
        self.scheduler.submit(request)

    def step(self) -> list[Delta]:
        """One turn: plan, run, sample, commit. Returns the tokens it made; empty when there was nothing to do."""
        started = time.monotonic_ns()
        plan = self.scheduler.plan()
        if plan is None:
            return []
        wanted = [i for i, request in enumerate(plan.sampled) if not request.sampling.is_plain]
        deltas = self._commit(plan, wanted, self.model.run(plan, wanted))
        for observer in self.observers:
            observer.stepped(plan, time.monotonic_ns() - started, self.scheduler)
        return deltas

    def cancel(self, request: Request, why: Finish = "cancelled") -> None:
        """Drop a request and free its pages; one that has ended already stays as it is."""
        if request.finish is None:
            self._finish(request, why)

    def _commit(self, plan: StepPlan, wanted: Sequence[int], scores: Scores) -> list[Delta]:
        """Record what was computed; hand each sampling request its token."""
        for segment in plan.segments:
            segment.request.computed += segment.count
        tokens, reports = list(scores.greedy), list[TokenLogprob | None]([None] * len(scores.greedy))
        askers = [plan.sampled[i] for i in wanted]
        drawn = draw(scores.logits, askers)
        for i, token, report in zip(wanted, drawn, logprobs(scores.logits, askers, drawn), strict=True):
            tokens[i], reports[i] = token, report
        return [self._append(*each) for each in zip(plan.sampled, tokens, reports, strict=True)]

    def _append(self, request: Request, token: int, report: TokenLogprob | None) -> Delta:
        request.tokens.append(token)
        if request.first_ns is None:
            request.first_ns = time.monotonic_ns()
        ended = token in self.spec.eos_ids and not request.sampling.ignore_eos
        text = "" if ended else request.text.push(token)
        finish: Finish | None = None
        if ended or request.text.stopped:
            finish = "stop"
        elif request.output_tok == request.sampling.max_tok:
            finish = "length"
        if finish and not request.text.stopped:
            text += request.text.flush()
            finish = "stop" if request.text.stopped else finish
        if finish:
            self._finish(request, finish)
        return Delta(request.id, token, text, report, finish)

    def _finish(self, request: Request, why: Finish) -> None:
        request.finished_ns = time.monotonic_ns()
        self.scheduler.finish(request, why)
        for observer in self.observers:
            observer.finished(request)

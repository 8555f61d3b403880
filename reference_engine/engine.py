"""The engine: requests in, tokens out, one step at a time. Single-threaded; `server.bridge` gives it a thread."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from reference_engine.config import EngineConfig
from reference_engine.errors import RequestError
from reference_engine.model.scores import Model, Scores
from reference_engine.request import Delta, Finish, Request, TokenLogprob
from reference_engine.sampling import draw, logprobs
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.schedule.scheduler import Scheduler
from reference_engine.sparse.account import WorkAccount


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
        self.account = WorkAccount(model.sizes)

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    def submit(self, request: Request) -> None:
        """Queue a request. raises: RequestError when it cannot be served (nothing to do, context, queue)."""
        if request.sampling.max_tok < 1 and not request.ahead:
            raise RequestError("there is no token to choose or to score", "invalid_value")
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
        wanted = _wanted(plan)
        scores = self.model.run(plan, wanted)
        self.account.stepped(plan, scores.seen)
        deltas = self._commit(plan, wanted, scores)
        for observer in self.observers:
            observer.stepped(plan, time.monotonic_ns() - started, self.scheduler)
        self._check_when_idle()
        return deltas

    def cancel(self, request: Request, why: Finish = "cancelled") -> None:
        """Drop a request and free its pages; one that has ended already stays as it is."""
        if request.finish is None:
            self._finish(request, why)
            self._check_when_idle()

    def _check_when_idle(self) -> None:
        """raises: RuntimeError when pages went astray. Only with nothing to do: then it costs nobody time."""
        if not self.busy:
            self.scheduler.check_integrity()

    def _commit(self, plan: StepPlan, wanted: Sequence[int], scores: Scores) -> list[Delta]:
        """Record what was computed, and give each sampling request its tokens."""
        deltas, row = list[Delta](), 0
        logits = {at: scores.logits[i : i + 1] for i, at in enumerate(wanted)}
        for segment in plan.segments:
            if segment.samples:
                deltas += self._choose(segment, row, scores.greedy, logits)
                row += segment.choices
            else:
                segment.request.computed += segment.count
                self.scheduler.committed(segment, 0)
        return deltas

    def _choose(
        self, segment: Segment, row: int, greedy: Sequence[int], logits: Mapping[int, Tensor]
    ) -> Sequence[Delta]:
        """Choose a token after each of the segment's rows in turn, until one is not what was guessed or is the last.

        A choice may depend on the tokens before it, so each is appended before the next row is looked at. The rows
        after a wrong guess were computed from it and are forgotten: `computed` does not count them, and they are
        overwritten.
        """
        request, deltas = segment.request, list[Delta]()
        for at, guess in enumerate((*segment.drafts, None), row):
            token, report = _next(request, logits[at]) if at in logits else (greedy[at], None)
            deltas.append(self._append(request, token, report))
            if token != guess or deltas[-1].finish:
                break
        request.computed = len(request.tokens) - 1
        self.scheduler.committed(segment, len(deltas))
        if deltas[-1].finish:
            self._finish(request, deltas[-1].finish)
        return deltas

    def _append(self, request: Request, token: int, report: TokenLogprob | None) -> Delta:
        request.tokens.append(token)
        is_answer = request.output_tok > 0  # and not a token of the prompt that is scored
        if request.first_ns is None and is_answer:
            request.first_ns = time.monotonic_ns()
        ended = is_answer and token in self.spec.eos_ids and not request.sampling.ignore_eos
        text = "" if ended else request.text.push(token)
        finish: Finish | None = None
        if ended or request.text.stopped:
            finish = "stop"
        elif not request.ahead and request.output_tok >= request.sampling.max_tok:
            finish = "length"
        if finish and not request.text.stopped:
            text += request.text.flush()
            finish = "stop" if request.text.stopped else finish
        return Delta(request.id, token, text, report, finish)

    def _finish(self, request: Request, why: Finish) -> None:
        request.finished_ns = time.monotonic_ns()
        request.work = self.account.of(request)
        self.scheduler.finish(request, why)
        for observer in self.observers:
            observer.finished(request)


def _wanted(plan: StepPlan) -> list[int]:
    """The rows before a choice whose logits are looked at: all of the requests that want more than the best token."""
    wanted, row = list[int](), 0
    for segment in plan.segments:
        if segment.samples and not segment.request.sampling.is_plain:
            wanted += range(row, row + segment.choices)
        row += segment.choices
    return wanted


def _next(request: Request, logits: Tensor) -> tuple[int, TokenLogprob | None]:
    """The request's next token, given or drawn from `logits` (1, vocab), and its log-probability if asked for."""
    tokens = list(request.ahead[:1]) or draw(logits, [request])
    return tokens[0], logprobs(logits, [request], tokens)[0]

"""Continuous batching: who computes how much in the next step.

Every request has `computed` tokens in the cache and chases `len(tokens)`; prefill, decode and recompute after a
preemption are the same chase. (The idea is vLLM v1's.)
"""

from collections import deque
from itertools import count

from reference_engine.config import EngineConfig
from reference_engine.errors import RequestError
from reference_engine.kv.pool import PagePool
from reference_engine.request import Finish, Request
from reference_engine.schedule.plan import Segment, StepPlan


class Scheduler:
    """Waiting and running requests and the pages they hold. First come, first served; nobody is overtaken.

    `running` is in order of arrival. When pages run out, the youngest running request gives its own up and waits
    at the head of the queue, to be computed again: the oldest always moves, so every request ends.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config, self.pool = config, PagePool(config.pages)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.preemptions = 0
        self._arrivals = count()

    def submit(self, request: Request) -> None:
        """Queue a request. raises: RequestError, 429 when the queue is full, 400 when it could never fit the cache."""
        most = request.prompt_tok + request.sampling.max_tok
        if self._pages_for(most) > self.pool.size:
            room = self.pool.size * self.config.page_tok
            raise RequestError(
                f"prompt and answer may come to {most} tokens; this server's cache holds {room}",
                "context_length_exceeded",
            )
        if len(self.waiting) + len(self.running) >= self.config.max_waiting + self.config.max_running:
            raise RequestError("the queue is full; try again later", "rate_limit_exceeded", 429)
        request.arrival = next(self._arrivals)
        self.waiting.append(request)

    def plan(self) -> StepPlan | None:
        """The next step, its pages already taken; None when there is nothing to do."""
        budget, segments = self.config.step_tok, list[Segment]()
        for request in self._decodes_first():
            if request in self.running and (segment := self._segment(request, budget)):  # it may have been preempted
                segments.append(segment)
                budget -= segment.count
        while budget and (fresh := self._admitted()) and (segment := self._segment(fresh, budget)):
            segments.append(segment)
            budget -= segment.count
        kept = tuple(segment for segment in segments if segment.request in self.running)
        return StepPlan(kept) if kept else None

    def finish(self, request: Request, why: Finish) -> None:
        """Take a request out, wherever it stands, and free its pages. Doing so twice changes nothing."""
        if request.finish is not None:
            return
        request.finish = why
        self._give_up_pages(request)
        if request in self.running:
            self.running.remove(request)
        else:
            self.waiting.remove(request)

    def check(self) -> None:
        """raises: RuntimeError unless the pages held by requests and the free ones are all pages there are."""
        self.pool.check()
        held = [page for request in (*self.running, *self.waiting) for page in request.pages]
        if len(held) + self.pool.free != self.pool.size:
            raise RuntimeError(f"{self.pool.size} pages, but {len(held)} held and {self.pool.free} free")

    def _decodes_first(self) -> list[Request]:
        return sorted(self.running, key=lambda request: request.remaining_tok != 1)  # stable: else by arrival

    def _segment(self, request: Request, budget: int) -> Segment | None:
        """As much of the request as budget and pages allow; None when that is nothing."""
        tokens = min(request.remaining_tok, budget)
        if tokens == 0 or not self._reserve(request, request.computed + tokens):
            return None
        return Segment(request, request.computed, tokens, tokens == request.remaining_tok)

    def _reserve(self, request: Request, tokens: int) -> bool:
        """Hold pages for `tokens` of `request`, taking them from younger requests if need be."""
        missing = self._pages_for(tokens) - len(request.pages)
        while (pages := self.pool.take(max(missing, 0))) is None:
            youngest = self.running[-1]
            self._preempt(youngest)
            if youngest is request:
                return False
        request.pages.extend(pages)
        return True

    def _preempt(self, request: Request) -> None:
        self._give_up_pages(request)
        request.computed = 0
        request.preempted += 1
        self.preemptions += 1
        self.running.remove(request)
        self.waiting.appendleft(request)

    def _admitted(self) -> Request | None:
        """The head of the queue, now running with pages for all its tokens and one more; None when it must wait."""
        if not self.waiting or len(self.running) >= self.config.max_running:
            return None
        pages = self.pool.take(self._pages_for(len(self.waiting[0].tokens) + 1))
        if pages is None:
            return None
        request = self.waiting.popleft()
        request.pages = pages
        self.running.append(request)
        return request

    def _give_up_pages(self, request: Request) -> None:
        self.pool.release(request.pages)
        request.pages.clear()

    def _pages_for(self, tokens: int) -> int:
        return -(-tokens // self.config.page_tok)

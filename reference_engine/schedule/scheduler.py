"""Continuous batching: who computes how much in the next step.

Every request has `computed` tokens in the cache and chases `len(tokens)`; prefill, decode, drafts, a found prefix and
recompute after a preemption are the same chase. (The idea is vLLM v1's.)
"""

from itertools import count

from reference_engine.config import EngineConfig
from reference_engine.errors import RequestError
from reference_engine.kv.ledger import PageLedger
from reference_engine.request import Finish, Request
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.schedule.queue import FairQueue
from reference_engine.schedule.tally import Tally
from reference_engine.speculate import PromptLookup

SCORED_ROWS = 32  # of a text that is scored, in one step: each brings a row of logits


class Scheduler:
    """Waiting and running requests and the pages they hold. Clients take turns, a client's requests do not; nobody is
    passed by a request that came to the head later.

    `running` is in order of admission. When pages run out, the request admitted last gives its own up and waits at the
    head of the queue, to be computed again: the first always moves, so every request ends. A step that preempts admits
    nobody.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config, self.ledger, self.tally = config, PageLedger(config), Tally()
        self.pool = self.ledger.pool
        self.waiting = FairQueue()
        self.running: dict[Request, None] = {}
        self.preemptions = 0
        self._arrivals = count()
        self._most_running = config.max_running if config.has("batching") else 1
        self._grows, self._drafts = config.has("paging"), config.has("speculation") and config.draft_tok > 0
        self._planned: dict[Request, Segment] = {}
        self._budget = 0  # tokens that the step being planned may still compute

    def submit(self, request: Request) -> None:
        """Queue a request. raises: RequestError, 429 when the queue is full, 400 when it could never fit the cache."""
        most = request.prompt_tok + request.sampling.max_tok
        if self.ledger.pages_for(most) > self.pool.size:
            room = self.pool.size * self.config.page_tok
            raise RequestError(
                f"prompt and answer may come to {most} tokens; this server's cache holds {room}",
                "context_length_exceeded",
            )
        if len(self.waiting) + len(self.running) >= self.config.max_waiting + self.config.max_running:
            raise RequestError("the queue is full; try again later", "rate_limit_exceeded", 429)
        request.arrival = next(self._arrivals)
        self.waiting.push(request)

    def plan(self) -> StepPlan | None:
        """The next step, its pages already taken; None when there is nothing to do."""
        self._planned, self._budget = {}, self.config.step_tok
        preemptions = self.preemptions
        decodes = [request for request in self.running if request.remaining_tok == 1]
        chasing = [request for request in self.running if request.remaining_tok != 1]
        spare = 0 if chasing or not self._drafts else self._spare_rows(len(decodes))
        for request in decodes:
            spare -= self._plan_decode(request, spare)
        for request in chasing:
            self._plan_more(request)
        if self.preemptions == preemptions:
            self._admit()
        copies = self.ledger.closed()
        return StepPlan(tuple(self._planned.values()), copies) if self._planned else None

    def committed(self, segment: Segment, made: int) -> None:
        """Count `made` new tokens of a segment's request, whose `computed` has been brought up to date."""
        request, tally = segment.request, self.tally
        self.ledger.file(request)
        if not made:
            return
        answered = min(made, request.output_tok)  # what was scored was charged as a prompt
        tally.generated_tok += answered
        self.waiting.charge(request.client, output_tok=answered)
        if segment.drafts and request.lookup is not None:
            request.lookup.learn(len(segment.drafts), made - 1)
            tally.drafted_tok += len(segment.drafts)
            tally.accepted_tok += made - 1

    def finish(self, request: Request, why: Finish) -> None:
        """Take a request out, wherever it stands, and free its pages. Doing so twice changes nothing."""
        if request.finish is not None:
            return
        request.finish = why
        self.ledger.give_up(request)
        if request in self.running:
            del self.running[request]
        else:
            self.waiting.remove(request)
        if not self.running and not self.waiting:
            self.waiting.rest()

    def check_integrity(self) -> None:
        """raises: RuntimeError naming a page that is held by nobody known, lost, or offered as what it is not."""
        self.ledger.check_integrity((*self.running, *self.waiting))

    def _spare_rows(self, decodes: int) -> int:
        """How many drafts this step has room for; one row is left for a prompt."""
        return max(min(self.config.draft_rows, self.config.step_tok - 1) - decodes, 0)

    def _plan_decode(self, request: Request, spare: int) -> int:
        """The next row of a request that decodes, and drafts where there is room; returns how many of them."""
        if request not in self.running or not self._reserve(request, len(request.tokens)):  # may be preempted by now
            return 0
        drafts = self._scored(request) if request.ahead else self._guesses(request, spare) if spare > 0 else ()
        self._put(Segment(request, request.computed, 1 + len(drafts), True, drafts))
        return len(drafts)

    def _plan_more(self, request: Request) -> None:
        """As much of a request as the budget allows; it has had pages for all its tokens since it was admitted."""
        tokens = min(request.remaining_tok, self._budget)
        if tokens and request in self.running:  # it may be preempted by now
            self._put(Segment(request, request.computed, tokens, tokens == request.remaining_tok))

    def _put(self, segment: Segment) -> None:
        self._planned[segment.request] = segment
        self._budget -= segment.count

    def _scored(self, request: Request) -> tuple[int, ...]:
        """Given tokens that go into this step with the last one: guesses that are right by definition. Every other
        request that decodes keeps its row."""
        room = request.sampling.max_tok + request.prompt_tok - len(request.tokens) - 1
        most = min(self._budget - len(self.running), SCORED_ROWS, room)
        return self._held(request, request.ahead[: max(most, 0)])

    def _guesses(self, request: Request, spare: int) -> tuple[int, ...]:
        """Drafts that fit the answer's limit."""
        most = min(spare, self.config.draft_tok, request.sampling.max_tok - request.output_tok - 1)
        if most <= 0:
            return ()
        request.lookup = request.lookup or PromptLookup()
        return self._held(request, request.lookup.propose(request.tokens, most))

    def _held(self, request: Request, drafts: tuple[int, ...]) -> tuple[int, ...]:
        """`drafts` if there are pages for them that nobody else is about to need; else none."""
        pages = self.ledger.pages_for(len(request.tokens) + len(drafts)) - len(request.pages)
        if pages > 0 and self.pool.free < pages + len(self.running):
            return ()
        return drafts if self.ledger.grow(request, len(request.tokens) + len(drafts)) else ()

    def _reserve(self, request: Request, tokens: int) -> bool:
        """Hold pages for `tokens` of `request`, taking them from requests admitted later if need be."""
        while not self.ledger.grow(request, tokens):
            last = next(reversed(self.running))
            self._preempt(last)
            if last is request:
                return False
        return True

    def _preempt(self, request: Request) -> None:
        """Only those that decode ask for pages, in order of admission: whoever is preempted is not in the plan yet."""
        self.ledger.give_up(request)
        request.computed = 0
        request.preempted += 1
        self.preemptions += 1
        del self.running[request]
        self.waiting.put_back(request)

    def _admit(self) -> None:
        """Let the heads of the queue in while there is room for them."""
        while self._budget and len(self.running) < self._most_running and (request := self.waiting.head) is not None:
            most = request.prompt_tok + request.sampling.max_tok
            if not self.ledger.admit(request, len(request.tokens) + 1 if self._grows else most):
                return
            self.waiting.remove(request)
            self.running[request] = None
            self._count_admission(request)
            self._plan_more(request)

    def _count_admission(self, request: Request) -> None:
        self.tally.prefix_tok += request.computed
        if not request.preempted:
            request.prefix_tok = request.computed
            self.waiting.charge(request.client, prompt_tok=request.prompt_tok - request.computed)

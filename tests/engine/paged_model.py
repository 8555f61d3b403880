"""A model of token ids instead of tensors. It sees a text only through the pages it is given, and objects to any row
that would not see exactly its request's own earlier tokens, to any write into a page that others look at, to copies
whose order matters, to a step of more rows or requests than there is room for, and to rows beyond an answer's end."""

import random
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import torch

from reference_engine.config import EngineConfig, ModelSpec
from reference_engine.engine import Engine
from reference_engine.model.scores import Scores
from reference_engine.request import Request, Sampling
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.sparse.pattern import Sizes
from reference_engine.text import TextStream

VOCAB = 5
SPEC = ModelSpec(VOCAB, 4, 1, 1, 1, 4, 4, 1e-5, 1e4, None, 512, True, False, False, None, (VOCAB - 1,))


def logits_after(seen: Sequence[int]) -> list[float]:
    """Scores of the next token. Mostly a matter of the last two tokens, so that texts repeat themselves and guesses are
    often right; else of the whole text, so that a single wrong token shows."""
    recent = seen[-2:] if crc32(bytes(seen)) % 4 else seen
    draw = random.Random(crc32(bytes(recent)))
    return [draw.gauss(0, 2) for _ in range(VOCAB)]


def best_after(seen: Sequence[int]) -> int:
    scores = logits_after(seen)
    return scores.index(max(scores))


class PagedModel:
    """`Model` over pages of token ids. `engine` is whose books are compared with what lies in the pages."""

    spec, weights_sha256 = SPEC, "0" * 64
    kind = "token ids"

    def __init__(self, config: EngineConfig) -> None:
        self.page_tok, self.config = config.page_tok, config
        self.sizes = Sizes(SPEC, config, 1000, 100)
        self.pages: list[list[int | None]] = [[None] * config.page_tok for _ in range(config.pages)]
        self.engine: Engine | None = None
        self.copied = 0

    def run(self, plan: StepPlan, wanted: Sequence[int]) -> Scores:
        assert sum(segment.count for segment in plan.segments) <= self.config.step_tok  # buffers are made for so many
        assert len(plan.segments) <= self.config.max_running
        for segment in plan.segments:  # the last token of an answer is never computed, and no guess comes after it
            assert segment.start + segment.count < segment.request.prompt_tok + segment.request.sampling.max_tok
        self._copy(plan)
        self._write(plan)
        self.check_books()
        seen = [self._seen(segment, at) for segment in plan.segments for at in self._choices(segment)]
        return Scores([best_after(text) for text in seen], torch.tensor([logits_after(seen[i]) for i in wanted]))

    def check_books(self) -> None:
        """Every running request still sees its computed tokens, and every offered page holds what it is offered as."""
        assert self.engine is not None
        scheduler = self.engine.scheduler
        for request in scheduler.running:
            assert self._text(request, request.computed) == request.tokens[: request.computed]
        prefix = scheduler.ledger.prefix
        for page, content in enumerate(self.pages):
            offered = None if prefix is None else prefix.tokens_of(page)
            assert offered is None or list(offered) == content

    def _copy(self, plan: StepPlan) -> None:
        sources, targets = {source for source, _ in plan.copies}, [target for _, target in plan.copies]
        assert not sources & set(targets)
        assert len(set(targets)) == len(targets)
        for source, target in plan.copies:
            self.pages[target] = list(self.pages[source])
            self.copied += 1

    def _write(self, plan: StepPlan) -> None:
        written = set[tuple[int, int]]()
        for segment in plan.segments:
            assert segment.count == len(segment.tokens) >= 1 + len(segment.drafts)
            for at, token in enumerate(segment.tokens, segment.start):
                page, offset = segment.request.pages[at // self.page_tok], at % self.page_tok
                assert (page, offset) not in written
                written.add((page, offset))
                self.pages[page][offset] = token

    def _choices(self, segment: Segment) -> range:
        end = segment.start + segment.count
        return range(end - segment.choices, end)

    def _seen(self, segment: Segment, at: int) -> list[int]:
        """What the row at place `at` sees: itself and all before."""
        known = segment.start + segment.count - len(segment.drafts)
        text = [*segment.request.tokens[:known], *segment.drafts][: at + 1]
        assert self._text(segment.request, at + 1) == text
        return text

    def _text(self, request: Request, tokens: int) -> list[int | None]:
        return [self.pages[request.pages[at // self.page_tok]][at % self.page_tok] for at in range(tokens)]


def paged_engine(**limits: Any) -> Engine:
    """An engine over a `PagedModel` that watches its books."""
    config = EngineConfig(**limits)
    model = PagedModel(config)
    model.engine = engine = Engine(model, config)
    return engine


def paged_request(
    prompt: Sequence[int], name: str = "r", stops: tuple[str, ...] = (), client: str = "", **sampling: Any
) -> Request:
    """Letters for tokens: 0 is "a"."""
    wanted = Sampling(**({"max_tok": 8, "ignore_eos": True} | sampling))
    text = TextStream(lambda tokens: "".join(chr(97 + token) for token in tokens), stops)
    return Request(name, len(prompt), list(prompt), wanted, text, client)


def plainly(prompt: Sequence[int], **asked: Any) -> Request:
    """The same request through an engine that does one thing at a time and skips nothing."""
    bare = frozenset({"batching", "paging", "prefix", "speculation"})
    engine = paged_engine(page_tok=16, kv_tok=512, max_running=1, step_tok=256, without=bare)
    request = paged_request(prompt, **asked)
    engine.submit(request)
    while engine.busy:
        engine.step()
    return request


def drain(engine: Engine, limit: int = 10_000) -> list[Any]:
    """Step to the end, checking the books after every step; returns the deltas."""
    deltas = []
    for _ in range(limit):
        if not engine.busy:
            return deltas
        deltas += engine.step()
        engine.scheduler.check_integrity()
    raise AssertionError("the engine did not come to an end")

"""Which request holds which pages: taken, shared, copied, filed for others to find, given up."""

from collections.abc import Iterable

from reference_engine.config import EngineConfig
from reference_engine.kv.pool import PagePool
from reference_engine.kv.prefix import Match, PrefixCache
from reference_engine.request import Request


class PageLedger:
    """The pages of all requests. `copies` are those that the plan being made must carry.

    A request that would begin with a page which a running one is about to compute waits for it instead of computing
    it too: so requests with one prompt share it even when they come together. The running one always gets on or gives
    its pages up, and both end the wait.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.page_tok, self.pool = config.page_tok, PagePool(config.pages)
        self.prefix = PrefixCache(self.pool, config.page_tok) if config.has("prefix") else None
        self._chooses_alike = config.budget.pages == 0  # rows before a choice are computed as those of a prompt are
        self.copies: list[tuple[int, int]] = []
        self._coming: dict[bytes, Request] = {}  # pages not yet computed, and who will
        self._pinned: list[int] = []

    def pages_for(self, tokens: int) -> int:
        """How many pages hold `tokens`."""
        return -(-tokens // self.page_tok)

    def admit(self, request: Request, tokens: int) -> bool:
        """Hold pages for `tokens` of a request that has none, known content first; its `computed` says how much that
        is. False (and nothing changed) when it must wait."""
        match = self._match(request)
        if len(match.pages) < len(request.chain) and request.chain[len(match.pages)] in self._coming:
            return False
        fresh = self.pages_for(tokens) - len(match.pages)
        room = self.pool.free - sum(self.pool.refs(page) == 0 for page in match.pages) - fresh
        if room < 0:
            return False
        if match.source is not None and room == 0 and self.pool.refs(match.source) == 0:
            match = Match(match.pages, None, len(match.pages) * self.page_tok)  # no room to keep it until it is copied
        self._hold(request, match, fresh)
        for digest in request.chain[request.filed :]:
            self._coming.setdefault(digest, request)
        return True

    def grow(self, request: Request, tokens: int) -> bool:
        """Hold pages for `tokens` of a request; False (and nothing changed) when there is no room."""
        missing = self.pages_for(tokens) - len(request.pages)
        if missing <= 0:
            return True
        pages = self.pool.take(missing)
        if pages is None:
            return False
        request.pages += pages
        return True

    def file(self, request: Request) -> None:
        """Offer the pages that are now full of computed tokens to others."""
        full = min(request.computed, self._shared_tok(request)) // self.page_tok
        if self.prefix is None or full <= request.filed:
            return
        self.prefix.extend(request.chain, request.tokens[: self._shared_tok(request)])
        for at in range(request.filed, full):
            self.prefix.add(request.chain, at, request.tokens, request.pages[at])
        self._not_coming(request, full)
        request.filed = full

    def give_up(self, request: Request) -> None:
        """Let go of all pages of a request. The last go first, so that a text's beginning is kept the longest."""
        self._not_coming(request, len(request.chain))
        self.pool.release(reversed(request.pages))
        request.pages.clear()
        request.filed = 0

    def closed(self) -> tuple[tuple[int, int], ...]:
        """The copies of a plan that is now complete. Until here their sources were held, so that no page of the plan
        is both read and written by copies; from the next plan on they may be evicted."""
        copies = tuple(self.copies)
        self.copies.clear()
        self.pool.release(self._pinned)
        self._pinned.clear()
        return copies

    def check_integrity(self, requests: Iterable[Request]) -> None:
        """raises: RuntimeError naming a page whose holders are not exactly `requests`, or that is filed wrongly."""
        requests = tuple(requests)
        self.pool.check_integrity([request.pages for request in requests])
        if self.prefix is not None:
            self.prefix.check_integrity()
        if strangers := set(self._coming.values()).difference(requests):
            raise RuntimeError(f"request {strangers.pop().id} has left, but its pages are still waited for")

    def _match(self, request: Request) -> Match:
        if self.prefix is None:
            return Match([], None, 0)
        shared = self._shared_tok(request)
        self.prefix.extend(request.chain, request.tokens[:shared])
        return self.prefix.match(request.chain, request.tokens[: shared + 1])

    def _shared_tok(self, request: Request) -> int:
        """Tokens whose keys and values are those that any request would compute for them. Where a page budget makes
        rows before a choice see less than those of a prompt, an answer's are not: to find them in the cache, or not,
        would change what comes after."""
        return len(request.tokens) if self._chooses_alike else request.first_choice

    def _hold(self, request: Request, match: Match, fresh: int) -> None:
        self.pool.share(match.pages)  # before pages are taken, which may evict
        if match.source is not None:
            self.pool.share([match.source])
            self._pinned.append(match.source)
        taken = self.pool.take(fresh) or []
        if match.source is not None:
            self.copies.append((match.source, taken[0]))
        request.pages = [*match.pages, *taken]
        request.computed, request.filed = match.tokens, len(match.pages)

    def _not_coming(self, request: Request, until: int) -> None:
        for digest in request.chain[request.filed : until]:
            if self._coming.get(digest) is request:
                del self._coming[digest]

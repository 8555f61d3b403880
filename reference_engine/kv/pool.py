"""Who may have which KV page: blank, kept for its content, or held. No tensors, no clock, no model: plain ints."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class PagePool:
    """Pages 0 .. `size`-1. A page is held by one holder or more, or it is free; a free page is blank, or kept because
    its content may be wanted again. Kept pages are handed out only when no blank one is left, the one longest free
    first; `evicted` is told before."""

    size: int
    evicted: Callable[[int], None] | None = None
    _blank: list[int] = field(init=False)
    _kept: dict[int, None] = field(init=False, default_factory=dict)  # free with content, longest free first
    _worthy: set[int] = field(init=False, default_factory=set)  # pages with content, held or kept
    _refs: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._blank = list(range(self.size - 1, -1, -1))
        self._refs = [0] * self.size

    @property
    def free(self) -> int:
        """How many pages nobody holds."""
        return len(self._blank) + len(self._kept)

    @property
    def kept(self) -> int:
        """How many of the free pages have content that may be wanted again."""
        return len(self._kept)

    def refs(self, page: int) -> int:
        """How many hold `page`."""
        return self._refs[page]

    def has_content(self, page: int) -> bool:
        """Whether `page` is kept, or will be when it is free."""
        return page in self._worthy

    def take(self, n: int) -> list[int] | None:
        """`n` fresh pages with one reference each, or None (and nothing changed) when there is no room."""
        if n > self.free:
            return None
        pages = [self._blank.pop() if self._blank else self._evict() for _ in range(n)]
        for page in pages:
            self._refs[page] = 1
        return pages

    def keep(self, page: int) -> None:
        """From now on `page` has content worth keeping when it is free. raises: RuntimeError unless it is held."""
        if self._refs[page] == 0:
            raise RuntimeError(f"page {page} is free and cannot be given content")
        self._worthy.add(page)

    def share(self, pages: Iterable[int]) -> None:
        """One more holder for each page. raises: RuntimeError for a blank page."""
        for page in pages:
            if self._refs[page] == 0:
                if page not in self._kept:
                    raise RuntimeError(f"page {page} is free and cannot be shared")
                del self._kept[page]
            self._refs[page] += 1

    def release(self, pages: Iterable[int]) -> None:
        """One holder less for each page; the last one frees it. raises: RuntimeError for a page that nobody holds."""
        for page in pages:
            if self._refs[page] == 0:
                raise RuntimeError(f"page {page} was freed twice")
            self._refs[page] -= 1
            if self._refs[page] == 0:
                self._lay_down(page)

    def check_integrity(self, holders: Sequence[Sequence[int]]) -> None:
        """raises: RuntimeError naming a page that is not held as often as `holders` say, or is lost or free twice."""
        wanted = [0] * self.size
        for pages in holders:
            for page in pages:
                wanted[page] += 1
        if wanted != self._refs:
            page = next(page for page in range(self.size) if wanted[page] != self._refs[page])
            raise RuntimeError(f"page {page} has {self._refs[page]} references and {wanted[page]} holders")
        free = sorted([*self._blank, *self._kept])
        if free != [page for page, refs in enumerate(self._refs) if refs == 0]:
            page = next(page for page in range(self.size) if free.count(page) != (self._refs[page] == 0))
            raise RuntimeError(f"page {page} leaked or was freed twice")
        if strangers := self._kept.keys() - self._worthy:
            raise RuntimeError(f"page {min(strangers)} is kept without content")
        if stray := self._worthy.intersection(self._blank):
            raise RuntimeError(f"page {min(stray)} has content and counts as blank")

    def _evict(self) -> int:
        page = next(iter(self._kept))
        del self._kept[page]
        self._worthy.remove(page)
        if self.evicted:
            self.evicted(page)
        return page

    def _lay_down(self, page: int) -> None:
        if page in self._worthy:
            self._kept[page] = None
        else:
            self._blank.append(page)

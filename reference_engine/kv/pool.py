"""Free list and reference counts of KV pages. No tensors, no clock, no model: plain ints."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class PagePool:
    """Pages 0 .. `size`-1, each free or referenced by one holder or more."""

    size: int
    _free: list[int] = field(init=False)
    _refs: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._free = list(range(self.size - 1, -1, -1))
        self._refs = [0] * self.size

    @property
    def free(self) -> int:
        """How many pages nobody holds."""
        return len(self._free)

    def take(self, n: int) -> list[int] | None:
        """`n` fresh pages with one reference each, or None (and nothing changed) when there is no room."""
        if n > len(self._free):
            return None
        pages = [self._free.pop() for _ in range(n)]
        for page in pages:
            self._refs[page] = 1
        return pages

    def share(self, pages: Iterable[int]) -> None:
        """One more holder for each page. raises: RuntimeError for a page that nobody holds."""
        for page in pages:
            if self._refs[page] == 0:
                raise RuntimeError(f"page {page} is free and cannot be shared")
            self._refs[page] += 1

    def release(self, pages: Iterable[int]) -> None:
        """One holder less for each page; the last one frees it. raises: RuntimeError for a page that nobody holds."""
        for page in pages:
            if self._refs[page] == 0:
                raise RuntimeError(f"page {page} was freed twice")
            self._refs[page] -= 1
            if self._refs[page] == 0:
                self._free.append(page)

    def check(self) -> None:
        """raises: RuntimeError unless each page is either free or referenced."""
        if sorted(self._free) != [page for page, refs in enumerate(self._refs) if refs == 0]:
            raise RuntimeError("a page leaked or was freed twice")

"""Laws of the page pool."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reference_engine.kv.pool import PagePool

SIZE = 12


class PoolMachine(RuleBasedStateMachine):
    """Holders take, share, give content and release pages in any order; the pool agrees with a plain count of who holds
    what, and evicts only what nobody holds, the longest free first, and only when no blank page is left."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(SIZE, self.evict)
        self.holders: list[list[int]] = []
        self.worthy: set[int] = set()
        self.kept: list[int] = []

    def evict(self, page: int) -> None:
        held = {page for pages in self.holders for page in pages}
        assert page == self.kept.pop(0)
        assert page not in held
        self.worthy.remove(page)

    def lay_down(self, pages: list[int]) -> None:
        """The pages of a holder that has left, in order."""
        held = {page for pages in self.holders for page in pages}
        self.kept += [page for page in pages if page in self.worthy and page not in held]

    @rule(n=st.integers(0, SIZE + 2))
    def take(self, n: int) -> None:
        free, kept = self.pool.free, len(self.kept)
        pages = self.pool.take(n)
        assert (pages is None) == (n > free)
        if pages is None:
            assert self.pool.free == free
        else:
            assert len(set(pages)) == n
            assert not set(pages) & {page for held in self.holders for page in held}
            assert len(self.kept) == kept - max(n - (free - kept), 0)
            self.holders.append(pages)

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def share(self, data: st.DataObject) -> None:
        pages = list(data.draw(st.sampled_from(self.holders)))
        self.pool.share(pages)
        self.holders.append(pages)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def find_again(self, data: st.DataObject) -> None:
        page = data.draw(st.sampled_from(self.kept))
        self.pool.share([page])
        self.kept.remove(page)
        self.holders.append([page])

    @precondition(lambda self: any(self.holders))
    @rule(data=st.data())
    def give_content(self, data: st.DataObject) -> None:
        page = data.draw(st.sampled_from([page for pages in self.holders for page in pages]))
        self.pool.keep(page)
        self.worthy.add(page)

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        pages = self.holders.pop(data.draw(st.integers(0, len(self.holders) - 1)))
        self.pool.release(pages)
        self.lay_down(pages)

    @invariant()
    def nothing_leaks(self) -> None:
        self.pool.check_integrity(self.holders)
        held = Counter(page for pages in self.holders for page in pages)
        assert (self.pool.free, self.pool.kept) == (SIZE - len(held), len(self.kept))


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_page_cannot_be_freed_twice() -> None:
    pool = PagePool(2)
    pages = pool.take(1)
    assert pages is not None
    pool.release(pages)
    with pytest.raises(RuntimeError, match="freed twice"):
        pool.release(pages)


def test_a_free_page_can_neither_be_shared_nor_given_content() -> None:
    with pytest.raises(RuntimeError, match="page 0 is free"):
        PagePool(2).share([0])
    with pytest.raises(RuntimeError, match="page 1 is free"):
        PagePool(2).keep(1)


def break_blank(pool: PagePool) -> None:
    pool._blank.remove(1)


def break_twice(pool: PagePool) -> None:
    pool._blank.append(2)


def break_refs(pool: PagePool) -> None:
    pool.take(1)


def break_kept(pool: PagePool) -> None:
    pool._blank.remove(1)
    pool._kept[1] = None


def break_worthy(pool: PagePool) -> None:
    pool._worthy.add(2)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (break_blank, "page 1 leaked or was freed twice"),
        (break_twice, "page 2 leaked or was freed twice"),
        (break_refs, "page 0 has 1 references and 0 holders"),
        (break_kept, "page 1 is kept without content"),
        (break_worthy, "page 2 has content and counts as blank"),
    ],
)
def test_the_check_names_the_page(break_it: Callable[[PagePool], None], message: str) -> None:
    pool = PagePool(3)
    pool.check_integrity([])
    break_it(pool)
    with pytest.raises(RuntimeError, match=message):
        pool.check_integrity([])

"""Laws of the page pool."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reference_engine.kv.pool import PagePool

SIZE = 12


class PoolMachine(RuleBasedStateMachine):
    """Holders take, share and release pages in any order; the pool agrees with a plain count of who holds what."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(SIZE)
        self.holders: list[list[int]] = []

    @rule(n=st.integers(0, SIZE + 2))
    def take(self, n: int) -> None:
        free = self.pool.free
        pages = self.pool.take(n)
        assert (pages is None) == (n > free)
        if pages is None:
            assert self.pool.free == free
        else:
            assert len(set(pages)) == n
            assert not set(pages) & {page for held in self.holders for page in held}
            self.holders.append(pages)

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def share(self, data: st.DataObject) -> None:
        pages = list(data.draw(st.sampled_from(self.holders)))
        self.pool.share(pages)
        self.holders.append(pages)

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.holders) - 1))
        self.pool.release(self.holders.pop(at))

    @invariant()
    def nothing_leaks(self) -> None:
        self.pool.check()
        held = Counter(page for pages in self.holders for page in pages)
        assert self.pool.free == SIZE - len(held)


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_page_cannot_be_freed_twice() -> None:
    pool = PagePool(2)
    pages = pool.take(1)
    assert pages is not None
    pool.release(pages)
    with pytest.raises(RuntimeError, match="freed twice"):
        pool.release(pages)


def test_a_free_page_cannot_be_shared() -> None:
    with pytest.raises(RuntimeError, match="is free"):
        PagePool(2).share([0])


def test_check_sees_a_leak() -> None:
    pool = PagePool(3)
    pool._free.pop()
    with pytest.raises(RuntimeError, match="leaked"):
        pool.check()

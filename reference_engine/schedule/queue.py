"""Who is next: fair between clients, first come first served within one.

Source: virtual token counters; Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024, arXiv 2401.00588.
"""

from collections import deque
from collections.abc import Iterator

from reference_engine.request import Request

OUTPUT_WEIGHT = 2  # an output token counts as two of the prompt, as in the paper
MOST_CLIENTS = 4096  # counters held before those that no longer matter are dropped


class FairQueue:
    """Waiting requests in one line per client. The client that was served least is next; one that comes back is lifted
    to the least of those that wait, so that nobody saves up service by staying away. Preempted requests stand before
    all lines: their service has been counted."""

    def __init__(self) -> None:
        self._returned: deque[Request] = deque()
        self._lines: dict[str, deque[Request]] = {}
        self._served: dict[str, int] = {}  # prompt tokens computed + OUTPUT_WEIGHT * output tokens
        self._last = ""  # the client whose line emptied last

    def __len__(self) -> int:
        return len(self._returned) + sum(map(len, self._lines.values()))

    def __bool__(self) -> bool:
        return bool(self._returned or self._lines)

    def __iter__(self) -> Iterator[Request]:
        yield from self._returned
        for line in self._lines.values():
            yield from line

    @property
    def head(self) -> Request | None:
        """Who is next; nobody passes."""
        if self._returned:
            return self._returned[0]
        lines = self._lines.items()
        return min(lines, key=lambda each: (self._served[each[0]], each[1][0].arrival))[1][0] if lines else None

    def push(self, request: Request) -> None:
        """At the end of its client's line."""
        if request.client not in self._lines:
            self._served[request.client] = max(self._served.get(request.client, 0), self._level())
            self._lines[request.client] = deque()
            self._prune()
        self._lines[request.client].append(request)

    def put_back(self, request: Request) -> None:
        """Before everybody: it had been admitted."""
        self._returned.appendleft(request)

    def remove(self, request: Request) -> None:
        """Out of wherever it waits. raises: ValueError when it does not."""
        if request in self._returned:
            self._returned.remove(request)
            return
        line = self._lines.get(request.client, deque())
        line.remove(request)
        if not line:
            del self._lines[request.client]
            self._last = request.client

    def charge(self, client: str, prompt_tok: int = 0, output_tok: int = 0) -> None:
        """Count what a client was served."""
        self._served[client] = self._served.get(client, 0) + prompt_tok + OUTPUT_WEIGHT * output_tok

    def rest(self) -> None:
        """Nobody waits and nobody runs: what was is forgotten."""
        self._served.clear()

    def _level(self) -> int:
        """The service from which a client that comes back starts."""
        if self._lines:
            return min(self._served[client] for client in self._lines)
        return self._served.get(self._last, 0)

    def _prune(self) -> None:
        """Drop counters that lifting would raise anyway: names come from outside, memory must not grow with them."""
        if len(self._served) > MOST_CLIENTS:
            level, lines = self._level(), self._lines
            self._served = {name: n for name, n in self._served.items() if n > level or name in lines}

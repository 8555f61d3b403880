"""Guesses at the next tokens, from the text itself: what followed the last time these words stood here.

A guess costs a row of the step and is checked by the model like any other token, so it can only save time, never
change an answer. Source: Saxena, "Prompt Lookup Decoding", 2023; checked exactly as in Leviathan et al.,
arXiv 2211.17192, where the draft is certain of its tokens.
"""

from collections.abc import Sequence

LONGEST, SHORTEST = 3, 2  # tokens that must have stood together before: one is too common, four are too rare
MOST_REST = 16  # steps; after so many without a guess a request that had no luck tries again


class PromptLookup:
    """The places of all short runs of tokens in one request's text, kept up as it grows; a dict lookup per guess.

    It guesses two tokens more when all were right, one more than were right, half as many when none was, and after two
    misses in a row it rests for a while, longer each time.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[int, ...], int] = {}  # a run of tokens: where the one after its last occurrence is
        self._read = 0  # runs that end before this place are known
        self._width, self._misses, self._rest = 2, 0, 0

    def propose(self, tokens: Sequence[int], most: int) -> tuple[int, ...]:
        """At most `most` tokens that may follow `tokens`; often none."""
        if self._rest > 0:
            self._rest -= 1
            return ()
        self._read_on(tokens)
        for length in range(LONGEST, SHORTEST - 1, -1):
            place = self._places.get(tuple(tokens[-length:])) if len(tokens) >= length else None
            if place is not None:
                period = len(tokens) - place  # a text that repeats itself will go on doing so
                return tuple(tokens[place + at % period] for at in range(min(self._width, most)))
        return ()

    def learn(self, drafted: int, accepted: int) -> None:
        """How the last guess went."""
        if accepted:
            self._width, self._misses = accepted + (2 if accepted == drafted else 1), 0
        else:
            self._width, self._misses = max(1, drafted // 2), self._misses + 1
            self._rest = min(2 ** (self._misses - 1), MOST_REST) if self._misses > 1 else 0

    def _read_on(self, tokens: Sequence[int]) -> None:
        """Note the runs that end before the last token: each of them is followed by one."""
        for place in range(max(self._read, SHORTEST), len(tokens)):
            for length in range(SHORTEST, min(LONGEST, place) + 1):
                self._places[tuple(tokens[place - length : place])] = place
        self._read = len(tokens)

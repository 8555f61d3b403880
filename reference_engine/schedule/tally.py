"""What the engine has done and what it has been spared, in tokens since it started."""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """generated_tok  tokens of answers
    prefix_tok     tokens not computed because a page with them was found
    drafted_tok    guesses that were computed
    accepted_tok   those that were right: tokens that cost no step of their own
    """

    generated_tok: int = 0
    prefix_tok: int = 0
    drafted_tok: int = 0
    accepted_tok: int = 0

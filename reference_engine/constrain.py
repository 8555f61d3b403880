"""Answers held to a JSON schema: before each draw, which tokens may come next. The grammar is llguidance's.

The state follows the request's own tokens, so drafts, preemption and the rest of the batch do not touch it.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from reference_engine.config import ModelSpec
from reference_engine.errors import RequestError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from tokenizers import Tokenizer as FastTokenizer

# Between the parts of a document; bounded, because a small model that may write blanks without end does.
BLANKS = r"[\x20\x0A\x0D\x09]{1,32}"
# Exactly the schema or nothing: no keyword is skipped, no oneOf is loosened, whatever the schema itself asks for.
EXACT = {"lenient": False, "coerce_one_of": False, "whitespace_pattern": BLANKS}
MOST_QUOTED = 400  # characters of the library's complaint that a refusal repeats
PARAM = "response_format"


class Grammars:
    """Makes constraints for one model. What the library needs of the vocabulary is built at the first use (~0.6 s for
    49,000 tokens) and kept."""

    def __init__(self, fast: "FastTokenizer", spec: ModelSpec) -> None:
        self._fast, self._spec = fast, spec

    def of_schema(self, schema: Mapping[str, Any] | bool) -> "GrammarConstraint":
        """A constraint at the beginning of its answer.

        raises: RequestError (400) with the library's words when it cannot do the schema, and all of it.
        """
        from llguidance import LLMatcher

        if not self._spec.eos_ids:
            raise _refused("this model has no end-of-sequence token that could end such an answer")
        try:
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=EXACT)  # type: ignore[arg-type]
        except ValueError as err:
            raise _refused(str(err)) from err
        matcher = LLMatcher(self._vocabulary, grammar, log_level=0)
        if complaint := matcher.get_error() or "; ".join(matcher.get_grammar_warnings()):
            raise _refused(complaint)
        return GrammarConstraint(matcher, self._spec)

    @cached_property
    def _vocabulary(self) -> "LLTokenizer":
        from llguidance import LLTokenizer

        try:
            return LLTokenizer(self._fast.to_str(), eos_token=list(self._spec.eos_ids))
        except ValueError as err:
            raise _refused(f"this model's tokenizer cannot be held to a schema: {err}") from err


class GrammarConstraint:
    """A `Constraint` by a grammar."""

    def __init__(self, matcher: "LLMatcher", spec: ModelSpec) -> None:
        self._matcher, self._spec, self._consumed = matcher, spec, 0
        self.error: str | None = None

    def fresh(self) -> "GrammarConstraint":
        """Another one at the beginning, for another answer; the schema is not compiled again."""
        matcher = self._matcher.deep_copy()
        matcher.reset()
        return GrammarConstraint(matcher, self._spec)

    def allowed(self, output: Sequence[int]) -> Tensor:
        """(vocab,) bool: the tokens that may follow `output`."""
        if len(output) > self._consumed:
            self._matcher.consume_tokens(list(output[self._consumed :]))
            self._consumed = len(output)
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = torch.from_numpy(np.unpackbits(packed, bitorder="little")).bool()
        allowed = torch.zeros(self._spec.vocab, dtype=torch.bool)  # rows past the tokenizer's tokens stand for nothing
        known = min(len(mask), len(allowed))
        allowed[:known] = mask[:known]
        if self._matcher.is_error() or not bool(allowed.any()):
            self.error = self._matcher.get_error()[:MOST_QUOTED] or "no token can follow"
            allowed.zero_()[list(self._spec.eos_ids)] = True
        return allowed


def _refused(why: str) -> RequestError:
    return RequestError(f"{PARAM}: this schema cannot be followed: {why[:MOST_QUOTED]}", "invalid_value", 400, PARAM)

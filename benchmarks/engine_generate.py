"""Runs as a process of its own: `transformers` generate in float32, the baseline and the reference for identity.

Takes one JSON order a line on stdin and answers each with one JSON line on stdout:
  {"render": [messages, ...]}                         -> {"texts": [...], "ids": [[...], ...]}
  {"generate": [[id, ...], ...], "batch": n, "output_tok": n} -> {"ids": [[...], ...], "texts": [...]}
  {"decode": [[id, ...], ...]}                        -> {"texts": [...]}
  {"differences": [{"prompt", "reference", "text"}]}  -> {"margins": [...]}: see `margin`
  {"self_error": [[id, ...], ...]}                    -> {"self_error": x}: see `self_error`
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reference_engine.model.dense import dense_logits, top2_margin
from reference_engine.model.load import Checkpoint, load


class Reference:
    """The float32 model behind `transformers`, and the same weights behind the dense oracle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.tokenizer.padding_side = "left"
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.model.generation_config.eos_token_id = None  # it goes on past the end token, as the servers do
        self.tokenizer.pad_token = self.tokenizer.eos_token
        self._checkpoint: Checkpoint | None = None

    def answer(self, order: dict[str, Any]) -> dict[str, Any]:
        """One order's answer."""
        if "render" in order:
            return self.render(order["render"])
        if "generate" in order:
            return self.generate(order["generate"], order["batch"], order["output_tok"])
        if "decode" in order:
            return {"texts": [self._text(ids) for ids in order["decode"]]}
        if "differences" in order:
            return {"margins": [self.margin(**one) for one in order["differences"]]}
        return {"self_error": self.self_error(order["self_error"])}

    def render(self, prompts: Sequence[Any]) -> dict[str, Any]:
        """Each prompt's messages through the model's template: as text, and as token ids."""
        texts = [self.tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
        return {"texts": texts, "ids": [self.tokenizer.encode(text, add_special_tokens=False) for text in texts]}

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], batch: int, output_tok: int) -> dict[str, Any]:
        """Greedy continuations of exactly `output_tok` tokens, `batch` prompts at a time, padded on the left."""
        found: list[list[int]] = []
        for first in range(0, len(prompts), batch):
            padded = self.tokenizer.pad({"input_ids": prompts[first : first + batch]}, return_tensors="pt")
            made = self.model.generate(
                **padded, max_new_tokens=output_tok, do_sample=False, pad_token_id=self.tokenizer.pad_token_id
            )
            found += made[:, padded["input_ids"].shape[1] :].tolist()
        return {"ids": found, "texts": [self._text(ids) for ids in found]}

    def margin(self, prompt: list[int], reference: list[int], text: str) -> float:
        """How firm the dense float32 choice was where `text` leaves the reference: its best logit less the second.

        Tokens without text of their own (the end token) do not show in `text`, so the place may be one of a few: the
        least firm of them counts.
        """
        shared = max(n for n in range(len(reference)) if text.startswith(self._text(reference[:n]).rstrip("\ufffd")))
        first = shared
        while first > 0 and self._text(reference[: first - 1]) == self._text(reference[:shared]):
            first -= 1
        logits = dense_logits(self.checkpoint, [*prompt, *reference[:shared]])
        return min(top2_margin(row) for row in logits[len(prompt) + first - 1 :])

    def self_error(self, sequences: Sequence[list[int]]) -> float:
        """The largest difference of any logit between the dense oracle in float32 and in float64: what the reference
        itself does not know."""
        doubles = {name: tensor.double() for name, tensor in self.checkpoint.tensors.items()}
        exact = replace(self.checkpoint, tensors=doubles)
        pairs = [(dense_logits(self.checkpoint, ids), dense_logits(exact, ids)) for ids in sequences]
        return max(float((a.double() - b).abs().max()) for a, b in pairs)

    @property
    def checkpoint(self) -> Checkpoint:
        if self._checkpoint is None:
            self._checkpoint = load(self.folder)
        return self._checkpoint

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def main() -> None:
    """Answer orders until stdin ends."""
    reference = Reference(Path(sys.argv[1]))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(reference.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

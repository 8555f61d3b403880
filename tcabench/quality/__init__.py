"""Is the answer what it claims to be? For now: its tokens, counted again with the model's own tokenizer."""

from tcabench.quality.recount import load_tokenizer, recount

__all__ = ["load_tokenizer", "recount"]

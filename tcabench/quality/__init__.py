"""Is the answer what it claims to be? Its tokens are counted again with the model's own tokenizer, and where
a workload states the right answers, outputs are graded (`grading`)."""

from tcabench.quality.recount import load_tokenizer, recount

__all__ = ["load_tokenizer", "recount"]

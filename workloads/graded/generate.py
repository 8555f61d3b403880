"""Writes prompts.jsonl of this folder, from the generator in `tcabench.quality.items`: `python generate.py`."""

from pathlib import Path

from tcabench.quality.items import build

if __name__ == "__main__":
    Path(__file__).with_name("prompts.jsonl").write_bytes(build())

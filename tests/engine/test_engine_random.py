"""Models of drawn weights: their shapes are those of the real ones, and nobody takes them for such."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reference_engine.errors import EngineError, ModelError
from reference_engine.model.device import choose_device
from reference_engine.model.random_weights import SHAPES, RandomModel, hashed, parse_random, random_tokenizer

REPO = Path(__file__).resolve().parents[2]
WORD = 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("shape", "millions"),
    [("smollm2-135m", 134.515), ("smollm2-360m", 361.821), ("smollm2-1.7b", 1711.376), ("llama-3.2-1b", 1235.814),
     ("llama-3.2-3b", 3212.750), ("llama-3.1-8b", 8030.261)],
)  # fmt: skip
def test_a_shape_has_as_many_weights_as_the_model_of_that_name(shape: str, millions: float) -> None:
    assert RandomModel(shape).values / 1e6 == pytest.approx(millions, abs=0.001)


def test_the_digest_is_of_no_file_and_of_its_own_seed() -> None:
    digests = {parse_random(f"random:{shape}{seed}").weights_sha256 for shape in SHAPES for seed in ("", ":0", ":7")}
    assert len(digests) == 2 * len(SHAPES)
    assert all(digest.startswith("random:") for digest in digests)
    assert str(parse_random("random:smollm2-135m:7")) == "random:smollm2-135m:7"


@pytest.mark.parametrize("name", ["random:", "random:gpt", "random:smollm2-135m:x", "random:smollm2-135m:-1"])
def test_what_is_no_shape_is_refused(name: str) -> None:
    with pytest.raises(ModelError):
        parse_random(name)


def test_the_hash_is_the_one_of_plain_arithmetic() -> None:
    def plain(place: int, key: int) -> int:
        word = place ^ key
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
            word = (word ^ (word >> shift)) * factor & WORD
        return (word >> 8) - (1 << 24 if word >> 31 else 0)

    for key in (0, 0xDEADBEEF):
        found = hashed(torch.arange(5000, dtype=torch.int32), key)
        assert found.tolist() == [plain(place, key) for place in range(5000)]


def test_the_tokenizer_reads_any_text_and_writes_any_token() -> None:
    tokenizer = random_tokenizer(RandomModel("llama-3.1-8b"))
    assert tokenizer.decode(tokenizer.encode("Grüße, 世界 <|end|>!", add_special=True)) == "Grüße, 世界 !"
    assert max(tokenizer.encode("Grüße <|end|>", add_special=True)) == 256
    assert tokenizer.fast.get_vocab_size() == 128_256
    assert tokenizer.decode([300, 128_255]) == " 12c 1f4ff"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused() -> None:
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    for asked in ("cuda", "cuda:1", "cuda:x", "tpu", "cpu:0"):
        with pytest.raises(EngineError, match=f"--device {asked}"):
            choose_device(asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_bfloat16_is_refused_on_the_cpu() -> None:
    command = [sys.executable, "-m", "reference_engine", "serve", "--port", "0", "--gpu-dtype", "bfloat16"]
    command += ["--model", "random:smollm2-135m"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(REPO)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "error[device]" in done.stderr

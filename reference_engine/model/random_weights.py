"""Models of a known shape whose weights are drawn: for power and speed where no weights can be fetched.

What such a model says means nothing, and no figure of quality may be taken from it. Its weights are the same on any
device: each is a hash of its place, rounded to bfloat16.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from reference_engine.config import Llama3Scaling, ModelSpec
from reference_engine.errors import ModelError
from reference_engine.model.device import check_room
from reference_engine.model.load import Checkpoint
from reference_engine.model.spec import expected_shapes
from reference_engine.model.tokenizer import Tokenizer, byte_alphabet

PREFIX = "random:"
STRIDE = {"cpu": 1 << 18, "cuda": 1 << 24}  # weights drawn at a time: what fits a cache; 64 MiB beside the model
END_ID, END = 256, "<|end|>"
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    + END
    + "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def _llama(hidden: int, layers: int, heads: tuple[int, int, int], mlp: int, tied: bool, factor: float) -> ModelSpec:
    scaling = Llama3Scaling(factor, low_freq_factor=1.0, high_freq_factor=4.0, original_context_tok=8192)
    return ModelSpec(
        128_256, hidden, layers, *heads, mlp, 1e-5, 500_000.0, scaling, 131_072, tied, False, False, None, (END_ID,)
    )


def _smollm2(hidden: int, layers: int, heads: tuple[int, int, int], mlp: int, theta: float) -> ModelSpec:
    return ModelSpec(49_152, hidden, layers, *heads, mlp, 1e-5, theta, None, 8192, True, False, False, None, (END_ID,))


# Source: config.json of HuggingFaceTB/SmolLM2-* and meta-llama/Llama-3.* on the Hugging Face hub; heads, KV heads and
# their width in brackets. `eos_ids` are those of the tokenizer below.
SHAPES = {
    "smollm2-135m": _smollm2(576, 30, (9, 3, 64), 1536, 100_000.0),
    "smollm2-360m": _smollm2(960, 32, (15, 5, 64), 2560, 100_000.0),
    "smollm2-1.7b": _smollm2(2048, 24, (32, 32, 64), 8192, 130_000.0),
    "llama-3.2-1b": _llama(2048, 16, (32, 8, 64), 8192, True, 32.0),
    "llama-3.2-3b": _llama(3072, 28, (24, 8, 128), 8192, True, 32.0),
    "llama-3.1-8b": _llama(4096, 32, (32, 8, 128), 14_336, False, 8.0),
}


@dataclass(frozen=True, slots=True)
class RandomModel:
    """A shape of `SHAPES` and the seed of its weights. Reads `random:llama-3.1-8b`, with `:7` behind it for seed 7."""

    shape: str
    seed: int = 0

    def __str__(self) -> str:
        return f"{PREFIX}{self.shape}" + (f":{self.seed}" if self.seed else "")

    @property
    def spec(self) -> ModelSpec:
        return SHAPES[self.shape]

    @property
    def weights_sha256(self) -> str:
        """A digest of the name, so spelled that nobody takes it for that of a file."""
        return PREFIX + sha256(f"{PREFIX}{self.shape}:{self.seed}".encode()).hexdigest()

    @property
    def values(self) -> int:
        """How many weights there are."""
        return sum(math.prod(shape) for shape in expected_shapes(self.spec).values())


def parse_random(name: str) -> RandomModel:
    """The model that `random:SHAPE` or `random:SHAPE:SEED` names.

    raises: ModelError (model-missing) for a shape that is not in the table or a seed that is no number.
    """
    shape, _, seed = name.removeprefix(PREFIX).partition(":")
    if shape not in SHAPES:
        raise ModelError(f"{name}: no shape {shape!r}; there are {', '.join(SHAPES)}", "model-missing")
    if seed and not (seed.isascii() and seed.isdigit()):
        raise ModelError(f"{name}: the seed {seed!r} is no whole number", "model-missing")
    return RandomModel(shape, int(seed or 0))


def random_checkpoint(model: RandomModel) -> Checkpoint:
    """All weights as float32 on the CPU. raises: ModelError (model-too-large)."""
    cpu = torch.device("cpu")
    check_room(4 * model.values, cpu, str(model))
    drawn = ((name, random_tensor(model, name, cpu)) for name in expected_shapes(model.spec))
    return replace(header(model), tensors={name: tensor.float() for name, tensor in drawn if tensor is not None})


def header(model: RandomModel) -> Checkpoint:
    """The checkpoint without its tensors."""
    return Checkpoint(Path(str(model)), model.spec, {}, None, model.weights_sha256)


def random_tensor(model: RandomModel, name: str, device: torch.device) -> Tensor | None:
    """The tensor `name`, bfloat16, made where it stays; None when the model has none of that name. Norms weigh 1; all
    else is uniform, with a variance of 1 / inputs, so that what comes out of a layer is as large as what goes in."""
    shape = expected_shapes(model.spec).get(name)
    if shape is None or len(shape) == 1:
        return None if shape is None else torch.ones(shape, dtype=torch.bfloat16, device=device)
    tensor = torch.empty(shape, dtype=torch.bfloat16, device=device)
    flat, bound, key = tensor.view(-1), math.sqrt(3 / shape[1]), crc32(f"{model.seed} {name}".encode())
    for at, size in _strides(tensor.numel(), STRIDE[device.type]):
        numbers = hashed(torch.arange(at, at + size, dtype=torch.int32, device=device), key)
        flat[at : at + size] = numbers.float() * (bound / 2**23)
    return tensor


def hashed(places: Tensor, key: int) -> Tensor:
    """Whole numbers from -2^23 to 2^23 - 1, spread evenly; changes `places`, which are int32 and not negative.

    Products wrap around, as they do in every machine's int32. Source: Wellons, hash-prospector, lowbias32.
    """
    places.bitwise_xor_(signed(key))
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        places.bitwise_xor_((places >> shift).bitwise_and_((1 << (32 - shift)) - 1)).mul_(signed(factor))
    return places >> 8


def signed(word: int) -> int:
    """The int32 of the same 32 bits."""
    return word - (1 << 32) if word >> 31 else word


def random_tokenizer(model: RandomModel) -> Tokenizer:
    """A token for each byte, one that ends an answer, and words that stand for all other ids and no text yields."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as FastTokenizer

    vocab = {symbol: byte for byte, symbol in byte_alphabet().items()}
    vocab |= {END: END_ID} | {f"Ġ{i:x}": i for i in range(END_ID + 1, model.spec.vocab)}
    fast = FastTokenizer(models.BPE(vocab=vocab, merges=[]))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens([AddedToken(END, normalized=False, special=True)])
    return Tokenizer(fast, None, {"eos_token": END}, TEMPLATE)


def _strides(count: int, size: int) -> Iterator[tuple[int, int]]:
    for at in range(0, count, size):
        yield at, min(size, count - at)

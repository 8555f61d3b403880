"""A small Llama with a choice of gate, its tokenizer, and both as a Hugging Face folder.

Most of its weights are in the MLPs, and these are wide: there a ReLU gate's zeros spare work, elsewhere they do not.
Source of ReLU in gated MLPs: Mirzadeh et al., ReLU Strikes Back, arXiv 2310.04564.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.relu_samples import Sample

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RELU, SILU = "relu", "silu"
END, USER, ASSISTANT = "<|end|>", "<|user|>", "<|assistant|>"
SPECIAL = (END, USER, ASSISTANT)  # tokens 0, 1 and 2
INIT_STD = 0.02
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}<|end|>"
    "{% else %}<|user|>{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of both twins. Embedding and head are one matrix."""

    hidden: int = 320
    layers: int = 4
    head_dim: int = 64
    mlp: int = 3072
    vocab: int = 2048
    context_tok: int = 512

    @property
    def mlp_weights(self) -> int:
        """Weights in the MLPs: gate, up and down."""
        return 3 * self.layers * self.hidden * self.mlp


def build(shape: Shape, gate: str, seed: int) -> Any:
    """A `LlamaForCausalLM` with drawn float32 weights. `gate` is the activation; it changes none of the weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = shape.hidden // shape.head_dim
    config = LlamaConfig(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.mlp, num_hidden_layers=shape.layers,
        num_attention_heads=heads, num_key_value_heads=heads, head_dim=shape.head_dim, hidden_act=gate,
        max_position_embeddings=shape.context_tok, tie_word_embeddings=True, initializer_range=INIT_STD,
        bos_token_id=None, eos_token_id=0, pad_token_id=None,
    )  # fmt: skip
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


@contextmanager
def gates(model: Any) -> Iterator[list[Tensor]]:
    """The list that each forward pass fills with the gates after their activation: by layer, (batch, tokens, mlp).

    Empty it between passes.
    """
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        seen.append(output)

    hooks = [layer.mlp.act_fn.register_forward_hook(keep) for layer in model.model.layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def train_tokenizer(samples: Iterable[Sample], vocab: int) -> "Tokenizer":
    """Byte-level BPE of `vocab` tokens, special ones and all bytes among them; digits stand alone."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    fast = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    fast.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(SPECIAL), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    fast.train_from_iterator((text for sample in samples for text in (sample.prompt, sample.text)), trainer)
    return fast


def document(fast: "Tokenizer", sample: Sample) -> tuple[list[int], int]:
    """Token ids of a sample as the chat template writes it, and at which of them the answer begins.

    Only an answer that is whole has an end token.
    """
    asked = f"{USER}{sample.prompt}{ASSISTANT}"
    prompt: list[int] = fast.encode(asked).ids
    answer: list[int] = fast.encode(sample.text + (END if sample.is_whole else "")).ids
    return prompt + answer, len(prompt)


def export(model: Any, fast: "Tokenizer", folder: Path) -> str:
    """Fill `folder` with what `transformers` and the engine load: weights in float32, configs and tokenizer.

    Answers the sha256 of the weights. raises: OSError when it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["LlamaForCausalLM"]
    model.save_pretrained(folder)
    fast.save(str(folder / "tokenizer.json"))
    fields = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.config.max_position_embeddings,
        "clean_up_tokenization_spaces": False, "eos_token": END, "chat_template": CHAT_TEMPLATE,
    }  # fmt: skip
    text = json.dumps(fields, indent=2)
    (folder / "tokenizer_config.json").write_text(f"{text}\n", "utf-8")
    return sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def chat_ids(fast: "Tokenizer", prompts: Sequence[str]) -> list[list[int]]:
    """Each prompt as a chat of one turn, up to where the answer begins."""
    return [fast.encode(f"{USER}{prompt}{ASSISTANT}").ids for prompt in prompts]

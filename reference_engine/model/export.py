"""Weights and tokenizer as a Hugging Face folder, so that another server can run the very same numbers."""

import json
from pathlib import Path
from typing import Any

from reference_engine.config import ModelSpec
from reference_engine.errors import ModelError
from reference_engine.model.load import Checkpoint
from reference_engine.model.tokenizer import Tokenizer


def export(checkpoint: Checkpoint, tokenizer: Tokenizer, folder: Path) -> Path:
    """`folder` filled with config.json, model.safetensors (float32) and the tokenizer's files.

    raises: ModelError for rotary factors that a config cannot express; OSError when it cannot be written.
    """
    from safetensors.torch import save_file

    if checkpoint.rope_factors is not None:
        raise ModelError(
            f"{checkpoint.source} lists rotary factors, which config.json has no field for", "model-unsupported"
        )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(checkpoint.tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder / "config.json", hf_config(checkpoint.spec))
    _write(folder / "generation_config.json", _generation(checkpoint.spec))
    _write(folder / "tokenizer_config.json", _tokenizer_config(checkpoint.spec, tokenizer))
    tokenizer.fast.save(str(folder / "tokenizer.json"))
    return folder


def hf_config(spec: ModelSpec) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": spec.rope_theta}
    if spec.rope_scaling is not None:
        rope |= {
            "rope_type": "llama3",
            "factor": spec.rope_scaling.factor,
            "low_freq_factor": spec.rope_scaling.low_freq_factor,
            "high_freq_factor": spec.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": spec.rope_scaling.original_context_tok,
        }
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": spec.vocab,
        "hidden_size": spec.hidden,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.kv_heads,
        "head_dim": spec.head_dim,
        "intermediate_size": spec.mlp,
        "hidden_act": spec.activation,
        "rms_norm_eps": spec.rms_eps,
        "rope_parameters": rope,
        "max_position_embeddings": spec.context_tok,
        "tie_word_embeddings": spec.tied,
        "attention_bias": spec.attention_bias,
        "mlp_bias": spec.mlp_bias,
        **_generation(spec),
    }


def _generation(spec: ModelSpec) -> dict[str, Any]:
    return {"bos_token_id": spec.bos_id, "eos_token_id": list(spec.eos_ids)}


def _tokenizer_config(spec: ModelSpec, tokenizer: Tokenizer) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": spec.context_tok,
        "clean_up_tokenization_spaces": False,
        **tokenizer.special,
    }
    if tokenizer.chat_template is not None:
        fields["chat_template"] = tokenizer.chat_template
    return fields


def _write(file: Path, fields: dict[str, Any]) -> None:
    file.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""The shape of a model, from a Hugging Face config or GGUF metadata. What the engine does not do is refused here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reference_engine.config import Llama3Scaling, ModelSpec
from reference_engine.errors import ModelError
from reference_engine.model.activation import HF_NAMES


def spec_from_hf(folder: Path) -> ModelSpec:
    """The `ModelSpec` of `folder`/config.json. raises: ModelError (model-missing, -damaged, -unsupported)."""
    config = read_json(folder / "config.json")
    where = str(folder / "config.json")
    _refuse_other_families(config, where)
    rope = _rope_parameters(config)
    generation = folder / "generation_config.json"
    eos = read_json(generation).get("eos_token_id") if generation.is_file() else None
    heads = _need(config, "num_attention_heads", where)
    try:
        return ModelSpec(
            vocab=_need(config, "vocab_size", where),
            hidden=_need(config, "hidden_size", where),
            layers=_need(config, "num_hidden_layers", where),
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            mlp=_need(config, "intermediate_size", where),
            rms_eps=float(_need(config, "rms_norm_eps", where)),
            rope_theta=float(rope.get("rope_theta", 10_000.0)),
            rope_scaling=_scaling(rope, where),
            context_tok=_need(config, "max_position_embeddings", where),
            tied=bool(config.get("tie_word_embeddings", False)),
            attention_bias=bool(config.get("attention_bias", False)),
            mlp_bias=bool(config.get("mlp_bias", False)),
            bos_id=config.get("bos_token_id"),
            eos_ids=_ids(eos if eos is not None else config.get("eos_token_id")),
            activation=HF_NAMES[config.get("hidden_act", "silu")],
        )
    except (TypeError, ValueError) as err:
        raise ModelError(f"{where} does not read: {err}", "model-damaged") from err


def spec_from_gguf(metadata: Mapping[str, Any], tied: bool, where: str) -> ModelSpec:
    """The `ModelSpec` of a GGUF's metadata; it has no key for the gate's activation, which is SiLU.

    raises: ModelError (model-damaged, model-unsupported).
    """
    family = metadata.get("general.architecture")
    if family != "llama":
        raise ModelError(f"{where} is a {family!r} model; the engine does the Llama family only", "model-unsupported")
    scaling = metadata.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise ModelError(f"{where} scales its rotary positions by {scaling!r}, which is not done", "model-unsupported")
    if metadata.get("llama.expert_count", 0):
        raise ModelError(f"{where} is a mixture of experts, which is not done", "model-unsupported")
    heads = _need(metadata, "llama.attention.head_count", where)
    hidden = _need(metadata, "llama.embedding_length", where)
    head_dim = metadata.get("llama.rope.dimension_count", hidden // heads)
    if metadata.get("llama.attention.key_length", head_dim) != head_dim:
        raise ModelError(f"{where} turns only part of each head, which is not done", "model-unsupported")
    return ModelSpec(
        vocab=len(_need(metadata, "tokenizer.ggml.tokens", where)),
        hidden=hidden,
        layers=_need(metadata, "llama.block_count", where),
        heads=heads,
        kv_heads=metadata.get("llama.attention.head_count_kv", heads),
        head_dim=head_dim,
        mlp=_need(metadata, "llama.feed_forward_length", where),
        rms_eps=_need(metadata, "llama.attention.layer_norm_rms_epsilon", where),
        rope_theta=metadata.get("llama.rope.freq_base", 10_000.0),
        rope_scaling=None,
        context_tok=_need(metadata, "llama.context_length", where),
        tied=tied,
        attention_bias=False,
        mlp_bias=False,
        bos_id=metadata.get("tokenizer.ggml.bos_token_id"),
        eos_ids=_ids(
            [metadata[k] for k in ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id") if k in metadata]
        ),
    )


def expected_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Every tensor that a model of this shape has, under its Hugging Face name."""
    q, kv = spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (spec.vocab, spec.hidden)}
    for i in range(spec.layers):
        at = f"model.layers.{i}."
        shapes |= {
            at + "input_layernorm.weight": (spec.hidden,),
            at + "post_attention_layernorm.weight": (spec.hidden,),
        }
        shapes |= _linear(at + "self_attn.q_proj", q, spec.hidden, spec.attention_bias)
        shapes |= _linear(at + "self_attn.k_proj", kv, spec.hidden, spec.attention_bias)
        shapes |= _linear(at + "self_attn.v_proj", kv, spec.hidden, spec.attention_bias)
        shapes |= _linear(at + "self_attn.o_proj", spec.hidden, q, spec.attention_bias)
        shapes |= _linear(at + "mlp.gate_proj", spec.mlp, spec.hidden, spec.mlp_bias)
        shapes |= _linear(at + "mlp.up_proj", spec.mlp, spec.hidden, spec.mlp_bias)
        shapes |= _linear(at + "mlp.down_proj", spec.hidden, spec.mlp, spec.mlp_bias)
    shapes["model.norm.weight"] = (spec.hidden,)
    if not spec.tied:
        shapes["lm_head.weight"] = (spec.vocab, spec.hidden)
    return shapes


def _linear(name: str, out: int, into: int, bias: bool) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if bias else {})


def _refuse_other_families(config: Mapping[str, Any], where: str) -> None:
    names = config.get("architectures") or []
    if names != ["LlamaForCausalLM"]:
        raise ModelError(f"{where} names {names}; the engine does LlamaForCausalLM only", "model-unsupported")
    if (act := config.get("hidden_act", "silu")) not in (*HF_NAMES,):
        raise ModelError(f"{where} asks for {act!r}; done are {', '.join(HF_NAMES)}", "model-unsupported")
    if config.get("quantization_config"):
        raise ModelError(f"{where} is quantised; only float weights are read from folders", "model-unsupported")


def _rope_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings in one dict; older configs keep the base apart from the scaling."""
    rope = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    if "rope_theta" in config:
        rope.setdefault("rope_theta", config["rope_theta"])
    return rope


def _scaling(rope: Mapping[str, Any], where: str) -> Llama3Scaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3":
        raise ModelError(f"{where} scales its rotary positions by {kind!r}; only llama3 is done", "model-unsupported")
    return Llama3Scaling(
        factor=float(_need(rope, "factor", where)),
        low_freq_factor=float(_need(rope, "low_freq_factor", where)),
        high_freq_factor=float(_need(rope, "high_freq_factor", where)),
        original_context_tok=int(_need(rope, "original_max_position_embeddings", where)),
    )


def _need(fields: Mapping[str, Any], key: str, where: str) -> Any:
    value = fields.get(key)
    if value is None:
        raise ModelError(f"{where} lacks {key}", "model-damaged")
    return value


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(dict.fromkeys(value)) if isinstance(value, list) else (int(value),)


def read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ModelError(f"{path} is missing; a model folder needs it", "model-missing") from err
    except (ValueError, UnicodeDecodeError) as err:
        raise ModelError(f"{path} is not JSON: {err}", "model-damaged") from err
    if not isinstance(fields, dict):
        raise ModelError(f"{path} is not a JSON object", "model-damaged")
    return fields

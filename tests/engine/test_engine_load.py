"""Reading weights: GGUF and folders give the same model, and files that are not right say so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reference_engine.errors import ModelError
from reference_engine.model.dense import dense_logits
from reference_engine.model.export import export
from reference_engine.model.gguf import GgufFile
from reference_engine.model.load import Checkpoint, load, weights_sha256
from reference_engine.model.pull import DEFAULT, digest
from reference_engine.model.tokenizer import Tokenizer

CheckpointOf = Callable[..., Checkpoint]
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers.": "blk.",
}


def permuted(weights: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """The row order llama.cpp's converter gives q and k."""
    return weights.reshape(heads, 2, -1, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def write_gguf(
    checkpoint: Checkpoint,
    file: Path,
    half: bool = False,
    packed: bool = False,
    extra: dict[str, np.ndarray[Any, Any]] | None = None,
    **changes: Any,
) -> Path:
    """The checkpoint as llama.cpp's converter would write it; `packed`: the layers' matrices as Q4_1."""
    from gguf import GGMLQuantizationType, GGUFWriter, quants

    spec = checkpoint.spec
    writer = GGUFWriter(file, changes.get("arch", "llama"))
    writer.add_block_count(spec.layers)
    writer.add_context_length(spec.context_tok)
    writer.add_embedding_length(spec.hidden)
    writer.add_feed_forward_length(spec.mlp)
    writer.add_head_count(spec.heads)
    writer.add_head_count_kv(spec.kv_heads)
    writer.add_rope_dimension_count(spec.head_dim)
    writer.add_rope_freq_base(spec.rope_theta)
    writer.add_layer_norm_rms_eps(spec.rms_eps)
    writer.add_token_list([f"t{i}" for i in range(spec.vocab)])
    writer.add_eos_token_id(256)
    if "scaling" in changes:
        writer.add_rope_scaling_type(changes["scaling"])
    for name, tensor in checkpoint.tensors.items():
        array = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:
            array = permuted(array, spec.heads if "q_proj" in name else spec.kv_heads)
        for theirs, ours in GGUF_NAMES.items():
            name = name.replace(theirs, ours)
        if packed and array.ndim == 2 and name.startswith("blk."):
            blocks = quants.quantize(np.ascontiguousarray(array), GGMLQuantizationType.Q4_1)
            writer.add_tensor(name, blocks, raw_dtype=GGMLQuantizationType.Q4_1)
            continue
        writer.add_tensor(name, array.astype(np.float16) if half and array.ndim == 2 else np.ascontiguousarray(array))
    for name, array in (extra or {}).items():
        writer.add_tensor(name, array)
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return file


def test_the_reader_agrees_with_gguf_on_every_field_and_kind_of_tensor(default_gguf: Path) -> None:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    ours, theirs = GgufFile(default_gguf), GGUFReader(default_gguf)
    fields = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert ours.metadata == fields
    assert set(ours.tensors) == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        if tensor.name.startswith("blk.") and not tensor.name.startswith(("blk.0.", "blk.29.")):
            continue  # every kind of tensor is in these two layers; the others cost time only
        assert np.array_equal(ours.floats(tensor.name), dequantize(tensor.data, tensor.tensor_type)), tensor.name


@pytest.mark.parametrize(
    "kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K", "BF16", "F16", "F32", "IQ4_XS"]
)
def test_every_block_format_reads_as_gguf_reads_it(tmp_path: Path, kind: str) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import dequantize, quant_shape_to_byte_shape

    quant, shape = GGMLQuantizationType[kind], (4, 512)
    raw = np.random.default_rng(0).integers(0, 60, quant_shape_to_byte_shape(shape, quant), dtype=np.uint8)
    writer = GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("t", raw, raw_dtype=quant)
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    assert np.array_equal(GgufFile(tmp_path / "x.gguf").floats("t"), dequantize(raw, quant).reshape(shape))


@pytest.mark.parametrize("tied", [True, False])
def test_gguf_and_source_are_the_same_model(checkpoint_of: CheckpointOf, tmp_path: Path, tied: bool) -> None:
    source = checkpoint_of(tied=tied)
    read = load(write_gguf(source, tmp_path / "m.gguf"))
    assert read.tensors.keys() == source.tensors.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in source.tensors.items())
    assert read.spec.tied is tied
    assert read.sha256 == digest(tmp_path / "m.gguf")


def test_half_precision_gguf(checkpoint_of: CheckpointOf, tmp_path: Path) -> None:
    source = checkpoint_of()
    read = load(write_gguf(source, tmp_path / "m.gguf", half=True))
    assert torch.allclose(dense_logits(read, [1, 2, 3]), dense_logits(source, [1, 2, 3]), atol=0.2)
    assert all(tensor.dtype == torch.float32 for tensor in read.tensors.values())


def test_rope_factors_of_a_gguf_slow_the_rotation(
    checkpoint_of: CheckpointOf, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    source = checkpoint_of()
    plain = load(write_gguf(source, tmp_path / "a.gguf", extra={"rope_freqs.weight": np.ones(4, np.float32)}))
    slowed = load(write_gguf(source, tmp_path / "b.gguf", extra={"rope_freqs.weight": np.full(4, 8, np.float32)}))
    ids = list(range(40))
    assert torch.equal(dense_logits(plain, ids), dense_logits(source, ids))
    assert not torch.allclose(dense_logits(slowed, ids), dense_logits(source, ids), atol=0.1)
    with pytest.raises(ModelError, match="rotary factors"):
        export(plain, tiny_tokenizer, tmp_path / "x")


@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_round_trips(
    checkpoint_of: CheckpointOf, tiny_tokenizer: Tokenizer, tmp_path: Path, tied: bool
) -> None:
    source = checkpoint_of(tied=tied)
    read = load(export(source, tiny_tokenizer, tmp_path))
    assert read.spec == source.spec
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in source.tensors.items())
    assert read.sha256 == digest(tmp_path / "model.safetensors")


def test_shards_and_bfloat16(tiny: Checkpoint, tiny_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tiny.tensors)
    halves = {"a.safetensors": names[:7], "b.safetensors": names[7:]}
    for file, part in halves.items():
        save_file({name: tiny.tensors[name].bfloat16() for name in part}, tmp_path / file)
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    read = load(tmp_path)
    assert all(torch.equal(read.tensors[name], tiny.tensors[name].bfloat16().float()) for name in names)
    assert read.sha256 == weights_sha256(tmp_path)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks b\.safetensors"):
        load(tmp_path)


def test_the_default_model_has_the_pinned_digest(default_gguf: Path, default_checkpoint: Checkpoint) -> None:
    assert default_checkpoint.sha256 == DEFAULT.gguf_sha256 == digest(default_gguf)
    assert default_gguf.stat().st_size == DEFAULT.gguf_bytes


CONFIG_REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "family": ({"architectures": ["GPT2LMHeadModel"]}, "model-unsupported", "LlamaForCausalLM only"),
    "activation": ({"hidden_act": "gelu"}, "model-unsupported", "asks for 'gelu'; done are silu, swish, relu, relu2"),
    "no activation": ({"hidden_act": ["silu"]}, "model-unsupported", "done are silu"),
    "quantised": ({"quantization_config": {"bits": 4}}, "model-unsupported", "quantised"),
    "rope": ({"rope_parameters": {"rope_type": "yarn", "factor": 2}}, "model-unsupported", "'yarn'"),
    "older rope": ({"rope_scaling": {"type": "linear"}, "rope_parameters": None}, "model-unsupported", "'linear'"),
    "missing field": ({"hidden_size": None}, "model-damaged", "lacks hidden_size"),
    "other shape": ({"intermediate_size": 50}, "model-damaged", "the config asks for"),
    "more layers": ({"num_hidden_layers": 3}, "model-damaged", "lacks 9 tensors"),
    "fewer layers": ({"num_hidden_layers": 1}, "model-unsupported", "9 tensors too many"),
}


@pytest.mark.parametrize(("change", "kind", "message"), CONFIG_REFUSALS.values(), ids=CONFIG_REFUSALS)
def test_a_config_that_is_not_done_is_refused(
    tiny_folder: Path, tmp_path: Path, change: dict[str, Any], kind: str, message: str
) -> None:
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message) as caught:
        load(tmp_path)
    assert caught.value.kind == kind


def test_folders_that_are_no_models(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a folder nor a file"):
        load(tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON"):
        load(tmp_path)
    shutil.copy(tiny_folder / "config.json", tmp_path)
    with pytest.raises(ModelError, match=r"holds no \*\.safetensors"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tiny_folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match="is damaged"):
        load(tmp_path)


def test_ggufs_that_are_not_llama(tiny: Checkpoint, tmp_path: Path) -> None:
    from gguf import RopeScalingType

    with pytest.raises(ModelError, match="'gpt2' model"):
        load(write_gguf(tiny, tmp_path / "a.gguf", arch="gpt2"))
    with pytest.raises(ModelError, match="'yarn', which is not done"):
        load(write_gguf(tiny, tmp_path / "b.gguf", scaling=RopeScalingType.YARN))
    with pytest.raises(ModelError, match=r"tensors of no Llama model: blk\.0\.ssm"):
        load(write_gguf(tiny, tmp_path / "c.gguf", extra={"blk.0.ssm.weight": np.ones(4, np.float32)}))


@pytest.mark.parametrize("keep", [0, 3, 4, 20, 900, 4000, 30_000])
def test_a_gguf_cut_anywhere_says_so(tiny: Checkpoint, tmp_path: Path, keep: int) -> None:
    whole = write_gguf(tiny, tmp_path / "m.gguf").read_bytes()
    assert keep < len(whole)
    (tmp_path / "cut.gguf").write_bytes(whole[:keep])
    with pytest.raises(ModelError, match=r"cut\.gguf") as caught:
        load(tmp_path / "cut.gguf")
    assert caught.value.kind == "model-damaged"

"""Text to token ids and back. A `tokenizer.json` is taken as it is; from a GGUF one is built once and cached."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reference_engine.errors import ModelError
from reference_engine.model.pull import cache_dir

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers.pre_tokenizers import PreTokenizer

BUILD = 1  # raise when `build_bpe` changes what it makes: cached files carry it in their name
CONTROL, USER_DEFINED = 3, 4  # token types, llama.cpp's llama_token_type
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DIGITS_THEN_BYTES = frozenset({"smollm", "starcoder", "refact", "codeshell"})
PLAIN_BYTES = frozenset({"gpt-2"})  # not "default": that is llama.cpp's guess for a model its converter did not know
LLAMA3 = frozenset({"llama-bpe", "llama3", "llama-v3"})


class Tokenizer:
    """Encodes prompts, decodes answers, and knows the bytes of each token.

    `special` maps bos_token, eos_token, unk_token, pad_token to their text (only those the model has).
    """

    def __init__(
        self, fast: "FastTokenizer", file: Path | None, special: Mapping[str, str], chat_template: str | None
    ) -> None:
        self.fast, self.file, self.special, self.chat_template = fast, file, dict(special), chat_template
        self._alphabet = {symbol: byte for byte, symbol in byte_alphabet().items()} if _is_byte_level(fast) else None

    def encode(self, text: str, add_special: bool) -> list[int]:
        """Token ids of `text`; `add_special` adds what the model wants at the start (a BOS, if any)."""
        ids: list[int] = self.fast.encode(text, add_special_tokens=add_special).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without control tokens; bytes that are no UTF-8 become U+FFFD."""
        text: str = self.fast.decode(list(ids), skip_special_tokens=True)
        return text

    def token_text(self, token: int) -> str:
        """What one token reads as alone (control tokens included)."""
        text: str = self.fast.decode([token], skip_special_tokens=False)
        return text

    def token_bytes(self, token: int) -> bytes:
        """The bytes one token stands for; control tokens stand for their name, ids past the vocabulary for nothing."""
        symbol: str | None = self.fast.id_to_token(token)
        if symbol is None:
            return b""
        if self._alphabet is not None:
            if all(char in self._alphabet for char in symbol):
                return bytes(self._alphabet[char] for char in symbol)
            return symbol.encode()
        if len(symbol) == 6 and symbol.startswith("<0x"):
            return bytes([int(symbol[3:5], 16)])
        return symbol.replace("▁", " ").encode()


def load_tokenizer(path: Path, digest: str) -> Tokenizer:
    """The tokenizer of the model at `path` (folder or GGUF); `digest` names the cached file of a GGUF.

    raises: ModelError (model-missing, model-damaged, tokenizer-unsupported).
    """
    return _from_folder(path) if path.is_dir() else _from_gguf(path, digest)


def build_bpe(metadata: Mapping[str, Any], where: str) -> "FastTokenizer":
    """Byte-level BPE from a GGUF's vocabulary and merges, split the way its `tokenizer.ggml.pre` names.

    Source of the splits: llama.cpp src/llama-vocab.cpp, llm_tokenizer_bpe. raises: ModelError.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models

    kind, tokens = metadata.get("tokenizer.ggml.model"), metadata["tokenizer.ggml.tokens"]
    if kind != "gpt2" or "tokenizer.ggml.merges" not in metadata:
        raise _unsupported(where, f"a {kind!r} vocabulary")
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    pre = metadata.get("tokenizer.ggml.pre", "default")
    vocab = {token: i for i, token in enumerate(tokens)}
    fast = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre in LLAMA3))
    fast.pre_tokenizer = _pre_tokenizer(pre, where)
    fast.decoder = decoders.ByteLevel()
    types = metadata.get("tokenizer.ggml.token_type", [0] * len(tokens))
    for kind, special in ((CONTROL, True), (USER_DEFINED, False)):
        added = [token for token, its in zip(tokens, types, strict=True) if its == kind]
        fast.add_tokens([AddedToken(token, normalized=False, special=special) for token in added])
    _add_bos(fast, metadata)
    return fast


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[int, str]:
    """byte -> the printable character that GPT-2's byte-level vocabularies write it as."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(rest)}


def _pre_tokenizer(name: str, where: str) -> "PreTokenizer":
    from tokenizers import Regex, pre_tokenizers

    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name in PLAIN_BYTES:
        return plain
    if name in DIGITS_THEN_BYTES:
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain])
    if name in LLAMA3:
        split = pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    raise _unsupported(where, f"the pre-tokenizer {name!r}")


def _add_bos(fast: "FastTokenizer", metadata: Mapping[str, Any]) -> None:
    if not metadata.get("tokenizer.ggml.add_bos_token", metadata.get("tokenizer.ggml.pre") in LLAMA3):
        return
    from tokenizers import processors

    bos = metadata["tokenizer.ggml.bos_token_id"]
    text = metadata["tokenizer.ggml.tokens"][bos]
    fast.post_processor = processors.TemplateProcessing(
        single=f"{text}:0 $A:0", pair=f"{text}:0 $A:0 {text}:1 $B:1", special_tokens=[(text, bos)]
    )


def _unsupported(where: str, what: str) -> ModelError:
    return ModelError(
        f"{where} has {what}, which is not rebuilt from GGUF. "
        "Name a Hugging Face folder instead: its tokenizer.json is taken as it is",
        "tokenizer-unsupported",
    )


def _from_gguf(path: Path, digest: str) -> Tokenizer:
    from tokenizers import Tokenizer as FastTokenizer

    from reference_engine.model.gguf import GgufFile

    metadata = GgufFile(path).metadata
    file = cache_dir() / f"tokenizer-{digest[:16]}-{BUILD}" / "tokenizer.json"
    if file.is_file():
        fast = _read(file)
    else:
        built = build_bpe(metadata, str(path))
        _keep(built, file)
        fast = FastTokenizer.from_str(built.to_str())
    tokens = metadata["tokenizer.ggml.tokens"]
    keys = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    ids = {name: metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in keys.items()}
    special = {name: tokens[i] for name, i in ids.items() if i is not None}
    return Tokenizer(fast, file, special, metadata.get("tokenizer.chat_template"))


def _keep(fast: "FastTokenizer", file: Path) -> None:
    """Write tokenizer.json in one stroke, so that a reader never meets half of it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".part-{os.getpid()}.json")
        fast.save(str(fresh))
        os.replace(fresh, file)
    except OSError as err:
        raise ModelError(
            f"{file} cannot be written: {err}. Set XDG_CACHE_HOME to a folder that can", "model-damaged"
        ) from err


def _from_folder(folder: Path) -> Tokenizer:
    from reference_engine.model.spec import read_json

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ModelError(f"{file} is missing; a model folder needs it", "model-missing")
    config_file = folder / "tokenizer_config.json"
    config = read_json(config_file) if config_file.is_file() else {}
    special = {}
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        value = config.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            special[name] = text
    template_file = folder / "chat_template.jinja"
    template = template_file.read_text(encoding="utf-8") if template_file.is_file() else _template(config)
    return Tokenizer(_read(file), file, special, template)


def _template(config: Mapping[str, Any]) -> str | None:
    """The chat template of a tokenizer_config.json; of several named ones, `default`."""
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        return named.get("default")
    return template if isinstance(template, str) else None


def _read(file: Path) -> "FastTokenizer":
    from tokenizers import Tokenizer as FastTokenizer

    try:
        fast = FastTokenizer.from_file(str(file))
    except Exception as err:  # the binding raises bare Exception
        raise ModelError(f"{file} is damaged: {err}", "model-damaged") from err
    fast.no_truncation()  # what was last set in training is kept in the file, and would cut or pad prompts in silence
    fast.no_padding()
    return fast


def _is_byte_level(fast: "FastTokenizer") -> bool:
    import json

    decoder = json.loads(fast.to_str()).get("decoder") or {}
    return any(part.get("type") == "ByteLevel" for part in (decoder, *decoder.get("decoders", ())))

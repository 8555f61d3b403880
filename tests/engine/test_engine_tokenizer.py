"""Tokens: the same as `transformers` makes of the same GGUF, and chats rendered as it renders them."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from reference_engine.errors import ModelError, RequestError
from reference_engine.model.chat import render_chat
from reference_engine.model.gguf import GgufFile
from reference_engine.model.tokenizer import Tokenizer, build_bpe, load_tokenizer

WORKLOADS = Path(__file__).resolve().parents[2] / "workloads"
ODD = [
    "",
    " ",
    "\n\n\t  x  \r\n",
    "It's we'll they'd I'M CAN'T",
    "naïve café — “quotes” … №5",
    "日本語のテキスト、中文文本 한국어",
    "😀👩‍👩‍👧‍👦🇩🇪 emoji",
    "def f(x):\n    return x ** 2  # comment",
    "<|im_start|>user\nhi<|im_end|>",
    "<|endoftext|><repo_name>",
    "٣٤٥ ½ Ⅷ ² m² 1²③ x½",
    "1 22 333 4444 3.14159 1,000,000 2026-11-23",
    "\u200bzero\u00a0width\ufeff",
    "a" * 300,
    "\x00\x01\x7f",
]


@pytest.fixture(scope="module")
def theirs(default_gguf: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(default_gguf.parent, gguf_file=default_gguf.name)


def texts() -> list[str]:
    """Odd ones, every prompt of every workload, and random pieces of Unicode without digits."""
    lines = [line for file in sorted(WORKLOADS.glob("*/prompts.jsonl")) for line in file.read_text().splitlines()]
    prompts = [message["content"] for line in lines for message in json.loads(line)["messages"]]
    draw = random.Random(7)
    letters = [chr(c) for c in range(32, 0x3000) if not chr(c).isnumeric()]
    return ODD + prompts + ["".join(draw.choices(letters, k=60)) for _ in range(200)]


def test_the_same_tokens_as_transformers(default_tokenizer: Tokenizer, theirs: Any) -> None:
    """`transformers` leaves the digit split out when it reads a GGUF, so this holds where there are no numerals."""
    plain = [text for text in texts() if not any(char.isnumeric() for char in text)]
    assert len(plain) > 300
    for text in plain:
        assert default_tokenizer.encode(text, add_special=True) == theirs(text)["input_ids"], text


def test_the_same_tokens_as_transformers_with_the_digit_split(default_tokenizer: Tokenizer, theirs: Any) -> None:
    """Given the pre-tokenizer the model was trained with, its tokenizer agrees on everything."""
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import pre_tokenizers

    split = FastTokenizer.from_str(theirs.backend_tokenizer.to_str())
    split.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)])
    for text in texts():
        assert default_tokenizer.encode(text, add_special=True) == split.encode(text).ids, text


def test_digits_stand_alone(default_tokenizer: Tokenizer) -> None:
    """The model was trained on numbers split into digits (llama.cpp's `smollm` pre-tokenizer)."""
    ids = default_tokenizer.encode("in 2026 and 10", add_special=False)
    assert [default_tokenizer.token_text(token) for token in ids] == ["in", " ", *"2026", " and", " ", *"10"]


def test_text_round_trips(default_tokenizer: Tokenizer) -> None:
    for text in texts():
        if "<|" not in text and "<repo" not in text:
            ids = default_tokenizer.encode(text, add_special=False)
            assert default_tokenizer.decode(ids) == text
            assert b"".join(map(default_tokenizer.token_bytes, ids)).decode() == text


def test_chats_are_rendered_as_transformers_renders_them(default_tokenizer: Tokenizer, theirs: Any) -> None:
    chats = [
        [{"role": "user", "content": "Hi"}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi\n"}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": " c "}],
    ]
    assert default_tokenizer.chat_template is not None
    for chat in chats:
        text = render_chat(default_tokenizer.chat_template, chat, default_tokenizer.special)
        assert text == theirs.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = theirs.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        assert default_tokenizer.encode(text, add_special=False) == ids


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}\n    {% if loop.first %}\n  [{{ m.content | trim }}]\n{% endif %}\n{% endfor %}\n",
        "{{ messages | tojson }} {{ messages | tojson(indent=2) }} <é & '>",
        "{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
        "{{ strftime_now('%Y') }}{{ eos_token }}{{ undefined_thing }}",
    ],
)
def test_template_features(theirs: Any, default_tokenizer: Tokenizer, template: str) -> None:
    chat = [{"role": "user", "content": " é < "}, {"role": "assistant", "content": "x"}]
    ours = render_chat(template, chat, default_tokenizer.special)
    assert ours == theirs.apply_chat_template(chat, chat_template=template, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{% if %}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
    ],
    ids=["raises", "syntax", "changes", "escapes"],
)
def test_a_template_that_refuses_or_misbehaves(template: str) -> None:
    with pytest.raises(RequestError, match="chat template refuses"):
        render_chat(template, [{"role": "user", "content": "x"}], {})


def test_the_built_tokenizer_is_kept(default_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = load_tokenizer(default_gguf, "ab" * 32)
    assert first.file is not None
    assert first.file.is_relative_to(tmp_path)
    written = first.file.stat()
    again = load_tokenizer(default_gguf, "ab" * 32)
    assert again.file == first.file
    assert (again.file.stat().st_ino, again.file.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert again.encode("in 2026", True) == first.encode("in 2026", True)


def changed(default_gguf: Path, **fields: Any) -> dict[str, Any]:
    renamed = {f"tokenizer.ggml.{key}": value for key, value in fields.items()}
    return {**GgufFile(default_gguf).metadata, **renamed}


@pytest.mark.parametrize(("pre", "pieces"), [("gpt-2", ["in", "Ġ2026"]), ("llama-bpe", ["in", "Ġ", "202", "6"])])
def test_other_splits(default_gguf: Path, pre: str, pieces: list[str]) -> None:
    fast = build_bpe(changed(default_gguf, pre=pre), "x")
    assert fast.pre_tokenizer is not None
    assert [piece for piece, _ in fast.pre_tokenizer.pre_tokenize_str("in 2026")] == pieces


def test_llama3_adds_its_bos(default_gguf: Path) -> None:
    fast = build_bpe(changed(default_gguf, pre="llama-bpe", add_bos_token=True), "x")
    assert fast.encode("hi").tokens[0] == "<|im_start|>"
    assert fast.encode("hi", add_special_tokens=False).tokens == ["hi"]


@pytest.mark.parametrize("fields", [{"pre": "tekken"}, {"pre": "default"}, {"model": "llama"}])
def test_tokenizers_that_are_not_rebuilt_name_the_way_out(default_gguf: Path, fields: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=r"Name a Hugging Face folder instead") as caught:
        build_bpe(changed(default_gguf, **fields), "x.gguf")
    assert caught.value.kind == "tokenizer-unsupported"


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        load_tokenizer(tmp_path, "")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is damaged"):
        load_tokenizer(tmp_path, "")


def test_byte_fallback_vocabularies(tmp_path: Path) -> None:
    """A SentencePiece-style tokenizer.json, as older Llamas carry."""
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import decoders, models

    vocab = {"<unk>": 0, "<0xC3>": 1, "<0xA9>": 2, "▁the": 3}
    fast = FastTokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>"))
    fast.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    fast.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path, "")
    assert [tokenizer.token_bytes(token) for token in (1, 2, 3, 99)] == [b"\xc3", b"\xa9", b" the", b""]
    assert tokenizer.decode([1, 2]) == "é"

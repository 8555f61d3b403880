"""The API as the real OpenAI client sees it, over loopback, on a tiny model."""

import json
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from reference_engine.model.dense import dense_logits
from reference_engine.model.load import Checkpoint
from reference_engine.model.tokenizer import Tokenizer

END_ID = 256
CHAT = [{"role": "user", "content": "hello"}]


def dense_answer(checkpoint: Checkpoint, prompt: list[int], n: int) -> list[int]:
    ids = list(prompt)
    for _ in range(n):
        ids.append(int(dense_logits(checkpoint, ids)[-1].argmax()))
    return ids[len(prompt) :]


@pytest.fixture(scope="module")
def prompt_ids(tiny_tokenizer: Tokenizer) -> list[int]:
    return tiny_tokenizer.encode("user:hello<|end|>a:", add_special=False)


def test_models(client: Any, tiny_server: Any) -> None:
    (listed,) = client.models.list().data
    assert (listed.id, listed.object) == ("tiny", "model")
    assert client.models.retrieve("tiny") == listed
    assert tiny_server.ready["model"] == "tiny"


def test_a_chat_is_the_dense_models_answer(
    ask: Callable[..., Any], tiny: Checkpoint, tiny_tokenizer: Tokenizer, prompt_ids: list[int]
) -> None:
    answer = ask()
    assert answer.choices[0].message.content == tiny_tokenizer.decode(dense_answer(tiny, prompt_ids, 12))
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "length"
    assert (answer.object, answer.model) == ("chat.completion", "tiny")
    usage = answer.usage.model_dump(exclude_none=True)
    assert 0 <= usage.pop("prompt_tokens_details")["cached_tokens"] < len(prompt_ids)  # others may have asked the same
    assert usage.pop("work")["done"]["macs"] > 0
    assert usage == {
        "prompt_tokens": len(prompt_ids),
        "completion_tokens": 12,
        "total_tokens": len(prompt_ids) + 12,
    }


def test_a_stream_says_the_same_one_token_a_chunk(ask: Callable[..., Any]) -> None:
    whole = ask(max_tokens=40)
    chunks = list(ask(max_tokens=40, stream=True, stream_options={"include_usage": True}))
    *tokens, last, usage = chunks
    assert len(tokens) == 40
    assert "".join(chunk.choices[0].delta.content for chunk in tokens) == whole.choices[0].message.content
    assert any(chunk.choices[0].delta.content == "" for chunk in tokens), (
        "no token waited for the rest of its character"
    )
    assert [chunk.choices[0].finish_reason for chunk in tokens] == [None] * 40
    assert tokens[0].choices[0].delta.role == "assistant"
    assert (last.choices[0].finish_reason, last.choices[0].delta.content) == ("length", None)
    assert (usage.choices, usage.usage) == ([], whole.usage)
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


def test_no_usage_chunk_unless_asked(ask: Callable[..., Any]) -> None:
    chunks = list(ask(stream=True))
    assert len(chunks) == 13
    assert all(chunk.usage is None for chunk in chunks)


def test_the_stream_as_bytes(tiny_server: Any) -> None:
    body = {"model": "tiny", "messages": CHAT, "max_tokens": 2, "stream": True, "ignore_eos": True}
    request = urllib.request.Request(
        tiny_server.url + "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = answer.read().decode().split("\n\n")
        name = answer.headers["x-request-id"]
    assert events[-2:] == ["data: [DONE]", ""]
    parsed = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert len(parsed) == 3
    assert {chunk["id"] for chunk in parsed} == {name}


def test_the_request_id_is_the_completion_id(client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(model="tiny", messages=CHAT, max_tokens=1)
    assert raw.headers["x-request-id"] == raw.parse().id


@pytest.mark.parametrize("stream", [False, True])
def test_the_end_token_ends_and_is_counted(
    serve: Any, checkpoint_of: Any, tiny_tokenizer: Tokenizer, prompt_ids: list[int], tmp_path: Any, stream: bool
) -> None:
    """The eos is the third token of the greedy answer here: three tokens are counted, two are shown."""
    from openai import OpenAI

    from reference_engine.model.export import export

    answer, at = dense_answer(checkpoint_of(), prompt_ids, 8), 2
    assert answer[at] not in answer[:at]
    ending = checkpoint_of(eos_ids=(answer[at],))
    with (
        serve(export(ending, tiny_tokenizer, tmp_path / "ending")) as served,
        OpenAI(base_url=served.url + "/v1", api_key="x") as client,
    ):
        fields: dict[str, Any] = {"model": "ending", "messages": CHAT, "temperature": 0, "stream": stream}
        if stream:
            fields["stream_options"] = {"include_usage": True}
        got = client.chat.completions.create(**fields)
        if stream:
            chunks = list(got)
            assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (at + 1) + ["stop"]
            text, usage = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]), chunks[-1].usage
        else:
            text, usage = got.choices[0].message.content, got.usage
            assert got.choices[0].finish_reason == "stop"
    assert text == tiny_tokenizer.decode(answer[:at])
    assert usage.completion_tokens == at + 1


def test_completions_of_text_and_of_tokens(
    client: Any, tiny: Checkpoint, tiny_tokenizer: Tokenizer, prompt_ids: list[int]
) -> None:
    wanted = tiny_tokenizer.decode(dense_answer(tiny, prompt_ids, 9))
    text = tiny_tokenizer.fast.decode(prompt_ids, skip_special_tokens=False)
    for prompt in (text, [text], prompt_ids, [prompt_ids]):
        answer = client.completions.create(
            model="tiny", prompt=prompt, max_tokens=9, temperature=0, extra_body={"ignore_eos": True}
        )
        assert answer.choices[0].text == wanted
        assert answer.object == "text_completion"
        assert answer.usage.prompt_tokens == len(prompt_ids)
    default = client.completions.create(model="tiny", prompt="x", temperature=0, extra_body={"ignore_eos": True})
    assert default.usage.completion_tokens == 16


def test_a_streamed_completion(client: Any) -> None:
    fields = {"model": "tiny", "prompt": "abc", "max_tokens": 9, "temperature": 0, "extra_body": {"ignore_eos": True}}
    whole = client.completions.create(**fields)
    chunks = list(client.completions.create(**fields, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage == whole.usage


@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_never_leak(ask: Callable[..., Any], stream: bool) -> None:
    text = ask(max_tokens=60).choices[0].message.content
    for at, size in ((1, 1), (5, 3), (9, 7)):
        stop = text[at : at + size]
        wanted = text[: text.index(stop)]
        got = ask(max_tokens=60, stop=["\x00never", stop], stream=stream)
        if stream:
            chunks = list(got)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == wanted
            assert chunks[-1].choices[0].finish_reason == "stop"
            assert all(wanted.startswith(chunk.choices[0].delta.content) for chunk in chunks[:1])
        else:
            assert got.choices[0].message.content == wanted
            assert got.choices[0].finish_reason == "stop"
            assert got.usage.completion_tokens < 60


def test_a_stop_given_as_text(ask: Callable[..., Any]) -> None:
    text = ask().choices[0].message.content
    assert ask(stop=text[3]).choices[0].message.content == text[: text.index(text[3])]


def test_seeds_hold_whatever_else_is_running(ask: Callable[..., Any]) -> None:
    wanted = {"temperature": 1.0, "top_p": 0.9, "seed": 42, "max_tokens": 24}
    alone = ask(**wanted).choices[0].message.content
    crowd = [threading.Thread(target=ask, kwargs={"temperature": 1.2, "max_tokens": 60}) for _ in range(6)]
    for thread in crowd:
        thread.start()
    assert ask(**wanted).choices[0].message.content == alone
    for thread in crowd:
        thread.join()
    assert ask(**(wanted | {"seed": 43})).choices[0].message.content != alone
    unseeded = {ask(temperature=1.0, max_tokens=24).choices[0].message.content for _ in range(3)}
    assert len(unseeded) == 3


def test_chat_logprobs(ask: Callable[..., Any], tiny: Checkpoint, prompt_ids: list[int]) -> None:
    tokens = dense_answer(tiny, prompt_ids, 12)
    rows = dense_logits(tiny, prompt_ids + tokens[:-1])[len(prompt_ids) - 1 :].log_softmax(-1)
    entries = ask(logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert len(entries) == 12
    for entry, token, row in zip(entries, tokens, rows, strict=True):
        assert entry.logprob == pytest.approx(float(row[token]), abs=1e-4)
        assert bytes(entry.bytes) == (bytes([token]) if token < END_ID else b"<|end|>")
        assert [top.logprob for top in entry.top_logprobs] == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)
    assert ask(logprobs=True).choices[0].logprobs.content[0].top_logprobs == []
    assert ask().choices[0].logprobs is None
    streamed = [chunk.choices[0].logprobs for chunk in ask(logprobs=True, top_logprobs=3, stream=True)]
    assert [part.content[0].token for part in streamed[:-1]] == [entry.token for entry in entries]


def test_completion_logprobs(client: Any) -> None:
    fields = {"model": "tiny", "prompt": "abc", "max_tokens": 9, "temperature": 0, "extra_body": {"ignore_eos": True}}
    choice = client.completions.create(**fields, logprobs=2).choices[0]
    assert len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs) == len(choice.logprobs.text_offset) == 9
    assert choice.logprobs.text_offset[0] == 0
    assert choice.logprobs.text_offset == sorted(choice.logprobs.text_offset)
    drawn = zip(choice.logprobs.tokens, choice.logprobs.token_logprobs, choice.logprobs.top_logprobs, strict=True)
    for token, logprob, top in drawn:  # greedy: the drawn token is the best of its two
        assert len(top) == 2
        assert top[token] == logprob == max(top.values())
    chunks = list(client.completions.create(**fields, logprobs=2, stream=True))[:-1]
    assert [chunk.choices[0].logprobs.text_offset[0] for chunk in chunks] == choice.logprobs.text_offset


def test_messages_may_come_in_parts(ask: Callable[..., Any]) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    assert ask([{"role": "user", "content": parts}]).choices[0].message.content == ask().choices[0].message.content


def test_values_that_ask_for_nothing_are_taken(client: Any) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=CHAT, max_completion_tokens=2, n=1, frequency_penalty=0, presence_penalty=0.0,
        logit_bias={}, response_format={"type": "text"}, user="me", stop=[], extra_body={"ignore_eos": True},
    )  # fmt: skip
    assert answer.usage.completion_tokens == 2


def test_several_choices(ask: Callable[..., Any]) -> None:
    wanted = {"n": 4, "temperature": 1.0, "seed": 9, "max_tokens": 20}
    whole = ask(**wanted)
    texts = [choice.message.content for choice in whole.choices]
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert len(set(texts)) == 4
    assert ask(**(wanted | {"n": 1})).choices[0].message.content == texts[0]
    assert whole.usage.completion_tokens == 80
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 80
    streamed, roles, ends, order = [""] * 4, [0] * 4, [""] * 4, []
    *chunks, usage = ask(**wanted, stream=True, stream_options={"include_usage": True})
    for chunk in chunks:
        (choice,) = chunk.choices
        order.append(choice.index)
        streamed[choice.index] += choice.delta.content or ""
        roles[choice.index] += choice.delta.role is not None
        ends[choice.index] = choice.finish_reason
    assert (streamed, roles, ends) == (texts, [1] * 4, ["length"] * 4)
    assert order != sorted(order), "the choices came one after the other"
    assert usage.usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_several_completions(client: Any) -> None:
    fields = {"model": "tiny", "prompt": "abc", "max_tokens": 9, "n": 2, "seed": 1, "logprobs": 1}
    whole = client.completions.create(**fields, extra_body={"ignore_eos": True})
    chunks = list(client.completions.create(**fields, stream=True, extra_body={"ignore_eos": True}))
    for choice in whole.choices:
        own = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == choice.index]
        assert "".join(part.text for part in own) == choice.text
        assert [part.logprobs.text_offset[0] for part in own[:-1]] == choice.logprobs.text_offset
        assert len(choice.logprobs.tokens) == 9


def test_bias_and_penalties_over_the_wire(ask: Callable[..., Any]) -> None:
    assert ask(logit_bias={"65": 100}).choices[0].message.content == "A" * 12
    varied = ask(logit_bias={str(ord(c)): 90 + i for i, c in enumerate("abc")}, frequency_penalty=2.0)
    assert set(varied.choices[0].message.content) == set("abc")
    entries = ask(logit_bias={"65": 100}, logprobs=True).choices[0].logprobs.content
    assert max(entry.logprob for entry in entries) < -0.01  # the model's own view of what it was made to say


def test_a_conversation(client: Any) -> None:
    """Turn by turn, streamed and not, each side seeing all that was said."""
    for stream in (False, True):
        messages: list[dict[str, str]] = [{"role": "system", "content": "be brief"}]
        prompts = []
        for turn in ("hello", "and then?", "thanks"):
            messages.append({"role": "user", "content": turn})
            fields: dict[str, Any] = {"model": "tiny", "messages": messages, "max_tokens": 10, "seed": 3}
            if stream:
                options = {"stream": True, "stream_options": {"include_usage": True}}
                *chunks, last = client.chat.completions.create(**fields, **options)
                text, usage = "".join(chunk.choices[0].delta.content or "" for chunk in chunks), last.usage
            else:
                answer = client.chat.completions.create(**fields)
                text, usage = answer.choices[0].message.content, answer.usage
            messages.append({"role": "assistant", "content": text})
            prompts.append(usage.prompt_tokens)
        assert prompts == sorted(set(prompts))


def test_a_conversation_of_the_async_client(tiny_server: Any) -> None:
    import asyncio

    from openai import AsyncOpenAI

    async def scene() -> tuple[list[str], str]:
        async with AsyncOpenAI(base_url=tiny_server.url + "/v1", api_key="x", max_retries=0) as client:
            fields: dict[str, Any] = {"model": "tiny", "messages": CHAT, "max_tokens": 12, "seed": 2}
            answers = await asyncio.gather(*(client.chat.completions.create(**fields) for _ in range(8)))
            stream = await client.chat.completions.create(**fields, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return [answer.choices[0].message.content for answer in answers], "".join(pieces)

    answers, streamed = asyncio.run(scene())
    assert answers == [streamed] * 8

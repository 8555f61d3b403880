"""What the API accepts. A field that would be ignored is refused; one that would change nothing may say so."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant"]


def _whole(text: str) -> str:
    """JSON can spell half of a surrogate pair, which is no text."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("it holds half of a surrogate pair")
    return text


Text = Annotated[str, AfterValidator(_whole)]
Positive = Annotated[int, Field(ge=1)]
Zero = Annotated[float, Field(ge=0, le=0)]
Stop = Annotated[Text, Field(min_length=1)]


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TextPart(Wire):
    type: Literal["text"]
    text: Text


class ChatMessage(Wire):
    role: Role
    content: Text | list[TextPart]

    def plain(self) -> dict[str, str]:
        """Role and text; the parts of a divided content are joined as they stand."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": text}


class StreamOptions(Wire):
    include_usage: bool = False


class TextFormat(Wire):
    type: Literal["text"]


class Common(Wire):
    """Fields that chat and completions share. The second block takes only the values that ask for nothing."""

    model: str
    max_tokens: Positive | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool = False

    n: Literal[1] | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    user: str | None = None

    def stops(self) -> tuple[str, ...]:
        """The stop strings as a tuple, whichever way they were given."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class ChatRequest(Common):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: TextFormat | None = None


class CompletionRequest(Common):
    """POST /v1/completions. `prompt` is one text or one list of token ids (or a list holding just one of them)."""

    prompt: Text | list[int] | list[Text] | list[list[int]]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None

"""What the API accepts. A field that would be ignored is refused; one that would change nothing may say so."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Role = Literal["system", "user", "assistant"]
MOST_CHOICES = 16
SEED_RANGE: dict[str, Any] = {"minimum": -(2**63), "exclusiveMaximum": 2**63}  # pydantic would write them as floats


def _whole(text: str) -> str:
    """JSON can spell half of a surrogate pair, which is no text."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("it holds half of a surrogate pair")
    return text


def _integral(value: object) -> object:
    """To JSON 3.0 is as good an integer as 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, AfterValidator(_whole)]
Integer = Annotated[int, BeforeValidator(_integral)]
Positive = Annotated[Integer, Field(ge=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Seed = Annotated[Integer, Field(ge=-(2**63), lt=2**63, json_schema_extra=SEED_RANGE)]
TokenId = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,8})$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
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


class JsonFormat(Wire):
    type: Literal["json_object"]


class NamedSchema(Wire):
    """`strict` changes nothing: every answer is held to the whole schema. A `description` would be shown to no model,
    so it is refused."""

    name: Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class SchemaFormat(Wire):
    type: Literal["json_schema"]
    json_schema: NamedSchema


Format = Annotated[TextFormat | JsonFormat | SchemaFormat, Field(discriminator="type")]


class Common(Wire):
    """Fields that chat and completions share. `user` names a client, for a fair share of the engine."""

    model: str
    max_tokens: Positive | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Seed | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool = False

    n: Annotated[Integer, Field(ge=1, le=MOST_CHOICES)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Annotated[dict[TokenId, Bias], Field(json_schema_extra={"additionalProperties": False})] | None = None
    user: Text | None = None

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
    top_logprobs: Annotated[Integer, Field(ge=0, le=20)] | None = None
    response_format: Format | None = None


class CompletionRequest(Common):
    """POST /v1/completions. `prompt` is one text or one list of token ids (or a list holding just one of them). `echo`
    with `logprobs` scores it: the answer begins with the prompt, each token but the first with its log-probability, and
    `max_tokens` may be 0. The last two fields take only the values that ask for nothing."""

    prompt: Text | list[int] | list[Text] | list[list[int]]
    max_tokens: Annotated[Integer, Field(ge=0)] | None = None
    logprobs: Annotated[Integer, Field(ge=0, le=5)] | None = None
    echo: bool | None = None
    best_of: Annotated[Integer, Field(ge=1, le=1)] | None = None
    suffix: None = None

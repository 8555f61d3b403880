"""Every error a caller of the engine may catch.

EngineError          `kind` is a stable name that scripts may match
├── ModelError       a model file is missing, damaged or of a kind the engine does not do
├── PullError        the default model could not be fetched
└── RequestError     a request is refused; carries the HTTP status and the OpenAI `param` and `code`
"""


class EngineError(Exception):
    """The root. The message says what, where and what to do."""

    def __init__(self, message: str, kind: str = "engine") -> None:
        super().__init__(message)
        self.kind = kind


class ModelError(EngineError):
    """kinds: model-missing, model-damaged, model-unsupported, tokenizer-unsupported."""


class PullError(EngineError):
    """kinds: pull-offline, pull-damaged, pull-pip, pull-disk."""


class RequestError(EngineError):
    """A request the engine does not serve. `kind` doubles as the OpenAI error `code`."""

    def __init__(self, message: str, kind: str, status: int = 400, param: str | None = None) -> None:
        super().__init__(message, kind)
        self.status, self.param = status, param

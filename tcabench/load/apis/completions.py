"""POST /completions, streaming. Chat messages are joined as plain text: this API knows no roles."""

from typing import Any

from tcabench.load.apis.events import Delta, envelope, first_choice, options, parsed
from tcabench.load.endpoint import Endpoint
from tcabench.records import Request


class CompletionsApi:
    path = "/completions"

    def body(self, request: Request, endpoint: Endpoint) -> dict[str, Any]:
        return {"prompt": "\n\n".join(m.content for m in request.messages), **options(request, endpoint)}

    def delta(self, payload: bytes) -> Delta:
        document = parsed(payload)
        choice = first_choice(document)
        if choice is None:
            return envelope(document, None, None)
        text, finish = choice.get("text"), choice.get("finish_reason")
        carries = isinstance(text, str) and (text or finish is None)
        return envelope(document, text if carries else None, finish)

"""Chat templates, rendered the way `transformers` renders them: sandboxed Jinja with the same settings and helpers."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from reference_engine.errors import RequestError

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.parser import Parser


class GenerationBlock(Extension):
    """`{% generation %}…{% endgeneration %}` marks the answer for training; here its body is rendered as it stands."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it as an instance attribute)

    def parse(self, parser: "Parser") -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def render_chat(template: str, messages: Sequence[Mapping[str, Any]], special: Mapping[str, str]) -> str:
    """The prompt text of `messages`, ending where the assistant's answer begins.

    raises: RequestError (invalid_messages) when the template refuses them.
    """
    try:
        return _compiled(template).render(messages=list(messages), add_generation_prompt=True, **special)
    except (TemplateError, TypeError, ValueError) as err:
        raise RequestError(
            f"the model's chat template refuses these messages: {err}", "invalid_messages", 400, "messages"
        ) from err


@lru_cache(maxsize=8)
def _compiled(template: str) -> "Template":
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, loopcontrols]
    )
    env.filters["tojson"] = _tojson
    env.globals["raise_exception"] = _raise
    env.globals["strftime_now"] = _strftime_now
    return env.from_string(template)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now(UTC).astimezone().strftime(form)


def _tojson(value: Any, **settings: Any) -> str:
    """Unlike Jinja's own `tojson` this escapes nothing for HTML."""
    return json.dumps(value, **({"ensure_ascii": False} | settings))

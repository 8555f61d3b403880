"""The doors: how YAML from outside becomes checked values. Every refusal is a UsageError with file, field and cure."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from tcabench.errors import UsageError

MAX_BYTES = 1_000_000


class Door(BaseModel):
    """A record as it stands in a file: nothing unknown, nothing converted, no NaN, not changed afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """SafeLoader that also refuses a key given twice, and aliases (nested, they grow without end)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed here", self.get_mark())
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(data: bytes, where: str) -> Any:
    """The one YAML document in `data` as plain values; `where` names the file in messages.

    raises: UsageError for anything that is not one well-formed document under 1 MB.
    """
    if len(data) > MAX_BYTES:
        raise UsageError(f"{where}: {len(data)} bytes; no such file is larger than {MAX_BYTES}")
    try:
        return yaml.load(data, _Loader)
    except (yaml.YAMLError, ValueError, IndexError, KeyError) as err:  # its constructors raise the latter two
        raise UsageError(f"{where}: not readable as YAML: {' '.join(str(err).split())}") from err
    except RecursionError as err:
        raise UsageError(f"{where}: nested too deeply") from err


def checked(model: type[M], data: object, where: str) -> M:
    """`data` as a `model`. raises: UsageError naming each wrong field (the first five) and what it should be."""
    try:
        return model.model_validate(data)
    except ValidationError as err:
        told = "; ".join(_told(model, e) for e in err.errors(include_url=False)[:5])
        raise UsageError(f"{where}: {told}") from err


def _told(model: type[BaseModel], error: ErrorDetails) -> str:
    """One pydantic error as "field: what is wrong"."""
    loc = error["loc"]
    field = ".".join(str(part) for part in loc)
    if error["type"] == "extra_forbidden":
        known = sorted(_fields_at(model, loc[:-1]))
        close = get_close_matches(str(loc[-1]), known, n=1)
        return f"{field}: unknown key; " + (f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}")
    message = error["msg"].removeprefix("Value error, ")
    got = error["input"]
    shown = f" (got {got!r})" if isinstance(got, str | int | float) and error["type"] != "value_error" else ""
    return f"{field}: {message}{shown}" if field else f"{message}{shown}"


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    """The keys a record knows at `path` inside `model`."""
    for part in path:
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        if field is not None:
            model = next(_models_in(field.annotation), model)
    return {f.alias or n for n, f in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every record class inside a type such as `list[Prompt] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for arg in get_args(annotation):
        yield from _models_in(arg)

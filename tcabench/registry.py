"""How a named thing is found: a built-in table of "module:Attr" strings plus an entry-point group."""

from difflib import get_close_matches
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any

from tcabench.errors import PluginError


class Registry:
    """Things of one kind. Nothing is imported until it is named; two things of one name are an error."""

    def __init__(self, kind: str, group: str, builtin: dict[str, str]) -> None:
        self.kind, self.group, self.builtin = kind, group, builtin

    def table(self) -> dict[str, str]:
        """Every known name -> "module:Attr". raises: PluginError on a name clash."""
        table = dict(self.builtin)
        for point in entry_points(group=self.group):
            if point.name in table:
                raise PluginError(f"two {self.kind}s are named {point.name!r}: {table[point.name]} and {point.value}")
            table[point.name] = point.value
        return table

    def load(self, name: str) -> Any:
        """The object behind `name`. raises: PluginError, naming what is known or why it does not load."""
        table = self.table()
        if name not in table:
            close = get_close_matches(name, table, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise PluginError(f"no {self.kind} {name!r}.{hint} Known: {', '.join(sorted(table))}")
        try:
            return resolve_name(table[name])
        except (ImportError, AttributeError) as err:
            raise PluginError(f"{self.kind} {name!r} ({table[name]}) does not load: {err}") from err

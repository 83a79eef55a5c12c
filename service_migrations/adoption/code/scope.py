"""Where a name of a team's code is looked up: a module, perhaps inside a function or a class of settings."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from service_migrations.adoption.code.modules import Module, assigned
from service_migrations.adoption.code.variables import Text, env_nested_delimiter, env_prefix

__all__ = ["Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a name is looked up.

    Attributes:
        module: the module.
        values: what the functions or the class around the name assign, the innermost first.
        owner: the class around it.
        arguments: those of the function around it.
        seen: of a name that is given several values, the one that is being read.
        depth: how many expressions it is inside of.
        prefix: what stands before the variables of settings that are a field of other ones.
        delimiter: what stands between the names of such fields; empty where the class is read by its own variables.

    """

    module: Module
    values: tuple[Mapping[str, list[ast.expr]], ...] = ()
    owner: ast.ClassDef | None = None
    arguments: Mapping[str, Text] = field(default_factory=dict)
    seen: Mapping[tuple[int, str], int] = field(default_factory=dict)
    depth: int = 0
    prefix: str = ""
    delimiter: str = ""

    def inside(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> "Scope":
        """Return the scope of a function's body."""
        return replace(self, values=(assigned(function.body), *self.values), depth=self.depth + 1)

    def of_field(self, owner: ast.ClassDef, name: str, inner: "Scope") -> "Scope":
        """Return the scope of the class of a field, such as ``db`` of ``settings.db.url``."""
        delimiter = self.delimiter or env_nested_delimiter(owner)
        prefix = self.prefix if self.delimiter else env_prefix(owner)
        return replace(inner, prefix=f"{prefix}{name}{delimiter}", delimiter=delimiter) if delimiter else inner

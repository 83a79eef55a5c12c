"""The statements of a revision that its service's driver won't take, found in the file before an upgrade meets them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from service_migrations.history.files.parsing import parse
from service_migrations.history.sql.reached import reached
from service_migrations.monorepo import Service
from service_migrations.sql.asyncpg_refusals import SETTING, refusal

__all__ = ["refused"]

_EXECUTES = ("execute", "exec_driver_sql", "scalar", "scalars", "text")
_OF_PSYCOPG2 = ("copy_expert", "copy_from", "copy_to", "mogrify")


def refused(service: Service, path: str, *, down: bool = False) -> Iterator[tuple[int, str]]:
    """Yield line and reason of each statement in a revision's file that asyncpg certainly refuses.

    Args:
        service: with another driver, nothing is refused.
        path: the file, relative to the top level.
        down: whether it is its downgrade that will run.

    """
    if service.driver != "asyncpg":
        return
    try:
        tree = parse((service.root / Path(path)).read_bytes())
    except (OSError, SyntaxError, ValueError):  # reported where it is imported
        return
    constants = _constants(tree)
    typed = _typed_texts(tree)
    reasons: dict[int, str] = {}
    outer: dict[ast.AST, int] = {}  # a statement is on the line of the call that sends it, as where it is rendered
    for node in reached(tree, "downgrade" if down else "upgrade"):
        if isinstance(node, ast.Call):
            line = outer.get(node, node.lineno)
            if _name(node) in _EXECUTES:
                outer |= {inner: line for argument in node.args for inner in ast.walk(argument)}
            if reason := _reason(node, constants, is_typed=typed is None or node in typed):
                reasons.setdefault(line, reason)
    yield from sorted(reasons.items())


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _reason(call: ast.Call, constants: dict[str, str], *, is_typed: bool) -> str | None:
    name = _name(call)
    if isinstance(call.func, ast.Attribute) and name in _OF_PSYCOPG2:
        return f"asyncpg's cursors have no {name}(). For this revision, {SETTING}."
    if name not in _EXECUTES or not call.args:
        return None
    first = call.args[0]
    text = first.value if isinstance(first, ast.Constant) else constants.get(getattr(first, "id", ""))
    if not isinstance(text, str):
        return None
    return refusal(
        text,
        has_parameters=len(call.args) > 1,
        is_expanded=name != "text" or "expanding" in constants,
        is_typed=is_typed,
        has_names=name == "text" or getattr(getattr(call.func, "value", None), "id", "") == "op",  # not of a cursor
    )


def _typed_texts(tree: ast.Module) -> set[ast.AST] | None:
    """Return what ``bindparams()`` may give types to; None where that is a name, and so may be each text."""
    typed: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "bindparams":
            texts = [part for part in ast.walk(node.func.value) if isinstance(part, ast.Call) and _name(part) == "text"]
            if not texts:
                return None
            typed.update(texts)
    return typed


def _constants(tree: ast.Module) -> dict[str, str]:
    """Return the texts that are assigned once to a name; and the name ``expanding``, where it is an argument."""
    constants: dict[str, str] = {}
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if isinstance(value, str) and name not in names:
                constants[name] = value
            else:
                constants.pop(name, None)
            names.add(name)
        elif isinstance(node, ast.keyword) and node.arg == "expanding":
            constants["expanding"] = ""
    return constants

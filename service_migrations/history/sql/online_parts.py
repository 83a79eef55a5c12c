"""Whether a revision does something else with a connection than without one: then its SQL offline isn't all of it.

``if not context.is_offline_mode():`` and ``if op.get_context().as_sql: return`` raise no error without a connection,
also in a module that the revision calls, and a ``try`` hides that of a query. So nothing else shows that a part is
missing.
"""

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import currentframe
from types import FrameType
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext

from service_migrations.history.files.parsing import tree_of

__all__ = ["online_part", "questions_seen"]

_MODES = ("as_sql", "is_offline_mode")
_CONNECTIONS = ("get_bind", "bind", "connection")
"""What has no rows offline."""

_NOT_ASKING = ("alembic", "service_migrations")
"""Packages that ask and write the same."""

_ASKED = "service_migrations_asked"


def online_part(source: bytes, function: str) -> int | None:
    """Return the line on which a revision asks whether it has a connection, or may hide that; None where it doesn't.

    Args:
        source: the revision file.
        function: the one that is run; the other of ``upgrade`` and ``downgrade`` isn't read.

    """
    if not any(word.encode() in source for word in (*_MODES, *_CONNECTIONS)):
        return None
    other = "downgrade" if function == "upgrade" else "upgrade"
    for definition in tree_of(source).body:
        if isinstance(definition, ast.FunctionDef) and definition.name == other:
            continue
        nodes = list(ast.walk(definition))
        names = _MODES + (_CONNECTIONS if any(isinstance(node, ast.Try) for node in nodes) else ())
        lines = [int(getattr(node, "lineno", 0)) for node in nodes if _name(node) in names]
        if lines := [*lines, *_asked_of_none(nodes)]:
            return lines[0]
    return None


@contextmanager
def questions_seen(context: MigrationContext, path: str, asked: Callable[[int], None]) -> Iterator[None]:
    """Call a function with each line of a revision that asks whether it has a connection, or that calls what asks.

    Args:
        context: Alembic's, in offline mode.
        path: the file of the revision.
        asked: gets the number of the line.

    """

    def note(frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_filename != path:
            frame = frame.f_back
        if frame is not None:
            asked(frame.f_lineno)

    environment = context.environment_context
    context.opts[_ASKED] = note
    context.__class__ = _SeenContext
    if environment is not None:
        environment.context_opts[_ASKED] = note
        environment.__class__ = _SeenEnvironment
    try:
        yield
    finally:
        context.__class__ = MigrationContext
        del context.opts[_ASKED]
        if environment is not None:
            environment.__class__ = EnvironmentContext
            environment.context_opts.pop(_ASKED, None)


class _SeenContext(MigrationContext):
    """Alembic's context of a run, which reports who asks whether it is offline."""

    @property
    def as_sql(self) -> bool:
        _report(self.opts, currentframe())
        return bool(self.__dict__["as_sql"])

    @as_sql.setter
    def as_sql(self, value: bool) -> None:
        self.__dict__["as_sql"] = value


class _SeenEnvironment(EnvironmentContext):
    """Alembic's context of an environment, which reports who asks whether it is offline."""

    def is_offline_mode(self) -> bool:
        _report(self.context_opts, currentframe())
        return super().is_offline_mode()


def _report(options: dict[str, Any], method: FrameType | None) -> None:
    """Report a question, by the frame of the method that answers it; Alembic's module ``context`` passes it on."""
    frame = method and method.f_back
    while frame is not None and frame.f_globals.get("__name__") == "alembic.context":
        frame = frame.f_back
    package = str(frame.f_globals.get("__name__")).partition(".")[0] if frame else ""
    if package not in _NOT_ASKING:
        options[_ASKED](frame)


def _asked_of_none(nodes: list[ast.AST]) -> Iterator[int]:
    """Yield the lines on which a connection, which is None offline, is compared with None or is a condition itself."""
    kept = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _is_connection(node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in nodes:
        conditions: list[ast.expr] = []
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            conditions = [node.test]
        elif isinstance(node, ast.BoolOp):
            conditions = node.values
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            conditions = [node.operand]
        elif isinstance(node, ast.Compare) and any(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops):
            conditions = [node.left]
        if any(_is_connection(condition, kept) for condition in conditions):
            yield int(getattr(node, "lineno", 0))


def _is_connection(node: ast.expr, kept: set[str]) -> bool:
    function = node.func if isinstance(node, ast.Call) else node
    return _name(function) in _CONNECTIONS or (isinstance(node, ast.Name) and node.id in kept)


def _name(node: ast.AST) -> str:
    """Return the name of an attribute or a function; of variables, only what can be imported counts."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) and node.id in (*_MODES, "get_bind") else ""

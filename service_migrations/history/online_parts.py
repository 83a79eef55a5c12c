"""Whether a revision does something else with a connection than without one: then its SQL offline isn't all of it.

``if not context.is_offline_mode():`` and ``if op.get_context().as_sql: return`` raise no error without a connection,
and a ``try`` hides that of a query, so nothing else shows that a part is missing.
"""

import ast

from service_migrations.history.files.parsing import parse

__all__ = ["online_part"]

_MODES = ("as_sql", "is_offline_mode")
_CONNECTIONS = ("get_bind", "bind", "connection")
"""What has no rows offline."""


def online_part(source: bytes, function: str) -> int | None:
    """Return the line on which a revision asks whether it has a connection, or may hide that; None where it doesn't.

    Args:
        source: the revision file.
        function: the one that is run; the other of ``upgrade`` and ``downgrade`` isn't read.

    """
    if not any(word.encode() in source for word in (*_MODES, *_CONNECTIONS)):
        return None
    other = "downgrade" if function == "upgrade" else "upgrade"
    for definition in parse(source).body:
        if isinstance(definition, ast.FunctionDef) and definition.name == other:
            continue
        nodes = list(ast.walk(definition))
        names = _MODES + (_CONNECTIONS if any(isinstance(node, ast.Try) for node in nodes) else ())
        for node in nodes:
            if _name(node) in names:
                return int(getattr(node, "lineno", 0))
    return None


def _name(node: ast.AST) -> str:
    """Return the name of an attribute or a function; of variables, only what can be imported counts."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) and node.id in (*_MODES, "get_bind") else ""

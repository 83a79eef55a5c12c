"""The texts of a revision file, also those that are put together when it runs."""

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from service_migrations.sql.dynamic import UNKNOWN

__all__ = ["constants", "text_of"]

_PERCENT = re.compile(r"%(\(\w+\))?[-#0 +]*[\d.*]*[diouxXeEfFgGcrsa]")
_BRACES = re.compile(r"(?<!\{)\{[^{}]*\}(?!\})")


def text_of(node: ast.AST | None, parts: set[int], names: Mapping[str, str] | None = None) -> str | None:
    """Return the text of an expression that puts strings together; None of any other. Other parts are UNKNOWN.

    Args:
        node: the expression.
        parts: gets the expressions that are in the text.
        names: the texts of names, for the parts.

    """
    text: str | None = None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.JoinedStr):
        text = _joined("", node.values, parts, names)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [_part(side, parts, names) for side in (node.left, node.right)]
        text = None if sides == [None, None] else "".join(UNKNOWN if side is None else side for side in sides)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        if (pattern := text_of(node.left, parts, names)) is not None:
            text = _PERCENT.sub(UNKNOWN, pattern).replace("%%", "%")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        text = _called(node.func.attr, text_of(node.func.value, parts, names), node.args, parts, names)
    if text is not None:
        parts.add(id(node))
    return text


def _called(
    method: str, text: str | None, arguments: Sequence[ast.expr], parts: set[int], names: Mapping[str, str] | None
) -> str | None:
    """Return the text of a method of a string."""
    if text is None:
        return None
    if method == "format":
        return _BRACES.sub(UNKNOWN, text).replace("{{", "{").replace("}}", "}")
    if method == "join" and arguments and isinstance(arguments[0], ast.List | ast.Tuple):
        return _joined(text, arguments[0].elts, parts, names)
    if method == "join":
        of_each = getattr(arguments[0], "elt", None) if arguments else None
        return _joined(text, [of_each] * 2, parts, names)
    return text


def _joined(separator: str, nodes: Sequence[ast.AST | None], parts: set[int], names: Mapping[str, str] | None) -> str:
    texts = (_part(node, parts, names) for node in nodes)
    return separator.join(UNKNOWN if text is None else text for text in texts)


def _part(node: ast.AST | None, parts: set[int], names: Mapping[str, str] | None) -> str | None:
    """Return the text of a part; that of a name counts only here, since its own line has it too."""
    if isinstance(node, ast.FormattedValue):
        node = node.value
    return (names or {}).get(node.id) if isinstance(node, ast.Name) else text_of(node, parts, names)


def constants(tree: ast.Module) -> dict[str, str]:
    """Return the names that a file gives to one text each."""
    bound: dict[str, str] = {}
    times: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            times[node.id] += 1
        elif isinstance(node, ast.arg):
            times[node.arg] += 1
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if isinstance(node.value.value, str):
                bound |= {target.id: node.value.value for target in targets if isinstance(target, ast.Name)}
    return {name: text for name, text in bound.items() if times[name] == 1}

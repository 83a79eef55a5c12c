"""Where a team's code chooses: two texts of which a condition takes one have no certain text.

But where the condition only asks whether a variable is set, the other text is its default.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from service_migrations.adoption.code.modules import assigned
from service_migrations.adoption.code.variables import Text, Variable, constant, literal

__all__ = ["chosen", "conditional", "joined_branches", "returned"]

_Read = Callable[[ast.expr | None], Text | None]


def chosen(node: ast.IfExp, read: _Read) -> Text | None:
    """Return the text of ``body if test else orelse``; None where it isn't certain.

    Args:
        node: the expression.
        read: returns the text of an expression.

    """
    body, orelse = read(node.body), read(node.orelse)
    if body is None or orelse is None:
        # a choice without a text is one that isn't certain
        is_uncertain = isinstance(node.orelse if orelse is None else node.body, ast.IfExp)
        return None if is_uncertain else orelse if body is None else body
    if body == orelse:
        return body
    asked = _asked(node.test, read)
    for text, other in ((body, orelse), (orelse, body)):
        if asked & _names(text):
            first = text[0]
            if len(text) == 1 and isinstance(first, Variable) and first.default is None:
                return (replace(first, default=literal(other)),)
            return text
    return None


def conditional(nodes: Sequence[ast.AST]) -> dict[int, ast.expr]:
    """Return what stands for the last value of a name that an ``if`` assigns, by the value's ``id``.

    The other value is that of the other branch, or without one that which the name had before.
    """
    choices: dict[int, ast.expr] = {}
    for node in reversed(nodes):  # those inside of others first
        if isinstance(node, ast.If) and node.orelse:
            _note(choices, node.test, assigned(node.body), assigned(node.orelse))
        before: dict[str, list[ast.expr]] = {}
        for statement in getattr(node, "body", None) or () if isinstance(node, ast.stmt | ast.mod) else ():
            values = assigned([statement])
            if isinstance(statement, ast.If) and not statement.orelse:
                _note(choices, statement.test, before, values, is_second=True)
            before |= values
    return choices


def _note(
    choices: dict[int, ast.expr],
    test: ast.expr,
    first: Mapping[str, list[ast.expr]],
    second: Mapping[str, list[ast.expr]],
    *,
    is_second: bool = False,
) -> None:
    """Note the choice between the last values of names; the second is taken where the test is true, if *is_second*."""
    for name in first.keys() & second.keys():
        chosen, other = (choices.get(id(values[name][-1]), values[name][-1]) for values in (first, second))
        choice = ast.IfExp(test, other, chosen) if is_second else ast.IfExp(test, chosen, other)
        choices[id(second[name][-1])] = ast.copy_location(choice, other)


def joined_branches(nodes: Sequence[ast.AST], given: Sequence[ast.expr]) -> list[ast.expr]:
    """Return the values that are left of those that are given one after the other.

    Of the values in both branches of an ``if`` the choice is left, and so of one in an ``if`` and of that before it.
    A later value of the same block takes the place of those before it.
    """
    left_by_id: dict[int, ast.expr] = {}
    for node in reversed(nodes):  # those inside of others first
        if isinstance(node, ast.If) and node.orelse:
            first, second = (_inside([*branch], given) for branch in (node.body, node.orelse))
            if first and second:
                body, orelse = (left_by_id.get(id(values[-1]), values[-1]) for values in (first, second))
                choice = ast.copy_location(ast.IfExp(node.test, body, orelse), body)
                left_by_id |= dict.fromkeys(map(id, (*first, *second)), choice)
        if isinstance(node, ast.stmt | ast.mod):
            _join_block(left_by_id, getattr(node, "body", ()), given)
    return list({id(value): value for value in (left_by_id.get(id(each), each) for each in given)}.values())


def _join_block(left_by_id: dict[int, ast.expr], block: Sequence[ast.stmt], given: Sequence[ast.expr]) -> None:
    """Note the value that is left of those in a block of statements; a function's are given when it is called."""
    before: list[ast.expr] = []
    for statement in block:
        inside = _inside([statement], given)
        if not inside or isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        left = left_by_id.get(id(inside[-1]), inside[-1])
        if isinstance(statement, ast.If) and not (statement.orelse and all(_branches(statement, given))):
            if before and not statement.orelse:
                former = left_by_id.get(id(before[-1]), before[-1])
                left = ast.copy_location(ast.IfExp(statement.test, left, former), left)
            else:
                before += inside
                continue
        before += inside
        left_by_id |= dict.fromkeys(map(id, before), left)


def _branches(statement: ast.If, given: Sequence[ast.expr]) -> tuple[list[ast.expr], list[ast.expr]]:
    return _inside(statement.body, given), _inside(statement.orelse, given)


def _inside(branch: Sequence[ast.stmt], given: Sequence[ast.expr]) -> list[ast.expr]:
    inside = {id(node) for statement in branch for node in ast.walk(statement)}
    return [value for value in given if id(value) in inside]


def returned(function: ast.FunctionDef | ast.AsyncFunctionDef, read: _Read) -> Text | None:
    """Return the text of what a function returns; None where a condition chooses among several."""
    nodes = sorted((node for node in ast.walk(function) if isinstance(node, ast.Return)), key=lambda node: node.lineno)
    texts = [text for node in nodes if (text := read(node.value)) is not None]
    if len(set(texts)) < 2:  # noqa: PLR2004 - two are several
        return next(iter(texts), None)
    tests = list(_tests(function, nodes))
    asked = {name for test in tests for name in _asked(test, read)}
    return next((text for text in texts if not tests or asked & _names(text)), None)


def _tests(function: ast.AST, returns: Sequence[ast.Return]) -> Iterator[ast.expr]:
    """Yield the conditions on which a function returns."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and any(item in returns for item in (*node.body, *node.orelse)):
            yield node.test


def _asked(test: ast.expr, read: _Read) -> set[str]:
    """Return the variables that a condition asks for, by their names or by what has them."""
    names: set[str] = set()
    for node in ast.walk(test):
        if text := constant(node) if isinstance(node, ast.expr) else None:
            names.add(text)
        elif isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            names |= _names(read(node) or ())
    return names


def _names(text: Text) -> set[str]:
    return {part.name for part in text if isinstance(part, Variable)}

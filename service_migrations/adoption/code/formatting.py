"""The text of an expression that fills others in: an f-string, ``%``, ``format()``, ``replace()``, and a URL of parts.

Each function takes the one that reads the text of an expression inside.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence

from service_migrations.adoption.code.modules import keyword
from service_migrations.adoption.code.variables import Text, Variable, constant, literal

__all__ = ["built", "cased", "formatted", "joined", "percent", "replaced"]

_Read = Callable[[ast.expr | None], Text | None]

_PARTS: Mapping[str, tuple[str, ...]] = {
    "user": ("username", "user"),
    "password": ("password",),
    "host": ("host", "hostname"),
    "port": ("port",),
    "database": ("database", "path"),
}
"""The arguments of ``URL.create`` of SQLAlchemy and yarl, and of ``build`` of pydantic's URLs."""


def joined(nodes: Sequence[ast.expr], read: _Read) -> Text | None:
    """Return the texts of expressions as one."""
    texts = [read(node) for node in nodes]
    return None if None in texts else tuple(part for text in texts if text for part in text)


def percent(template: str | None, node: ast.expr, read: _Read) -> Text | None:
    """Return the text of ``template % node``."""
    if template is None:
        return None
    if isinstance(node, ast.Dict):
        keys = [constant(key) for key in node.keys]
        values = dict(zip(keys, node.values, strict=True))
        pieces = re.split(r"%\((\w+)\)s", template)
        return _filled(pieces, [values.get(name) for name in pieces[1::2]], read)
    if "%(" in template:
        pieces = re.split(r"%\((\w+)\)s", template)
        return _filled(pieces, [_item(node, name) for name in pieces[1::2]], read)
    arguments = node.elts if isinstance(node, ast.Tuple) else [node]
    texts = re.split(r"%[sd]", template)
    if len(texts) != len(arguments) + 1:
        return None
    return _filled([piece for text in texts for piece in (text, "")][:-1], list(arguments), read)


def formatted(node: ast.Call, read: _Read) -> Text | None:
    """Return the text of ``"…".format(…)``."""
    template = literal(read(_object(node)))
    if template is None:
        return None
    pieces = re.split(r"\{(\w*)[^{}]*\}", template)
    named = {item.arg: item.value for item in node.keywords if item.arg}
    unpacked = next((item.value for item in node.keywords if item.arg is None), None)
    arguments: list[ast.expr | None] = []
    positional: list[ast.expr | None] = [*node.args]
    for count, name in enumerate(pieces[1::2]):
        if name and not name.isdecimal():
            arguments.append(named.get(name) or _item(unpacked, name))
        else:
            index = int(name or count)
            arguments += positional[index : index + 1] or [None]
    return _filled(pieces, arguments, read)


def replaced(node: ast.Call, read: _Read) -> Text | None:
    """Return the text of ``text.replace(before, after)``."""
    before, after = (literal(read(argument)) for argument in node.args[:2])
    text = read(_object(node))
    if text is None or before is None or after is None:
        return text
    return tuple(part.replace(before, after) if isinstance(part, str) else part for part in text)


def cased(node: ast.Call, read: _Read) -> Text | None:
    """Return the text of ``text.upper()`` or ``text.lower()``; the latter is taken for what a variable's value has."""
    text, method = read(_object(node)), getattr(node.func, "attr", "")
    if text is None or (method == "upper" and literal(text) is None):
        return None
    return tuple(getattr(part, method)() if isinstance(part, str) else part for part in text)


def built(node: ast.Call, read: _Read) -> Text | None:
    """Return the URL of ``URL.create(…)`` or ``PostgresDsn.build(…)``."""
    scheme = keyword(node, "drivername", "scheme") or next(iter(node.args), None)
    texts = {part: read(keyword(node, *names)) for part, names in _PARTS.items()}
    given = [part for part, names in _PARTS.items() if keyword(node, *names) is not None]
    scheme_text = read(scheme)
    if scheme_text is None or any(texts[part] is None for part in given) or "host" not in given:
        return None
    database = texts["database"] or ()
    if database and isinstance(database[0], str):
        database = (database[0].removeprefix("/"), *database[1:])
    result: list[str | Variable] = [*scheme_text, "://", *(texts["user"] or ())]
    result += [":", *(texts["password"] or ())] if texts["password"] else []
    result += ["@", *(texts["host"] or ())] if texts["user"] else [*(texts["host"] or ())]
    result += [":", *(texts["port"] or ())] if texts["port"] else []
    return tuple(part for part in (*result, "/", *database) if part != "")


def _object(node: ast.Call) -> ast.expr | None:
    return node.func.value if isinstance(node.func, ast.Attribute) else None


def _filled(pieces: list[str], arguments: list[ast.expr | None], read: _Read) -> Text | None:
    """Return texts with those of expressions between them: the pieces in odd places are the names of those."""
    texts = [read(argument) for argument in arguments]
    if None in texts:
        return None
    result: list[str | Variable] = []
    for index, piece in enumerate(pieces):
        result += (texts[index // 2] or ()) if index % 2 else [piece]
    return tuple(part for part in result if part != "")


def _item(owner: ast.expr | None, name: str) -> ast.expr | None:
    """Return the expression of an item of a mapping: ``os.environ["NAME"]`` of ``**os.environ``."""
    return None if owner is None else ast.Subscript(owner, ast.Constant(name), ast.Load())

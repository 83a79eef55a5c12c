"""The SQL of downgrades, which the ledger keeps: a database can be taken back to a revision without the files.

It is rendered in offline mode before an upgrade runs. A downgrade that can't be rendered, or that mustn't be kept, is
left out, and never stops the upgrade.
"""

import ast
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from service_migrations.history.offline import Rendered, pending, render
from service_migrations.history.revisions import History
from service_migrations.settings.sources import Sources

__all__ = ["rendered_downgrades"]

log = logging.getLogger(__name__)

_LARGEST = 64 * 1024
"""Characters of one downgrade: the ledger is no archive of data."""
_MOST = 10
"""Downgrades of one upgrade, the newest: rendering takes 1 ms each, and nobody goes back over hundreds."""
_SHORTEST_SECRET = 8

_SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|(?:^|_)KEY|DSN|URL", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"://[^:/@\s]*:([^@\s]+)@")
_SECRET_STATEMENT = re.compile(
    r"\b(?:CREATE|ALTER)\s+(?:ROLE|USER|GROUP|SUBSCRIPTION|SERVER)\b|\bPASSWORD\s*=|\bPASSWORD\s+'|://[^:/@\s]*:[^@\s]+@",
    re.IGNORECASE,
)
"""Statements that may hold a password: those on roles, user mappings, servers and subscriptions, and any URL."""

_TRUSTED = ("alembic", "sqlalchemy", "service_migrations")
_PURE = ("bool", "dict", "enumerate", "float", "int", "len", "list", "max", "min", "range", "repr", "set", "sorted",
         "str", "sum", "tuple", "zip")  # fmt: skip


def rendered_downgrades(history: History, current: tuple[str, ...], target: str, sources: Sources) -> dict[str, str]:
    """Return the SQL of downgrades by revision, as JSON with one text for each statement.

    The functions are run without a database, so only those are rendered that certainly do nothing else than to emit
    SQL. The caller holds the process lock.

    Args:
        history: the history.
        current: the revisions of the database.
        target: that of the upgrade.
        sources: the settings, whose passwords aren't kept.

    """
    try:
        root = history.service.root
        newest = pending(history, current, target)[-_MOST:]
        plain = tuple(revision for revision in newest if _is_plain(root / revision.path))
        if not plain:
            return {}
        rendered = render(history, plain, down=True, strict=False)
        secrets = _secrets(history, sources)
    except Exception:
        log.debug("%s: no downgrade is kept", history.service, exc_info=True)
        return {}
    texts = {result.revision.revision: _text(result, secrets) for result in rendered}
    return {revision: text for revision, text in texts.items() if text}


def _text(rendered: Rendered, secrets: frozenset[str]) -> str:
    """Return the SQL of a downgrade; empty where it isn't kept."""
    statements = [piece.sql for piece in rendered.pieces]
    text = json.dumps(statements, ensure_ascii=False)
    is_whole = rendered.error is None and rendered.irreversible is None
    if not is_whole or any(piece.is_transaction for piece in rendered.pieces) or len(text) > _LARGEST:
        return ""
    sql = "\n".join(statements)
    if "\0" in sql or _SECRET_STATEMENT.search(sql) or any(secret in sql for secret in secrets):
        return ""
    return text


def _secrets(history: History, sources: Sources) -> frozenset[str]:
    """Return the values of settings and of the environment that may be secret."""
    values = {key: [value] for key, value in os.environ.items()}
    collected = sources.collect(history.service)
    for key, layers in collected.items():
        values.setdefault(key, []).extend(setting.value for setting in layers)
    found = {value for key, texts in values.items() if _SECRET_NAME.search(key) for value in texts}
    found |= {setting.value for layers in collected.values() for setting in layers if setting.kind == "password"}
    found |= {unquote(password) for value in found for password in _URL_PASSWORD.findall(value)}
    return frozenset(value for value in found if len(value) >= _SHORTEST_SECRET)


def _is_plain(path: Path) -> bool:
    """Whether the downgrade of a file certainly does nothing else than to emit SQL.

    It calls functions of Alembic, SQLAlchemy and this library, and those of Python that have no effect.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    trusted: set[str] = set(_PURE)
    others: set[str] = set()
    for node in tree.body:
        names = trusted if _is_trusted_import(node) else others
        names.update(_bound(node))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "downgrade"]
    return len(functions) == 1 and all(_is_plain_node(node, trusted, others) for node in ast.walk(functions[0]))


def _is_trusted_import(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return all(alias.name.partition(".")[0] in _TRUSTED for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _TRUSTED


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top of a module gives to modules, functions and classes."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name


def _is_plain_node(node: ast.AST, trusted: set[str], others: set[str]) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.While | ast.Await | ast.Yield | ast.YieldFrom | ast.Lambda):
        return False
    if not isinstance(node, ast.Call):
        return True
    function: ast.expr = node.func
    if isinstance(function, ast.Name):
        return function.id in trusted
    while isinstance(function, ast.Attribute | ast.Call | ast.Subscript):
        function = function.func if isinstance(function, ast.Call) else function.value
    return not isinstance(function, ast.Name) or function.id not in others

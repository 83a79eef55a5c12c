"""The SQL of downgrades, which the ledger keeps: a database can be taken back to a revision without the files.

It is rendered in offline mode before an upgrade runs. A downgrade that can't be rendered, or that mustn't be kept, is
left out, and never stops the upgrade.
"""

import json
import logging
import os
import re
from collections.abc import Sequence
from urllib.parse import unquote

from sqlalchemy import MetaData

from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History
from service_migrations.history.sql.offline import Rendered, render
from service_migrations.ledger.plain_code import is_plain
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


def rendered_downgrades(
    history: History, revisions: Sequence[Revision], sources: Sources, metadata: MetaData
) -> dict[str, str]:
    """Return the SQL of downgrades by revision, as JSON with one text for each statement.

    The functions are run without a database, so only those are rendered that certainly do nothing else than to emit
    SQL. The caller holds the process lock.

    Args:
        history: the history.
        revisions: those that the upgrade runs, oldest first.
        sources: the settings, whose passwords aren't kept.
        metadata: that of the models.

    """
    try:
        root = history.service.root
        plain = tuple(revision for revision in revisions[-_MOST:] if is_plain(root / revision.path))
        if not plain:
            return {}
        rendered = render(history, plain, down=True, strict=False, metadata=metadata)
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
    is_whole = rendered.is_whole and rendered.irreversible is None
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
    secrets = {value for key, texts in values.items() if _SECRET_NAME.search(key) for value in texts}
    secrets |= {setting.value for layers in collected.values() for setting in layers if setting.kind == "password"}
    secrets |= {unquote(password) for value in secrets for password in _URL_PASSWORD.findall(value)}
    return frozenset(value for value in secrets if len(value) >= _SHORTEST_SECRET)

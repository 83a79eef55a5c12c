"""The warnings of squawk, a linter for migrations, about locks and rewrites in SQL.

squawk is a program of its own: where it is missing or fails, the plan has a finding about that instead of its warnings.
"""

import asyncio
import json
import os
import shutil
import sysconfig
from asyncio.subprocess import PIPE
from dataclasses import dataclass

from service_migrations.plan.classes import Class

__all__ = ["SquawkError", "SquawkWarning", "squawk"]

_TIMEOUT = 30.0
"""Seconds that squawk may take; it needs milliseconds."""

_CLASSES = {
    **dict.fromkeys(
        (
            "adding-field-with-default",
            "adding-foreign-key-constraint",
            "adding-not-nullable-field",
            "adding-required-field",
            "adding-serial-primary-key-field",
            "ban-alter-domain-with-add-constraint",
            "changing-column-type",
            "constraint-missing-not-valid",
            "disallowed-unique-constraint",
            "require-concurrent-index-creation",
            "require-concurrent-reindex",
        ),
        Class.LOCKS,
    ),
    **dict.fromkeys(
        (
            "ban-drop-column",
            "ban-drop-database",
            "ban-drop-domain",
            "ban-drop-schema",
            "ban-drop-table",
            "ban-drop-type",
            "ban-truncate-cascade",
        ),
        Class.DESTRUCTIVE,
    ),
    **dict.fromkeys(("renaming-column", "renaming-table"), Class.BREAKING),
}
"""The class of a rule. All other rules are reported without a class."""

_IGNORED = frozenset(
    {
        "ban-char-field",
        "ban-uncommitted-transaction",
        "require-enum-value-ordering",
        "require-lock-timeout",  # every run has one, see settings.py
        "require-statement-timeout",
        "require-timeout-settings",
        "transaction-nesting",
    }
)
"""Rules about taste or about what every run does anyway; those that begin with ``prefer-`` are left out too."""


class SquawkError(Exception):
    """squawk is missing, or failed."""


@dataclass(frozen=True, slots=True)
class SquawkWarning:
    """A warning of squawk; the line counts from 1, until it is the index of another line."""

    rule: str
    message: str
    line: int
    kind: Class | None


async def squawk(sql: str, server_version: str) -> list[SquawkWarning]:
    """Return the warnings of squawk about SQL; statements between BEGIN and COMMIT are in a transaction.

    Args:
        sql: the SQL.
        server_version: such as ``16.4``; the locks of a statement depend on it.

    Raises:
        SquawkError: squawk is missing, or failed.

    """
    program = shutil.which("squawk", path=sysconfig.get_path("scripts")) or shutil.which("squawk")
    if program is None:
        raise SquawkError("squawk isn't installed (the package is squawk-cli)")
    # without --config it would look for .squawk.toml in every parent folder
    options = ("--reporter", "json", "--config", os.devnull, "--pg-version", server_version)
    try:
        process = await asyncio.create_subprocess_exec(program, *options, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    except OSError as error:
        raise SquawkError(f"squawk doesn't start: {error.strerror}") from error
    try:
        out, err = await asyncio.wait_for(process.communicate(sql.encode(errors="replace")), _TIMEOUT)
        warnings = json.loads(out)
        # its reporter counts lines from 0
        return [
            SquawkWarning(
                warning["rule_name"],
                " ".join(warning["message"].split()),
                warning["line"] + 1,
                _CLASSES.get(warning["rule_name"]),
            )
            for warning in warnings
            if warning["rule_name"] not in _IGNORED and not warning["rule_name"].startswith("prefer-")
        ]
    except TimeoutError:
        raise SquawkError(f"squawk gave no answer in {_TIMEOUT:.0f} s") from None
    except (ValueError, KeyError, TypeError):
        output = " ".join(err.decode(errors="replace").split())[:200]
        raise SquawkError(f"squawk failed with exit code {process.returncode}: {output or 'no JSON'}") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

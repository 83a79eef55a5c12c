"""What squawk, a linter for migrations, knows of locks and rewrites: its findings on SQL, as classes.

It is a program of its own: where it is missing or fails, a plan says so and does without it.
"""

import asyncio
import json
import os
import shutil
import sysconfig
from asyncio.subprocess import PIPE
from dataclasses import dataclass

from service_migrations.plan.classify import Class

__all__ = ["SquawkError", "Warned", "squawk"]

_SECONDS = 30.0
"""It needs milliseconds."""

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
            "require-concurrent-partition-detach",
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
}
"""The rules that say what a class says. The other ones are told without a class."""

_STYLE = frozenset(
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
"""Rules on taste, or on what this project does for every revision; so are those that begin with ``prefer-``."""


class SquawkError(Exception):
    """It is missing, or failed."""


@dataclass(frozen=True, slots=True)
class Warned:
    """One of its findings; the line counts from 1."""

    rule: str
    message: str
    line: int
    kind: Class | None


async def squawk(sql: str, server_version: str) -> list[Warned]:
    """Return squawk's findings on SQL; what is between BEGIN and COMMIT is in a transaction.

    Args:
        sql: the SQL.
        server_version: such as ``16.4``; what locks depends on it.

    Raises:
        SquawkError: it is missing, or failed.

    """
    program = shutil.which("squawk", path=sysconfig.get_path("scripts")) or shutil.which("squawk")
    if program is None:
        raise SquawkError("squawk isn't installed (the package is squawk-cli)")
    # without --config it would look for .squawk.toml in every parent folder
    words = ("--reporter", "json", "--config", os.devnull, "--pg-version", server_version)
    try:
        process = await asyncio.create_subprocess_exec(program, *words, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    except OSError as error:
        raise SquawkError(f"squawk doesn't start: {error.strerror}") from error
    try:
        out, err = await asyncio.wait_for(process.communicate(sql.encode()), _SECONDS)
        found = json.loads(out)
        # its reporter counts lines from 0
        return [
            Warned(one["rule_name"], " ".join(one["message"].split()), one["line"] + 1, _CLASSES.get(one["rule_name"]))
            for one in found
            if one["rule_name"] not in _STYLE and not one["rule_name"].startswith("prefer-")
        ]
    except TimeoutError:
        raise SquawkError(f"squawk gave no answer in {_SECONDS:.0f} s") from None
    except (ValueError, KeyError, TypeError):
        said = " ".join(err.decode(errors="replace").split())[:200]
        raise SquawkError(f"squawk failed with exit code {process.returncode}: {said or 'no JSON'}") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

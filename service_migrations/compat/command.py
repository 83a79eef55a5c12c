"""The team's own command, such as its tests, run in a checkout with the settings of a throw-away database."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from service_migrations.errors import UsageError
from service_migrations.settings.keys import leads_to_a_database
from service_migrations.settings.model import Settings

__all__ = ["Command"]

_ROOT = "MIGRATIONS_ROOT"


class Command:
    """A command; its output is on stderr, and its exit code says whether the code works."""

    def __init__(self, text: str) -> None:
        """Take the command as a shell has it.

        Raises:
            UsageError: a quote isn't closed, or there is no word.

        """
        try:
            self._words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"--command {text!r}: {str(error).lower()}.") from None
        if not self._words:
            raise UsageError("--command is empty.")
        self.text = text

    def run(self, folder: Path, databases: Sequence[Settings], python: str = "") -> int:
        """Run the command in a folder, and return its exit code.

        Args:
            folder: the top level of the code.
            databases: the settings of the service, and of those that share its database.
            python: the interpreter whose programs come first; empty for this one.

        Raises:
            UsageError: there is no such program.

        """
        try:
            command = subprocess.run(
                self._words,
                cwd=folder,
                env=_environment(databases, python),
                stdin=subprocess.DEVNULL,
                stdout=2,
                check=False,
            )
        except OSError as error:
            raise UsageError(f"--command: {self._words[0]} can't be run: {error.strerror}.") from None
        return command.returncode


def _environment(databases: Sequence[Settings], python: str) -> dict[str, str]:
    """Return the environment, in which no setting leads to another database."""
    program = shutil.which(python) if python else sys.executable
    programs = str(Path(program).absolute().parent) if program else None
    kept = (name for name in os.environ if name != _ROOT and not leads_to_a_database(name))
    variables = {name: os.environ[name] for name in kept}
    variables["PATH"] = os.pathsep.join(filter(None, (programs, variables.get("PATH"))))
    for settings in reversed(databases):
        service = settings.service
        keys = (f"{service.env_prefix}DATABASE_DSN", service.dsn_key, "DATABASE_DSN")
        url = settings.dsn.url.set(drivername="postgresql", password=settings.dsn.password)
        variables |= {key: url.render_as_string(hide_password=False) for key in keys if key}
    return variables

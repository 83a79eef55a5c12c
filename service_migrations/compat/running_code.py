"""The running code's models, in a process of their own interpreter."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from service_migrations.errors import UsageError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn

__all__ = ["HOOKS", "RunningCode", "running_code"]

HOOKS = "tests/compat"
"""The folder with a file of the team's own tries for a service, ``billing.py``."""

_PROBE = Path(__file__).with_name("probe.py")
_END = 5.0
"""Seconds for the process to end."""


class RunningCode:
    """A process that tries the statements of a service's models."""

    def __init__(self, service: Service, process: "subprocess.Popen[str]") -> None:
        self._service, self._process = service, process

    def ask(self, *words: object) -> dict[str, Any]:
        """Send a command and a database, or what the process begins with, and return the answer.

        Raises:
            UsageError: the process ended; what it printed is on stderr.

        """
        answer = ""
        if (pipe := self._process.stdin) and (answers := self._process.stdout):
            with suppress(BrokenPipeError):
                pipe.write(f"{json.dumps(words[0] if len(words) == 1 else words)}\n")
                pipe.flush()
                answer = answers.readline()
        if not answer:
            # no error of a revision, which the caller would take it for
            raise UsageError(
                "The process with the running code's models has ended.",
                service=self._service,
                hint="What it printed is above; --python names another interpreter.",
            )
        return json.loads(answer)  # type: ignore[no-any-return]

    def try_on(self, command: str, database: str) -> dict[str, Any]:
        """Run a command of the process on a database, and return the answer.

        Raises:
            UsageError: the models raise an error that is no statement's, or the process ended.

        """
        answer = self.ask(command, database)
        if "error" in answer:
            raise UsageError(f"The statements of the models can't be tried: {answer['error']}.", service=self._service)
        return answer


@contextmanager
def running_code(service: Service, server: Dsn, python: str, hooks: Path | None = None) -> Iterator[RunningCode]:
    """Start the process, and end it afterwards.

    Args:
        service: the service, in the checkout of the running code.
        server: the server; its password goes through a pipe.
        python: the interpreter.
        hooks: the team's own tries.

    Raises:
        UsageError: there is no such interpreter, or the models can't be imported in it.

    """
    (host, port), *_ = server.hosts
    url = {"username": server.user, "password": server.password, "host": host, "port": port}
    folders = [str(folder) for folder in dict.fromkeys((service.root, service.source))]
    request = {"models": service.models, "folders": folders, "url": url, "hooks": str(hooks) if hooks else None}
    try:
        process = subprocess.Popen(
            [python or sys.executable, "-B", str(_PROBE)],
            cwd=service.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        raise UsageError(
            f"{python} can't be run: {error.strerror}.", hint="Name an interpreter with --python."
        ) from None
    try:
        code = RunningCode(service, process)
        answer = code.ask(request)
        if "error" in answer:
            raise UsageError(
                f"{service.models} of the running code can't be imported: {answer['error']}.",
                service=service,
                hint="Name an interpreter that has its packages with --python.",
            )
        yield code
    finally:
        if process.stdin:
            with suppress(BrokenPipeError):  # what an ended process didn't read is sent once more
                process.stdin.close()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()

"""A password apart from the DSN: its text, a file, or a command or function for one that expires."""

import asyncio
import inspect
import os
import pkgutil
import re
import shlex
import signal
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from service_migrations.errors import AccessDeniedError, ConfigurationError, MigrationError, UnreachableError, text_of
from service_migrations.files import read_text
from service_migrations.pyproject import FILE
from service_migrations.service import Service
from service_migrations.settings.dsn import CONTROL, Dsn
from service_migrations.settings.setting import Setting

__all__ = ["PASSWORD_KEYS", "REUSED", "TIMEOUT", "with_function", "with_password"]

PASSWORD_KEYS = ("DATABASE_PASSWORD", "DATABASE_PASSWORD_FILE", "DATABASE_PASSWORD_COMMAND")

REUSED = 60.0
"""Seconds for which new connections use the password of a command or function again; the shortest tokens live 15 m."""
TIMEOUT = 30.0
"""Seconds that a command may take."""

_LONGEST_LINE = 200


class _ExpiringPassword:
    """The password that a coroutine function returns, which is called again for a connection after a minute.

    It has no repr of its attributes.
    """

    def __init__(self, read: Callable[[], Awaitable[str]]) -> None:
        self._read = read
        self._value = ""
        self._expires = 0.0

    async def __call__(self) -> str:
        if time.monotonic() >= self._expires:
            self._value = await self._read()
            self._expires = time.monotonic() + REUSED
        return self._value


def with_password(dsn: Dsn, secret: Setting, service: Service, file: Path | None) -> Dsn:
    """Return a DSN with the password of a setting.

    Args:
        dsn: the DSN; a password of its own is replaced.
        secret: one of ``PASSWORD_KEYS``.
        service: the service.
        file: the .env that the setting is from; None for the environment.

    Raises:
        ConfigurationError: the file of the password can't be read, the password holds a control character, or the
            command is no command line or stands in a .env that others can change.

    """
    if secret.kind != "command":
        return replace(dsn, password=_constant(secret, service), has_escapes=False, password_source=None)
    if file:
        _refuse_changeable(secret, file)
    try:
        words = shlex.split(secret.value)
    except ValueError as error:
        text = f"{secret.name} is no command line: {error}."
        raise ConfigurationError(text, path=secret.origin.path) from None
    if not words or not words[0]:
        raise ConfigurationError(f"{secret.name} names no program.", path=secret.origin.path)
    values = _server(dsn)
    words = [re.sub(r"\{(host|port|user)\}", lambda match: str(values[match[1]]), word) for word in words]

    async def read() -> str:
        return await _run(words, secret, service)

    return replace(dsn, password=None, has_escapes=False, password_source=_ExpiringPassword(read))


def with_function(dsn: Dsn, service: Service) -> Dsn:
    """Return a DSN without a password with that of the function that the table of pyproject.toml names."""

    async def read() -> str:
        return await _call(service, dsn)

    return replace(dsn, password_source=_ExpiringPassword(read))


def _server(dsn: Dsn) -> dict[str, str | int]:
    """Return what a token is made for; of several hosts the first."""
    host, port = dsn.hosts[0]
    return {"host": host, "port": port, "user": dsn.user}


def _constant(secret: Setting, service: Service) -> str:
    if secret.key == "DATABASE_PASSWORD":
        password = secret.value
    else:
        path = service.root / secret.value  # tasks can be started in any folder
        try:
            password = read_text(path, encoding="utf-8-sig", pipe=True).removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            text = f"{secret.name} can't be read: {reason}."
            raise ConfigurationError(text, path=secret.origin.path) from None
    if CONTROL.search(password):
        raise ConfigurationError(
            f"{secret.name} holds a control character, such as a line end.",
            path=secret.origin.path,
            hint="Remove it.",
        )
    return password


def _refuse_changeable(secret: Setting, file: Path) -> None:
    """Refuse the command of a .env that everybody on this machine can change."""
    folder = file.parent.stat().st_mode
    in_open_folder = bool(folder & stat.S_IWOTH) and not folder & stat.S_ISVTX
    if os.name == "posix" and (file.stat().st_mode & stat.S_IWOTH or in_open_folder):
        changeable = file.parent if in_open_folder else file
        raise ConfigurationError(
            f"{secret.name} isn't run, since everybody can change the file.",
            path=secret.origin.path,
            hint=f"Run: chmod o-w {changeable}",
        )


async def _run(words: list[str], secret: Setting, service: Service) -> str:
    """Run a command without a shell, and return the first line that it prints."""

    def failure(kind: type[MigrationError], text: str, hint: str = "") -> MigrationError:
        return kind(f"{secret.name}: {words[0]} {text}.", service=service, path=secret.origin.path, hint=hint)

    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            cwd=service.root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that what it starts ends with it
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise failure(ConfigurationError, f"can't be run: {reason}") from None
    is_complete = False
    try:
        async with asyncio.timeout(TIMEOUT):
            output, errors = await process.communicate()
        is_complete = True
    except TimeoutError:
        raise failure(UnreachableError, f"gave no password within {TIMEOUT:g} s") from None
    finally:
        if not is_complete:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    lines = output.decode(errors="replace").splitlines()
    password = lines[0] if lines else ""
    if process.returncode:
        raise failure(AccessDeniedError, f"ended with {process.returncode}{_last_line(errors, password)}")
    if not password or CONTROL.search(password):
        raise failure(ConfigurationError, "printed no password in its first line")
    return password


def _last_line(errors: bytes, password: str) -> str:
    """Return the last line that a command wrote to stderr, without the password."""
    text = errors.decode(errors="replace")
    if password:
        text = text.replace(password, "***")
    lines = [CONTROL.sub(" ", line).strip() for line in text.splitlines() if line.strip()]
    return f": {lines[-1][:_LONGEST_LINE].removesuffix('.')}" if lines else ""


async def _call(service: Service, dsn: Dsn) -> str:
    """Call the function of the table with host, port and user, and return its password."""
    name = service.password or ""
    place = f"{service.table_of('password')} password: {name}"
    for folder in dict.fromkeys((str(service.root), str(service.source))):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        function = pkgutil.resolve_name(name)
    except Exception as error:
        text = f"{place} can't be imported: {_one_line(error)}."
        raise ConfigurationError(text, service=service, path=FILE) from error
    try:
        password = function(**_server(dsn))
        if inspect.isawaitable(password):
            async with asyncio.timeout(TIMEOUT):
                password = await password
    except MigrationError:
        raise
    except TimeoutError as error:
        text = f"{place} gave no password within {TIMEOUT:g} s."
        raise UnreachableError(text, service=service, path=FILE) from error
    except Exception as error:
        text = f"{place} failed: {_one_line(error)}."
        raise AccessDeniedError(text, service=service, path=FILE) from error
    if not isinstance(password, str) or not password or CONTROL.search(password):
        raise ConfigurationError(f"{place} returned no password.", service=service, path=FILE)
    return password


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {text_of(error)}".removesuffix(".")

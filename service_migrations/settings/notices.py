"""Warnings about .env files that stop nothing; each is logged once in a process."""

import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import parse
from service_migrations.settings.setting import Origin, Setting

__all__ = ["exposures", "warn_of_exposure", "warn_of_misspelt_key", "warn_of_withheld"]

log = logging.getLogger(__name__)

_SHARED = stat.S_IRGRP | stat.S_IROTH
_logged: set[object] = set()
"""Files and keys with a logged notice: a process reads them many times."""


def warn_of_exposure(service: Service, path: Path, settings: Iterable[Setting]) -> None:
    """Warn of a file whose password others than its owner can read."""
    if path not in _logged and _is_exposed(path, settings):
        _logged.add(path)
        log.warning("%s", _exposure(service, path))


def exposures(service: Service, files: Iterable[tuple[Path, Iterable[Setting]]]) -> tuple[str, ...]:
    """Return a sentence for each file whose password others than its owner can read."""
    return tuple(_exposure(service, path) for path, settings in files if _is_exposed(path, settings))


def warn_of_misspelt_key(place: str, key: str, meant: str) -> None:
    """Warn of a key that isn't read: a timeout would have its default, without a word."""
    if (place, key) not in _logged:
        _logged.add((place, key))
        log.warning("%s: %s isn't read. Is %s meant?", place, key, meant)


def warn_of_withheld(service: Service, secret: Setting, place: Origin) -> None:
    """Warn of a password that isn't sent to the server of another layer's DSN."""
    if (service.env_file, secret.key) not in _logged:
        _logged.add((service.env_file, secret.key))
        log.warning(
            *("%s: %s of %s is for another server, and isn't sent to that of %s.", service, secret.key),
            *(secret.origin, place),
        )


def _exposure(service: Service, path: Path) -> str:
    shown_path = service.relative(path)
    return f"{shown_path} holds a password, and others than its owner can read it. Run: chmod 600 {shown_path}"


def _is_exposed(path: Path, settings: Iterable[Setting]) -> bool:
    # outside POSIX the mode bits don't show who can read the file
    return os.name == "posix" and any(map(_holds_password, settings)) and bool(path.stat().st_mode & _SHARED)


def _holds_password(setting: Setting) -> bool:
    if setting.kind != "dsn":
        return setting.kind == "password" and bool(setting.value)
    try:
        return parse(setting.value, setting.key).password is not None
    except MigrationError:
        return False  # an invalid DSN is refused anyway

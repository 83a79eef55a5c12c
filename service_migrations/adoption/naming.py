"""The names of services that have none yet: of their folders."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from service_migrations.adoption.layout.ini import DEFAULT_SECTION
from service_migrations.adoption.plain_service import PlainService
from service_migrations.configuration import is_service_name
from service_migrations.pyproject import read_project

__all__ = ["name_all"]

_GENERIC = frozenset(
    (
        *("alembic", "api", "app", "backend", "database", "db", "migration", "migrations", "py", "python", "server"),
        *("service", "src", "web"),
    )
)
"""Folders that name no service; the one above does."""


def name_all(services: list[PlainService], known: Mapping[str, Path]) -> None:
    """Name each service after its folder; two of one name get that of the folder above too.

    Args:
        services: those that were found.
        known: the services of the table with their directories; none of their names is taken by another directory.

    """
    for service in services:
        if not service.adopted:
            service.name = next(iter(_names(service)))
    used: Counter[str] = Counter(service.name for service in services)
    for service in services:
        is_taken = used[service.name] > 1 or known.get(service.name, service.path) != service.path
        if is_taken and not service.adopted:
            parts = [_valid(part) for part in service.path.relative_to(service.root).parts]
            service.name = _valid("_".join(parts)) if parts else service.name
    seen = {service.name for service in services if service.adopted}
    for service in services:
        if service.adopted:
            continue
        number, name = 2, service.name
        while service.name in seen or known.get(service.name, service.path) != service.path:
            service.name, number = f"{name}_{number}", number + 1
        seen.add(service.name)


def _names(service: PlainService) -> Iterator[str]:
    if service.section != DEFAULT_SECTION:
        yield _valid(service.section.removeprefix(f"{DEFAULT_SECTION}:"))
    parts = list(service.path.relative_to(service.root).parts)
    yield from (_valid(part) for part in reversed(parts) if part.lower() not in _GENERIC)
    yield _valid(str(read_project(service.root).get("name") or service.root.name))


def _valid(text: str) -> str:
    name = re.sub(r"\W+", "_", text.lower(), flags=re.ASCII).strip("_")
    return name if is_service_name(name) else f"service_{name}"

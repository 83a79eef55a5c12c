"""What the imports of an env.py register: types, operations of Alembic, patches.

The shared env.py imports nothing of it, and a revision that needs it fails there, or does something else.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from service_migrations.adoption.code.modules import Code, files_below
from service_migrations.adoption.environment.env_file import Environment
from service_migrations.adoption.environment.hooks import Hook, registrations
from service_migrations.adoption.plain_service import PlainService

__all__ = ["imported_hooks"]

_KNOWN = (
    "alembic",
    "sqlalchemy",
    "sqlmodel",
    "dotenv",
    "asyncpg",
    "psycopg",
    "psycopg2",
    "flask",
    "service_migrations",
)
"""Libraries whose import alone does nothing for a revision."""


def imported_hooks(
    service: PlainService, environment: Environment, code: Code, folders: tuple[Path, ...]
) -> tuple[Hook, ...]:
    """Return what the files that an env.py imports register, and the packages that it imports and doesn't use.

    What models and revisions import themselves is left out: it is imported here too.

    Args:
        service: the service, with its models.
        environment: its env.py.
        code: the files that were read already.
        folders: those on ``sys.path`` of the env.py.

    """
    starts = [*service.revisions.paths.values(), *([service.models.file] if service.models else [])]
    imported_anyway = set(files_below(starts, code, folders))
    hooks: list[Hook] = []
    for path in files_below([environment.path], code, folders)[1:]:
        module = code.try_read(path) if path not in imported_anyway else None
        registered = list(registrations(module)) if module else []
        for first in registered[:1]:
            more = f", and {len(registered) - 1} more in this file" if registered[1:] else ""
            hooks.append(Hook(first.name, path, first.line, f"env.py imports this file, and {first.text}{more}"))
    used_anyway = {
        name[0].partition(".")[0]
        for path in imported_anyway
        if (module := code.try_read(path))
        for name in module.imports.values()
    }
    unused = [each for each in _unused_packages(environment, code, folders) if each[0] not in used_anyway]
    text = "it imports {} and doesn't use it, so the import itself may register something"
    return (*hooks, *(Hook("import", *environment.place(line), text.format(package)) for package, line in unused))


def _unused_packages(environment: Environment, code: Code, folders: tuple[Path, ...]) -> Iterator[tuple[str, int]]:
    """Yield the packages of others that an env.py imports without naming them again, each with its line."""
    module = environment.module
    used = {node.id for node in module.nodes if isinstance(node, ast.Name)}
    for node in module.nodes:
        if isinstance(node, ast.Import):
            names = [(alias.name, alias.asname or alias.name.partition(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [(node.module, alias.asname or alias.name) for alias in node.names]
        else:
            continue
        packages = {name.partition(".")[0] for name, bound in names if bound not in used}
        for package in sorted(packages):
            is_known = package in _KNOWN or package in sys.stdlib_module_names
            if not is_known and code.find(package, folders) is None and not _is_folder(package, folders):
                yield package, node.lineno


def _is_folder(package: str, folders: tuple[Path, ...]) -> bool:
    return any((folder / package).is_dir() for folder in folders)

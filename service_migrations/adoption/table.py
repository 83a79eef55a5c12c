"""The table in pyproject.toml for services that were found: what all have in common once, the rest for each."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service_migrations.adoption.plain_service import PlainService
from service_migrations.configuration import TABLE, Configuration, is_service_name, read_configuration
from service_migrations.errors import ConfigurationError
from service_migrations.monorepo import Monorepo, Service
from service_migrations.pyproject import FILE

__all__ = ["table_text"]

_KEYS = (
    *("source", "models", "versions", "recursive_version_locations", "version_table", "version_table_schema"),
    *("driver", "env_file", "dsn", "dsn_key"),
)
_OPTIONAL = ("version_table_schema", "env_file", "dsn", "dsn_key")
"""Keys that a service's own table can't take away again: they are common only where all services have them."""
_PATHS = ("source", "versions", "env_file")
_COMMENT = "# Written by `inv db.adopt --write`: where everything is that plain Alembic had already."


def table_text(root: Path, services: Sequence[PlainService], existing: Configuration | None) -> str:
    """Return the text to append to pyproject.toml.

    Args:
        root: the top level.
        services: those that are adopted, one or more.
        existing: the configuration of a table that is there already.

    Raises:
        ConfigurationError: the table that is there says something of all services that these can't have.

    """
    if existing is not None:
        text = _own_tables(services, _common_of(existing), always_path=True)
        _verify(root, services, text)
        return text
    common = _common(services) if len(services) > 1 else {}
    folders, with_path = _folders(root, services)
    convention = _common_of(Configuration())
    lines = [f"[tool.{TABLE}]", _COMMENT, *([f"services = [{', '.join(map(_toml, folders))}]"] if folders else [])]
    lines += [f"{key} = {_toml(value)}" for key, value in common.items() if value != convention[key]]
    text = "\n".join([*lines, ""])
    tables = _own_tables(services, {**convention, **common}, paths=with_path)
    text += f"\n{tables}" if tables else ""
    _verify(root, services, text)
    return text


def _wanted(service: PlainService) -> dict[str, Any]:
    """Return the value of each key for a service."""
    models = service.models
    return {
        "source": service.relative(models.source) if models else ".",
        "models": models.name if models else "",
        "versions": [service.relative(path) for path in service.version_locations],
        "recursive_version_locations": service.recursive,
        "version_table": service.version_table,
        "version_table_schema": service.version_table_schema,
        "driver": service.driver or "asyncpg",
        "env_file": service.relative(service.dsn.env_file) if service.dsn.env_file else None,
        "dsn": service.dsn.dsn,
        "dsn_key": service.dsn.dsn_key,
    }


def _common_of(configuration: Configuration) -> dict[str, Any]:
    common = {key: getattr(configuration, key) for key in _KEYS}
    return common | {"versions": list(common["versions"])}


def _common(services: Sequence[PlainService]) -> dict[str, Any]:
    """Return the values and templates that all services share, or most where the others can have their own."""
    common: dict[str, Any] = {}
    for key in _KEYS:
        counted: Counter[str] = Counter()
        for service in services:
            counted.update({json.dumps(template) for template in _templates(key, service)})
        if not counted:
            continue
        # of two templates for the same services, the one with fewer names of folders
        best, count = max(counted.items(), key=lambda item: (item[1], -len(item[0])))
        value = json.loads(best)
        if value is None or count < len(services) * (1 if key in _OPTIONAL else 0.5) or count < 2:  # noqa: PLR2004
            continue
        if key == "versions" and not all("{" in folder for folder in value):
            continue
        common[key] = value
    if "dsn" in common and "dsn_key" in common:
        del common["dsn"]
    return common


def _templates(key: str, service: PlainService) -> list[Any]:
    """Return what may stand for a service's value: the value itself, or a template with its name or path."""
    value = _wanted(service)[key]
    if not isinstance(value, str | list):
        return [value]
    results: list[Any] = []
    for with_path in (True, False):
        for with_name in (True, False):
            template = (
                [_template(item, service, key, with_path, with_name) for item in value]
                if isinstance(value, list)
                else _template(value, service, key, with_path, with_name)
            )
            if _expanded(template, service) == value and template not in results:
                results.append(template)
    return results


def _template(value: str, service: PlainService, key: str, with_path: bool, with_name: bool) -> str:
    path = service.relative(service.path)
    if with_path and key in _PATHS and path != "." and (value == path or value.startswith(f"{path}/")):
        value = "{path}" + value[len(path) :]
    if with_name and key not in ("dsn", "dsn_key"):
        value = value.replace(service.name, "{name}")
    return value


def _expanded(template: Any, service: PlainService) -> Any:
    if isinstance(template, list):
        return [_expanded(item, service) for item in template]
    if not isinstance(template, str):
        return template
    return template.replace("{path}", service.relative(service.path)).replace("{name}", service.name)


def _folders(root: Path, services: Sequence[PlainService]) -> tuple[list[str], set[str]]:
    """Return the globs of ``services``, and the services whose path has to be said since no glob has their name."""
    by_parent: dict[Path, list[PlainService]] = {}
    with_path = set()
    for service in services:
        if service.path == root or service.path.name != service.name or not is_service_name(service.path.name):
            with_path.add(service.name)
        else:
            by_parent.setdefault(service.path.parent, []).append(service)
    folders: list[str] = []
    adopted = {service.path for service in services}
    for parent, children in by_parent.items():
        relative = parent.relative_to(root).as_posix()
        others = [
            path for path in parent.iterdir() if path.is_dir() and path not in adopted and path.name[0] not in "._"
        ]
        if others or relative == ".":
            folders += [child.relative(child.path) for child in children]
        else:
            folders.append(f"{relative}/*")
    if not folders:
        # without a list, the convention services/* would add directories of other things
        folders = [service.relative(service.path) for service in services if service.path != root]
    return sorted(folders), with_path


def _own_tables(
    services: Sequence[PlainService],
    common: Mapping[str, Any],
    paths: set[str] | None = None,
    *,
    always_path: bool = False,
) -> str:
    tables = []
    for service in services:
        own: dict[str, Any] = (
            {"path": service.relative(service.path)} if always_path or service.name in (paths or ()) else {}
        )
        for key, value in _wanted(service).items():
            if _expanded(common[key], service) != value:
                if value is None:
                    raise ConfigurationError(
                        f"[tool.{TABLE}] {key} is {common[key]!r} for all services, and {service.name} has none.",
                        path=FILE,
                        hint="Move it into the tables of the services that have it.",
                    )
                own[key] = value
        if service.revisions.below and not service.recursive:
            own["recursive_version_locations"] = False  # said, it leaves them out; otherwise they are an error
        if own:
            lines = [f"{key} = {_toml(value)}" for key, value in own.items()]
            tables.append("\n".join([f"[tool.{TABLE}.service.{service.name}]", *lines, ""]))
    return "\n".join(tables)


def _toml(value: Any) -> str:
    """Return a value as TOML; its basic strings are those of JSON."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _verify(root: Path, services: Sequence[PlainService], text: str) -> None:
    """Read the text as the library will, and compare it with what was found.

    Raises:
        ConfigurationError: it says something else, which would be a mistake of this module.

    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        source = root / FILE
        before = source.read_text(encoding="utf-8") if source.is_file() else ""
        path.write_text(f"{before}\n\n{text}", encoding="utf-8")
        try:
            read = {service.name: service for service in Monorepo(root, read_configuration(path.parent)).services()}
        except ConfigurationError as error:
            names = ", ".join(service.name for service in services)
            raise ConfigurationError(
                f"the table for {names} can't be appended: {error.message}",
                path=FILE,
                hint=error.hint if error.path is None else f"Write [tool.{TABLE}.service.{services[0].name}] by hand.",
            ) from None
    for service in services:
        as_read = read.get(service.name)
        if as_read is None or _of_service(as_read) != _wanted(service):
            raise ConfigurationError(
                f"the table for {service.name} can't be written: it would be read as something else.",
                path=FILE,
                hint=f"Write [tool.{TABLE}.service.{service.name}] by hand.",
            )


def _of_service(service: Service) -> dict[str, Any]:
    env_file = service.env_file if "env_file" in service.configured else None
    return {
        "source": service.relative(service.source),
        "models": service.models,
        "versions": [service.relative(path) for path in service.version_locations],
        "recursive_version_locations": service.recursive_version_locations,
        "version_table": service.version_table,
        "version_table_schema": service.version_table_schema,
        "driver": service.driver,
        "env_file": service.relative(env_file) if env_file else None,
        "dsn": service.dsn,
        "dsn_key": service.dsn_key,
    }

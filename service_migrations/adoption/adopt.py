"""The services of plain Alembic in a monorepo, found by reading its files."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from service_migrations.adoption.code.dsn_source import EnvFiles, describe_dsn
from service_migrations.adoption.code.env_file import Environment, options_reader, read_environment
from service_migrations.adoption.code.expressions import Reader
from service_migrations.adoption.code.models_module import find_models
from service_migrations.adoption.code.modules import Code
from service_migrations.adoption.code.revision_files import read_revisions
from service_migrations.adoption.code.variables import Text
from service_migrations.adoption.flask import flask_dsn, read_migrate
from service_migrations.adoption.folders import Files, import_folders, prepended, walk
from service_migrations.adoption.found import BLOCKED, LEFT_ALONE, Found
from service_migrations.adoption.ini import DEFAULT_SECTION, Options, read_options, unreadable
from service_migrations.configuration import is_service_name
from service_migrations.monorepo import Monorepo
from service_migrations.pyproject import FILE, read_tools

__all__ = ["survey"]

_GENERIC = frozenset(
    (
        *("alembic", "api", "app", "backend", "database", "db", "migration", "migrations", "py", "python", "server"),
        *("service", "src", "web"),
    )
)
"""Folders that name no service; the one above does."""
_OF_NEW_REVISIONS = ("file_template", "timezone", "truncate_slug_length")
_OWN_ENVIRONMENT = b"service_migrations"
_SHOWN = 3
"""Places that are named of those that need psycopg; the rest is counted."""


def survey(root: Path) -> tuple[Found, ...]:
    """Return the services of plain Alembic below a top level, in alphabetical order. Changes and imports nothing.

    Args:
        root: the top level; it need not have a table yet.

    Raises:
        ConfigurationError: pyproject.toml has a table, and that is wrong.

    """
    files, code = walk(root), Code()
    places = _places(root, files, code)
    adopted = _adopted(root)
    shared_folders = Counter(place[1].parent for place in places)
    packages = tuple(path.parent for path in files.pyproject if path.parent != root)
    read = (_read(root, *place, code, shared_folders, packages) for place in places)
    services = [service for service in read if _is_there(service)]
    for service in services:
        service.adopted = any(path.resolve() in adopted for path in service.version_locations)
        if service.adopted:
            service.name = adopted[
                next(path for path in map(Path.resolve, service.version_locations) if path in adopted)
            ]
    _name_all(services)
    _compare(services)
    return tuple(sorted(services, key=lambda service: service.name))


def _adopted(root: Path) -> dict[Path, str]:
    """Return the folders of revisions of the services that the table has, each with the name of its service."""
    if "service-migrations" not in read_tools(root):
        return {}
    services = Monorepo.at(root).services()
    return {folder.resolve(): service.name for service in services for folder in service.version_locations}


def _places(root: Path, files: Files, code: Code) -> list[tuple[Options | None, Path]]:
    """Return the options and the folder of each env.py of plain Alembic; several sections may share one."""
    places: list[tuple[Options | None, Path]] = []
    taken: dict[Path, set[Path]] = {}
    for path in (*files.ini, *files.pyproject):
        for options in read_options(path, root):
            location = options.script_location
            if location and location.is_relative_to(root):
                folders, known = set(options.version_locations(location)), taken.setdefault(location, set())
                if not folders & known:
                    places.append((options, location))
                known |= folders
    for path in files.env:
        has_own = path.parent not in taken and (path.parent / "versions").is_dir() and _is_environment(path, code)
        places += [(None, path.parent)] if has_own else []
    return [(options, location) for options, location in places if not _is_ours(location / "env.py")]


def _is_there(service: Found) -> bool:
    """Whether a configuration has an env.py or revisions, unlike one in the data of a package, such as a template."""
    files = service.revisions
    return bool(files.down or files.problems or files.below) or (service.script_location / "env.py").is_file()


def _is_environment(path: Path, code: Code) -> bool:
    try:
        imports = code.read(path).imports.values()
    except (SyntaxError, OSError):
        return b"alembic" in path.read_bytes()
    return any(module.partition(".")[0] == "alembic" for module, _ in imports)


def _is_ours(path: Path) -> bool:
    """Whether an env.py is the shared one, which `db.init` writes."""
    return path.is_file() and _OWN_ENVIRONMENT in path.read_bytes()


def _read(
    root: Path,
    options: Options | None,
    location: Path,
    code: Code,
    shared_folders: Counter[Path],
    packages: tuple[Path, ...],
) -> Found:
    found = Found(
        root,
        options.path if options else location / "env.py",
        options.section if options else DEFAULT_SECTION,
        location,
    )
    found.path = _directory(options, location, shared_folders, root)
    environment = _environment(found, options, code, packages)
    folders = import_folders(
        environment.module if environment else None,
        options.import_folders if options else (),
        found.path,
        root,
        packages,
    )
    found.version_locations = options.version_locations(location) if options else (location / "versions",)
    found.recursive = bool(options and options.recursive)
    _read_history(found, code, folders)
    if options is None:
        for path in (location / "alembic.ini", location.parent / "alembic.ini"):
            if path.is_file() and (reason := unreadable(path)):
                found.note("to do", f"its options aren't known, as it can't be read: {reason}.", path)
    _judge_options(found, options)
    if environment is None:
        return found
    _judge_repeats(found, environment)
    if environment.version_table:
        found.version_table = environment.version_table
    found.version_table_schema = environment.version_table_schema
    for key, line in environment.unread:
        found.note("to do", f"{key} can't be read from it; set {key} in the table.", environment.path, line)
    reader = Reader(code, folders, options_reader(environment, options))
    read_migrate(found, environment, reader, code)
    found.hooks = tuple(environment.hooks)
    for hook in environment.hooks:
        found.note("hook", f"{hook.text}.", hook.path, hook.line)
    if environment.loads_dotenv:
        found.note_all("to do", found.revisions.environment)
    found.models = find_models(environment, code, folders, found.path)
    _read_dsn(found, environment, options, reader, code)
    if found.state != LEFT_ALONE:
        _judge_models(found, environment)
        _judge_driver(found, environment)
        _judge_imports(found, code, prepended(environment.module, options.import_folders if options else ()))
    return found


def _judge_repeats(found: Found, environment: Environment) -> None:
    """Block what is run more than once: here it would be run once, in a schema or a database that isn't meant."""
    if "upgrade_token" in environment.configure:
        text = "it runs each revision for several databases, and a service has one"
        line = environment.configure["upgrade_token"].lineno
        found.note(BLOCKED, f"{text}; leave it to Alembic, or split the history.", environment.path, line)
    elif environment.repeats:
        over, line = environment.repeats
        text = f"it runs the history for each of {ast.unparse(over)}, and a service has one database and one schema"
        found.note(BLOCKED, f"{text}; leave it to Alembic, or make a service of each.", environment.path, line)


def _directory(options: Options | None, location: Path, shared_folders: Counter[Path], root: Path) -> Path:
    """Return the directory of a service: that of its ini file, or else the one around its env.py."""
    if options and options.folder not in (root, location) and options.section == DEFAULT_SECTION:
        return options.folder
    above = location.parent
    if shared_folders[above] > 1 or (above == root and options and options.section != DEFAULT_SECTION):
        return location
    return above


def _environment(found: Found, options: Options | None, code: Code, packages: tuple[Path, ...]) -> Environment | None:
    path = found.script_location / "env.py"
    folders = import_folders(
        code.try_read(path), options.import_folders if options else (), found.path, found.root, packages
    )
    try:
        return read_environment(path, options, code, folders)
    except SyntaxError as error:
        found.note(BLOCKED, f"it can't be parsed: {error.msg}.", path, error.lineno)
    except OSError:
        found.note(BLOCKED, "there is no env.py.", path)
    return None


def _read_history(found: Found, code: Code, folders: tuple[Path, ...]) -> None:
    files = read_revisions(found.version_locations, code, recursive=found.recursive, import_folders=folders)
    if files.below and not found.recursive:
        # Alembic itself doesn't read these; a history that isn't whole without them was read in another way
        whole = read_revisions(found.version_locations, code, recursive=True, import_folders=folders)
        if files.problems or not files.down:
            files, found.recursive = whole, True
        else:
            text = f"{len(files.below)} revisions in folders below aren't read, as in plain Alembic"
            found.note("to do", f"{text}. recursive_version_locations = true reads them.", files.below[0].parent)
    found.revisions = files
    found.note_all(BLOCKED, files.problems)
    found.note_all("to do", [*files.computed, *files.kept])
    if len(files.heads) > 1 and not files.labels and not files.problems:
        found.note("to do", f"{len(files.heads)} heads: {', '.join(files.heads)}.", found.version_locations[0])


def _read_dsn(found: Found, environment: Environment, options: Options | None, reader: Reader, code: Code) -> None:
    place, text = found.relative(environment.path), None
    for node, function in environment.urls:
        text, place = (
            reader.text(node, environment.module, function),
            f"{found.relative(environment.path)}:{node.lineno}",
        )
        if text is not None and not _is_placeholder(text):
            break
    of_file = options.text("sqlalchemy.url", environment.ini) if options else None
    if options and of_file and (text == of_file or not environment.urls or (text is None and environment.reads_ini)):
        text, place = of_file, f"{found.relative(options.path)}:{options.lines.get('sqlalchemy.url', 1)}"
    if text is None:
        text = flask_dsn(found, environment, reader, code)
    files = EnvFiles(found.path, found.root)
    found.dsn = describe_dsn(text, place, files, found.path, found.root)
    if found.dsn.dialect:
        reason = f"its database is {found.dsn.dialect}, and this library is for PostgreSQL."
        if name := found.dsn.unset:
            own_file = found.relative(found.path / ".env")
            reason = f"where {name} isn't set, {reason} If {name} is of PostgreSQL, set it in {own_file}."
        found.note(LEFT_ALONE, reason)
    elif found.dsn.todo:
        found.note("to do", found.dsn.todo)


def _is_placeholder(text: Text) -> bool:
    """Whether a DSN is that of Alembic's own template."""
    return bool(text) and isinstance(text[0], str) and text[0].startswith("driver://")


def _judge_models(found: Found, environment: Environment) -> None:
    models = found.models
    if models is None:
        name = environment.metadata or "target_metadata"
        found.note(BLOCKED, f"no module with tables is found for {name}; set models and source.", environment.path)
        return
    if models.export:
        found.note("to do", f"it has no __all__. Add: {models.export}", models.file)
    if models.others:
        text = f"{', '.join(models.others)} has tables that {models.name} doesn't import"
        found.note("to do", f"{text}; import them there.", models.file)


def _judge_driver(found: Found, environment: Environment) -> None:
    """Propose psycopg where a history of another driver has what asyncpg won't run, or would run with other values.

    An env.py that doesn't await never ran over asyncpg, whatever the DSN says: it replaces the driver's name.
    """
    if environment.is_async and found.dsn.driver in (None, "asyncpg"):
        return
    places = [*found.revisions.for_psycopg, *found.revisions.reads]
    if not places:
        return
    found.driver = "psycopg"
    found.note_all("driver", places[:_SHOWN])
    if len(places) > _SHOWN:
        more = len(places) - _SHOWN
        found.note("driver", f"and {more} more {'place' if more == 1 else 'places'}.")


def _judge_options(found: Found, options: Options | None) -> None:
    """Note the options of new revisions: they are those of ``[tool.alembic]`` at the top level for all services."""
    given = [name for name in _OF_NEW_REVISIONS if options and options.values.get(name)]
    table = read_tools(found.root).get("alembic", {}) if given else {}
    differing = [name for name in given if options and table.get(name) != options.values[name]]
    if options and differing and options.folder != found.root:
        text = f"a new revision gets its name without {' and '.join(differing)} of this file"
        line = options.lines.get(differing[0])
        found.note("to do", f"{text}; [tool.alembic] at the top level has these options for all.", options.path, line)


def _judge_imports(found: Found, code: Code, folders: tuple[Path, ...]) -> None:
    """Note what revisions import from folders of ``prepend_sys_path`` or of env.py: here only the source is there."""
    if found.models is None:
        return
    here = (found.models.source, found.root)
    named: set[str] = set()
    for path in found.revisions.paths.values():
        module = code.try_read(path)
        for imported in module.imports.values() if module else ():
            name = imported[0]
            top = name.partition(".")[0]
            if not top or top in named or code.find(top, here) or code.find(name, here):
                continue
            file = code.find(name, folders) or code.find(top, folders)
            if file is not None:
                named.add(top)
                text = f"it imports {name} of {found.relative(file)}, and only {found.relative(here[0])} is on sys.path"
                found.note("to do", f"{text} here; install that folder as a package.", path)


def _name_all(services: list[Found]) -> None:
    """Name each service after its folder; two of one name get that of the folder above too."""
    for service in services:
        if not service.adopted:
            service.name = next(iter(_names(service)))
    used: Counter[str] = Counter(service.name for service in services)
    for service in services:
        if used[service.name] > 1 and not service.adopted:
            parts = [_valid(part) for part in service.path.relative_to(service.root).parts]
            service.name = _valid("_".join(parts)) if parts else service.name
    seen: set[str] = set()
    for service in services:
        number, name = 2, service.name
        while service.name in seen:
            service.name, number = f"{name}_{number}", number + 1
        seen.add(service.name)


def _names(service: Found) -> Iterator[str]:
    if service.section != DEFAULT_SECTION:
        yield _valid(service.section.removeprefix(f"{DEFAULT_SECTION}:"))
    parts = list(service.path.relative_to(service.root).parts)
    yield from (_valid(part) for part in reversed(parts) if part.lower() not in _GENERIC)
    project = read_project(service.root)
    yield _valid(project or service.root.name)


def read_project(root: Path) -> str | None:
    """Return the name of the project of a top level; None where it has none."""
    match = None
    path = root / FILE
    if path.is_file():
        match = re.search(
            r"^\[project\]\s*?\n(?:[^\[]*?\n)?name\s*=\s*[\"']([^\"']+)", path.read_text("utf-8"), re.MULTILINE
        )
    return match[1] if match else None


def _valid(text: str) -> str:
    name = re.sub(r"\W+", "_", text.lower(), flags=re.ASCII).strip("_")
    return name if is_service_name(name) else f"service_{name}"


def _compare(services: list[Found]) -> None:
    """Note what two services can't both have: one version table of one database, or one name of a package."""
    by_table: dict[tuple[str, str | None, str], Found] = {}
    by_package: dict[str, Found] = {}
    for service in services:
        if service.state == LEFT_ALONE:
            continue
        if service.dsn.identity:
            key = (service.dsn.identity, service.version_table_schema, service.version_table)
            other = by_table.setdefault(key, service)
            if other is not service:
                for one, another in ((service, other), (other, service)):
                    text = f"{another.name} has the version table {one.version_table} of the same database"
                    one.note(BLOCKED, f"{text}; give one of them another version_table, or another database.")
        if service.models:
            package = service.models.name.partition(".")[0]
            other = by_package.setdefault(package, service)
            if other is not service and other.models and other.models.source != service.models.source:
                text = f"{other.name} has a package {package} too, and one process can import one of them"
                service.note("to do", f"{text}: name one service in a command, or rename a package.")

"""The services of plain Alembic in a monorepo, found by reading its files."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from service_migrations.adoption.advanced_alchemy import alchemy_dsn, read_alchemy
from service_migrations.adoption.code.dsn_source import DsnSource, EnvFiles, describe_dsn
from service_migrations.adoption.code.env_file import Environment, options_reader, read_environment
from service_migrations.adoption.code.expressions import Reader
from service_migrations.adoption.code.modules import Code, Place, files_below, has_word
from service_migrations.adoption.code.revision_files import RevisionFiles, is_revision, read_revisions
from service_migrations.adoption.code.variables import Text
from service_migrations.adoption.flask import flask_dsn, read_context, read_migrate
from service_migrations.adoption.folders import Files, given_versions, import_folders, prepended, walk
from service_migrations.adoption.ini import DEFAULT_SECTION, Options, read_options, unreadable
from service_migrations.adoption.judgement import (
    compare,
    judge_driver,
    judge_imports,
    judge_models,
    judge_options,
    judge_repeats,
)
from service_migrations.adoption.models.module import Models, find_models
from service_migrations.adoption.naming import name_all
from service_migrations.adoption.plain_service import BLOCKED, LEFT_ALONE, PlainService
from service_migrations.adoption.registered import imported_hooks
from service_migrations.monorepo import Monorepo
from service_migrations.pyproject import read_tools
from service_migrations.rollout.schemas import UNSURE, Schemas
from service_migrations.service import Service

__all__ = ["survey"]

_OWN_PACKAGE = "service_migrations"
_SCHEMA = "version_table_schema"
_PUBLIC = "public"
_ENGINES = ("_engine(", "engine_from_config", "connect_args")
_PATHS = ("search_path", "SET SCHEMA", "schema_translate_map")
"""What puts a table without a schema into another one than public."""
_OWN_IMPORT = re.compile(rb"^\s*(?:from|import)\s+service_migrations\b", re.MULTILINE)


def survey(root: Path) -> tuple[PlainService, ...]:
    """Return the services of plain Alembic below a top level, in alphabetical order. Changes and imports nothing.

    Args:
        root: the top level; it need not have a table yet.

    Raises:
        ConfigurationError: pyproject.toml has a table, and that is wrong.

    """
    files, code = walk(root), Code()
    places = _places(root, files, code)
    known = Monorepo.at(root).services() if "service-migrations" in read_tools(root) else ()
    adopted = {folder.resolve(): service for service in known for folder in service.version_locations}
    shared_folders = Counter(place[1].parent for place in places)
    packages = tuple(path.parent for path in files.pyproject if path.parent != root)
    locations = tuple(dict.fromkeys(location for _, location in places))
    schemas = Schemas(root)
    read = (_read(root, *place, code, schemas, shared_folders, packages, adopted, locations) for place in places)
    services = [service for service in read if _is_there(service)]
    name_all(services, {service.name: service.path for service in known})
    compare(services)
    return tuple(sorted(services, key=lambda service: service.name))


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
    return [(options, location) for options, location in places if not _is_ours(location / "env.py", code)]


def _is_there(service: PlainService) -> bool:
    """Whether a configuration has an env.py or revisions, unlike one in the data of a package, such as a template."""
    files = service.revisions
    return bool(files.down or files.problems or files.below) or (service.script_location / "env.py").is_file()


def _is_environment(path: Path, code: Code) -> bool:
    try:
        imports = code.read(path).imports.values()
    except (SyntaxError, OSError):  # such as a link to a file that is gone
        return has_word(path, "alembic")
    # one of several histories may leave everything to a module that they share
    return any(module.partition(".")[0] == "alembic" for module, _ in imports) or any(
        is_revision(code.try_read(file)) for file in sorted((path.parent / "versions").glob("*.py"))
    )


def _is_ours(path: Path, code: Code) -> bool:
    """Whether an env.py is the shared one, which `db.init` writes: a version table may have the library's name too."""
    if not path.is_file():
        return False
    module = code.try_read(path)
    if module is None:
        return _OWN_IMPORT.search(path.read_bytes()) is not None
    return any(name.partition(".")[0] == _OWN_PACKAGE for name, _ in module.imports.values())


def _read(
    root: Path,
    options: Options | None,
    location: Path,
    code: Code,
    schemas: Schemas,
    shared_folders: Counter[Path],
    packages: tuple[Path, ...],
    adopted: Mapping[Path, Service],
    locations: tuple[Path, ...],
) -> PlainService:
    found = PlainService(
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
    is_read = _take_versions(found, options, environment)
    ours = _name_adopted(found, adopted)
    if ours is None and not is_read:
        ours = _name_written(found, adopted)
    _read_history(found, code, folders, ours, is_known=is_read or ours is not None)
    if options is None:
        for path in (location / "alembic.ini", location.parent / "alembic.ini"):
            if path.is_file() and (reason := unreadable(path)):
                found.note("to do", f"its options aren't known, as it can't be read: {reason}.", path)
    judge_options(found, options)
    if environment is None:
        return found
    judge_repeats(found, environment)
    if environment.version_table:
        found.version_table = environment.version_table
    found.version_table_schema = environment.version_table_schema
    reader = Reader(code, folders, options_reader(environment, options))
    read_alchemy(found, environment, reader, code)
    read_migrate(found, environment, reader, code)
    read_context(found, environment, code)
    _note_unread(found, environment, ours)
    if environment.loads_dotenv:
        found.note_all("to do", found.revisions.environment)
    neighbours = tuple(path for path in locations if path != location)
    found.models = find_models(environment, code, folders, found.path, neighbours)
    found.hooks = (*environment.hooks, *imported_hooks(found, environment, code, folders))
    for hook in found.hooks:
        found.note("hook", f"{hook.text}.", hook.path, hook.line)
    _read_dsn(found, environment, options, reader, code, ours)
    _take_schema(found, environment, schemas, code, folders)
    _take_table(found, ours)
    if found.state != LEFT_ALONE:
        judge_models(found, environment)
        judge_driver(found, environment)
        judge_imports(found, code, prepended(environment.module, options.import_folders if options else ()))
    return found


def _directory(options: Options | None, location: Path, shared_folders: Counter[Path], root: Path) -> Path:
    """Return the directory of a service: that of its ini file, or else the one around its env.py."""
    if options and options.folder not in (root, location) and options.section == DEFAULT_SECTION:
        return options.folder
    above = location.parent
    if shared_folders[above] > 1 or (above == root and options and options.section != DEFAULT_SECTION):
        return location
    return above


def _environment(
    found: PlainService, options: Options | None, code: Code, packages: tuple[Path, ...]
) -> Environment | None:
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


def _read_history(
    found: PlainService, code: Code, folders: tuple[Path, ...], ours: Service | None, *, is_known: bool
) -> None:
    if not is_known:
        found.revisions = RevisionFiles(computed=[Place(found.script_location, None, "its folders aren't known")])
        return
    files = read_revisions(found.version_locations, code, recursive=found.recursive, import_folders=folders)
    if files.below and not found.recursive:
        # Alembic itself doesn't read these; a history that isn't whole without them was read in another way
        whole = read_revisions(found.version_locations, code, recursive=True, import_folders=folders)
        if files.problems or not files.down:
            files, found.recursive = whole, True
        elif ours is None or "recursive_version_locations" not in ours.configured:
            text = f"{len(files.below)} revisions in folders below aren't read, as in plain Alembic"
            text = f"{text}: recursive_version_locations = false leaves them out"
            found.note("to do", f"{text}, and recursive_version_locations = true reads them.", files.below[0].parent)
    found.revisions = files
    found.note_all(BLOCKED, files.problems)
    found.note_all("to do", [*files.computed, *files.kept])
    if len(files.heads) > 1 and not files.labels and not files.problems:
        text = f"{len(files.heads)} heads: {', '.join(files.heads)}. Where they are meant, each needs branch_labels"
        text = f"{text}; otherwise `inv db.rebase` makes one line of them."
        found.note("to do", text, found.version_locations[0])


def _name_adopted(found: PlainService, adopted: Mapping[Path, Service]) -> Service | None:
    """Return the service of the table that has these revisions, and take its name."""
    ours = next((adopted[path] for path in map(Path.resolve, found.version_locations) if path in adopted), None)
    if ours:
        found.adopted, found.name = True, ours.name
        found.recursive |= ours.recursive_version_locations
    return ours


def _take_versions(found: PlainService, options: Options | None, environment: Environment | None) -> bool:
    """Take the folders of the revisions that env.py sets; return whether they are known."""
    folder = options.folder if options else found.path
    given = given_versions(environment.module, folder) if environment else None
    if given and given[0]:
        found.version_locations = given[0]
    elif given and environment:
        text = (
            "it sets the folders of its revisions, which can't be read from it; write its table by hand, with versions"
        )
        found.note(BLOCKED, f"{text}.", environment.path, given[1])
        return False
    return True


def _name_written(found: PlainService, adopted: Mapping[Path, Service]) -> Service | None:
    """Return the service of the table that has this directory, written by hand, and take its name and its folders."""
    ours = next((service for service in adopted.values() if service.path.resolve() == found.path.resolve()), None)
    if ours:
        found.version_locations = tuple(ours.version_locations)
        found.notes = [note for note in found.notes if note.kind != BLOCKED]
        return _name_adopted(found, adopted)
    return None


def _note_unread(found: PlainService, environment: Environment, ours: Service | None) -> None:
    for key, path, line in environment.unread:
        if ours is None or key not in ours.configured:
            found.note("to do", f"{key} can't be read from it; set {key} in the table.", path, line)


def _take_schema(
    found: PlainService, environment: Environment, schemas: Schemas, code: Code, folders: tuple[Path, ...]
) -> None:
    """Name the schema where plain Alembic has put the version table, if the models have one of their own.

    Here the version table is in that of the models, unless the table in pyproject.toml says otherwise. An env.py that
    names no schema leaves it to the ``search_path``: that is "$user", public, where nothing is seen that sets another,
    there or where a file that it imports makes the engine.
    """
    models = found.models
    is_open = found.version_table_schema is None and all(key != _SCHEMA for key, *_ in environment.unread)
    if found.adopted or models is None or not is_open or found.dsn.has_search_path:
        return
    schema = schemas.of(Service("", found.root, found.path, models.source, models.name, (), ""))
    if schema in (None, UNSURE, _PUBLIC, found.dsn.role):
        return
    files = files_below([environment.path], code, folders)
    files = [path for path in files if path == environment.path or any(has_word(path, word) for word in _ENGINES)]
    if not any(has_word(path, word) for path in files for word in _PATHS):
        found.version_table_schema = _PUBLIC


def _take_table(found: PlainService, ours: Service | None) -> None:
    """Take what the table says of an adopted service: a person may have written what can't be read of its env.py."""
    if ours is None:
        return
    if "version_table" in ours.configured:
        found.version_table = ours.version_table
    if "version_table_schema" in ours.configured:
        found.version_table_schema = ours.version_table_schema
    if ours.models_file and (found.models is None or found.models.name != ours.models):
        found.models = Models(ours.models, ours.source, ours.models_file, None)


def _read_dsn(
    found: PlainService,
    environment: Environment,
    options: Options | None,
    reader: Reader,
    code: Code,
    ours: Service | None,
) -> None:
    if ours and (ours.dsn or ours.dsn_key):
        found.dsn = DsnSource("the table in pyproject.toml", dsn_key=ours.dsn_key, dsn=ours.dsn)
        return
    place, text = found.relative(environment.path), None
    for node, function in environment.urls:
        text, place = (
            reader.text(node, environment.module, function),
            f"{found.relative(environment.path)}:{node.lineno}",
        )
        if text is not None and not _is_placeholder(text):
            break
    of_file = options_reader(environment, options)("sqlalchemy.url")
    if options and of_file and (text == of_file or not environment.urls or (text is None and environment.reads_ini)):
        text, place = of_file, f"{found.relative(options.path)}:{options.lines.get('sqlalchemy.url', 1)}"
    if text is None:
        text, place = flask_dsn(found, environment, reader, code) or (None, place)
    if text is None:
        text, place = alchemy_dsn(found, environment, reader, code) or (None, place)
    files = EnvFiles(found.path, found.root)
    found.dsn = describe_dsn(text, place, files, found.path, found.root)
    if found.dsn.dialect:
        own_file = found.relative(found.path / ".env")
        reason = f"its database is {found.dsn.dialect}, and this library is for PostgreSQL."
        if name := found.dsn.unset:
            reason = f"where {name} isn't set, {reason} If {name} is of PostgreSQL, set it in {own_file}."
        else:
            reason += f" If that is a placeholder, set DATABASE_DSN in {own_file}."
        found.note(LEFT_ALONE, reason)
    elif found.dsn.todo:
        found.note("to do", found.dsn.todo)


def _is_placeholder(text: Text) -> bool:
    """Whether a DSN is that of Alembic's own template."""
    return bool(text) and isinstance(text[0], str) and text[0].startswith("driver://")

"""The services of plain Alembic in a monorepo, found by reading its files."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from service_migrations.adoption.advanced_alchemy import alchemy_dsn, read_alchemy
from service_migrations.adoption.code.dsn_source import DsnSource, EnvFiles, describe_dsn
from service_migrations.adoption.code.expressions import Reader
from service_migrations.adoption.code.modules import Code, Remark, files_below, has_word
from service_migrations.adoption.code.revision_files import RevisionFiles, read_revisions
from service_migrations.adoption.code.variables import Text
from service_migrations.adoption.environment.env_file import Environment, options_reader, read_environment
from service_migrations.adoption.flask import flask_dsn, read_context, read_migrate
from service_migrations.adoption.judgement import (
    compare,
    judge_driver,
    judge_imports,
    judge_models,
    judge_options,
    judge_others,
    judge_repeats,
)
from service_migrations.adoption.layout.environments import Place, find_environments
from service_migrations.adoption.layout.folders import given_versions, import_folders, prepended, walk
from service_migrations.adoption.layout.ini import DEFAULT_SECTION, AlembicOptions, unreadable
from service_migrations.adoption.models.module import Models, find_models
from service_migrations.adoption.naming import name_all
from service_migrations.adoption.plain_service import BLOCKED, LEFT_ALONE, PlainService
from service_migrations.adoption.registered import imported_hooks
from service_migrations.monorepo import Monorepo
from service_migrations.pyproject import read_tools
from service_migrations.rollout.schemas import UNSURE, Schemas
from service_migrations.service import Service

__all__ = ["survey"]

_SCHEMA = "version_table_schema"
_PUBLIC = "public"
_ENGINES = ("_engine(", "engine_from_config", "connect_args")
_PATHS = ("search_path", "SET SCHEMA", "schema_translate_map")
"""What puts a table without a schema into another one than public."""


def survey(root: Path) -> tuple[PlainService, ...]:
    """Return the services of plain Alembic below a top level, in alphabetical order. Changes and imports nothing.

    Args:
        root: the top level; it need not have a table yet.

    Raises:
        ConfigurationError: pyproject.toml has a table, and that is wrong.

    """
    files, code = walk(root), Code()
    places = find_environments(root, files, code)
    known = Monorepo.at(root).services() if "service-migrations" in read_tools(root) else ()
    adopted = {folder.resolve(): service for service in known for folder in service.version_locations}
    shared_folders = Counter(place.location.parent for place in places)
    packages = tuple(path.parent for path in files.pyproject if path.parent != root)
    locations = tuple(dict.fromkeys(place.location for place in places))
    schemas = Schemas(root)
    read = (_read(root, place, code, schemas, shared_folders, packages, adopted, locations) for place in places)
    services = [service for service in read if _is_there(service)]
    name_all(services, {service.name: service.path for service in known})
    compare(services)
    return tuple(sorted(services, key=lambda service: service.name))


def _is_there(service: PlainService) -> bool:
    """Whether a configuration has an env.py or revisions, unlike one in the data of a package, such as a template."""
    files = service.revisions
    return bool(files.down or files.problems or files.below) or (service.script_location / "env.py").is_file()


def _read(
    root: Path,
    place: Place,
    code: Code,
    schemas: Schemas,
    shared_folders: Counter[Path],
    packages: tuple[Path, ...],
    adopted: Mapping[Path, Service],
    locations: tuple[Path, ...],
) -> PlainService:
    options, location = place.options, place.location
    service = PlainService(
        root,
        options.path if options else location / "env.py",
        options.section if options else DEFAULT_SECTION,
        location,
    )
    service.path = _directory(options, location, shared_folders, root)
    environment = _environment(service, options, code, packages)
    folders = import_folders(
        environment.module if environment else None,
        options.import_folders if options else (),
        service.path,
        root,
        packages,
    )
    service.version_locations = options.version_locations(location) if options else (location / "versions",)
    service.recursive = bool(options and options.recursive)
    is_read = _take_versions(service, options, environment)
    ours = _name_adopted(service, adopted)
    if ours is None and not is_read:
        ours = _name_written(service, adopted)
    _read_history(service, code, folders, ours, is_known=is_read or ours is not None)
    if options is None:
        for path in (location / "alembic.ini", location.parent / "alembic.ini"):
            if path.is_file() and (reason := unreadable(path)):
                service.note("to do", f"its options aren't known, as it can't be read: {reason}.", path)
    judge_options(service, options)
    judge_others(service, options, place.others)
    if environment is None:
        return service
    judge_repeats(service, environment)
    if environment.version_table:
        service.version_table = environment.version_table
    service.version_table_schema = environment.version_table_schema
    reader = Reader(code, folders, options_reader(environment, options))
    read_alchemy(service, environment, reader, code)
    read_migrate(service, environment, reader, code)
    read_context(service, environment, code)
    _note_unread(service, environment, ours)
    if environment.loads_dotenv:
        service.note_all("to do", service.revisions.environment)
    neighbours = tuple(path for path in locations if path != location)
    service.models = find_models(environment, code, folders, service.path, neighbours)
    service.hooks = (*environment.hooks, *imported_hooks(service, environment, code, folders))
    for hook in service.hooks:
        service.note("hook", f"{hook.text}.", hook.path, hook.line)
    _read_dsn(service, environment, options, reader, code, ours)
    _take_schema(service, environment, schemas, code, folders)
    _take_table(service, ours)
    if service.state != LEFT_ALONE:
        judge_models(service, environment)
        judge_driver(service, environment)
        judge_imports(service, code, prepended(environment.module, options.import_folders if options else ()))
    return service


def _directory(options: AlembicOptions | None, location: Path, shared_folders: Counter[Path], root: Path) -> Path:
    """Return the directory of a service: that of its ini file, or else the one around its env.py."""
    if options and options.folder not in (root, location) and options.section == DEFAULT_SECTION:
        return options.folder
    above = location.parent
    if shared_folders[above] > 1 or (above == root and options and options.section != DEFAULT_SECTION):
        return location
    return above


def _environment(
    service: PlainService, options: AlembicOptions | None, code: Code, packages: tuple[Path, ...]
) -> Environment | None:
    path = service.script_location / "env.py"
    folders = import_folders(
        code.try_read(path), options.import_folders if options else (), service.path, service.root, packages
    )
    try:
        return read_environment(path, options, code, folders)
    except SyntaxError as error:
        service.note(BLOCKED, f"it can't be parsed: {error.msg}.", path, error.lineno)
    except OSError:
        service.note(BLOCKED, "there is no env.py.", path)
    return None


def _read_history(
    service: PlainService, code: Code, folders: tuple[Path, ...], ours: Service | None, *, is_known: bool
) -> None:
    if not is_known:
        service.revisions = RevisionFiles(computed=[Remark(service.script_location, None, "its folders aren't known")])
        return
    files = read_revisions(service.version_locations, code, recursive=service.recursive, import_folders=folders)
    if files.below and not service.recursive:
        # Alembic itself doesn't read these; a history that isn't whole without them was read in another way
        whole = read_revisions(service.version_locations, code, recursive=True, import_folders=folders)
        if files.problems or not files.down:
            files, service.recursive = whole, True
        elif ours is None or "recursive_version_locations" not in ours.configured:
            text = f"{len(files.below)} revisions in folders below aren't read, as in plain Alembic"
            text = f"{text}: recursive_version_locations = false leaves them out"
            service.note("to do", f"{text}, and recursive_version_locations = true reads them.", files.below[0].parent)
    service.revisions = files
    service.note_all(BLOCKED, files.problems)
    service.note_all("to do", [*files.computed, *files.kept])
    if len(files.heads) > 1 and not files.labels and not files.problems:
        text = f"{len(files.heads)} heads: {', '.join(files.heads)}. Where they are meant, each needs branch_labels"
        text = f"{text}; otherwise `inv db.rebase` makes one line of them."
        service.note("to do", text, service.version_locations[0])


def _name_adopted(service: PlainService, adopted: Mapping[Path, Service]) -> Service | None:
    """Return the service of the table that has these revisions, and take its name."""
    ours = next((adopted[path] for path in map(Path.resolve, service.version_locations) if path in adopted), None)
    if ours:
        service.adopted, service.name = True, ours.name
        service.recursive |= ours.recursive_version_locations
    return ours


def _take_versions(service: PlainService, options: AlembicOptions | None, environment: Environment | None) -> bool:
    """Take the folders of the revisions that env.py sets; return whether they are known."""
    folder = options.folder if options else service.path
    given = given_versions(environment.module, folder) if environment else None
    if given and given[0]:
        service.version_locations = given[0]
    elif given and environment:
        text = (
            "it sets the folders of its revisions, which can't be read from it; write its table by hand, with versions"
        )
        service.note(BLOCKED, f"{text}.", *environment.place(given[1]))
        return False
    return True


def _name_written(service: PlainService, adopted: Mapping[Path, Service]) -> Service | None:
    """Return the service of the table that has this directory, written by hand, and take its name and its folders."""
    ours = next((known for known in adopted.values() if known.path.resolve() == service.path.resolve()), None)
    if ours:
        service.version_locations = tuple(ours.version_locations)
        service.notes = [note for note in service.notes if note.kind != BLOCKED]
        return _name_adopted(service, adopted)
    return None


def _note_unread(service: PlainService, environment: Environment, ours: Service | None) -> None:
    for key, path, line in environment.unread:
        if ours is None or key not in ours.configured:
            service.note("to do", f"{key} can't be read from it; set {key} in the table.", path, line)


def _take_schema(
    service: PlainService, environment: Environment, schemas: Schemas, code: Code, folders: tuple[Path, ...]
) -> None:
    """Name the schema where plain Alembic has put the version table, if the models have one of their own.

    Here the version table is in that of the models, unless the table in pyproject.toml says otherwise. An env.py that
    names no schema leaves it to the ``search_path``: that is "$user", public, where nothing is seen that sets another,
    there or where a file that it imports makes the engine.
    """
    models = service.models
    is_open = service.version_table_schema is None and all(key != _SCHEMA for key, *_ in environment.unread)
    if service.adopted or models is None or not is_open or service.dsn.has_search_path:
        return
    schema = schemas.of(Service("", service.root, service.path, models.source, models.name, (), ""))
    if schema in (None, UNSURE, _PUBLIC, service.dsn.role):
        return
    files = files_below([environment.path], code, folders)
    files = [path for path in files if path == environment.path or any(has_word(path, word) for word in _ENGINES)]
    if not any(has_word(path, word) for path in files for word in _PATHS):
        service.version_table_schema = _PUBLIC


def _take_table(service: PlainService, ours: Service | None) -> None:
    """Take what the table says of an adopted service: a person may have written what can't be read of its env.py."""
    if ours is None:
        return
    if "version_table" in ours.configured:
        service.version_table = ours.version_table
    if "version_table_schema" in ours.configured:
        service.version_table_schema = ours.version_table_schema
    if ours.models_file and (service.models is None or service.models.name != ours.models):
        service.models = Models(ours.models, ours.source, ours.models_file, None)


def _read_dsn(
    service: PlainService,
    environment: Environment,
    options: AlembicOptions | None,
    reader: Reader,
    code: Code,
    ours: Service | None,
) -> None:
    if ours and (ours.dsn or ours.dsn_key):
        service.dsn = DsnSource("the table in pyproject.toml", dsn_key=ours.dsn_key, dsn=ours.dsn)
        return
    place, text = service.relative(environment.path), None
    for node, function in environment.urls:
        file, line = environment.place(node.lineno)
        text, place = reader.text(node, environment.module, function), f"{service.relative(file)}:{line}"
        if text is not None and not _is_placeholder(text):
            break
    of_file = options_reader(environment, options)("sqlalchemy.url")
    if options and of_file and (text == of_file or not environment.urls or (text is None and environment.reads_ini)):
        text, place = of_file, f"{service.relative(options.path)}:{options.lines.get('sqlalchemy.url', 1)}"
    if text is None:
        text, place = flask_dsn(service, environment, reader, code) or (None, place)
    if text is None:
        text, place = alchemy_dsn(service, environment, reader, code) or (None, place)
    files = EnvFiles(service.path, service.root)
    service.dsn = describe_dsn(text, place, files, service.path, service.root)
    if service.dsn.dialect:
        own_file = service.relative(service.path / ".env")
        reason = f"its database is {service.dsn.dialect}, and this library is for PostgreSQL."
        if name := service.dsn.unset:
            reason = f"where {name} isn't set, {reason} If {name} is of PostgreSQL, set it in {own_file}."
        else:
            reason += f" If that is a placeholder, set DATABASE_DSN in {own_file}."
        service.note(LEFT_ALONE, reason)
    elif service.dsn.todo:
        service.note("to do", service.dsn.todo)


def _is_placeholder(text: Text) -> bool:
    """Whether a DSN is that of Alembic's own template."""
    return bool(text) and isinstance(text[0], str) and text[0].startswith("driver://")

"""What was read of a service, judged: notes of what blocks it, and of what a person has to do."""

import ast
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from service_migrations.adoption.code.modules import Code, files_below, is_library
from service_migrations.adoption.environment.env_file import Environment
from service_migrations.adoption.layout.ini import AlembicOptions
from service_migrations.adoption.plain_service import BLOCKED, LEFT_ALONE, PlainService
from service_migrations.pyproject import FILE, read_tools

__all__ = ["compare", "judge_driver", "judge_imports", "judge_models", "judge_options", "judge_others", "judge_repeats"]

_OF_NEW_REVISIONS = ("file_template", "timezone", "truncate_slug_length")
_OF_FILES = (
    *("script_location", "version_locations", "prepend_sys_path", "path_separator", "version_path_separator"),
    *_OF_NEW_REVISIONS,
)
"""Options whose difference isn't one of what is run."""
_URL = "sqlalchemy.url"
_SHOWN = 3
"""Places that are named of those that need psycopg, and modules of those with tables; the rest is counted."""


def judge_repeats(service: PlainService, environment: Environment) -> None:
    """Block what is run more than once: here it would be run once, in a schema or a database that isn't meant."""
    if "upgrade_token" in environment.configure:
        text = "it runs each revision for several databases, and a service has one"
        place = environment.place(environment.configure["upgrade_token"].lineno)
        service.note(BLOCKED, f"{text}; leave it to Alembic, or split the history.", *place)
    elif environment.repeats:
        over, line = environment.repeats
        text = f"it runs the history for each of {ast.unparse(over)}, and a service has one database and one schema"
        service.note(BLOCKED, f"{text}; leave it to Alembic, or make a service of each.", *environment.place(line))


def judge_models(service: PlainService, environment: Environment) -> None:
    """Block a service without models, and note what has to be added to them."""
    models = service.models
    if models is None:
        name = environment.metadata or "target_metadata"
        text = f"no module with tables is found for {name}"
        if not environment.has_metadata:
            text = "it has no target_metadata, and a service has models, if only a module with __all__ = []"
        service.note(BLOCKED, f"{text}; set models and source.", environment.path)
        return
    if models.export:
        service.note("to do", f"it has no __all__. Add: {models.export}", models.file)
    if models.others:
        have = "has" if len(models.others) == 1 else "have"
        more = f" and {len(models.others) - _SHOWN} more" if models.others[_SHOWN:] else ""
        text = f"{', '.join(models.others[:_SHOWN])}{more} {have} tables that {models.name} doesn't import"
        advice = "import them there, or set models to a module that imports all and has an __all__"
        service.note("to do", f"{text}; {advice}.", models.file)


def judge_driver(service: PlainService, environment: Environment) -> None:
    """Propose psycopg where a history of another driver has what asyncpg won't run, or would run with other values.

    An env.py that doesn't await never ran over asyncpg, whatever the DSN says: it replaces the driver's name.
    """
    if environment.is_async and service.dsn.driver in (None, "asyncpg"):
        return
    places = [*service.revisions.for_psycopg, *service.revisions.reads]
    if not places:
        return
    service.driver = "psycopg"
    service.note_all("driver", places[:_SHOWN])
    if len(places) > _SHOWN:
        more = len(places) - _SHOWN
        service.note("driver", f"and {more} more {'place' if more == 1 else 'places'}.")
    if service.dsn.driver == "psycopg" and service.revisions.reads:
        text = "its DSN is for psycopg 3, and rows are read as by psycopg2: inet, cidr, a row and an array of these"
        service.note("driver", f"{text} are texts.")


def judge_options(service: PlainService, options: AlembicOptions | None) -> None:
    """Note the options of new revisions: they are those of ``[tool.alembic]`` at the top level for all services."""
    given = [name for name in _OF_NEW_REVISIONS if options and options.values.get(name)]
    table = read_tools(service.root).get("alembic", {}) if given else {}
    # TOML has numbers, and an ini file has texts
    differing = [name for name in given if options and str(table.get(name)) != options.values[name]]
    if options and differing:
        text = f"a new revision gets its name without {' and '.join(differing)} of this file"
        line = options.lines.get(differing[0])
        service.note("to do", f"{text}; [tool.alembic] in {FILE} has these options for all.", options.path, line)


def judge_others(service: PlainService, options: AlembicOptions | None, others: Iterable[AlembicOptions]) -> None:
    """Note the sections and files that have the same revisions with other options: those of the first one are read.

    They are mostly further databases of one history, such as that of tests.
    """
    for other in others if options and not service.adopted else ():
        if options is None or (other.path.suffix == ".toml" and other.folder == options.folder):
            continue  # Alembic reads both
        names = {*options.values, *other.values}.difference(_OF_FILES)
        differing = sorted(name for name in names if options.value(name) != other.value(name))
        if not differing:
            continue
        place = "" if options.path == other.path else f" of {service.relative(options.path)}"
        text = f"[{other.section}] has the same revisions as [{options.section}]{place}, whose options are read"
        advice = f"its own {', '.join(differing)} {'is' if len(differing) == 1 else 'are'} not"
        if _URL in differing:
            advice = f"{advice}; name its database by DATABASE_DSN in the environment"
        lines = [other.lines[name] for name in differing if name in other.lines]
        service.note("to do", f"{text}: {advice}.", other.path, min(lines, default=1))


def judge_imports(service: PlainService, code: Code, folders: tuple[Path, ...]) -> None:
    """Note what models and revisions import from folders of ``prepend_sys_path`` or of env.py.

    Here only the source of the models is on ``sys.path``.
    """
    if service.models is None:
        return
    here = (service.models.source, service.root)
    named: set[str] = set()
    looked: set[str] = set()
    for path in (*service.revisions.paths.values(), *files_below([service.models.file], code, here)):
        module = code.try_read(path)
        for imported in module.imports.values() if module else ():
            name = imported[0]
            top = name.partition(".")[0]
            if not top or name in looked or top in named:
                continue
            looked.add(name)
            if is_library(top) or _is_of_python(top) or code.find(top, here) or code.find(name, here):
                continue
            file = code.find(name, folders) or code.find(top, folders)
            if file is not None and not _is_installed(top, file) and not _imports(code, file, top):
                named.add(top)
                text = f"it imports {name} of {service.relative(file)}"
                text = f"{text}, and only {service.relative(here[0])} is on sys.path here"
                service.note("to do", f"{text}; install that folder as a package.", path)


def _imports(code: Code, file: Path, package: str) -> bool:
    """Whether a file imports a package: one of its own name, as celery.py imports celery, is a library."""
    module = code.try_read(file)
    return module is not None and any(name.partition(".")[0] == package for name, *_ in module.imports.values())


def _is_of_python(name: str) -> bool:
    """Whether a module is Python's own and loaded already, so that no file of its name is imported instead."""
    return name in sys.stdlib_module_names and name in sys.modules


def _is_installed(package: str, file: Path) -> bool:
    """Whether a package is found where this runs, and is the one of a file, as in an editable install."""
    try:
        spec = find_spec(package)  # of a package's own name: nothing is imported
    except (ImportError, ValueError):
        return False
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else ())] if spec else []
    return any(file.resolve().is_relative_to(Path(place).resolve()) for place in places)


def compare(services: list[PlainService]) -> None:
    """Note what two services can't both have: one version table of one database, models, or one name of a package."""
    _compare_models(services)
    by_table: dict[tuple[str, str | None, str], PlainService] = {}
    by_package: dict[str, PlainService] = {}
    for service in services:
        if service.state == LEFT_ALONE:
            continue
        if service.dsn.identity:
            key = (service.dsn.identity, service.version_table_schema, service.version_table)
            other = by_table.setdefault(key, service)
            if other is not service:
                for first, another in ((service, other), (other, service)):
                    text = f"{another.name} has the version table {first.version_table} of the same database"
                    own_file = first.relative(first.path / ".env")
                    advice = f"another version_table, or another database by DATABASE_DSN in {own_file}"
                    first.note(BLOCKED, f"{text}; give one of them {advice}.")
        if service.models:
            package = service.models.name.partition(".")[0]
            other = by_package.setdefault(package, service)
            if other is not service and other.models and other.models.source != service.models.source:
                text = f"{other.name} has a package {package} too, and one process can import one of them"
                service.note("to do", f"{text}: name one service in a command, or rename a package.")


def _compare_models(services: list[PlainService]) -> None:
    """Note histories of one metadata, as that of an application and of a plugin: its tables belong to one of them."""
    by_models: dict[tuple[str, Path], list[PlainService]] = {}
    for service in services:
        if service.models and service.state not in (LEFT_ALONE, BLOCKED):
            by_models.setdefault((service.models.name, service.models.source), []).append(service)
    for sharing in by_models.values():
        owners = [service for service in sharing if service.adopted]
        owners = owners or [each for each in sharing if each.models and each.models.file.is_relative_to(each.path)]
        for service in sharing if len(sharing) > 1 else ():
            if owners == [service] or service.adopted or service.models is None:
                continue
            others = sorted(other.name for other in sharing if other is not service)
            verb = "has" if len(others) == 1 else "have"
            text = (
                f"{', '.join(others)} {verb} the models {service.models.name} too, and a table belongs to one service"
            )
            service.note(BLOCKED, f"{text}; set models to a module of its own, if only one with __all__ = [].")

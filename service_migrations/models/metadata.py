"""The metadata of a service: a copy of the tables that its ``models.__all__`` names."""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from sqlalchemy import CheckConstraint, MetaData, Table, inspect as sa_inspect
from sqlalchemy.exc import NoReferencedTableError, SQLAlchemyError
from sqlalchemy.orm import Mapper

from service_migrations.errors import ConfigurationError
from service_migrations.models.exported import tables_of_metadata
from service_migrations.models.faults import add_fault, collect_faults
from service_migrations.models.importing import import_models, where, where_defined
from service_migrations.models.service_code import modules_of
from service_migrations.models.tables.copies import copy_table
from service_migrations.models.tables.identifiers import folded_names, long_names
from service_migrations.models.tables.info import add_info
from service_migrations.models.tables.parameters import open_parameters
from service_migrations.models.tables.views import add_views, is_view
from service_migrations.monorepo import Service
from service_migrations.pyproject import FILE
from service_migrations.sql.identifiers import LONGEST

__all__ = [
    "assemble",
    "bookkeeping_schema",
    "models_file",
    "place_of_table",
    "refuse_later_changes",
    "schema_of",
    "tables_of",
]

_PLACES = "migrations.places"
_READ = "migrations.read"
_OF_METADATA = ("naming_convention", "schema")


def assemble(service: Service) -> MetaData:
    """Return a fresh MetaData with copies of the tables that ``models.__all__`` names, and of nothing else.

    A mapped class or a Table gives its table, with the tables that it needs: the parents of joined inheritance
    and association tables. The ``info`` of their metadata is that of the new one too (info.py). A MetaData gives all of
    its tables, and so does a base that is only re-exported (exported.py). An enum, a mixin or a type gives none, nor
    does a view (views.py).

    What is wrong with one table only is kept in the metadata (faults.py): a mapped class of the service that
    ``__all__`` doesn't name, a name that is too long, a parameter without a value, a foreign key to a column that
    doesn't exist. A key to a table that isn't exported is left as it is: the table may be a sibling's (stand_ins.py).

    Raises:
        ConfigurationError: the models can't be imported; ``__all__`` is missing, or has a name that the
            module lacks.

    """
    module = import_models(service)
    names = getattr(module, "__all__", None)
    place = where(service, module)
    if not isinstance(names, list | tuple):
        raise ConfigurationError("__all__ is missing.", path=place, hint=_proposed(service, module))
    tables: dict[Table, str] = {}
    views: dict[Table, None] = {}
    sources: dict[MetaData, None] = {}
    for name in names:
        if not hasattr(module, name):
            raise ConfigurationError(
                f"__all__ names {name!r}, which isn't there.", path=place, hint="Import it, or remove it."
            )
        exported = getattr(module, name)
        for table in tables_of(exported, place):
            if is_view(table):
                views[table] = None
            else:
                tables.setdefault(table, where_defined(service, module, exported))
                sources[table.metadata] = None
        source = exported if isinstance(exported, MetaData) else getattr(exported, "metadata", None)
        if isinstance(source, MetaData) and not _has_only_views(source):
            sources[source] = None
    exports = [getattr(module, name) for name in names]
    tables |= tables_of_metadata(service, exports, tables, place)
    target = MetaData(naming_convention=_common_convention(sources), schema=_common_schema(tables, sources))
    add_info(target, sources)
    target.info[_READ] = place, {source: _decides(source) for source in sources}
    collect_faults(target)
    _refuse_unexported(service, module, tables, place, target)
    _refuse_ignored(service, tables, target)
    for table, table_place in tables.items():
        if table.key in target.tables:
            message, hint = f"two exported models map the table {table.key}.", "Remove one from __all__."
            add_fault(target, table, ConfigurationError(message, path=place, hint=hint))
            continue
        copy = copy_table(table, target)
        target.info.setdefault(_PLACES, {})[copy.key] = table_place
        _hoist_checks(copy)
    add_views(target, *((view.schema, view.name) for view in views))
    _refuse_foreign_keys_to_no_column(target, place)
    _refuse_changed_names(target, place)
    _refuse_open_parameters(target, place)
    return target


def refuse_later_changes(metadata: MetaData) -> None:
    """Refuse what has been set of an exported MetaData since ``assemble``: neither tables nor revisions would have it.

    Raises:
        ConfigurationError: env.py, which runs after it, has set its naming convention or schema.

    """
    place, sources = metadata.info.get(_READ, ("", {}))
    for source, values in sources.items():
        for name, value, former in zip(_OF_METADATA, _decides(source), values, strict=True):
            if value != former:
                message = f"{name} of the MetaData is set in migrations/env.py, after its tables were read."
                raise ConfigurationError(message, path=place, hint="Set it there, before the classes.")


def _decides(source: MetaData) -> tuple[Any, ...]:
    return tuple(getattr(source, name) for name in _OF_METADATA)


def _proposed(service: Service, module: ModuleType) -> str:
    """Return the line that a module without ``__all__`` lacks: its metadata, bases, models and tables."""
    package = f"{service.package}."
    names = [
        name
        for name, value in vars(module).items()
        if name[0] != "_"
        and (
            isinstance(value, MetaData | Table)
            or (
                isinstance(value, type)
                and value.__module__.startswith(package)
                and isinstance(getattr(value, "metadata", None), MetaData)
            )
        )
    ]
    quoted_names = ", ".join(f'"{name}"' for name in names)
    return 'List "Base" and every model in it' + (f": __all__ = [{quoted_names}]" if names else ".")


def _refuse_changed_names(metadata: MetaData, place: str) -> None:
    """Refuse the tables with a name that the database would have otherwise: each comparison would differ."""
    for table, name in long_names(metadata):
        message = f"table {table.key}: {name} has more than the {LONGEST} bytes that PostgreSQL keeps of a name."
        path = place_of_table(table) or place
        add_fault(metadata, table, ConfigurationError(message, path=path, hint="Shorten it."))
    for table, name in folded_names(metadata):
        message = f"table {table.key}: {name} isn't quoted, so PostgreSQL has it in small letters."
        path = place_of_table(table) or place
        hint = "Leave quote=False out, or write the name in small letters."
        add_fault(metadata, table, ConfigurationError(message, path=path, hint=hint))


def _refuse_open_parameters(metadata: MetaData, place: str) -> None:
    """Refuse the tables whose SQL has a parameter without a value: NULL would stand in its place."""
    for table, part, name in open_parameters(metadata):
        message = f"table {table.key}: {part} has :{name}, a parameter without a value."
        path = place_of_table(table) or place
        hint = rf"Write \\:{name} for a colon; SQLAlchemy would write NULL."
        add_fault(metadata, table, ConfigurationError(message, path=path, hint=hint))


def _has_only_views(metadata: MetaData) -> bool:
    return bool(metadata.tables) and all(is_view(table) for table in metadata.tables.values())


def _common_convention(sources: Iterable[MetaData]) -> Any:
    """Return the naming convention of the exported metadata; None where they differ."""
    conventions = [source.naming_convention for source in sources]
    equal = all(convention == conventions[0] for convention in conventions)
    return conventions[0] if conventions and equal else None


def _common_schema(tables: Iterable[Table], sources: Iterable[MetaData]) -> str | None:
    """Return the schema that the metadata of all tables have; None where one has another or none.

    Tables of a metadata without a schema would be compared in that of the others, and proposed for a drop. A table with
    a schema of its own has it anywhere. An exported metadata without other tables counts only where none has any.
    """
    schemas = {table.metadata.schema for table in tables if table.schema == table.metadata.schema}
    schemas = schemas or {source.schema for source in sources}
    return schemas.pop() if len(schemas) == 1 else None


def place_of_table(table: Table) -> str | None:
    """Return the file of the model of a table from ``assemble``."""
    place: str | None = table.metadata.info.get(_PLACES, {}).get(table.key)
    return place


def models_file(service: Service) -> str:
    """Return the file whose ``__all__`` names a service's models."""
    return where(service, import_models(service))


def schema_of(metadata: MetaData) -> str | None:
    """Return the schema of a service's metadata."""
    return metadata.schema


def bookkeeping_schema(service: Service, metadata: MetaData) -> str | None:
    """Return the schema of a service's version table and ledger: its setting, or that of its metadata.

    Both are created before the first revision, which may itself create the schema of the models.
    """
    return service.version_table_schema or schema_of(metadata)


def tables_of(exported: object, place: str) -> Iterator[Table]:
    """Yield the tables of an exported object.

    Raises:
        ConfigurationError: it is a model whose relationships can't be resolved; the error begins with the *place*.

    """
    if isinstance(exported, Table):
        yield exported
        return
    mapper = sa_inspect(exported, raiseerr=False) if isinstance(exported, type) else None
    if not isinstance(mapper, Mapper):
        return
    try:
        relationships = list(mapper.relationships)
    except SQLAlchemyError as error:
        raise ConfigurationError(" ".join(str(error).split()), path=place) from error
    yield from (table for table in mapper.tables if isinstance(table, Table))
    yield from (relationship.secondary for relationship in relationships if isinstance(relationship.secondary, Table))


def _refuse_unexported(
    service: Service, module: ModuleType, tables: Iterable[Table], place: str, target: MetaData
) -> None:
    """Refuse a model that the service maps and doesn't export.

    Its table would never be created, without an error.
    """
    exported = set(tables)
    package = f"{service.package}."
    modules = modules_of(service)
    submodules = [loaded for name, loaded in modules.items() if name.startswith(f"{module.__name__}.")]
    for loaded in (module, *submodules):
        for name, value in vars(loaded).items():
            if isinstance(value, Table):
                missing = [value]
            elif isinstance(value, type) and value.__module__.startswith(package):
                missing = list(tables_of(value, place))
            else:
                continue
            missing = [table for table in missing if table not in exported and not is_view(table)]
            missing = [table for table in missing if not service.ignored_by(table.schema or "public", table.name)]
            for table in missing:
                message = f"{name} maps the table {table.key}, but models.__all__ doesn't name it."
                hint = f"Add it to __all__ in {place}."
                add_fault(target, table, ConfigurationError(message, path=where(service, loaded), hint=hint))


def _refuse_ignored(service: Service, tables: Iterable[Table], target: MetaData) -> None:
    for table in tables:
        if pattern := service.ignored_by(table.schema or "public", table.name):
            error = ConfigurationError(
                f"ignore = {pattern!r} matches {table.fullname}, a table of the models, so that no difference of it "
                "would be seen.",
                service=service,
                path=FILE,
                hint="Write a narrower pattern; a model of another program's table, take out of __all__.",
            )
            add_fault(target, table, error)


def _hoist_checks(table: Table) -> None:
    """Move the CHECKs of columns to their table, where Alembic's ``create_table`` sees them."""
    for column in table.columns:
        for check in [constraint for constraint in column.constraints if isinstance(constraint, CheckConstraint)]:
            column.constraints.discard(check)
            table.append_constraint(
                CheckConstraint(check.sqltext, name=check.name, info=check.info, **check.dialect_kwargs)
            )


def _refuse_foreign_keys_to_no_column(metadata: MetaData, place: str) -> None:
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            try:
                _ = key.column
            except NoReferencedTableError:
                continue
            except SQLAlchemyError as error:
                message = f"{table.name}.{key.parent.name}: {error}"
                add_fault(metadata, table, ConfigurationError(message, path=place))

"""The module of a service's models: the one whose import brings every table that the old env.py knows."""

import ast
import json
from dataclasses import dataclass
from pathlib import Path

from service_migrations.adoption.code.modules import Code, Module, called, dotted, is_library
from service_migrations.adoption.environment.env_file import Environment
from service_migrations.adoption.models.mapped_classes import is_base
from service_migrations.adoption.models.table_search import TableSearch

__all__ = ["Models", "find_models"]

_NAMES = ("models", "model", "tables", "orm", "entities", "database", "db", "schema", "schemas")
"""Names of packages that may be imported as a whole: all their modules are."""
_FLASK_BASES = ("db.Model", "database.Model")
_FEW = 6
"""Names of models that are listed in a proposed ``__all__``."""


@dataclass(frozen=True, slots=True)
class Models:
    """The module of a service's models.

    Attributes:
        name: its dotted name.
        source: the folder that has to be on ``sys.path``.
        file: its file.
        export: the line that its file lacks; None where it has an ``__all__``.
        others: modules with further tables that the old env.py imports, and this one doesn't.

    """

    name: str
    source: Path
    file: Path
    export: str | None
    others: tuple[str, ...] = ()


def find_models(
    environment: Environment, code: Code, folders: tuple[Path, ...], directory: Path, neighbours: tuple[Path, ...] = ()
) -> Models | None:
    """Return the models of a service; None where no module with tables is found.

    Args:
        environment: its env.py.
        code: the files that were read already.
        folders: those of ``sys.path``.
        directory: the directory of the service, which is searched where env.py imports no tables, as is the package
            of its metadata.
        neighbours: the folders of the other env.py files of the monorepo.

    """
    search = TableSearch(environment, code, folders, directory, neighbours)
    names = list(_imported_modules(environment.module, search))
    if origin := environment.module.origin(environment.metadata) if environment.metadata else None:
        preferred = f"{origin[0]}.{origin[1]}"
        names.sort(key=lambda name: name not in (preferred, origin[0]))
    with_tables = [name for name in names if _reach(search, name)]
    is_imported = bool(with_tables)
    with_tables = [*with_tables, *search.unreached(with_tables)] if is_imported else search.modules()
    if not with_tables:
        return None
    all_tables = frozenset(file for name in with_tables for file in _reach(search, name))
    candidates = [*with_tables, *_packages(search, with_tables)]
    if not is_imported and len(all_tables) > 1:
        # a module of many imports others for what it needs of them, and no longer tomorrow
        candidates = [*_packages(search, with_tables), *search.collectors(all_tables), *with_tables]
    best = max(candidates, key=lambda name: (len(_reach(search, name) & all_tables), -candidates.index(name)))
    place = search.locate(best)
    if place is None:
        return None
    missing = all_tables - _reach(search, best)
    others = tuple(name for name in dict.fromkeys(with_tables) if _reach(search, name) & missing)
    return Models(best, place[0], place[1], _export(search, place[1], environment), others)


def _packages(search: TableSearch, names: list[str]) -> list[str]:
    """Return the packages of models around some modules, the innermost one first, that can be imported as a whole."""
    around = [parent for name in names for parent in _parents(name) if parent.rpartition(".")[2] in _NAMES]
    places = {name: search.locate(name) for name in dict.fromkeys(around)}
    return [name for name, place in places.items() if place and not search.runs_an_environment(place[1])]


def _reach(search: TableSearch, name: str) -> frozenset[Path]:
    place = search.locate(name)
    return search.reach(place[1]) if place else frozenset()


def _imported_modules(module: Module, search: TableSearch) -> list[str]:
    """Return the dotted names of the team's modules that a file imports."""
    names = []
    for name, attribute in module.imports.values():
        if is_library(name):
            continue
        submodule = f"{name}.{attribute}"
        names.append(submodule if attribute and search.locate(submodule) else name)
    return [name for name in dict.fromkeys(names) if search.locate(name)]


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]


def _export(search: TableSearch, path: Path, environment: Environment) -> str | None:
    """Return the line that a file lacks; None where it has an ``__all__``.

    A base alone isn't enough where the service's own package has the classes: each is named, or the metadata is.
    """
    module = search.code.try_read(path)
    if module is None or "__all__" in module.values or _adds_to_all(module):
        return None
    base = environment.metadata or ""
    known = {*module.classes, *module.values, *module.imports}
    parts = [part for part in base.split(".") if part in known]
    owners = [part for part in parts if _is_own_name(module, part, search)]
    bases = [item for item, definition in module.classes.items() if is_base(definition)]
    makers = [item for item, values in module.values.items() if _is_metadata(values[-1])]
    tables = search.mapped.names(path)
    owner = next(iter([*owners[-1:], *bases, *makers, *_dotted_bases(search, module)]), None)
    is_part = len(environment.all_metadata) > 1 or (
        owner is not None and not owners and not _has_all(search, path, module, owner)
    )
    if is_part:
        owner, parts, base = None, [], ""  # the metadata of one of them is not enough
    if owner in owners:  # settings.Base.metadata: the object that the file knows may only hold the base
        owner = _holder(base, owner)
    is_metadata = owner in module.values and called(module.values[owner][-1]) == "MetaData"
    if owner and (owner == base.rpartition(".")[2] or is_metadata):
        return _all([owner])
    if owner and "." not in owner and owner not in tables and search.reach(path) == {path} and len(tables) < _FEW:
        return _all([owner, *tables])
    if owner or (parts and (len(tables) > _FEW or _has_unnamed(module, base, tables))):
        owner = owner or base[base.index(parts[0]) :].removesuffix(".metadata")
        return f"metadata = {owner}.metadata; {_all(['metadata'])}"
    origin = environment.module.origin(base)
    if origin and origin[1] and origin[2] and not tables and not origin[0].startswith("."):
        name = f"{origin[1]}.{origin[2]}"
        return f"from {origin[0]} import {origin[1]}; metadata = {name}; {_all(['metadata'])}"
    models = {item: file for item in module.imports if (file := _model_file(module, item, search))}
    is_whole = search.reach(path) <= {path, *models.values()}
    database = None if is_whole else _database(module)
    if database:
        owner, names = f"metadata = {database}.metadata; ", ["metadata"]
    else:
        owner, names = "", sorted({*tables, *models} & known) if is_whole else []
    return f"{owner}{_all(names)}"


def _holder(base: str, name: str) -> str:
    """Return what has the metadata of env.py, as a file says it that knows one part of its dotted name."""
    parts = base.removesuffix(".metadata").split(".")
    return ".".join(parts[parts.index(name) :]) if name in parts[:-1] and base.endswith(".metadata") else name


def _has_unnamed(module: Module, base: str, tables: list[str]) -> bool:
    """Whether a class of env.py's base isn't known as a table: a base of a library may give it the name of one."""
    own = base.removesuffix(".metadata")
    definitions = (definition for name, definition in module.classes.items() if name not in tables)
    return any(own in map(dotted, definition.bases) for definition in definitions)


def _has_all(search: TableSearch, path: Path, module: Module, owner: str) -> bool:
    """Whether a base that env.py doesn't name may have the tables that a file brings: none is known to be another's."""
    own, target = search.mapped.roots(module, owner), frozenset(filter(search.mapped.is_root, search.roots()))
    if target:
        return not own or not own.isdisjoint(target)
    return all(
        search.mapped.is_of(file, name, own) for file in search.reach(path) for name in search.mapped.names(file)
    )


def _all(names: list[str]) -> str:
    if not names or len(names) > _FEW:
        return "__all__ = [...], with the name of every model"
    return f"__all__ = [{', '.join(json.dumps(name) for name in names)}]"


def _adds_to_all(module: Module) -> bool:
    return any(isinstance(node, ast.AugAssign) and dotted(node.target) == "__all__" for node in module.tree.body)


def _is_own_name(module: Module, name: str, search: TableSearch) -> bool:
    """Whether a name of a file is neither a library's nor a module, nor a class without a metadata, such as a mixin."""
    if name in module.classes:
        return search.mapped.has_metadata(module, name)
    place = search.code.imported(module, name, search.folders)
    return name not in module.imports or (place is not None and place[1] != "")


def _dotted_bases(search: TableSearch, module: Module) -> list[str]:
    """Return the bases of env.py's metadata that a file names by their modules, such as ``model_base.Base``."""
    names = [dotted(base) or "" for definition in module.classes.values() for base in definition.bases]
    roots = search.roots()
    return [name for name in names if "." in name and not roots.isdisjoint(search.mapped.roots(module, name))]


def _database(module: Module) -> str | None:
    """Return the name of Flask-SQLAlchemy's object where a file's own tables are classes of its ``Model``."""
    bases = (dotted(base) or "" for definition in module.classes.values() for base in definition.bases)
    names = (base.removesuffix(".Model") for base in bases if base in _FLASK_BASES)
    return next((name for name in names if name in module.imports or name in module.values), None)


def _model_file(module: Module, name: str, search: TableSearch, depth: int = 0) -> Path | None:
    """Return the file that has the table of an imported name, also through a package; None where it is no model."""
    place = search.code.imported(module, name, search.folders)
    imported = search.code.try_read(place[0]) if place and place[1] else None
    if place is None or imported is None or depth > _FEW:
        return None
    if place[1] in search.mapped.names(place[0]):
        return place[0]
    return _model_file(imported, place[1], search, depth + 1) if place[1] in imported.imports else None


def _is_metadata(value: ast.expr) -> bool:
    return called(value) in ("MetaData", "declarative_base", "registry")

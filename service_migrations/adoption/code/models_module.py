"""The module of a service's models: the one whose import brings every table that the old env.py knows."""

import ast
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from service_migrations.adoption.code.env_file import Environment
from service_migrations.adoption.code.modules import Code, Module, dotted, import_place, is_library
from service_migrations.adoption.folders import python_files

__all__ = ["Models", "find_models"]

_NAMES = ("models", "model", "tables", "orm", "entities", "database", "db", "schema", "schemas")
"""Names of packages that may be imported as a whole: all their modules are."""
_FLASK_BASES = ("db.Model", "database.Model")
_NO_CODE = ("tests", "test", "docs", "examples", "build", "dist")
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


@dataclass(slots=True)
class _Search:
    code: Code
    folders: tuple[Path, ...]
    reached: dict[Path, frozenset[Path]] = field(default_factory=dict)

    def locate(self, name: str) -> tuple[Path, Path] | None:
        """Return the folder and the file of a module."""
        for folder in self.folders:
            path = self.code.find(name, (folder,))
            if path:
                return folder, path
        return None

    def reach(self, path: Path) -> frozenset[Path]:
        """Return the files with tables that importing a file brings; of a package, all its modules are imported."""
        if path not in self.reached:
            files: set[Path] = set()
            unvisited = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
            while unvisited:
                current = unvisited.pop()
                if current not in files:
                    files.add(current)
                    unvisited += self._imported_by(current)
            self.reached[path] = frozenset(file for file in files if _tables(self.code.try_read(file)))
        return self.reached[path]

    def _imported_by(self, path: Path) -> list[Path]:
        module = self.code.try_read(path)
        found: list[Path] = []
        for name, attribute in module.imports.values() if module else ():
            if is_library(name):
                continue
            own_folders, module_name = import_place(module, name) if module else ((), name)
            folders = own_folders or self.folders
            names = [module_name, *([f"{module_name}.{attribute}"] if attribute else [])]
            found += [file for each in names if (file := self.code.find(each, folders))]
        return found


def find_models(environment: Environment, code: Code, folders: tuple[Path, ...], directory: Path) -> Models | None:
    """Return the models of a service; None where no module with tables is found.

    Args:
        environment: its env.py.
        code: the files that were read already.
        folders: those of ``sys.path``.
        directory: the directory of the service, which is searched where env.py imports no tables.

    """
    search = _Search(code, folders)
    base = environment.metadata
    origin = environment.module.origin(base) if base else None
    names = list(_imported_modules(environment.module, search))
    if origin:
        preferred = f"{origin[0]}.{origin[1]}"
        names.sort(key=lambda name: name not in (preferred, origin[0]))
    with_tables = [name for name in names if (place := search.locate(name)) and search.reach(place[1])]
    if not with_tables:
        with_tables = _searched(search, environment.path.parent, directory)
    if not with_tables:
        return None
    all_tables = {file for name in with_tables for file in _reach(search, name)}
    packages = [
        parent
        for name in with_tables
        for parent in _parents(name)
        if parent.rpartition(".")[2] in _NAMES and search.locate(parent)
    ]
    candidates = list(dict.fromkeys([*with_tables, *packages]))
    best = max(candidates, key=lambda name: (len(_reach(search, name) & all_tables), -candidates.index(name)))
    place = search.locate(best)
    if place is None:
        return None
    missing = all_tables - _reach(search, best)
    others = tuple(name for name in with_tables if _reach(search, name) & missing)
    return Models(best, place[0], place[1], _export(search, place[1], environment), others)


def _reach(search: _Search, name: str) -> frozenset[Path]:
    place = search.locate(name)
    return search.reach(place[1]) if place else frozenset()


def _imported_modules(module: Module, search: _Search) -> list[str]:
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


def _searched(search: _Search, script_location: Path, directory: Path) -> list[str]:
    """Return the modules with tables below a directory, where env.py doesn't name one."""
    names: list[str] = []
    paths = list(python_files(directory))
    used = _imported_names(search, paths)
    for path in paths:
        parts = path.relative_to(directory).parts
        if path.is_relative_to(script_location) or any(part in _NO_CODE for part in parts):
            continue
        if _tables(search.code.try_read(path)):
            around = {folder: _module_name(path, folder) for folder in search.folders if path.is_relative_to(folder)}
            # the deepest folder on sys.path that isn't itself a package; a package need not have an __init__.py
            folder = max(
                around,
                key=lambda each: (around[each] in used, not (each / "__init__.py").exists(), len(each.parts)),
                default=None,
            )
            names += [around[folder]] if folder is not None else []
    return names


def _module_name(path: Path, folder: Path) -> str:
    relative = path.relative_to(folder).with_suffix("")
    return ".".join(relative.parts[:-1] if path.name == "__init__.py" else relative.parts)


def _imported_names(search: _Search, paths: list[Path]) -> set[str]:
    """Return the dotted names that files import, as modules and as what a module may have."""
    names: set[str] = set()
    for path in paths:
        module = search.code.try_read(path)
        for name, attribute in module.imports.values() if module else ():
            names |= {name, f"{name}.{attribute}"}
    return names


def _tables(module: Module | None) -> list[str]:
    """Return the names in a file that are mapped classes or tables; those of a revision are its own."""
    if module is None or ("revision" in module.values and "down_revision" in module.values):
        return []
    names = [name for name, definition in module.classes.items() if _is_mapped(definition)]
    for name, values in module.values.items():
        value = values[-1]
        if isinstance(value, ast.Call) and (dotted(value.func) or "").rpartition(".")[2] == "Table" and value.args:
            names.append(name)
    return names


_NAMES_TABLES = re.compile(r"(?:UUID(?:v6|v7)?|BigInt|NanoID|Identity|Default)(?:Audit)?Base")
"""The bases of Advanced Alchemy's that name the table by the class."""


def _is_mapped(definition: ast.ClassDef) -> bool:
    table = next((item.value for item in definition.keywords if item.arg == "table"), None)
    if isinstance(table, ast.Constant) and table.value is True:
        return True
    if any((dotted(base) or "") in _FLASK_BASES for base in definition.bases):
        return True
    targets = [
        dotted(target)
        for node in definition.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    if "__tablename__" in targets or "__table__" in targets:
        return True
    bases = [(dotted(base) or "").rpartition(".")[2] for base in definition.bases]
    return "__abstract__" not in targets and any(map(_NAMES_TABLES.fullmatch, bases))


def _export(search: _Search, path: Path, environment: Environment) -> str | None:
    """Return the line that a file lacks; None where it has an ``__all__``.

    A base alone isn't enough where the service's own package has the classes: each is named, or the metadata is.
    """
    module = search.code.try_read(path)
    if module is None or "__all__" in module.values or _adds_to_all(module):
        return None
    base = environment.metadata or ""
    known = {*module.classes, *module.values, *module.imports}
    parts = [part for part in base.split(".") if part in known]
    owners = [part for part in parts if not _is_library(module, part, search)]
    bases = [item for item, definition in module.classes.items() if _is_base(definition)]
    makers = [item for item, values in module.values.items() if _is_metadata(values[-1])]
    owner = next(iter([*owners[-1:], *bases, *makers]), None)
    tables = _tables(module)
    if owner and (owner == base.rpartition(".")[2] or _function(module.values.get(owner)) == "MetaData"):
        return _all([owner])
    if owner and search.reach(path) == {path} and len(tables) < _FEW:
        return _all([owner, *tables])
    if owner or (parts and len(tables) > _FEW):
        return f"metadata = {owner or parts[0]}.metadata; {_all(['metadata'])}"
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


def _all(names: list[str]) -> str:
    if not names or len(names) > _FEW:
        return "__all__ = [...], with the name of every model"
    return f"__all__ = [{', '.join(json.dumps(name) for name in names)}]"


def _adds_to_all(module: Module) -> bool:
    return any(isinstance(node, ast.AugAssign) and dotted(node.target) == "__all__" for node in module.tree.body)


def _is_library(module: Module, name: str, search: _Search) -> bool:
    return name in module.imports and search.code.imported(module, name, search.folders) is None


def _database(module: Module) -> str | None:
    """Return the name of Flask-SQLAlchemy's object where a file's own tables are classes of its ``Model``."""
    bases = (dotted(base) or "" for definition in module.classes.values() for base in definition.bases)
    names = (base.removesuffix(".Model") for base in bases if base in _FLASK_BASES)
    return next((name for name in names if name in module.imports or name in module.values), None)


def _model_file(module: Module, name: str, search: _Search, depth: int = 0) -> Path | None:
    """Return the file that has the table of an imported name, also through a package; None where it is no model."""
    place = search.code.imported(module, name, search.folders)
    found = search.code.try_read(place[0]) if place and place[1] else None
    if place is None or found is None or depth > _FEW:
        return None
    if place[1] in _tables(found):
        return place[0]
    return _model_file(found, place[1], search, depth + 1) if place[1] in found.imports else None


def _is_base(definition: ast.ClassDef) -> bool:
    return any(
        (dotted(base) or "").rpartition(".")[2] in ("DeclarativeBase", "MappedAsDataclass") for base in definition.bases
    )


def _is_metadata(value: ast.expr) -> bool:
    return _function([value]) in ("MetaData", "declarative_base", "registry")


def _function(values: list[ast.expr] | None) -> str:
    """Return the name of the function whose result a name has last."""
    value = values[-1] if values else None
    return (dotted(value.func) or "").rpartition(".")[2] if isinstance(value, ast.Call) else ""

"""Mapped classes and tables of a file, by the base that its classes have: a table's name may be the base's to give.

A base may be imported by way of other files, so each name is followed to the file that defines it.
"""

import ast
import re
from pathlib import Path

from service_migrations.adoption.code.modules import Code, Module, called, dotted, import_place, is_library, keyword

__all__ = ["Definition", "MappedClasses", "is_base"]

Definition = tuple[Path, str]
"""The file that defines a name, and the name."""

_DECLARATIVE = ("DeclarativeBase", "DeclarativeBaseNoMeta")
_MAKES_BASE = ("declarative_base", "generate_base", "automap_base")
_MAKES = (*_MAKES_BASE, "registry", "MetaData")
_NAMES_TABLES = re.compile(r"(?:UUID(?:v6|v7)?|BigInt|NanoID|Identity|Default)(?:Audit)?Base")
"""The bases of Advanced Alchemy's that name the table by the class."""
_FLASK_BASES = ("db.Model", "database.Model")
_DEEPEST = 20
"""Files and classes that a name is followed through; a longer chain is a circle."""


class MappedClasses:
    """What the files of a team map, each name followed in some folders."""

    def __init__(self, code: Code, folders: tuple[Path, ...]) -> None:
        self._code = code
        self._folders = folders
        self._names: dict[Path, list[str]] = {}

    def names(self, path: Path) -> list[str]:
        """Return the names in a file that are mapped classes or tables; those of a revision are its own."""
        if path not in self._names:
            module = self._code.try_read(path)
            self._names[path] = []  # a circle of classes
            self._names[path] = self._read(module) if module else []
        return self._names[path]

    def _read(self, module: Module) -> list[str]:
        if "revision" in module.values and "down_revision" in module.values:
            return []
        names = [name for name, definition in module.classes.items() if self._is_mapped(module, definition)]
        return names + [name for name, values in module.values.items() if _is_table(values[-1])]

    def _is_mapped(self, module: Module, definition: ast.ClassDef) -> bool:
        table = next((item.value for item in definition.keywords if item.arg == "table"), None)
        if isinstance(table, ast.Constant) and table.value is True:
            return True
        given = _given(definition)
        if "__tablename__" in given or "__table__" in given or any(map(_is_table, given.values())):
            return True
        if "__abstract__" in given and not _is_constant(given["__abstract__"], value=False):
            return False
        # every class below a declarative base has a table, or the table of a class above it, or is an error
        return any(self._names_tables(module, base) for base in definition.bases)

    def _names_tables(self, module: Module, node: ast.expr, depth: int = 0) -> bool:
        """Whether a class with this base is mapped, as SQLAlchemy would refuse it otherwise."""
        name = _name(node)
        if name in _FLASK_BASES or _NAMES_TABLES.fullmatch(name.rpartition(".")[2]):
            return True
        place = self.definition(module, name)
        defining = self._code.try_read(place[0]) if place else None
        if place is None or defining is None or depth > _DEEPEST:
            return False
        if place[1].endswith(".Model"):
            values = defining.values.get(place[1].removesuffix(".Model"))
            return values is not None and called(values[-1]) == "SQLAlchemy"
        if place[1] in defining.values:
            return called(defining.values[place[1]][-1]) in _MAKES_BASE
        definition = defining.classes.get(place[1])
        if definition is None:
            return False
        return is_base(definition) or any(self._names_tables(defining, base, depth + 1) for base in definition.bases)

    def definition(self, module: Module, name: str, depth: int = 0) -> Definition | None:
        """Return where a dotted name is defined; None where that is a library, or isn't certain."""
        first, _, rest = name.partition(".")
        if not first or depth > _DEEPEST:
            return None
        if first in module.classes:
            return module.path, name
        if first in module.values:
            other = dotted(module.values[first][-1])
            if other and other.partition(".")[0] != first:
                return self.definition(module, f"{other}.{rest}" if rest else other, depth + 1)
            return module.path, name
        place = self._code.imported(module, name, self._folders)
        if place is None and module.origin(name) is None:
            place = self._below(module, name) or self._by_star(module, name, depth)
        defining = self._code.try_read(place[0]) if place and place[1] else None
        return self.definition(defining, place[1], depth + 1) if place and defining else None

    def _below(self, module: Module, name: str) -> Definition | None:
        """Return the file and the rest of a name that begins with a module of a package."""
        first, _, rest = name.partition(".")
        if module.path.name != "__init__.py" or not rest:
            return None
        path = self._code.find(first, (module.path.parent,))
        return (path, rest) if path else None

    def _by_star(self, module: Module, name: str, depth: int) -> Definition | None:
        for origin, attribute in module.imports.values():
            if attribute == "*" and not is_library(origin):
                own_folders, origin_name = import_place(module, origin)
                path = self._code.find(origin_name, own_folders or self._folders)
                imported = self._code.try_read(path)
                if path and imported and self.definition(imported, name, depth + 1):
                    return path, name
        return None

    def roots(self, module: Module, name: str) -> frozenset[Definition]:
        """Return the bases and the metadata that a dotted name such as ``Base.metadata`` stands for.

        Tables of one metadata may be mapped on several bases, and none of these need be the one that is named.
        """
        place = self.definition(module, name.removesuffix(".metadata"))
        return frozenset(self._alike(place)) if place else frozenset()

    def _alike(self, place: Definition) -> set[Definition]:
        """Return a base or metadata, and the metadata or the base above it whose tables are the same."""
        places: set[Definition] = set()
        unvisited = [place]
        while unvisited:
            current = unvisited.pop()
            module = self._code.try_read(current[0])
            if current in places or module is None:
                continue
            places.add(current)
            unvisited += self._above(module, current[1])
        return places

    def _above(self, module: Module, name: str) -> list[Definition]:
        nodes: list[ast.expr | None] = []
        if name in module.values:
            value = module.values[name][-1]
            if called(value) in _MAKES and isinstance(value, ast.Call):
                nodes = [keyword(value, "metadata", "cls")]
                nodes += [value.func.value] if isinstance(value.func, ast.Attribute) else []  # reg.generate_base()
        elif definition := module.classes.get(name):
            nodes = [*definition.bases, *(_given(definition).get(key) for key in ("metadata", "registry"))]
        names = [_name(node).removesuffix(".metadata") for node in nodes]
        places = [self.definition(module, each) for each in names]
        return [place for place in places if place and self.is_root(place)]

    def is_root(self, place: Definition) -> bool:
        """Whether a definition has a metadata of its own or from above, unlike a mixin."""
        module = self._code.try_read(place[0])
        if module and place[1] in module.values:
            return called(module.values[place[1]][-1]) in _MAKES
        definition = module.classes.get(place[1]) if module else None
        if module is None or definition is None:
            return False
        return is_base(definition) or any(self._names_tables(module, base) for base in definition.bases)

    def has_metadata(self, module: Module, name: str) -> bool:
        """Whether a class of a file has a metadata: a base, or one that names another's, unlike a mixin."""
        definition = module.classes[name]
        return "metadata" in _given(definition) or self.is_root((module.path, name))

    def is_of(self, path: Path, name: str, roots: frozenset[Definition]) -> bool:
        """Whether a mapped class or a table of a file belongs to one of some bases or their metadata."""
        module = self._code.try_read(path)
        if module is None:
            return False
        if name in module.classes:
            return not roots.isdisjoint(self._alike((path, name)))
        value = module.values[name][-1]
        node = value.args[1] if isinstance(value, ast.Call) and len(value.args) > 1 else None
        owner = (dotted(node) or "").removesuffix(".metadata")
        place = self.definition(module, owner)
        return place is not None and not roots.isdisjoint(self._alike(place))


def _given(definition: ast.ClassDef) -> dict[str, ast.expr]:
    """Return what the body of a class assigns; None is what a mixin has for what its classes give."""
    given: dict[str, ast.expr] = {}
    for node in definition.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and node.value is not None and not _is_constant(node.value, value=None):
                    given[target.id] = node.value
    return given


def _name(node: ast.expr | None) -> str:
    """Return the dotted name of a base, also of ``Base[int]``; empty for another expression."""
    return dotted(node.value if isinstance(node, ast.Subscript) else node) or ""


def _is_constant(node: ast.expr, *, value: bool | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def is_base(definition: ast.ClassDef) -> bool:
    """Whether a class is a declarative base itself."""
    if any((dotted(base) or "").rpartition(".")[2] in _DECLARATIVE for base in definition.bases):
        return True
    names = [dotted(node.func if isinstance(node, ast.Call) else node) or "" for node in definition.decorator_list]
    last = {name.rpartition(".")[2] for name in names}
    return bool(last & {"as_declarative", "as_declarative_base"})


def _is_table(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and called(value) == "Table" and bool(value.args)

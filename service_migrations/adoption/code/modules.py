"""A team's Python files as syntax trees, and the dotted names in them, without importing anything."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "Code",
    "Module",
    "Remark",
    "assigned",
    "called",
    "dotted",
    "files_below",
    "function_around",
    "has_word",
    "import_place",
    "is_library",
    "keyword",
    "statements",
    "submodule",
]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_NEVER_THE_TEAMS = ("alembic", "sqlalchemy")
"""What every env.py imports: a folder of that name, such as ``shop/db/sqlalchemy``, isn't what is imported."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A remark on a line of a file."""

    path: Path
    line: int | None
    text: str


@dataclass(slots=True)
class Module:
    """One Python file.

    Attributes:
        path: the file.
        tree: its syntax tree.
        nodes: all nodes of the tree.
        imports: each imported name, with its module, and what it is called there; None for the module itself.
        values: each name outside of functions and classes, with the values that it is given, in order.
        functions: the functions outside of classes, by name.
        classes: the classes by name.

    """

    path: Path
    tree: ast.Module
    nodes: tuple[ast.AST, ...] = ()
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    values: dict[str, list[ast.expr]] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes = tuple(ast.walk(self.tree))
        for node in statements(self.tree.body):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = (alias.name, None)
            elif isinstance(node, ast.ImportFrom):
                module = f"{'.' * node.level}{node.module or ''}"
                for alias in node.names:
                    # several modules may be imported with a star
                    name = f"* of {module}" if alias.name == "*" else alias.asname or alias.name
                    self.imports[name] = (module, alias.name)
            elif isinstance(node, _FUNCTIONS):
                self.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
        self.values = assigned(self.tree.body)

    def origin(self, name: str) -> tuple[str, str | None, str] | None:
        """Return the module that a dotted name comes from, its name there and the rest; None where it isn't imported.

        ``models.Base.metadata`` is ``("shop", "models", "Base.metadata")`` after ``from shop import models``.
        """
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            prefix = ".".join(parts[:length])
            if prefix in self.imports:
                module, attribute = self.imports[prefix]
                return module, attribute, ".".join(parts[length:])
        return None


class Code:
    """The Python files of a monorepo, each parsed once, and its folders, each listed once."""

    def __init__(self) -> None:
        self._modules: dict[Path, Module | SyntaxError] = {}
        self._names: dict[Path, frozenset[str]] = {}
        self._imported: dict[tuple[Path, tuple[Path, ...]], tuple[Path, ...]] = {}

    def read(self, path: Path) -> Module:
        """Return a file.

        Raises:
            SyntaxError: it can't be parsed, or isn't UTF-8.

        """
        if path not in self._modules:
            try:
                self._modules[path] = Module(path, ast.parse(path.read_bytes(), str(path)))
            except SyntaxError as error:
                self._modules[path] = error
            except (ValueError, RecursionError, MemoryError) as error:
                # a null byte, before Python 3.12; generated code of thousands of operators
                self._modules[path] = SyntaxError(str(error) or "it is too complex")
        module = self._modules[path]
        if isinstance(module, SyntaxError):
            raise module
        return module

    def try_read(self, path: Path | None) -> Module | None:
        """Return a file; None where it can't be parsed or read."""
        try:
            return self.read(path) if path else None
        except (SyntaxError, OSError):
            return None

    def with_word(self, path: Path, word: str) -> Module | None:
        """Return a file that has a word; None where it hasn't, or can't be parsed or read, as an editor's lock file."""
        return self.try_read(path) if has_word(path, word) else None

    def find(self, name: str, folders: tuple[Path, ...]) -> Path | None:
        """Return the file of a module by its dotted name; None where no folder has it."""
        top = name.partition(".")[0]
        return next((path for folder in folders if self._has(folder, top) and (path := _file(folder, name))), None)

    def _has(self, folder: Path, top: str) -> bool:
        """Whether a folder may have a module; without it, each import of a service is looked for in every package."""
        if folder not in self._names:
            try:
                names = [path.name for path in folder.iterdir()]
            except OSError:
                names = []
            self._names[folder] = frozenset(name.removesuffix(".py") for name in names)
        return not top or top in self._names[folder]

    def imported(self, module: Module, name: str, folders: tuple[Path, ...]) -> tuple[Path, str] | None:
        """Return the file that a dotted name comes from, with its name there; None where it is a library's.

        The name is empty where the name is a module.
        """
        origin = module.origin(name)
        if origin is None or is_library(origin[0]):
            return None
        module_name, attribute, rest = origin
        folders, module_name = _relative(module.path, module_name, folders)
        if attribute and (path := self.find(submodule(module_name, attribute), folders)):
            return path, rest
        path = self.find(module_name, folders)
        if path is None:
            return None
        name_there = ".".join(part for part in (attribute, rest) if part)
        # import shop.models; shop.models.Base: the longest module is known already
        return path, name_there

    def imported_files(self, path: Path, folders: tuple[Path, ...]) -> tuple[Path, ...]:
        """Return the files of some folders that a file imports itself, and of a package that it names the __init__."""
        if (path, folders) not in self._imported:
            module = self.try_read(path)
            self._imported[path, folders] = tuple(dict.fromkeys(self._files(module, folders))) if module else ()
        return self._imported[path, folders]

    def _files(self, module: Module, folders: tuple[Path, ...]) -> Iterator[Path]:
        for name, attribute in module.imports.values():
            if is_library(name):
                continue
            own_folders, module_name = import_place(module, name)
            for each in (module_name, submodule(module_name, attribute) if attribute else None):
                if each and (file := self.find(each, own_folders or folders)):
                    yield file


def has_word(path: Path, word: str) -> bool:
    """Whether a file can be read and has a word."""
    try:
        return word.encode() in path.read_bytes()
    except OSError:
        return False


def is_library(name: str) -> bool:
    """Whether an absolute import of this name is that of Alembic or SQLAlchemy, whatever folders there are."""
    return name.partition(".")[0] in _NEVER_THE_TEAMS


def files_below(starts: Iterable[Path], code: Code, folders: tuple[Path, ...]) -> list[Path]:
    """Return files and those that importing them brings from some folders."""
    files = dict.fromkeys(starts)
    unvisited = list(files)
    for path in unvisited:  # it grows
        for file in code.imported_files(path, folders):
            if file not in files:
                files[file] = None
                unvisited.append(file)
    return unvisited


def import_place(module: Module, name: str) -> tuple[tuple[Path, ...], str]:
    """Return the folders and the name for a module that another imports relatively; none and the name as it is else."""
    return _relative(module.path, name, ())


def submodule(name: str, attribute: str) -> str:
    """Return the dotted name of a module that is imported from another, as by ``from . import ops``."""
    return attribute if name in ("", "__init__") else f"{name}.{attribute}"


def _relative(path: Path, name: str, folders: tuple[Path, ...]) -> tuple[tuple[Path, ...], str]:
    level = len(name) - len(name.lstrip("."))
    if not level:
        return folders, name
    return (path.parents[level - 1],), name[level:] or "__init__"


def _file(folder: Path, name: str) -> Path | None:
    module = folder.joinpath(*name.split("."))
    return next((path for path in (module / "__init__.py", module.with_suffix(".py")) if path.is_file()), None)


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a body, also those inside if, try, with and loops, but not of functions and classes.

    What only a type checker reads is left out.
    """
    for node in body:
        yield node
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            continue
        is_of_types = isinstance(node, ast.If) and (dotted(node.test) or "").rpartition(".")[2] == "TYPE_CHECKING"
        for name in ("orelse",) if is_of_types else ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, name, []))
        for handler in getattr(node, "handlers", []):
            yield from statements(handler.body)


def assigned(body: list[ast.stmt]) -> dict[str, list[ast.expr]]:
    """Return each name that a body assigns, with its values in order."""
    values: dict[str, list[ast.expr]] = {}
    for node in statements(body):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            pairs = [pair for target in node.targets for pair in _pairs(target, node.value)]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        for target, value in pairs:
            if isinstance(target, ast.Name):
                values.setdefault(target.id, []).append(value)
    return values


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Return each target with its value, also of ``revision, down_revision = "b", "a"``."""
    if not isinstance(target, ast.Tuple | ast.List) or not isinstance(value, ast.Tuple | ast.List):
        return [(target, value)]
    has_star = any(isinstance(item, ast.Starred) for item in (*target.elts, *value.elts))
    return [] if has_star or len(target.elts) != len(value.elts) else [*zip(target.elts, value.elts, strict=True)]


def dotted(node: ast.AST | None) -> str | None:
    """Return a chain of attributes as text, ``config.get_main_option``; None for another expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (value := dotted(node.value)):
        return f"{value}.{node.attr}"
    return None


def called(value: ast.expr | None) -> str:
    """Return the last part of the name of the function that an expression calls; empty for another one."""
    return (dotted(value.func) or "").rpartition(".")[2] if isinstance(value, ast.Call) else ""


def keyword(call: ast.Call, *names: str) -> ast.expr | None:
    """Return the first argument of a call that has one of these keywords; None without one."""
    return next((item.value for item in call.keywords if item.arg in names), None)


def function_around(module: Module, node: ast.expr) -> ast.AST | None:
    """Return the function that an expression is in."""
    functions = [item for item in module.nodes if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    around = [item for item in functions if item.lineno <= node.lineno <= (item.end_lineno or item.lineno)]
    return max(around, key=lambda item: item.lineno, default=None)

"""The folders from which a service's code is imported, and the files of a monorepo that count."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service_migrations.adoption.code.modules import Module, dotted
from service_migrations.adoption.code.variables import constant

__all__ = ["Files", "given_versions", "import_folders", "prepended", "python_files", "walk"]

_SKIPPED = frozenset(("node_modules", "__pycache__", "site-packages", "venv"))


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a monorepo that say something of migrations, each list in the order of its paths."""

    ini: list[Path] = field(default_factory=list)
    pyproject: list[Path] = field(default_factory=list)
    env: list[Path] = field(default_factory=list)


def walk(root: Path) -> Files:
    """Return the files below a top level, without hidden folders, virtual environments, packages and templates.

    A folder of a template has a placeholder in its name, as of cookiecutter and copier.
    """
    files = Files()
    for path in _paths(root):
        if path.suffix == ".ini":
            files.ini.append(path)
        elif path.name == "pyproject.toml":
            files.pyproject.append(path)
        elif path.name == "env.py":
            files.env.append(path)
    files.ini.sort(key=lambda path: (path.parent, path.name != "alembic.ini", path.name))
    return files


def python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder, without those that ``walk`` leaves out."""
    return [path for path in _paths(folder) if path.suffix == ".py"]


def _paths(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "."
            and name not in _SKIPPED
            and "{{" not in name
            and not (here / name / "pyvenv.cfg").is_file()
        )
        yield from (here / name for name in sorted(names))


def import_folders(
    module: Module | None, prepended: tuple[Path, ...], folder: Path, root: Path, packages: tuple[Path, ...]
) -> tuple[Path, ...]:
    """Return the folders in which a service's imports are looked up, the most certain one first.

    Args:
        module: its env.py.
        prepended: those of ``prepend_sys_path``.
        folder: its directory.
        root: the top level.
        packages: the folders of all packages of the monorepo: one may be installed from there.

    """
    around = [base for base in (folder, *folder.parents) if base.is_relative_to(root)]
    # a folder inside of a package is on sys.path only where somebody says so: its modules would hide those of libraries
    around.sort(key=lambda base: (base / "__init__.py").is_file())
    candidates = [
        *(_added(module) if module else ()),
        *(base for path in prepended for base in (path, path / "src")),
        *(base for path in around for base in (path / "src", path)),
        *(base for path in packages for base in (path / "src", path)),
    ]
    return tuple(dict.fromkeys(path for path in candidates if path.is_dir() and path.is_relative_to(root)))


def prepended(module: Module, folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the folders of ``prepend_sys_path`` with those that env.py itself puts on ``sys.path``."""
    return tuple(path for path in dict.fromkeys((*folders, *_added(module))) if path.is_dir())


def given_versions(module: Module, folder: Path) -> tuple[tuple[Path, ...] | None, int] | None:
    """Return the folders of the revisions that an env.py sets itself, and the line; None where it sets none.

    Args:
        module: the file, with ``context.script.version_locations = [...]``. The folders are None where that can't be
            read.
        folder: that in which ``alembic`` is run.

    """
    for node in module.nodes:
        if not isinstance(node, ast.Assign):
            continue
        if any(isinstance(target, ast.Attribute) and target.attr == "version_locations" for target in node.targets):
            items = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else []
            paths = [_path(item, module, 0) for item in items]
            known = [Path(os.path.normpath(folder / path)) for path in paths if path is not None]
            is_read = bool(known) and len(known) == len(paths) and all(path.is_dir() for path in known)
            return tuple(known) if is_read else None, node.lineno
    return None


def _added(module: Module) -> Iterator[Path]:
    """Yield the folders that a file adds to ``sys.path``."""
    for node in module.nodes:
        if isinstance(node, ast.Call) and dotted(node.func) in ("sys.path.insert", "sys.path.append") and node.args:
            path = _path(node.args[-1], module, 0)
            if path is not None:
                # a relative one is below the folder in which alembic is run
                yield Path(os.path.normpath(module.path.parent.parent / path))


def _path(node: ast.expr, module: Module, depth: int) -> Path | None:  # noqa: PLR0911 - a case for each kind of expression
    """Return the path of an expression of ``os.path`` or ``pathlib``; None where it isn't certain."""
    depth += 1
    if depth > 20:  # noqa: PLR2004 - a circle of names
        return None
    match node:
        case ast.Name(id="__file__"):
            return module.path
        case ast.Name(id=name) if name in module.values:
            return _path(module.values[name][-1], module, depth)
        case ast.Constant(value=str() as text):
            return Path(text)
        case ast.Attribute(value=value, attr="parent"):
            path = _path(value, module, depth)
            return path.parent if path else None
        case ast.Subscript(value=ast.Attribute(value=value, attr="parents"), slice=ast.Constant(value=int() as level)):
            path = _path(value, module, depth)
            return path.parents[level] if path and level < len(path.parents) else None
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            first, second = _path(left, module, depth), constant(right)
            return first / second if first and second is not None else None
        case ast.Call(func=ast.Attribute(value=value, attr="resolve" | "absolute" | "as_posix")) if not node.args:
            return _path(value, module, depth)
        case ast.Call(func=function, args=arguments):
            return _of_call((dotted(function) or "").rpartition(".")[2], arguments, module, depth)
    return None


def _of_call(name: str, arguments: list[ast.expr], module: Module, depth: int) -> Path | None:
    paths = [_path(argument, module, depth) for argument in arguments]
    known = [path for path in paths if path is not None]
    if name in ("getcwd", "cwd"):
        return module.path.parent.parent
    if not known or len(known) != len(paths):
        return None
    if name == "dirname":
        return known[0].parent
    if name in ("join", "Path"):
        return known[0].joinpath(*known[1:])
    return known[0] if name in ("abspath", "realpath", "normpath", "str") else None

"""The revisions of a history by their syntax trees: how they follow each other, and what they need."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service_migrations.adoption.code.adapted_types import adapted_types
from service_migrations.adoption.code.driver_needs import for_psycopg, helpers, reads_rows, used_names
from service_migrations.adoption.code.modules import Code, Module, Remark, dotted
from service_migrations.adoption.code.sql_texts import EXECUTES, sql_text
from service_migrations.adoption.code.variables import constant

__all__ = ["RevisionFiles", "is_revision", "read_revisions"]

_INI = ("get_main_option", "get_section", "get_section_option", "get_alembic_option")
_SETTING = re.compile(
    r"(?:^|;)\s*(?P<verb>SET|RESET)\s+(?:SESSION\s+(?!AUTHORIZATION))?"
    r"(?P<name>search_path|time\s*zone|role|session\s+authorization|datestyle|intervalstyle)\b\s*(?:TO\b|=)?\s*(?P<value>\w*)",
    re.IGNORECASE,
)
"""A setting with which the same SQL does something else, for the rest of the session."""

_DRIVER = ("dialect.driver", "engine.driver", "dialect_description", "url.drivername")
_DRIVERS = ("asyncpg", "pg8000", "psycopg", "psycopg2")

_COMPUTED = (
    "its revision or down_revision is computed, so it isn't counted here, and the heads aren't known. "
    "`inv db.heads --write` writes head.txt"
)


@dataclass(slots=True)
class RevisionFiles:
    """The revisions below some folders.

    Attributes:
        down: the revisions that each revision follows, by id.
        paths: the file of each revision.
        needed: what each revision depends on without following it.
        labels: the branch labels, and the code of those that are no constants, such as a constant of another module.
        all_labels: whether each label is known.
        problems: why Alembic can't read the history, or can't follow it.
        computed: where a revision computes its id or the one that it follows, which is known when it is imported.
        for_psycopg: what only a driver with psycopg2's habits runs.
        reads: where a revision reads rows, whose values are other ones over another driver.
        kept: what a revision leaves to later ones, or finds in the ini file, only under plain Alembic.
        sets: the settings that each revision leaves to the session.
        environment: where a revision reads a variable of the environment.
        below: revision files in folders below, which are read only recursively.

    """

    down: dict[str, tuple[str, ...]] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    needed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    all_labels: bool = True
    problems: list[Remark] = field(default_factory=list)
    computed: list[Remark] = field(default_factory=list)
    for_psycopg: list[Remark] = field(default_factory=list)
    reads: list[Remark] = field(default_factory=list)
    kept: list[Remark] = field(default_factory=list)
    environment: list[Remark] = field(default_factory=list)
    below: list[Path] = field(default_factory=list)
    sets: dict[str, dict[str, Remark]] = field(default_factory=dict)

    @property
    def heads(self) -> tuple[str, ...]:
        """The revisions that no other follows or, as Alembic has it, needs; none where they aren't known."""
        if self.computed:
            return ()
        followed = {revision for down in self.down.values() for revision in down}
        return tuple(sorted(revision for revision in self.down if revision not in followed))


def read_revisions(
    folders: Iterable[Path], code: Code, *, recursive: bool, import_folders: tuple[Path, ...] = ()
) -> RevisionFiles:
    """Read the revisions of some folders, and of what they import what works with Alembic's operations.

    Args:
        folders: those of the revisions.
        code: the files that were read already.
        recursive: whether revisions in folders below count.
        import_folders: those on ``sys.path``.

    """
    folders = tuple(folders)
    files = RevisionFiles()
    for folder in folders:
        for path in _files(folder):
            if path.parent == folder or recursive:
                _read_file(files, path, code, import_folders)
            elif is_revision(code.try_read(path)):
                files.below.append(path)
    paths = [*files.paths.values(), *(place.path for place in files.computed)]
    modules = [module for path in paths if (module := code.try_read(path))]
    used = helpers(modules, code, import_folders)
    names = used_names(modules, used)
    for module in used:
        files.for_psycopg += for_psycopg(module, names)
        files.reads += reads_rows(module, names)
    files.for_psycopg += adapted_types((*modules, *used), code, import_folders)
    for revision, downs in ({} if files.computed else files.down).items():
        files.problems += [
            Remark(files.paths[revision], None, f"{revision} follows {down}, which no file has")
            for down in (*downs, *files.needed[revision])
            if down not in files.down and down not in files.labels and files.all_labels
        ]
    files.kept += _lasting(files)
    if circle := _circle(files.down):
        files.problems.append(Remark(files.paths[circle[0]], None, f"the history is a circle: {' -> '.join(circle)}"))
    return files


def _files(folder: Path) -> Iterator[Path]:
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else []
    return (path for path in paths if path.name != "__init__.py" and not path.name.startswith(".#"))


def is_revision(module: Module | None) -> bool:
    """Whether a file has the names of a revision."""
    return module is not None and "revision" in module.values and "down_revision" in module.values


def _read_file(files: RevisionFiles, path: Path, code: Code, import_folders: tuple[Path, ...]) -> None:
    try:
        module = code.read(path)
    except SyntaxError as error:
        files.problems.append(Remark(path, error.lineno, f"it can't be parsed: {error.msg}"))
        return
    except OSError as error:
        files.problems.append(Remark(path, None, f"it can't be read: {error.strerror}"))
        return
    if "revision" not in module.values:
        imported = _imported(module, code, import_folders)
        if imported is None:
            files.kept.append(
                Remark(path, None, "no revision is found in it; if it is computed, this file isn't counted")
            )
            return
        module = imported
    node = module.values["revision"][-1]
    revision = constant(node)
    down = _ids(module, "down_revision")
    files.for_psycopg += for_psycopg(module)
    files.reads += reads_rows(module)
    files.kept += [*_from_the_ini_file(module), *_questions_of_the_driver(module)]
    files.environment += _variables(module)
    if revision is None or down is None:
        files.computed.append(Remark(path, node.lineno, _COMPUTED))
        return
    if revision in files.down:
        other = files.paths[revision]
        shown = other.name if other.name != path.name else f"{other.parent.name}/{other.name}"
        files.problems.append(Remark(path, node.lineno, f"{revision} is also in {shown}"))
    files.down[revision], files.paths[revision] = down, path
    files.needed[revision] = _ids(module, "depends_on") or ()
    labels = _ids(module, "branch_labels")
    files.all_labels &= labels is not None
    files.labels += [ast.unparse(module.values["branch_labels"][-1])] if labels is None else labels
    files.sets[revision] = _session_settings(module)


def _imported(module: Module, code: Code, folders: tuple[Path, ...]) -> Module | None:
    """Return the file that has the revision which a file of the history imports, perhaps with a star."""
    for name, (_, attribute) in module.imports.items():
        if attribute in ("*", "revision") and (place := code.imported(module, name, folders)):
            imported = code.try_read(place[0])
            if imported and "revision" in imported.values:
                return imported
    return None


def _ids(module: Module, name: str) -> tuple[str, ...] | None:
    """Return the ids of an assignment: one, several or none; None where they are no constants."""
    values = module.values.get(name)
    if not values or (isinstance(values[-1], ast.Constant) and values[-1].value is None):
        return ()
    nodes = values[-1].elts if isinstance(values[-1], ast.Tuple | ast.List | ast.Set) else [values[-1]]
    ids = [constant(node) for node in nodes]
    return None if None in ids else tuple(revision for revision in ids if revision)


def _circle(down: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the revisions of a circle; none where there is none."""
    finished: set[str] = set()
    for start, below in down.items():
        path = [start]
        stack = [(start, iter(below))] if start not in finished else []
        while stack:
            following = next(stack[-1][1], None)
            if following is None:
                finished.add(stack.pop()[0])
                path.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            elif following in down and following not in finished:
                stack.append((following, iter(down[following])))
                path.append(following)
    return []


def _lasting(files: RevisionFiles) -> Iterator[Remark]:
    """Yield the session's settings with which a later revision runs under plain Alembic; here each has a fresh one."""
    for revision, downs in files.down.items():
        for down in downs:
            for name, place in files.sets.get(down, {}).items():
                if name not in files.sets[revision] and place not in files.kept:
                    yield place


def _session_settings(module: Module) -> dict[str, Remark]:
    """Return the settings that an upgrade leaves to the session, or takes back, by name.

    One that is taken back in the end isn't returned.
    """
    left: dict[str, Remark] = {}
    calls = [node for node in ast.walk(module.functions.get("upgrade", ast.Pass())) if isinstance(node, ast.Call)]
    for node in sorted(calls, key=lambda call: call.lineno):
        if not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name not in EXECUTES or (text := sql_text(node.args[0], module)) is None:
            continue
        for match in _SETTING.finditer(text):
            setting = " ".join(match["name"].lower().split()).replace("time zone", "timezone")
            if match["verb"].lower() == "reset" or match["value"].lower() in ("default", "none"):
                left.pop(setting, None)
            else:
                problem = f"it sets {setting} for the session, which doesn't last for the revisions after it here"
                left[setting] = Remark(module.path, node.lineno, f"{problem}; set it in each that needs it")
    return left


_SET_OPTION = "set it in migrations/env.py with context.config.set_main_option(…)"


def _from_the_ini_file(module: Module) -> Iterator[Remark]:
    """Yield what is read of the ini file, or of what env.py keeps beside it: here there is neither."""
    for node in module.nodes:
        function = node.func if isinstance(node, ast.Call) else None
        if isinstance(function, ast.Attribute) and function.attr in _INI:
            text = f"it reads the ini file, which isn't read here: {ast.unparse(node)}"
            yield Remark(module.path, function.lineno, f"{text}; {_SET_OPTION}")
        elif isinstance(node, ast.Attribute) and ast.unparse(node).endswith("config.attributes"):
            yield Remark(module.path, node.lineno, f"it reads {ast.unparse(node)}, which is another one here")


def _questions_of_the_driver(module: Module) -> Iterator[Remark]:
    """Yield where a revision asks for its driver, which may be another one here; not where only for the database."""
    of_the_database: set[int] = set()
    for node in module.nodes:  # a node is before the nodes in it
        match node:
            case ast.Call(func=ast.Attribute(value=asked, attr="startswith"), args=[text]):
                pass
            case ast.Compare(left=text, ops=[ast.In() | ast.NotIn()], comparators=[asked]):
                pass
            case ast.Attribute() if id(node) not in of_the_database and ast.unparse(node).endswith(_DRIVER):
                reads = f"it reads {ast.unparse(node)}, and the name of the driver is asyncpg or psycopg here"
                yield Remark(module.path, node.lineno, reads)
                continue
            case _:
                continue
        texts = [part.value for part in ast.walk(text) if isinstance(part, ast.Constant)]
        if texts and not any("+" in str(name) or str(name) in _DRIVERS for name in texts):
            of_the_database |= {id(part) for part in ast.walk(asked)}


def _variables(module: Module) -> Iterator[Remark]:
    """Yield what reads ``os.environ``."""
    text = "it reads the environment, into which env.py loads a .env"
    for node in module.nodes:
        if isinstance(node, ast.Attribute | ast.Name) and (dotted(node) or "") in ("os.environ", "os.getenv", "getenv"):
            yield Remark(module.path, node.lineno, f"{text}; load it in the models, or set the variable")

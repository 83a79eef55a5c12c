"""The files that a repository needs for this library, written where they are missing."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service_migrations import files
from service_migrations.configuration import TABLE
from service_migrations.errors import ConfigurationError
from service_migrations.history.revisions import script_location
from service_migrations.pyproject import FILE, read_tools

__all__ = ["Written", "append", "write_missing"]

_TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
_TABLES = (TABLE, "alembic")


@dataclass(frozen=True, slots=True)
class Written:
    """What was done to one file.

    Attributes:
        path: the file, relative to the top level.
        created: whether it was missing and was written.
        tables: the tables that were appended to it.
        hint: what to add by hand, where the file exists and doesn't use this library.

    """

    path: str
    created: bool = False
    tables: tuple[str, ...] = ()
    hint: str = ""


_ENVIRONMENT = "migrations"
_HOOKS = "# From the env.py of before; give each its place in OPTIONS, or in do_run_migrations:"


def write_missing(
    root: Path, *, environment: str = _ENVIRONMENT, alembic: bool = True, hooks: Sequence[str] = ()
) -> tuple[Written, ...]:
    """Write the files that a repository lacks, and overwrite none.

    Args:
        root: the top level; it need not have a pyproject.toml yet.
        environment: the folder for env.py, where ``[tool.alembic]`` names none.
        alembic: whether all of ``[tool.alembic]`` is written, or only where env.py is, if that isn't ``migrations``.
        hooks: what env.py needs beside, in a comment.

    Returns:
        What was done to each file.

    Raises:
        ConfigurationError: pyproject.toml can't be read, or a table can't be appended to it; or something else has the
            name of a file or folder. Files that were written before are complete, and the next run doesn't change them.

    """
    return tuple(_write_all(root, environment, alembic, hooks))


def _write_all(root: Path, environment: str, alembic: bool, hooks: Sequence[str]) -> Iterator[Written]:
    yield _append_tables(root / FILE, environment, alembic)
    # [tool.alembic] may name another folder
    folder = script_location(root)
    yield _write(root, folder / "env.py", "env.py", hooks=hooks)
    yield _write(root, folder / "script.py.mako", "script.py.mako")
    # not `import namespace`: Invoke would take that collection and none of the file's own tasks
    collection = 'Collection.from_module(service_migrations.tasks, name="migrations")'
    yield _write(root, root / "tasks.py", "tasks.py", f"`{collection}` brings the tasks into its namespace.")
    session = "from service_migrations.nox import migrations"
    yield _write(root, root / "noxfile.py", "noxfile.py", f"`{session}` brings the session `migrations`.")
    yield _write(root, root / ".env.example", "dotenv.example")


def _write(root: Path, path: Path, template: str, hint: str = "", hooks: Sequence[str] = ()) -> Written:
    relative_path = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    text = _text(template)
    if hooks:
        comment = "\n".join([_HOOKS, *(f"#   {hook}" for hook in hooks)])
        before, options, after = text.partition("OPTIONS: ")
        line, _, rest = f"{options}{after}".partition("\n")
        text = f"{before}{line}\n{comment}\n{rest}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        folder = Path(relative_path).parent.as_posix()
        problem, fix = f"{folder} is no folder.", f"Move it away, and run the command again: {template} is for it."
        raise ConfigurationError(problem, path=folder, hint=fix) from None
    try:
        files.create(path, text.encode())
    except FileExistsError:
        if not path.is_file():
            problem, fix = f"{relative_path} is no file.", "Move it away, and run the command again."
            raise ConfigurationError(problem, path=relative_path, hint=fix) from None
        uses_library = "service_migrations" in path.read_text(encoding="utf-8", errors="replace")
        return Written(relative_path, hint="" if uses_library else hint)
    return Written(relative_path, created=True)


def _append_tables(path: Path, environment: str, alembic: bool) -> Written:
    tools = read_tools(path.parent)
    tables = dict(zip(_TABLES, _split(_text(FILE)), strict=True))
    if environment != _ENVIRONMENT:
        tables["alembic"] = tables["alembic"].replace(f"/{_ENVIRONMENT}", f"/{environment}")
    if not alembic:
        lines = tables.pop("alembic").splitlines(keepends=True)
        if environment != _ENVIRONMENT:
            tables["alembic"] = "".join(lines[:2])
    missing = {f"[tool.{name}]": text for name, text in tables.items() if name not in tools}
    return append(path, "\n".join(missing.values()), tuple(missing)) if missing else Written(path.name)


def append(path: Path, text: str, names: tuple[str, ...]) -> Written:
    """Append tables to a pyproject.toml, of which all else stays as it is.

    Args:
        path: the file, which may be missing.
        text: the tables.
        names: their names, for messages.

    Raises:
        ConfigurationError: the file can't have them, and nothing was written to it.

    """
    source = path.read_bytes() if path.is_file() else b""
    addition = text
    if source:
        addition = ("\n" if source.endswith(b"\n") else "\n\n") + addition
    if b"\r\n" in source:
        addition = addition.replace("\n", "\r\n")
    try:
        tomllib.loads(source.decode() + addition)
    except tomllib.TOMLDecodeError as error:
        # such as an inline `tool = {…}`, to which no table can be added below
        raise ConfigurationError(
            f"{' and '.join(names)} can't be appended ({error}). Nothing was written to it.",
            path=path.name,
            hint="Add the tables by hand.",
        ) from None
    files.append(path, addition.encode())
    return Written(path.name, created=not source, tables=names)


def _split(text: str) -> list[str]:
    """Return the tables of the template of pyproject.toml, each with its lines."""
    first, second = text.split("\n\n")
    return [f"{first}\n", second]


def _text(template: str) -> str:
    return (_TEMPLATES / template).read_text(encoding="utf-8")

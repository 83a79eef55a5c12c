"""Where an old env.py has its DSN from, as the key of our table that says so."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from service_migrations.adoption.code.variables import Text, Variable
from service_migrations.errors import ConfigurationError
from service_migrations.settings.env_file import read

__all__ = ["DsnSource", "EnvFiles", "describe_dsn"]

_OWN = "DATABASE_DSN"
_POSTGRESQL = re.compile(r"(?:postgresql|postgres|pgsql)(?:\+(\w+))?\Z")
_SCHEME = re.compile(r"\A([\w.]+(?:\+\w+)?):")
_PLACEHOLDER = "driver://"
_PLACEHOLDERS = re.compile(r"\$\{\w+\}|\{\{.+?\}\}")
_SECRET = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_EXAMPLES = (".env", ".env.example", ".env.sample", ".env.template", ".env.dist", "example.env", ".env.local")


@dataclass(frozen=True, slots=True)
class DsnSource:
    """Where a service has its DSN from.

    Attributes:
        description: for a person: the variables, or the file.
        dsn_key: the variable that holds it.
        dsn: the template that it is made of.
        env_file: the .env with the variables, where it is in neither the service's directory nor the top level.
        dialect: another database's, such as sqlite; None for PostgreSQL's.
        unset: the variable whose default has that dialect, where no .env sets it.
        driver: the driver that the URL names.
        todo: what a person has to do, where nothing can be written.
        identity: host and database, where the team's .env has all that they are made of.
        role: the role, where it is known.
        has_search_path: whether it sets the search_path.

    """

    description: str
    dsn_key: str | None = None
    dsn: str | None = None
    env_file: Path | None = None
    dialect: str | None = None
    driver: str | None = None
    todo: str | None = None
    identity: str | None = None
    unset: str | None = None
    role: str | None = None
    has_search_path: bool = False


class EnvFiles:
    """The .env files of a service, and those above it to the top level; the examples count as a list of names."""

    def __init__(self, directory: Path, root: Path) -> None:
        self._values: dict[Path, Mapping[str, str]] = {}
        folders = [folder for folder in (directory, *directory.parents) if folder.is_relative_to(root)]
        for folder in folders:
            for name in _EXAMPLES:
                path = folder / name
                if path.is_file():
                    try:
                        self._values[path] = {line.key: line.value or "" for line in read(path, str(path))}
                    except ConfigurationError:
                        continue

    def file_of(self, names: list[str]) -> Path | None:
        """Return the first .env that has one of these variables."""
        return next(
            (path for path, values in self._values.items() if path.name == ".env" and {*names} & {*values}), None
        )

    def knows(self, name: str) -> bool:
        """Whether a file or an example has a variable."""
        return any(name in values for values in self._values.values())

    def value(self, name: str) -> str | None:
        """Return the value of a variable in a .env."""
        values = (values[name] for path, values in self._values.items() if path.name == ".env" and name in values)
        return next(values, None)


def describe_dsn(text: Text | None, place: str, files: EnvFiles, directory: Path, root: Path) -> DsnSource:
    """Describe the source of a DSN.

    Args:
        text: of the DSN; None where env.py's expression can't be read.
        place: file and line that have it, for messages.
        files: the team's .env files.
        directory: the service's.
        root: the top level.

    """
    own_file = (directory / ".env").relative_to(root).as_posix()
    given_in = files.file_of([_OWN])
    if given_in and (given_in.parent == directory or not text or _is_unfilled(text, files)):
        other_file = given_in if given_in.parent not in (directory, root) else None
        return _with_session(DsnSource(_OWN, env_file=other_file), files.value(_OWN))
    source = _with_session(_described(text, place, files, directory, root), _filled(text, files) if text else None)
    if text and given_in and given_in.parent == root and not source.dialect and not source.todo:
        names = [part.name for part in text if isinstance(part, Variable)]
        own = files.file_of(names)
        is_same = source.identity is not None and source.identity == _identity(files.value(_OWN))
        if (own is None or own.parent != directory) and not is_same:
            rest = f"which counts here unless the environment has {', '.join(names)}. Set {_OWN} in {own_file}."
            return replace(source, todo=f"{given_in.name} of the top level has {_OWN}, {rest}")
    return source


def _with_session(source: DsnSource, dsn: str | None) -> DsnSource:
    """Add what a DSN says of a session, and so of the schema that unqualified names are in."""
    # a password may be known elsewhere only, so that the DSN ends before it
    match = re.match(r"[\w+]+://(?:[^?#]*[?&]user=([^&#]+)|([^:/@?#]+)(?::[^@]*(?:@|$)|@))", dsn or "")
    return replace(
        source, role=unquote(match[1] or match[2]) if match else None, has_search_path="search_path" in (dsn or "")
    )


def _is_unfilled(text: Text, files: EnvFiles) -> bool:
    """Whether a DSN is left to DATABASE_DSN: it is that variable or its database, or a placeholder."""
    names = [part.name for part in text if isinstance(part, Variable)]
    if names:
        return _OWN in names
    filled = "".join(map(str, text))
    if filled.startswith(_PLACEHOLDER) or _PLACEHOLDERS.search(filled):
        return True
    identity = _identity(filled)
    return identity is not None and identity == _identity(files.value(_OWN))


def _described(  # noqa: PLR0911 - one for each kind of source
    text: Text | None, place: str, files: EnvFiles, directory: Path, root: Path
) -> DsnSource:
    own_file = (directory / ".env").relative_to(root).as_posix()
    if text is None or not text:
        unknown = f"Set {_OWN} in {own_file}, or dsn or dsn_key in the table."
        return DsnSource("unknown", todo=f"{place} doesn't say where the DSN is from. {unknown}")
    names = [part.name for part in text if isinstance(part, Variable)]
    filled = _filled(text, files)
    scheme = _scheme(filled)
    if scheme and not _POSTGRESQL.match(scheme) and scheme != "driver":
        first = text[0]
        unset = first.name if isinstance(first, Variable) and files.value(first.name) is None else None
        return DsnSource(f"{scheme} ({place})", dialect=scheme.partition("+")[0], unset=unset)
    match = _POSTGRESQL.match(scheme or "")
    driver = match[1] if match else None
    if not names:
        if placeholder := _PLACEHOLDERS.search(filled or ""):
            todo = f"{place} has {placeholder[0]}, which something else fills in. Set {_OWN} in {own_file}, or dsn_key."
            return DsnSource("unknown", driver=driver, todo=todo)
        if (filled or "").startswith(_PLACEHOLDER) or scheme is None or (filled or "").endswith("://"):
            return DsnSource("unknown", todo=f"{place} has no DSN. Set {_OWN} in {own_file}.")
        todo = f"{place} has the DSN itself. Write it into {own_file} as {_OWN}; a password has no place in the table."
        return DsnSource(place, driver=driver, todo=todo, identity=_identity(filled))
    env_file = files.file_of(names)
    other_file = env_file if env_file and env_file.parent not in (directory, root) else None
    shown = env_file.relative_to(root).as_posix() if env_file else "the environment"
    description = f"{', '.join(dict.fromkeys(names))} ({shown})"
    wrong = [name for name in names if not _VARIABLE.fullmatch(name)]
    if wrong:
        todo = f"{place}: the variable {wrong[0]} has another form than DATABASE_URL. Set {_OWN} in {own_file}."
        return DsnSource(description, driver=driver, todo=todo)
    if len(text) == 1:
        key = None if names[0] == _OWN else names[0]
        return DsnSource(description, key, None, other_file, driver=driver, identity=_identity(filled))
    template = _template(text, files)
    if template is None:
        todo = f"{place} has a password itself, or only a part of a DSN. Set {_OWN} in {own_file}."
        return DsnSource(description, driver=driver, todo=todo)
    return DsnSource(description, None, template, other_file, driver=driver, identity=_identity(filled))


def _filled(text: Text, files: EnvFiles) -> str | None:
    """Return the DSN with the values of the team's .env; None where one is unknown, but for the beginning."""
    result = ""
    for part in text:
        if isinstance(part, Variable):
            value = files.value(part.name)
            value = part.default if value is None else value
            if value is None:
                return result or None
            result += value
        else:
            result += part
    return result


def _scheme(filled: str | None) -> str | None:
    match = _SCHEME.match(filled or "")
    return match[1].lower() if match else None


def _identity(filled: str | None) -> str | None:
    """Return host and database of a whole DSN, without role, password and parameters; case counts in the latter."""
    match = re.match(r"[\w+]+://(?:.*@)?([^/]+)(/[^?#]+)", filled or "")
    return f"{match[1].lower().removesuffix(':5432')}{match[2]}" if match else None


def _template(text: Text, files: EnvFiles) -> str | None:
    """Return the template; None where it would hold a password, or a variable that is more than a part of a DSN."""
    whole = "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in text)
    template = re.sub(r"\A(?:[\w+]+|\{\w+\}):/", "postgresql:/", whole)
    match = re.match(r"postgresql://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@]*))?@)?[^@/]*/", template)
    if match is None or re.search(r"\{(?!\w+\})|(?<!\w)\}", template):
        return None
    password = match["password"]
    if password and not re.fullmatch(r"\{\w+\}", password):
        return None
    for part in text:
        if isinstance(part, Variable) and part.default and not files.knows(part.name):
            is_secret = _SECRET.search(part.name) or password == f"{{{part.name}}}"
            if not is_secret and not re.search(r"[{}]", part.default):
                # the variable as it may be set elsewhere, not the constant of the place where this file is written
                template = template.replace(f"{{{part.name}}}", f"{{{part.name}:-{part.default}}}")
    return template

"""What is wrong with a history, by the headers of its files: Alembic's own messages name ids, and no file."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from service_migrations.errors import UsageError
from service_migrations.history.files.locations import revision_files
from service_migrations.history.files.parsing import parse
from service_migrations.history.revision import Revision, as_tuple, id_problem
from service_migrations.monorepo import Service

__all__ = ["fault", "likely_revision"]

_END = "Nothing was run."
_NAMED = re.compile(rb"\brevision\b")
_ILLEGAL = frozenset("@-+:")


def fault(service: Service) -> UsageError | None:
    """Return the first fault of a history that Alembic can't read, with its files; None where it isn't found here."""
    sources = [(service.relative(path), _source(path)) for path in revision_files(service)]
    for path, source in sources:
        if b"\0" in source:
            text = f"it has a NUL, as a text in UTF-16 has, and so is no Python. {_END}"
            return UsageError(text, service=service, path=path, hint="Save it as UTF-8.")
    headers = [(path, _assigned(source)) for path, source in sources]
    for path, values in headers:
        if "revision" in values and (problem := _problem(values)):
            return UsageError(f"{problem}. {_END}", service=service, path=path, hint="Correct the revision.")
    revisions = [revision for path, values in headers if (revision := _revision(path, values)) is not None]
    for find in (_same_id, _same_label, _missing, _cycle):
        for error in find(service, revisions):
            return error
    nameless = (_no_revision(service, path, source) for path, source in sources if not _NAMED.search(source))
    return next(nameless, None)


def _no_revision(service: Service, path: str, source: bytes) -> UsageError:
    text = "it assigns no revision" if source.strip() else "it is empty"
    return UsageError(f"{text}. {_END}", service=service, path=path, hint="Restore the file, or move it elsewhere.")


def likely_revision(source: bytes, path: str) -> Revision | None:
    """Return a file's revision by the constants that it assigns, whatever else it does; None without an id."""
    values = _assigned(source)
    return _revision(path, values) if "down_revision" in values else None


def _source(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _assigned(source: bytes) -> dict[str, object]:
    """Return the constants that a file assigns by name."""
    values: dict[str, object] = {}
    try:
        for statement in parse(source).body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            value = getattr(statement, "value", None)
            for target in targets:
                if isinstance(target, ast.Name) and isinstance(value, ast.expr):
                    with suppress(ValueError):
                        values[target.id] = ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return {}
    return values


def _problem(values: Mapping[str, object]) -> str | None:
    """Return why a file with a constant id is no revision."""
    revision = values["revision"]
    if not isinstance(revision, str):
        return f"its id {revision!r} is no text"
    if illegal := sorted(_ILLEGAL & set(revision)):
        return f"its id {revision!r} has {' '.join(illegal)}, which Alembic doesn't allow"
    if problem := id_problem(revision):
        return f"its id {revision!r} {problem}"
    return "it assigns no down_revision" if "down_revision" not in values else None


def _revision(path: str, values: Mapping[str, object]) -> Revision | None:
    names = [values.get("down_revision"), values.get("branch_labels"), values.get("depends_on") or None]
    if not isinstance(values.get("revision"), str) or not all(map(_is_names, names)):
        return None
    down, labels, dependencies = (as_tuple(value) for value in names)  # type: ignore[arg-type]
    return Revision(str(values["revision"]), down, "", path, False, labels, dependencies)


def _is_names(value: object) -> bool:
    texts = value if isinstance(value, list | tuple | set) else [value]
    return value is None or all(isinstance(text, str) for text in texts)


def _same_id(service: Service, revisions: Iterable[Revision]) -> Iterator[UsageError]:
    first: dict[str, Revision] = {}
    for revision in revisions:
        other = first.setdefault(revision.revision, revision)
        if other is not revision:
            text = f"the id {revision.revision!r} is used more than once, also in {other.path}. {_END}"
            hint = "Give one of the files another id, or remove it."
            yield UsageError(text, service=service, path=revision.path, hint=hint)


def _same_label(service: Service, revisions: Iterable[Revision]) -> Iterator[UsageError]:
    names = {revision.revision: revision for revision in revisions}
    for revision in revisions:
        for label in revision.branch_labels:
            other = names.setdefault(label, revision)
            if other is not revision or label == revision.revision:
                text = f"{label!r}, its branch label, is also an id or a label of {other.path}. {_END}"
                yield UsageError(text, service=service, path=revision.path, hint="Rename one of them.")


def _missing(service: Service, revisions: Iterable[Revision]) -> Iterator[UsageError]:
    ids = {revision.revision for revision in revisions}
    labels = {label for revision in revisions for label in revision.branch_labels}
    for revision in revisions:
        for key, values, known in (
            ("down_revision", revision.down_revision, ids),
            ("depends_on", revision.depends_on, ids | labels),
        ):
            for name in values:
                if name not in known:
                    text = f"its {key} {name!r} is in no file of {service.shown_locations}. {_END}"
                    hint = f"Restore that file, or correct {key}."
                    yield UsageError(text, service=service, path=revision.path, hint=hint)


def _cycle(service: Service, revisions: Iterable[Revision]) -> Iterator[UsageError]:
    """Yield an error for the first cycle, with its files in the order in which each follows the next."""
    names = {label: revision for revision in revisions for label in revision.branch_labels}
    names |= {revision.revision: revision for revision in revisions}
    for keys in (("down_revision",), ("down_revision", "depends_on")):
        done: set[str] = set()
        for start in revisions:
            if cycle := _cycle_from(start, names, keys, done):
                text = f"the revisions are a cycle: {', '.join(each.path for each in [*cycle, cycle[0]])}. {_END}"
                hint = f"Each follows the next: correct {' or '.join(keys)} of one."
                yield UsageError(text, service=service, path=cycle[0].path, hint=hint)


def _cycle_from(
    start: Revision, names: Mapping[str, Revision], keys: Iterable[str], done: set[str]
) -> list[Revision] | None:
    path: list[Revision] = []
    stack: list[tuple[Revision, bool]] = [(start, False)]
    while stack:
        revision, is_left = stack.pop()
        if is_left:
            done.add(path.pop().revision)
        elif revision in path:
            return path[path.index(revision) :]
        elif revision.revision not in done:
            path.append(revision)
            stack.append((revision, True))
            stack += ((names[name], False) for key in keys for name in getattr(revision, key) if name in names)
    return None

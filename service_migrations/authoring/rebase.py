"""Putting my revisions on top of theirs, where two branches of a team have each added some.

Only the parent of my first one changes, and the file that names the head. That is right as long as mine have run
nowhere: in a database that has them, theirs would never run below them.
"""

import ast
import re
from dataclasses import dataclass, replace
from itertools import accumulate

from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import connector
from service_migrations.connection.session import open_session
from service_migrations.errors import MigrationError, UsageError
from service_migrations.history import head_file
from service_migrations.history.branches import Branch, branch_with, branches, revisions_in_base
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.monorepo import Service
from service_migrations.settings.model import Settings

__all__ = ["Rebased", "exchange", "rebase"]

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_REVISES = re.compile(rb"^([ \t]*(?:\"{3}|'{3})?Revises:)[ \t]*[\w.,\- ]*", re.MULTILINE)
_BOM = b"\xef\xbb\xbf"


def exchange(source: bytes, parent: str, where: str) -> bytes:
    """Return a revision file's text with another ``down_revision``, and another ``Revises:`` in its docstring.

    Args:
        source: the text, in UTF-8.
        parent: the id of the new parent.
        where: the file's name for a message.

    Raises:
        UsageError: the text has no ``down_revision = "…"`` of its own, or is no Python.

    """
    text = source.removeprefix(_BOM)
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{where} is no Python: {error}. Nothing was changed.", path=where) from error
    values = [value for node in module.body if (value := _down_revision(node)) is not None]
    if len(values) != 1 or not _is_plain(values[0]):
        raise UsageError(
            "down_revision is no plain text, so it can't be exchanged.",
            path=where,
            hint=f'Write down_revision = "{parent}" there by hand. Nothing was changed.',
        )
    starts = [0, *accumulate(len(line) for line in _LINE.findall(text))]
    old = slice(*_span(values[0], starts))
    quote = b"'" if text[old].startswith(b"'") else b'"'
    changed = text[: old.start] + quote + parent.encode() + quote + text[old.stop :]
    docstring = module.body[0]
    if isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant):
        # it stands before the assignment, so its place is the same
        first, last = _span(docstring, starts)
        told = _REVISES.sub(lambda found: found[1] + b" " + parent.encode(), changed[first:last], count=1)
        changed = changed[:first] + told + changed[last:]
    return source[: len(source) - len(text)] + changed


def _down_revision(node: ast.stmt) -> ast.expr | None:
    """Return what a statement assigns to ``down_revision``."""
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return None
    return value if any(isinstance(one, ast.Name) and one.id == "down_revision" for one in targets) else None


def _is_plain(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str))


def _span(node: ast.stmt | ast.expr, starts: list[int]) -> tuple[int, int]:
    """Return where a node begins and ends; Python counts its columns in bytes of UTF-8."""
    last, column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return starts[node.lineno - 1] + node.col_offset, starts[last - 1] + column


_PATIENCE = 3.0
"""Seconds that a database has for its answer: on a laptop there often is none, and git waits."""


@dataclass(frozen=True, slots=True)
class Rebased:
    """What was done: ``moved`` are my revisions, oldest first, none where there was nothing to do.

    ``path`` is the file whose parent is now ``onto`` instead of ``before``. ``unasked`` says why the database wasn't
    asked whether it has them; None where it was.
    """

    service: str
    moved: tuple[str, ...] = ()
    path: str = ""
    before: str | None = None
    onto: str | None = None
    unasked: str | None = None


async def rebase(
    service: str | Service,
    *,
    base: str | None = None,
    onto: str | None = None,
    revision: str | None = None,
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
) -> Rebased:
    """Put my revisions of a service on top of theirs; no database is changed, and only one revision file.

    Args:
        service: its name.
        base: the commit whose revisions are theirs; the team's branch where it is None.
        onto: an id of theirs, or its beginning, where git can't tell.
        revision: an id of mine, or its beginning, where git can't tell.
        engine: as in ``upgrade``.
        settings: as in ``upgrade``.

    Raises:
        UsageError: it isn't known whose revisions are whose, mine are not a simple chain, or the service's database
            has them already; nothing was changed.

    """
    history = read(service)
    found = history.service
    if len(history.heads) < 2:  # noqa: PLR2004 - mine and theirs
        # whoever ends a merge by hand is here next
        head_file.write(found, history.single_head())
        return Rebased(str(found), onto=history.single_head())
    mine, theirs = _sides(history, base, onto, revision)
    first = _first(history, mine)
    before = first.down_revision[0] if first.down_revision else None
    unasked = await _refuse_applied(history, mine, before, engine, settings)
    path = found.root / first.path
    old = path.read_bytes()
    head_file.replace_file(path, exchange(old, theirs.head, first.path))
    try:
        head = read(found).single_head()
    except MigrationError:
        head_file.replace_file(path, old)
        raise
    head_file.write(found, head)
    return Rebased(str(found), tuple(one.revision for one in mine.own), first.path, before, theirs.head, unasked)


def _sides(history: History, base: str | None, onto: str | None, revision: str | None) -> tuple[Branch, Branch]:
    """Return my branch and theirs."""
    service, pair = history.service, branches(history)
    one, other = pair
    if revision is not None:
        mine = branch_with(pair, revision, "--revision", service)
    elif onto is not None:
        mine = one if branch_with(pair, onto, "--onto", service) is other else other
    else:
        name, known = revisions_in_base(service, base)
        news = [branch for branch in pair if not branch.ids & known]
        if len(news) != 1:
            problem = "has revisions of both heads" if not news else "has neither head"
            raise UsageError(
                f"{name} {problem}, {one.head} and {other.head}, so it isn't known which is yours.",
                service=service,
                hint="Fetch, name another commit with --base, or your own head with --revision. Nothing was changed.",
            )
        mine = news[0]
    theirs = one if mine is other else other
    if onto is not None and (branch_with(pair, onto, "--onto", service) is mine or not theirs.head.startswith(onto)):
        raise UsageError(
            f"--onto {onto!r} is not their head, which is {theirs.head}: there would be two "
            "heads still. Nothing was changed.",
            service=service,
        )
    return mine, theirs


def _first(history: History, mine: Branch) -> Revision:
    """Return the revision whose parent is going to change, of a chain that can be moved."""
    for one in mine.own:
        script = history.directory.get_revision(one.revision)
        problem = "is a merge" if len(one.down_revision) > 1 else "has depends_on" if script.dependencies else ""
        if problem:
            raise UsageError(
                f"{one.revision} {problem}, so your revisions are no simple chain that can be moved.",
                service=history.service,
                path=one.path,
                hint=f"Join the heads: inv db.merge --service {history.service}. Nothing was changed.",
            )
    return mine.own[0]


async def _refuse_applied(
    history: History, mine: Branch, before: str | None, engine: AsyncEngine | None, settings: Settings | None
) -> str | None:
    """Refuse where the database has one of mine; return why it couldn't be asked."""
    service = history.service
    try:
        way = connector(service, engine, settings)
        limits = replace(way.limits, connect_timeout=min(way.limits.connect_timeout, _PATIENCE))
        async with open_session(history, replace(way, limits=limits)) as session:
            current = await session.applied()
    except MigrationError as error:
        return str(error)
    applied = [one.revision for one in history.applied(current) if one in mine.own]
    if applied:
        raise UsageError(
            f"{session.access.target} has {', '.join(applied)} already, and theirs would never run there below it.",
            service=service,
            hint=f"Downgrade first: inv db.downgrade --service {service} --revision {before or 'base'}",
        )
    return None

"""The rebase of my revisions onto theirs, where two branches of a team have both added some.

Only the parent of my first revision changes, and the file that names the head. That is right as long as mine have run
in no database: one that has them would never run theirs.
"""

import ast
import re
from dataclasses import dataclass, replace
from itertools import accumulate

from sqlalchemy.ext.asyncio import AsyncEngine

from service_migrations.connection.connector import connector
from service_migrations.errors import MigrationError, UsageError
from service_migrations.files import replace as replace_file
from service_migrations.history.branches import Branch, branch_with, branches, revisions_in_base
from service_migrations.history.files import head_file
from service_migrations.history.graph import clashing_heads, implied
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.history.sole_writer import sole_writer
from service_migrations.monorepo import Service, resolve
from service_migrations.session.session import open_session
from service_migrations.settings.model import Settings

__all__ = ["Rebased", "exchange", "rebase"]

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_REVISES = re.compile(rb"^([ \t]*(?:\"{3}|'{3})?Revises:)[ \t]*[\w.,\- ]*", re.MULTILINE)
_BOM = b"\xef\xbb\xbf"


def exchange(source: bytes, parent: str, path: str) -> bytes:
    """Return a revision file's text with another parent, in ``down_revision`` and in its docstring's ``Revises:``.

    Args:
        source: the text, in UTF-8.
        parent: the id of the new parent.
        path: the file's name for a message.

    Raises:
        UsageError: the text has no plain ``down_revision = "…"``, or isn't valid Python.

    """
    text = source.removeprefix(_BOM)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{path} is no Python: {error}. Nothing was changed.", path=path) from error
    values = [value for node in tree.body if (value := _down_revision(node)) is not None]
    if len(values) != 1 or not _is_plain(values[0]):
        raise UsageError(
            "down_revision is no plain text, so it can't be exchanged.",
            path=path,
            hint=f'Write down_revision = "{parent}" there by hand. Nothing was changed.',
        )
    starts = [0, *accumulate(len(line) for line in _LINE.findall(text))]
    value_range = slice(*_span(values[0], starts))
    quote = b"'" if text[value_range].startswith(b"'") else b'"'
    text_value = quote + parent.encode() + quote if not {'"', "\\"} & set(parent) else repr(parent).encode()
    changed = text[: value_range.start] + text_value + text[value_range.stop :]
    docstring = tree.body[0]
    if isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant):
        # the docstring is before the assignment, so its position is unchanged
        first, last = _span(docstring, starts)
        updated = _REVISES.sub(lambda match: match[1] + b" " + parent.encode(), changed[first:last], count=1)
        changed = changed[:first] + updated + changed[last:]
    return source[: len(source) - len(text)] + changed


def _down_revision(statement: ast.stmt) -> ast.expr | None:
    """Return the value that a statement assigns to ``down_revision``; None where it assigns none."""
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    else:
        return None
    return value if any(isinstance(target, ast.Name) and target.id == "down_revision" for target in targets) else None


def _is_plain(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str))


def _span(node: ast.stmt | ast.expr, starts: list[int]) -> tuple[int, int]:
    """Return the first and the last offset of a node; Python counts columns in bytes of UTF-8."""
    last, column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return starts[node.lineno - 1] + node.col_offset, starts[last - 1] + column


_PATIENCE = 3.0
"""Seconds for the connection to the database: a laptop often has none, and git waits."""


@dataclass(frozen=True, slots=True)
class Rebased:
    """The result of a rebase.

    Attributes:
        service: its name.
        moved: the ids of my revisions, oldest first; empty where there was nothing to do.
        path: the file whose parent has changed.
        before: the former parent.
        onto: the new parent.
        unasked: why the database couldn't be asked whether it has my revisions; None where it was asked.
        others: the same of the further branches of the history, where both sides had added to several.
        remaining: the heads that are still too many, where there were more than two.

    """

    service: str
    moved: tuple[str, ...] = ()
    path: str = ""
    before: str | None = None
    onto: str | None = None
    unasked: str | None = None
    others: tuple["Rebased", ...] = ()
    remaining: tuple[str, ...] = ()


async def rebase(
    service: str | Service,
    *,
    base: str | None = None,
    onto: str | None = None,
    revision: str | None = None,
    engine: AsyncEngine | None = None,
    settings: Settings | None = None,
) -> Rebased:
    """Put my revisions of a service on top of theirs; only one file of each branch changes, and no database.

    Args:
        service: its name.
        base: the commit that has their revisions; None for the team's branch.
        onto: an id of theirs, or its beginning, where git can't decide.
        revision: an id of mine, or its beginning, where git can't decide. With both, there may be more than two heads.
        engine: as in ``upgrade``.
        settings: as in ``upgrade``.

    Raises:
        UsageError: it isn't known whose revisions are whose, mine aren't a simple chain, or the service's database has
            them already; nothing was changed.

    """
    service = resolve(service)
    async with sole_writer(service):
        return await _rebased(service, base, onto, revision, engine, settings)


async def _rebased(
    service: Service,
    base: str | None,
    onto: str | None,
    revision: str | None,
    engine: AsyncEngine | None,
    settings: Settings | None,
) -> Rebased:
    """Rebase as the only writer; arguments and errors as of ``rebase``."""
    history = read(service)
    if not clashing_heads(history.revisions):
        _refuse_unknown(history, base, onto, revision)
        # after a merge by hand, head.txt may still name another head
        head_file.write(history)
        return Rebased(str(service), onto=", ".join(history.heads) or None)
    pairs = branches(history, base, revision, onto)
    if len(pairs) > 1 and (onto or revision):
        heads = " and ".join(", ".join(branch.head for branch in pair) for pair in pairs)
        raise UsageError(
            f"the heads are of several branches, {heads}, and --revision and --onto are of one. Nothing was changed.",
            service=service,
            hint="Let git say whose are whose, with --base.",
        )
    moves: list[tuple[Rebased, bytes]] = []
    for pair in pairs:
        mine, theirs = _mine_and_theirs(history, pair, base, onto, revision)
        first_revision = _first_of_chain(history, mine)
        _refuse_circle(history, mine, theirs)
        before = first_revision.down_revision[0] if first_revision.down_revision else None
        unasked = await _refuse_applied(history, mine, before, engine, settings)
        text = exchange((service.root / first_revision.path).read_bytes(), theirs.head, first_revision.path)
        moved = tuple(rebased.revision for rebased in mine.own)
        moves.append((Rebased(str(service), moved, first_revision.path, before, theirs.head, unasked), text))
    sources = {path: path.read_bytes() for path in (service.root / rebased.path for rebased, _ in moves)}
    try:
        for rebased, text in moves:
            replace_file(service.root / rebased.path, text)
        changed = read(service)
        remaining = clashing_heads(changed.revisions)
        if not remaining:
            head_file.write(changed)
    except MigrationError:
        for path, source in sources.items():
            replace_file(path, source)
        raise
    first, *others = (rebased for rebased, _ in moves)
    return replace(first, others=tuple(others), remaining=remaining)


def _refuse_unknown(history: History, base: str | None, onto: str | None, revision: str | None) -> None:
    """Refuse a commit or a revision that doesn't exist, also where nothing is to be done."""
    if base is not None:
        revisions_in_base(history.service, base)
    for option, prefix in (("--onto", onto), ("--revision", revision)):
        if prefix is not None and not any(each.revision.startswith(prefix) for each in history.revisions):
            heads = ", ".join(history.heads) or "none"
            raise UsageError(f"{option} {prefix!r} is no revision. Heads: {heads}.", service=history.service)


def _mine_and_theirs(
    history: History, both: tuple[Branch, Branch], base: str | None, onto: str | None, revision: str | None
) -> tuple[Branch, Branch]:
    """Return my branch and theirs."""
    service = history.service
    first, second = both
    if revision is not None:
        mine = branch_with(both, revision, "--revision", service)
    elif onto is not None:
        mine = first if branch_with(both, onto, "--onto", service) is second else second
    else:
        name, known = revisions_in_base(service, base)
        unknown_branches = [branch for branch in both if not branch.ids & known]
        if len(unknown_branches) != 1:
            problem = "has revisions of both heads" if not unknown_branches else "has neither head"
            raise UsageError(
                f"{name} {problem}, {first.head} and {second.head}, so it isn't known which is yours.",
                service=service,
                hint="Fetch, name another commit with --base, or your own head with --revision. Nothing was changed.",
            )
        mine = unknown_branches[0]
    theirs = first if mine is second else second
    if onto is not None and (branch_with(both, onto, "--onto", service) is mine or not theirs.head.startswith(onto)):
        raise UsageError(
            f"--onto {onto!r} is not their head, which is {theirs.head}: there would be two "
            "heads still. Nothing was changed.",
            service=service,
        )
    return mine, theirs


def _first_of_chain(history: History, mine: Branch) -> Revision:
    """Return my oldest revision, whose parent is going to change, or refuse mine where they aren't a simple chain."""
    for revision in mine.own:
        if len(revision.down_revision) > 1:
            raise UsageError(
                f"{revision.revision} is a merge, so your revisions are no simple chain that can be moved.",
                service=history.service,
                path=revision.path,
                hint=f"Join the heads: inv db.merge --service {history.service}. Nothing was changed.",
            )
    return mine.own[0]


def _refuse_circle(history: History, mine: Branch, theirs: Branch) -> None:
    """Refuse where one of theirs needs one of mine, by a ``depends_on``: mine would have to run before and after it.

    A ``depends_on`` of mine stays true: what it names is below mine still, or in a branch of its own.
    """
    by_id = {revision.revision: revision for revision in history.revisions}
    needed = [each.revision for each in mine.own if each.revision in implied(by_id, (theirs.head,))]
    if needed:
        raise UsageError(
            f"{theirs.head} needs {needed[-1]} by a depends_on, so yours can't follow it.",
            service=history.service,
            path=by_id[theirs.head].path,
            hint=f"Join the heads: inv db.merge --service {history.service}. Nothing was changed.",
        )


async def _refuse_applied(
    history: History, mine: Branch, before: str | None, engine: AsyncEngine | None, settings: Settings | None
) -> str | None:
    """Refuse where the database has one of my revisions; return why it couldn't be asked."""
    service = history.service
    try:
        own_connector = connector(service, engine, settings)
        limits = replace(own_connector.limits, connect_timeout=min(own_connector.limits.connect_timeout, _PATIENCE))
        async with open_session(history, replace(own_connector, limits=limits)) as session:
            current = await session.applied()
    except MigrationError as error:
        return str(error)
    applied = [revision.revision for revision in history.applied(current) if revision in mine.own]
    if applied:
        raise UsageError(
            f"{session.connector.target} has {', '.join(applied)} already, and theirs would never run there below it.",
            service=service,
            hint=f"Downgrade first: inv db.downgrade --service {service} --revision {before or 'base'}",
        )
    return None

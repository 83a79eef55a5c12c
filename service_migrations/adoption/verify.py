"""The revision that a database is really at, found by its catalog.

A stamp may be wrong, or missing: tables that were made by ``create_all``, or by hand. The history is replayed once, and
the catalog after each revision compared with the database; the revision with the fewest differences is it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise

from service_migrations.adoption.stepwise import Steps, comparable, empty_database, stepping
from service_migrations.catalog.objects import Key, Object, read
from service_migrations.connection.connector import connector_of
from service_migrations.drift.compare import Difference, compare, without_surplus_extensions
from service_migrations.drift.drift import sibling_settings, visible_keys
from service_migrations.drift.extensions import Extensions, MissingExtensionError
from service_migrations.errors import DifferenceError, MigrationError
from service_migrations.history.revisions import History, read as read_history
from service_migrations.monorepo import Service
from service_migrations.ownership.survey import current_schema
from service_migrations.session.session import open_session
from service_migrations.session.tables.version_table import applied
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings, load

__all__ = ["Verified", "verify"]


@dataclass(frozen=True, slots=True)
class Verified:
    """The place of a database in its history.

    Attributes:
        service: its name.
        target: its database, without the password.
        stamped: the revisions in its version table.
        revisions: those that its catalog is nearest to.
        equal: other revisions with the same differences, such as before one that only changes rows.
        differences: what remains between the database and that revision.
        unknown: whether the version table names a revision that no file has.
        problem: why the history was replayed only in part.

    """

    service: str
    target: str
    stamped: tuple[str, ...]
    revisions: tuple[str, ...]
    equal: tuple[tuple[str, ...], ...]
    differences: tuple[Difference, ...]
    unknown: bool = False
    problem: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether the version table names the revision that the database is at."""
        return self.stamped == self.revisions

    @property
    def is_found(self) -> bool:
        """Whether the revision is known, and not only the nearest one.

        After a replay in part, that may be far behind the right one. Where the database is at a revision of files that
        are gone, such as in the middle of those that one has replaced, it may be far ahead of the database.
        """
        return not self.differences or (self.problem is None and not self.unknown)

    @property
    def command(self) -> str:
        """The command that writes the right revision into the version table."""
        purge = " --purge" if self.unknown or len(self.stamped) > 1 else ""  # one of several may imply another
        if len(self.revisions) > 1:
            return f"inv db.alembic --service {self.service} -- stamp{purge} {' '.join(self.revisions)}"
        revision = self.revisions[0] if self.revisions else "base"
        return f"inv db.stamp --service {self.service} --revision {revision}{purge}"

    def as_json(self) -> dict[str, object]:
        """Return the fields for another program."""
        return {
            **asdict(self),
            "is_right": self.is_right,
            "command": self.command if self.is_found and not self.is_right else None,
        }


@dataclass(frozen=True, slots=True)
class _State:
    revisions: tuple[str, ...]
    differences: tuple[Difference, ...]
    objects: frozenset[str] = frozenset()
    keys: frozenset[Key] = frozenset()
    reached_by: str = ""
    """The last revision that ran."""
    created: frozenset[str] = frozenset()
    """Those objects that the state before didn't have."""

    def distance(self, live: frozenset[str]) -> int:
        """Return how many objects, columns and constraints differ, up to a constant for what no state has."""
        return len(self.objects ^ live)


async def verify(service: str | Service, *, settings: Settings | None = None, admin: Dsn | None = None) -> Verified:
    """Find the revision that a service's database is at, whatever its version table says. The database is only read.

    Args:
        service: the service or its name.
        settings: the service's, if they were loaded already.
        admin: an administrator who may create a scratch database, if the settings have none.

    Raises:
        AccessDeniedError: no role may create a scratch database; the hint describes how to name one.
        MigrationError: the database can't be read, or not one revision can be replayed.

    """
    history = read_history(service)
    settings = settings or load(history.service)
    connector = connector_of(settings)
    async with open_session(history, connector) as session:
        try:
            stamped, unknown = await session.applied(), False
        except DifferenceError:
            stamped = await applied(session.connection, connector, session.schema)
            unknown = not {revision.revision for revision in history.revisions}.issuperset(stamped)
        live = await read(session.connection)
        schema = current_schema(session.connection)
    visible = await visible_keys(connector, schema, live)
    known = () if unknown else stamped
    extensions = Extensions(live, settings.admin or admin)
    states, problem = await _replayed(history, settings, admin, extensions, known, live, visible)
    best = _nearest(states, live, known)
    others = without_surplus_extensions(best.differences)
    if others and extensions.differ_from(best.keys):
        # as in drift: a history may do without an extension that isn't there, or create it in another schema
        extensions.stop_at_base(history.service)
        with_extensions = await _replayed(history, settings, admin, extensions, known, live, visible)
        nearer = _nearest(with_extensions[0], live, known)
        if len(without_surplus_extensions(nearer.differences)) < len(others):
            (states, problem), best = with_extensions, nearer
    equal = tuple(
        state.revisions for state in states if state.revisions != best.revisions and state.objects == best.objects
    )
    return Verified(
        str(history.service), connector.target, stamped, best.revisions, equal, best.differences, unknown, problem
    )


def _nearest(states: Sequence[_State], live: Iterable[Object], stamped: tuple[str, ...]) -> _State:
    """Return the state that a database is nearest to; of equal ones that of its version table, or else the last."""
    texts = frozenset(map(comparable, live))

    def rank(pair: tuple[int, _State]) -> tuple[bool, int, bool, int]:
        index, state = pair
        # a table that is only in the database is one difference, with all its columns
        return bool(state.differences), state.distance(texts), state.revisions != stamped, -index

    return min(enumerate(states), key=rank)[1]


async def _replayed(
    history: History,
    settings: Settings,
    admin: Dsn | None,
    extensions: Extensions,
    stamped: tuple[str, ...],
    live: tuple[Object, ...],
    visible: frozenset[Key],
) -> tuple[list[_State], str | None]:
    """Return the state after each revision, and why some are missing; None where one order leads through all."""
    states = [_State((), compare(live, (), lambda item: item.key in visible))]
    problem: str | None = None
    is_whole = False
    orders, tried = _orders(history, stamped), set[tuple[str, ...]]()
    centre: tuple[str, ...] | None = None
    while orders:
        order = orders.pop(0)
        tried.add(order)
        walks = [False, True] if sibling_settings(settings) else [False]
        while walks:
            walked: list[_State] = []
            try:
                async with (
                    empty_database(settings, admin, extensions, with_siblings=walks[0]) as scratch,
                    stepping(scratch, extensions) as steps,
                ):
                    problem = await _walk(steps, order, walked, live, visible)
            except MissingExtensionError:
                continue
            walks.pop(0)
            if problem is None:
                is_whole = True
                break
        states += [state for state in walked if state.revisions not in [each.revisions for each in states]]
        if any(not state.differences for state in states):
            break
        if not orders and not _is_line(history):
            by_traces = _order(history, _below(history, _with_traces(states, live)))
            nearest = _nearest(states, live, stamped).revisions
            if by_traces not in tried:
                orders = [by_traces]
            elif nearest != centre:
                centre = nearest
                orders = [other for other in _orders_around(history, nearest) if other not in tried]
    return states, None if is_whole else problem


async def _walk(
    steps: Steps, order: tuple[str, ...], states: list[_State], live: tuple[Object, ...], visible: frozenset[Key]
) -> str | None:
    """Add the state after each revision; return the error that ended the walk."""
    since = datetime.now(UTC)
    before: frozenset[str] = frozenset()
    for revision in order:
        try:
            await steps.up(revision)
        except MigrationError as error:
            failure = steps.extensions.failure(error)
            if failure is error:
                raise
            return str(failure)
        seen = visible - steps.initial.keys()  # no history creates what an administrator does in a new database
        objects = await steps.objects()
        differences = compare(live, objects, partial(_sees, seen), since=since)
        texts = frozenset(map(comparable, objects))
        keys = frozenset(item.key for item in objects) | steps.initial.keys()
        applied_now = await steps.session.applied()
        states.append(_State(applied_now, differences, texts, keys, revision, texts - before))
        before = texts
    return None


def _sees(keys: frozenset[Key], item: Object) -> bool:
    return item.key in keys


def _orders(history: History, stamped: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the orders in which the history is replayed first: below the stamp first, then below each head.

    A history with one head has one order. Of branches, these are the states with one branch ahead.
    """
    below = [_below(history, start) for start in (stamped, *((head,) for head in history.heads))]
    return list(dict.fromkeys(_order(history, first) for first in below))


def _orders_around(history: History, nearest: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return orders with other states near that one: in each, one branch runs behind what the others have there.

    A database may have several branches in part, and not every mixture can be tried.
    """
    here, orders = _below(history, nearest), []
    for head in history.heads:
        others = [_below(history, (other,)) for other in history.heads if other != head]
        branch = _below(history, (head,))
        orders.append(_order(history, here & frozenset().union(*others), branch))
    return list(dict.fromkeys(orders))


def _with_traces(states: Sequence[_State], live: Iterable[Object]) -> tuple[str, ...]:
    """Return the revisions of which a database has all that they have created."""
    texts = frozenset(map(comparable, live))
    return tuple(state.reached_by for state in states if state.created and state.created <= texts)


def _is_line(history: History) -> bool:
    """Whether each revision follows the one before it, so that there is one order."""
    return all(before.revision in revision.down_revision for revision, before in pairwise(history.revisions))


def _below(history: History, revisions: tuple[str, ...]) -> frozenset[str]:
    return frozenset(revision.revision for revision in history.applied(revisions))


def _order(history: History, *first: frozenset[str]) -> tuple[str, ...]:
    """Return the revisions in the order of an upgrade to all heads, but for sets of them that come first."""
    oldest_first = [revision.revision for revision in reversed(history.revisions)]
    return tuple(sorted(oldest_first, key=lambda revision: [revision not in chosen for chosen in first]))

"""The revision that a database is really at, found by its catalog.

A stamp may be wrong, or missing: tables that were made by ``create_all``, or by hand. The history is replayed once, and
the catalog after each revision compared with the database; the revision with the fewest differences is it.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial

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
from service_migrations.session.version_table import applied
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
        """Whether the revision is known: after a replay in part, the nearest one may be far behind the right one."""
        return self.problem is None or not self.differences

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
    texts = frozenset(map(comparable, live))

    def rank(pair: tuple[int, _State]) -> tuple[bool, int, bool, int]:
        index, state = pair
        # a table that is only in the database is one difference, with all its columns
        return bool(state.differences), state.distance(texts), state.revisions != known, -index

    extensions = Extensions(live, settings.admin or admin)
    states, problem = await _replayed(history, settings, admin, extensions, known, live, visible)
    best = min(enumerate(states), key=rank)[1]
    others = without_surplus_extensions(best.differences)
    if others and extensions.differ_from(best.keys):
        # as in drift: a history may do without an extension that isn't there, or create it in another schema
        extensions.stop_at_base(history.service)
        with_extensions = await _replayed(history, settings, admin, extensions, known, live, visible)
        nearer = min(enumerate(with_extensions[0]), key=rank)[1]
        if len(without_surplus_extensions(nearer.differences)) < len(others):
            (states, problem), best = with_extensions, nearer
    equal = tuple(
        state.revisions for state in states if state.revisions != best.revisions and state.objects == best.objects
    )
    return Verified(
        str(history.service), connector.target, stamped, best.revisions, equal, best.differences, unknown, problem
    )


async def _replayed(
    history: History,
    settings: Settings,
    admin: Dsn | None,
    extensions: Extensions,
    stamped: tuple[str, ...],
    live: tuple[Object, ...],
    visible: frozenset[Key],
) -> tuple[list[_State], str | None]:
    """Return the state after each revision, and why the last ones are missing."""
    states = [_State((), compare(live, (), lambda item: item.key in visible))]
    problem: str | None = None
    for order in _orders(history, stamped):
        walks = [False, True] if sibling_settings(settings) else [False]
        while walks:
            found: list[_State] = []
            try:
                async with (
                    empty_database(settings, admin, extensions, with_siblings=walks[0]) as scratch,
                    stepping(scratch, extensions) as steps,
                ):
                    problem = await _walk(steps, order, found, live, visible)
            except MissingExtensionError:
                continue
            walks.pop(0)
            if problem is None:
                break
        states += [state for state in found if state.revisions not in [each.revisions for each in states]]
        if any(not state.differences for state in states):
            break
    return states, problem


async def _walk(
    steps: Steps, order: tuple[str, ...], states: list[_State], live: tuple[Object, ...], visible: frozenset[Key]
) -> str | None:
    """Add the state after each revision; return the error that ended the walk."""
    since = datetime.now(UTC)
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
        keys = frozenset(item.key for item in objects) | steps.initial.keys()
        applied_now = await steps.session.applied()
        states.append(_State(applied_now, differences, frozenset(map(comparable, objects)), keys))
    return None


def _sees(keys: frozenset[Key], item: Object) -> bool:
    return item.key in keys


def _orders(history: History, stamped: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the orders in which the history is replayed: below the stamp first, then below each head.

    A history with one head has one order. Of branches, each state with one branch ahead is tried, not every mixture.
    """
    oldest_first = tuple(revision.revision for revision in reversed(history.revisions))
    orders = []
    for start in (stamped, *((head,) for head in history.heads)):
        below = {revision.revision for revision in history.applied(start)} if start else set()
        orders.append(tuple(sorted(oldest_first, key=lambda revision: revision not in below)))
    yield from dict.fromkeys(orders)

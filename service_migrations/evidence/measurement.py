"""A measurement: what one revision did on one version, as values that a person reads and a file keeps."""

from dataclasses import asdict, dataclass
from typing import Any

from service_migrations.evidence.locks import Mode
from service_migrations.evidence.observer import Observed
from service_migrations.evidence.run import ObservedRevision, Run
from service_migrations.sql.quoting import one_line

__all__ = ["Lock", "Measurement", "Statement", "measurements"]

TARGET = 10_000_000
"""The rows of a table for which the time is estimated."""
_SQL_CHARACTERS = 200
_WAL = 16_384
"""Bytes of WAL by which two runs may differ."""
_READ = 100
"""Rows by which two runs may differ."""
_TIME = 0.02
"""Seconds by which two runs may differ."""
_HINT = 3


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock on a relation, and for how many seconds it was held."""

    relation: str
    mode: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a revision.

    Attributes:
        place: its file and line.
        sql: its beginning, on one line.
        seconds: how long it took.
        locks: those that it took, the strongest of each relation that others can see, and until it was released.
        rewrites: the tables that it rewrote.
        wal: the bytes of WAL.
        rows: the rows that it changed.
        growth: ``constant`` or ``linear`` in the rows of the tables; None where that isn't known.
        at_ten_million: the estimated seconds with ten million rows in each table.

    """

    place: str
    sql: str
    seconds: float
    locks: tuple[Lock, ...]
    rewrites: tuple[str, ...]
    wal: int
    rows: int
    growth: str | None
    at_ten_million: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One revision in one direction on one PostgreSQL.

    Attributes:
        revision: its id.
        message: its message.
        path: its file.
        direction: ``upgrade`` or ``downgrade``.
        postgres: the major version.
        rows: how many rows the tables had.
        seconds: how long its statements took.
        strongest: the strongest lock on a relation that others can see, for the longest time.
        rewrites: the tables that were rewritten.
        readers_blocked: for how many seconds readers of one table were held up at most.
        writers_blocked: the same of writers.
        blocked: by table, the seconds of ``readers`` and ``writers``.
        wal: the bytes of WAL.
        changed: the rows that were changed.
        growth: as of its statements.
        at_ten_million: as of its statements.
        statements: its statements.
        error: why it failed; None where it didn't.
        notes: which tables couldn't be filled, and why.

    """

    revision: str
    message: str
    path: str
    direction: str
    postgres: str
    rows: int
    seconds: float
    strongest: Lock | None
    rewrites: tuple[str, ...]
    readers_blocked: float
    writers_blocked: float
    blocked: dict[str, dict[str, float]]
    wal: int
    changed: int
    growth: str | None
    at_ten_million: float | None
    statements: tuple[Statement, ...]
    error: str | None
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it for another program."""
        return asdict(self)


def measurements(small: Run, large: Run, sizes: tuple[int, int], postgres: str) -> tuple[Measurement, ...]:
    """Return the measurements of a run, and how its times grow from those of a smaller run.

    Args:
        small: the run with few rows.
        large: the run with more.
        sizes: their rows.
        postgres: the major version.

    """
    # two runs with one row each don't show how the time grows
    steps = small.revisions if sizes[0] < sizes[1] else []
    smaller = {(step.revision.revision, step.down): step for step in steps}
    return tuple(
        _measurement(large, step, smaller.get((step.revision.revision, step.down)), sizes, postgres)
        for step in large.revisions
    )


def _measurement(
    run: Run, step: ObservedRevision, smaller: ObservedRevision | None, sizes: tuple[int, int], postgres: str
) -> Measurement:
    growths = _growths(step, smaller, sizes)
    statements = tuple(
        _statement(run, step, statement, growth) for statement, growth in zip(step.statements, growths, strict=True)
    )
    blocked: dict[str, dict[str, float]] = {}
    names = {**step.end.names, **step.start.names}
    for (oid, kind), seconds in run.blocked.seconds(step.start.time, step.end.time, run.timeline).items():
        # the monitor notices the end of a lock a moment later
        held = run.timeline.held(oid, Mode.ROW_SHARE, step.start.time, step.end.time, step.end.time)
        seconds = min(seconds, held)  # noqa: PLW2901
        # a table that the revision itself has made is used by nobody yet
        if oid in step.start.names and _rounded(seconds):
            blocked.setdefault(_shown(names[oid]), {})["readers" if kind == "read" else "writers"] = _rounded(seconds)
    for table in blocked.values():
        if "readers" in table:  # what holds up readers holds up writers
            table["writers"] = max(table["readers"], table.get("writers", 0.0))
    locks = [lock for statement in statements for lock in statement.locks]
    by_mode = {str(mode): mode for mode in Mode}
    growth, estimate = _total(step, smaller, sizes, growths)
    revision = step.revision
    return Measurement(
        revision=revision.revision,
        message=revision.message,
        path=revision.path,
        direction="downgrade" if step.down else "upgrade",
        postgres=postgres,
        rows=sizes[1],
        seconds=_rounded(_seconds(step)),
        strongest=max(locks, key=lambda lock: (by_mode[lock.mode], lock.seconds), default=None),
        rewrites=tuple(dict.fromkeys(name for statement in statements for name in statement.rewrites)),
        readers_blocked=max((table.get("readers", 0.0) for table in blocked.values()), default=0.0),
        writers_blocked=max((table.get("writers", 0.0) for table in blocked.values()), default=0.0),
        blocked=blocked,
        wal=int(_rounded(sum(statement.wal for statement in statements))),
        changed=sum(statement.rows for statement in statements),
        growth=growth,
        at_ten_million=estimate,
        statements=statements,
        error=None if step.error is None else str(step.error),
        notes=run.notes,
    )


def _statement(
    run: Run, step: ObservedRevision, statement: Observed, growth: tuple[str | None, float | None]
) -> Statement:
    start, end = statement.before.time, statement.after.time if statement.after else step.end.time
    known, sequences = statement.others.names, statement.others.sequences
    taken = dict(run.timeline.taken(statement.before.locks, start, end))
    for oid in statement.written:  # its lock may have been gone before the monitor looked
        taken[oid] = max(Mode.ROW_EXCLUSIVE, taken.get(oid, Mode.ROW_EXCLUSIVE))
    locks = sorted(
        (mode, _shown(known[oid]), run.timeline.held(oid, mode, start, end, step.end.time))
        for oid, mode in taken.items()
        # each INSERT has the weaker lock on a sequence, and holds up nobody with it
        if oid in known and not (oid in sequences and mode <= Mode.ROW_EXCLUSIVE)
    )
    sql = one_line(statement.sql)
    return Statement(
        place=statement.place,
        sql=sql if len(sql) <= _SQL_CHARACTERS else f"{sql[:_SQL_CHARACTERS]} …",
        seconds=_rounded(statement.seconds),
        locks=tuple(Lock(name, str(mode), _rounded(seconds)) for mode, name, seconds in reversed(locks)),
        rewrites=tuple(sorted(_shown(known[oid]) for oid in statement.rewritten if oid in known)),
        wal=int(_rounded(_wal(statement))),
        rows=statement.changed,
        growth=growth[0],
        at_ten_million=growth[1],
    )


def _growths(
    step: ObservedRevision, smaller: ObservedRevision | None, sizes: tuple[int, int]
) -> list[tuple[str | None, float | None]]:
    """Return how the time of each statement grows; unknown where the runs had other statements."""
    if smaller is None or [item.place for item in smaller.statements] != [item.place for item in step.statements]:
        return [(None, None)] * len(step.statements)
    pairs = zip(smaller.statements, step.statements, strict=True)
    return [_growth((less.seconds, more.seconds), sizes, grows=_grows(less, more)) for less, more in pairs]


def _total(
    step: ObservedRevision,
    smaller: ObservedRevision | None,
    sizes: tuple[int, int],
    growths: list[tuple[str | None, float | None]],
) -> tuple[str | None, float | None]:
    """Return how the time of a revision grows, also where its number of statements does, as in a loop of its own."""
    if smaller is None or step.error or smaller.error:
        return None, None
    if all(kind for kind, _ in growths):
        estimates = [seconds or 0.0 for _, seconds in growths]
        kind = "linear" if any(kind == "linear" for kind, _ in growths) else "constant"
        return kind, _rounded(sum(estimates))
    return _growth((_seconds(smaller), _seconds(step)), sizes, grows=len(step.statements) > len(smaller.statements))


def _grows(less: Observed, more: Observed) -> bool:
    """Whether a statement does more with more rows: what it reads and writes proves it, where time alone may not."""
    if _wal(more) > 2 * _wal(less) + _WAL or more.changed > 2 * less.changed + _READ:
        return True
    if less.read is not None and more.read is not None:
        return more.read > 2 * less.read + _READ
    return more.seconds > _HINT * less.seconds and more.seconds - less.seconds > _TIME


def _growth(seconds: tuple[float, float], sizes: tuple[int, int], *, grows: bool) -> tuple[str, float]:
    """Return the kind of growth, and the seconds with ten million rows."""
    (less, more), (few, many) = seconds, sizes
    if not grows:
        return "constant", _rounded(more)
    slope = (more - less) / (many - few) if more > less else more / many
    return "linear", _rounded(more + slope * (TARGET - many))


def _seconds(step: ObservedRevision) -> float:
    return sum(statement.seconds for statement in step.statements)


def _wal(statement: Observed) -> int:
    return statement.after.wal - statement.before.wal if statement.after else 0


def _shown(name: tuple[str, str]) -> str:
    return name[1] if name[0] == "public" else ".".join(name)


def _rounded(number: float) -> float:
    """Round to two digits, and to a tenth of a millisecond: more would be noise."""
    return round(float(f"{number:.2g}"), 4)

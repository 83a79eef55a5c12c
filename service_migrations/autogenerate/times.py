"""Defaults of models that are constants of the time at which they are read: no two databases have the same."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

from service_migrations.catalog.tables import ColumnState, TableState
from service_migrations.sql.times import differ_in_times_only

__all__ = ["with_live_times"]

log = logging.getLogger(__name__)

_LOADED = datetime.now(UTC)
"""Before models are imported, which may read the clock."""


def with_live_times(live: TableState, target: TableState, *, warns: bool = False) -> TableState:
    """Return a model's table with the database's times, where its defaults are the time at which it was made.

    Args:
        live: the table of the database.
        target: the table of the models.
        warns: log what is wrong with each such default.

    """
    times = {
        name: column.default
        for name, column in live.columns.items()
        if name in target.columns and _is_made_at_another_time(column, target.columns[name])
    }
    for name in times if warns else ():
        log.warning(
            "%s.%s: its server_default is the time at which the table was made, the same in each row. "
            "For the time of the row, write server_default=func.now().",
            target.name,
            name,
        )
    if not times:
        return target
    columns = {
        name: replace(column, default=times[name]) if name in times else column
        for name, column in target.columns.items()
    }
    return replace(target, columns=columns)


def _is_made_at_another_time(live: ColumnState, target: ColumnState) -> bool:
    if live.generated or target.generated or live.default is None or target.default is None:
        return False
    return differ_in_times_only(live.default, target.default, _LOADED)

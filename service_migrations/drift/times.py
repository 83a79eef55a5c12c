"""Times that a history takes from the clock: a replay leaves others than the run that made the database."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.sql.times import differ_in_times_only

__all__ = ["with_live_times"]


def with_live_times(history: Iterable[Object], live: Catalog, since: datetime) -> Iterator[Object]:
    """Yield the objects of a replay, with the times of the database where the replay's own are since another time."""
    for item in history:
        there = live.by_key.get(item.key)
        facts: dict[str, Any] = {}
        if there is not None and there.facts != item.facts:
            facts = {
                name: there.facts[name]
                for name, fact in item.facts.items()
                if isinstance(fact, str) and differ_in_times_only(str(there.facts.get(name)), fact, since)
            }
        yield replace(item, facts=MappingProxyType({**item.facts, **facts})) if facts else item

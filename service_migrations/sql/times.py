"""Constants that are the time at which their SQL was run.

PostgreSQL reads ``DEFAULT 'now()'`` once, when the table is made, and ``server_default=str(datetime.now())`` is the
time at which a module was imported. So a history leaves another constant in each database, and in each replay.
"""

import re
from datetime import UTC, datetime, timedelta

__all__ = ["differ_in_times_only", "without_times"]

_TIME = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?)([+-]\d\d(?::?\d\d)?)?(?!\d)")
_PLACEHOLDER = "(the time at which it was run)"

_SLACK = timedelta(seconds=30)
"""By which the clocks of client and server may differ."""

_ZONES = [timedelta(minutes=15 * quarters) for quarters in range(-14 * 4, 14 * 4 + 1)]
"""What a time without a zone may be ahead of UTC."""


def differ_in_times_only(former: str, new: str, since: datetime) -> bool:
    """Whether two texts differ, and only by constants that are times of this run in the new one.

    Args:
        former: a text with the time of an earlier run.
        new: a text of this run.
        since: when this run began.

    """
    times = list(_TIME.finditer(new))
    if former == new or not times or not any(_is_since(match, since) for match in times):
        return False
    pattern, end = "", 0
    for match in times:
        own = _TIME.pattern if _is_since(match, since) else re.escape(match[0])
        pattern += re.escape(new[end : match.start()]) + f"(?:{own})"
        end = match.end()
    return re.fullmatch(pattern + re.escape(new[end:]), former) is not None


def without_times(text: str, since: datetime) -> str:
    """Return a text without the constants that are times since another one."""
    return _TIME.sub(lambda match: _PLACEHOLDER if _is_since(match, since) else match[0], text)


def _is_since(match: re.Match[str], since: datetime) -> bool:
    try:
        time = datetime.fromisoformat(match[0])
    except ValueError:
        return False
    first, last = since - _SLACK, datetime.now(UTC) + _SLACK
    if time.tzinfo is not None:
        return first <= time <= last
    return any(first <= time.replace(tzinfo=UTC) - ahead <= last for ahead in _ZONES)

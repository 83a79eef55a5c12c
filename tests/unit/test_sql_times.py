"""Constants that are the time of a run, among others."""

from datetime import UTC, datetime, timedelta

import pytest

from service_migrations.sql.times import differ_in_times_only, without_times

OLD = "'2020-01-02 03:04:05'::timestamp without time zone"


def at(time: datetime) -> str:
    return f"'{time:%Y-%m-%d %H:%M:%S.%f}'::timestamp without time zone"


def cases(now: datetime) -> list[tuple[str, str, bool]]:
    """Return what was there, what is new, and whether only times of a run differ, in a run of this time."""
    return [
        (OLD, at(now), True),
        (OLD, at(now + timedelta(hours=5, minutes=45)), True),
        (OLD, at(now - timedelta(hours=9)), True),
        ("'2020-01-02T03:04:05+02'", f"'{now.isoformat()}'", True),
        (at(now), at(now), False),
        (OLD, at(now - timedelta(minutes=5)), False),
        (OLD, at(now + timedelta(minutes=5)), False),
        (OLD, "'2020-01-02 03:04:06'::timestamp without time zone", False),
        ("CURRENT_TIMESTAMP", at(now), False),
        ("'infinity'::timestamp without time zone", at(now), False),
        (OLD, f"'{now.isoformat()}'::timestamp with time zone", False),
        (f"{OLD} + '1 day'", at(now), False),
        (f"a > {OLD} AND b > {OLD}", f"a > {at(now)} AND b > {OLD}", True),
        (f"a > {OLD} AND b > {OLD}", f"a > {at(now)} AND b > '2020-01-02 03:04:06'", False),
        (OLD, "'9999-99-99 99:99:99'::timestamp without time zone", False),
    ]


@pytest.mark.parametrize("index", range(len(cases(datetime.now(UTC)))))
def test_times_of_the_run_are_told_from_other_constants(index: int) -> None:
    now = datetime.now(UTC)  # not that of the collection, which may be long ago
    former, new, differs_in_times_only = cases(now)[index]
    assert differ_in_times_only(former, new, now - timedelta(seconds=5)) is differs_in_times_only


def test_a_text_without_times_keeps_the_others() -> None:
    now = datetime.now(UTC)
    text = f"default {at(now)}, from {OLD}"
    assert without_times(text, now - timedelta(seconds=5)) == (
        f"default '(the time at which it was run)'::timestamp without time zone, from {OLD}"
    )

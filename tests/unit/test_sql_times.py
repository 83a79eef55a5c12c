"""Constants that are the time of a run, among others."""

from datetime import UTC, datetime, timedelta

import pytest

from service_migrations.sql.times import differ_in_times_only, without_times

NOW = datetime.now(UTC)
SINCE = NOW - timedelta(seconds=5)
OLD = "'2020-01-02 03:04:05'::timestamp without time zone"


def at(time: datetime) -> str:
    return f"'{time:%Y-%m-%d %H:%M:%S.%f}'::timestamp without time zone"


@pytest.mark.parametrize(
    ("former", "new", "differs_in_times_only"),
    [
        (OLD, at(NOW), True),
        (OLD, at(NOW + timedelta(hours=5, minutes=45)), True),
        (OLD, at(NOW - timedelta(hours=9)), True),
        ("'2020-01-02T03:04:05+02'", f"'{NOW.isoformat()}'", True),
        (at(NOW), at(NOW), False),
        (OLD, at(NOW - timedelta(minutes=5)), False),
        (OLD, at(NOW + timedelta(minutes=5)), False),
        (OLD, "'2020-01-02 03:04:06'::timestamp without time zone", False),
        ("CURRENT_TIMESTAMP", at(NOW), False),
        ("'infinity'::timestamp without time zone", at(NOW), False),
        (OLD, f"'{NOW.isoformat()}'::timestamp with time zone", False),
        (f"{OLD} + '1 day'", at(NOW), False),
        (f"a > {OLD} AND b > {OLD}", f"a > {at(NOW)} AND b > {OLD}", True),
        (f"a > {OLD} AND b > {OLD}", f"a > {at(NOW)} AND b > '2020-01-02 03:04:06'", False),
        (OLD, "'9999-99-99 99:99:99'::timestamp without time zone", False),
    ],
    ids=map(str, range(15)),  # the same ones in each worker, whatever the time is
)
def test_times_of_the_run_are_told_from_other_constants(former: str, new: str, differs_in_times_only: bool) -> None:
    assert differ_in_times_only(former, new, SINCE) is differs_in_times_only


def test_a_text_without_times_keeps_the_others() -> None:
    text = f"default {at(NOW)}, from {OLD}"
    assert without_times(text, SINCE) == (
        f"default '(the time at which it was run)'::timestamp without time zone, from {OLD}"
    )

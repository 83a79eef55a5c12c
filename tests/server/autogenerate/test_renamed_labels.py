"""Labels of an enum type that all get other letters, as where an Enum of SQLAlchemy's gets ``values_callable``."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import first_upgrade, models, remodel, written
from tests.support.comparison import catalog, differences
from tests.support.database import query, wait
from tests.support.monorepo import Monorepo


def parts(first: str, second: str) -> list[str]:
    return [
        f"Column('past', ARRAY(state), server_default='{{{first}}}')",
        f"CheckConstraint(\"state <> '{second}' OR number > 0\", name='positive')",
        f"Index('ix_state', 'number', postgresql_where=text(\"state = '{first}'\"))",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("NEW_ONE", "OLD"), ("new-one", "old")),
        (("new", "old"), ("New", "Old")),
        (("new one", "old", "so"), ("new_one", "OLD", "so")),
    ],
)
def test_labels_that_get_other_letters_are_renamed_in_both_directions(
    before: tuple[str, ...], after: tuple[str, ...], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    dsn = database()
    service = monorepo.service("billing", models(*parts(*before[:2]), labels=before), dsn)
    first_upgrade(monorepo, service)
    query(dsn, f"INSERT INTO things (number, state) VALUES (1, '{before[0]}'), (2, '{before[1]}')")  # noqa: S608
    was = catalog(dsn)
    rows = query(dsn, "SELECT state::text, past::text FROM things ORDER BY number")
    remodel(monorepo, service, models(*parts(*after[:2]), labels=after))
    code = written(monorepo, service)
    assert "state__former" not in code
    wait(service_migrations.upgrade(service))
    assert [row[0] for row in query(dsn, "SELECT state::text FROM things ORDER BY number")] == [*after[:2]]
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert query(dsn, "SELECT state::text, past::text FROM things ORDER BY number") == rows
    assert [str(each) for each in differences(was, catalog(dsn))] == []


@pytest.mark.parametrize("after", [("old", "new"), ("newer", "older"), ("NEW", "other")])
def test_labels_of_other_words_are_no_new_names(
    after: tuple[str, ...], monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    service = monorepo.service("billing", models(labels=("new", "old")), database())
    first_upgrade(monorepo, service)
    remodel(monorepo, service, models(labels=after))
    assert "RENAME VALUE" not in written(monorepo, service)

"""Constraints that are NOT VALID, in the database or in the models: rows from before may break them."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from tests.support.autogenerate import models, remodel, written
from tests.support.comparison import catalog, differences
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo
from tests.support.version import VERSION

NOT_NULLS = pytest.mark.skipif(int(VERSION) < 18, reason="before 18 a NOT NULL is no constraint")
ADD = "ALTER TABLE things ADD CONSTRAINT n NOT NULL number NOT VALID"
NULLABLE, NOT_NULL = models(kind=""), models(kind="", number="nullable=False, ").replace(", nullable=True", "", 1)


@pytest.fixture
def upgraded(monorepo: Monorepo, database: Callable[..., Dsn]) -> Callable[..., Service]:
    """Return a service at its models, whose database is changed by hand, with other models."""
    dsn = database()

    def go(before: str, after: str, *statements: str) -> Service:
        service = monorepo.service("billing", before, dsn)
        written(monorepo, service, "before")
        wait(service_migrations.upgrade(service))
        run_script(dsn, list(statements))
        remodel(monorepo, service, after)
        return service

    return go


def there_and_back(service: Service) -> None:
    """Upgrade to a revision that is written already, and downgrade again."""
    dsn = load(service).dsn
    before = catalog(dsn)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    wait(service_migrations.downgrade(service, "-1"))
    assert differences(before, catalog(dsn)) == []
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()


@NOT_NULLS
def test_a_not_null_that_is_not_valid_is_a_difference_of_a_column_without_null(
    upgraded: Callable[..., Service], monorepo: Monorepo
) -> None:
    service = upgraded(NULLABLE, NOT_NULL, "INSERT INTO things VALUES (1, NULL)", ADD)
    assert wait(service_migrations.check(service)).differences == (
        "alter_column things.number: NOT NULL (NOT VALID) -> NOT NULL",
    )
    assert "Rows with NULL in number make this fail" in written(monorepo, service)
    with pytest.raises(MigrationError, match="contains null values"):
        wait(service_migrations.upgrade(service))
    query(load(service).dsn, "UPDATE things SET number = 1")
    there_and_back(service)


@NOT_NULLS
def test_a_not_null_that_is_not_valid_is_a_difference_of_a_column_with_null(
    upgraded: Callable[..., Service], monorepo: Monorepo
) -> None:
    service = upgraded(NULLABLE, NULLABLE, ADD)
    assert wait(service_migrations.check(service)).differences == (
        "alter_column things.number: NOT NULL (NOT VALID) -> NULL",
    )
    written(monorepo, service)
    there_and_back(service)


@NOT_NULLS
@pytest.mark.parametrize(
    ("after", "constraint"),
    [
        (NULLABLE, 'CONSTRAINT "it is" NOT NULL number'),
        (NULLABLE, "NOT NULL number NO INHERIT"),
        (NOT_NULL, "CONSTRAINT n NOT NULL number NOT VALID"),
    ],
    ids=["named", "without children", "NOT VALID"],
)
def test_the_file_says_which_servers_reject_a_constraint_of_not_null(
    after: str, constraint: str, upgraded: Callable[..., Service], monorepo: Monorepo
) -> None:
    service = upgraded(NULLABLE, after, f"ALTER TABLE things ADD {constraint}")
    up, _, down = written(monorepo, service).partition("def downgrade")
    assert "# PostgreSQL 14 to 17 reject this" in down
    assert "reject this" not in up
    there_and_back(service)


def test_the_file_says_nothing_of_servers_where_each_takes_it(
    upgraded: Callable[..., Service], monorepo: Monorepo
) -> None:
    service = upgraded(NOT_NULL, NULLABLE)
    assert "reject this" not in written(monorepo, service)


CHECK = "CheckConstraint('number > 0', name='positive'{})"
NOT_VALID = models(CHECK.format(", postgresql_not_valid=True"), kind="")
VALID = models(CHECK.format(""), kind="")


def test_a_check_that_the_models_have_as_not_valid_reads_no_row(
    upgraded: Callable[..., Service], monorepo: Monorepo
) -> None:
    service = upgraded(NULLABLE, NOT_VALID, "INSERT INTO things VALUES (1, -1)")
    code = written(monorepo, service)
    assert "CHECK ((number > 0)) NOT VALID" in code
    there_and_back(service)


@pytest.mark.parametrize("valid", ["", " NOT VALID"])
def test_a_check_of_the_models_that_is_not_valid_may_be_valid_in_the_database(
    upgraded: Callable[..., Service], valid: str
) -> None:
    service = upgraded(NULLABLE, NOT_VALID, f"ALTER TABLE things ADD CONSTRAINT positive CHECK (number > 0){valid}")
    assert wait(service_migrations.check(service)).differences == ()


def test_a_check_that_the_models_have_as_valid_is_made_so(upgraded: Callable[..., Service], monorepo: Monorepo) -> None:
    service = upgraded(NULLABLE, VALID, "ALTER TABLE things ADD CONSTRAINT positive CHECK (number > 0) NOT VALID")
    up, _, _ = written(monorepo, service).partition("def downgrade")
    assert "VALIDATE CONSTRAINT positive" in up
    assert "CHECK" not in up  # another one is added under a lock that stops reads
    there_and_back(service)


def test_a_renamed_check_is_made_valid_too(upgraded: Callable[..., Service], monorepo: Monorepo) -> None:
    service = upgraded(NULLABLE, VALID, "ALTER TABLE things ADD CONSTRAINT former CHECK (number > 0) NOT VALID")
    up, _, _ = written(monorepo, service).partition("def downgrade")
    assert "RENAME CONSTRAINT former TO positive" in up
    assert "VALIDATE CONSTRAINT positive" in up
    there_and_back(service)


def test_a_new_table_has_the_check_of_the_models(upgraded: Callable[..., Service]) -> None:
    service = upgraded(NOT_VALID, NOT_VALID)
    assert wait(service_migrations.check(service)).differences == ()

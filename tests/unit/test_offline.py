"""Offline mode gives the SQL that runs online, or refuses with the line of the revision."""

import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.history.offline import pending, render
from service_migrations.history.revisions import read
from tests.support.database import wait
from tests.support.monorepo import Monorepo

CERTAIN = {
    "a parameter without a value": (
        "op.execute(\"INSERT INTO notes VALUES (1, 'see :page for more')\")",
        r"A value is required for bind parameter 'page'. A colon before a word is a parameter: write \: for a colon.",
    ),
    "the same in text()": (
        "op.execute(sa.text('SELECT :first, :second').bindparams(first=1))",
        r"A value is required for bind parameter 'second'.",
    ),
    "in a condition": (
        "op.execute(sa.table('t', sa.column('a')).delete().where(sa.text('a = :a')))",
        "A value is required for bind parameter 'a'.",
    ),
    "a name that isn't there": ("nowhere", "name 'nowhere' is not defined."),
    "a call that can't be": ("op.execute()", "execute() missing 1 required positional argument: 'sqltext'."),
    "a module that isn't there": ("import nowhere", "No module named 'nowhere'."),
}


@pytest.mark.parametrize(("body", "says"), CERTAIN.values(), ids=CERTAIN)
def test_what_would_fail_online_fails_offline_and_in_a_plan(monorepo: Monorepo, body: str, says: str) -> None:
    service = monorepo.service("billing")
    monorepo.revision("billing", "a1", None, body)
    with pytest.raises(MigrationError) as script:
        wait(service_migrations.sql(service, "head"))
    history = read(service)
    with pytest.raises(MigrationError) as plan:
        render(history, pending(history, ()))
    for error in (script.value, plan.value):
        assert error.exit_code == 1
        assert error.place == "migrations/versions/billing/a1.py:10"
        assert says in str(error)
        assert "rolled back" not in str(error)


def test_an_escaped_colon_is_a_colon(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    monorepo.revision("billing", "a1", None, "op.execute(\"INSERT INTO notes VALUES (1, 'see \\\\:page')\")")
    assert "'see :page'" in wait(service_migrations.sql(service, "head"))


def test_a_query_without_rows_is_no_bug_of_the_revision(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    monorepo.revision("billing", "a1", None, "for row in op.get_bind().execute(sa.text('SELECT 1')): pass")
    history = read(service)
    (rendered,) = render(history, pending(history, ()))
    assert "NoneType" in str(rendered.error)
    with pytest.raises(MigrationError, match=r"Offline there are no rows, and a query returns None: run it online\.$"):
        wait(service_migrations.sql(service, "head"))

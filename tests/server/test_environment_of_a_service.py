"""env.py: the service that it runs for, the arguments of ``-x``, keys of its own, and a template for each service."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.environment import write_hooks
from tests.support.monorepo import MODELS, Monorepo
from tests.support.programs import alembic

READS_X = """
tenant = context.get_x_argument(as_dictionary=True).get("tenant", "none")
OPTIONS["tenant"] = tenant
OPTIONS["profile"] = f"{environment.service()} of {tenant}"
OPTIONS["service"] = "a key of the team's own"
"""

UPGRADE = """
opts = op.get_context().opts
assert opts["service"] == "a key of the team's own"
op.execute("CREATE TABLE %s (profile text)")
op.execute("INSERT INTO %s VALUES ('" + opts["profile"] + "')")
"""


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def shop(monorepo: Monorepo, dsn: Dsn) -> Monorepo:
    """Two services that share a database, each with a revision that stores what it reads of the context."""
    for name in ("billing", "catalog"):
        monorepo.service(name, MODELS.format(table=f"{name}_things"), dsn)
        up = UPGRADE % (name, name)
        monorepo.revision(name, f"{name}1", None, up, f'op.execute("DROP TABLE {name}")')
    write_hooks(monorepo, READS_X)
    return monorepo


def profile(dsn: Dsn, name: str = "billing") -> str:
    return str(query(dsn, f"SELECT profile FROM {name}")[0][0])  # noqa: S608 - a constant


def test_a_revision_reads_the_keys_of_a_team_also_offline_and_in_a_plan(shop: Monorepo, dsn: Dsn) -> None:
    assert "'billing of none'" in wait(service_migrations.sql(shop.find("billing"), "head"))
    ran = shop.inv("db.plan", "--service", "billing", "--sql")
    assert "'billing of none'" in ran.out, ran.text
    wait(service_migrations.upgrade(shop.find("billing")))
    assert profile(dsn) == "billing of none"


@pytest.mark.parametrize("services", [("billing",), ("billing", "catalog")])
def test_a_task_passes_its_arguments_to_env_py_also_in_worker_processes(
    services: tuple[str, ...], shop: Monorepo, dsn: Dsn
) -> None:
    words = [word for service in services for word in ("--service", service)]
    ran = shop.inv("db.upgrade", *words, "-x", "tenant=a", "-x", "other=b")
    assert ran.code == 0, ran.text
    assert [profile(dsn, service) for service in services] == [f"{service} of a" for service in services]


def test_every_task_that_runs_env_py_takes_arguments_for_it(shop: Monorepo) -> None:
    selection = ("--service", "billing", "-x", "tenant=a")
    assert "'billing of a'" in shop.inv("db.upgrade", *selection, "--sql").out
    assert "'billing of a'" in shop.inv("db.plan", *selection, "--sql").out
    write_hooks(shop, "if tenant != 'a':\n    raise SystemExit('tenant is missing')\n")
    for words in (
        ("db.upgrade",),
        ("db.check",),
        ("db.downgrade", "--revision", "base", "--yes"),
        ("db.stamp", "--revision", "head", "--yes"),
        ("db.revision", "-m", "more"),
    ):
        with_it, without = shop.inv(words[0], *selection, *words[1:]), shop.inv(words[0], "-s", "billing", *words[1:])
        assert "tenant is missing" not in with_it.text, words
        assert "tenant is missing" in without.text or words[0] in ("db.upgrade", "db.revision"), (words, without.text)


def test_an_application_passes_arguments_in_a_block(shop: Monorepo, dsn: Dsn) -> None:
    with service_migrations.x_arguments("tenant=b"):
        wait(service_migrations.upgrade(shop.find("billing")))
    wait(service_migrations.upgrade(shop.find("catalog")))
    assert (profile(dsn), profile(dsn, "catalog")) == ("billing of b", "catalog of none")


@pytest.mark.parametrize(
    ("words", "text"),
    [(("-x", "service=catalog"), "Use --service"), (("-x",), "expected to receive a value|needs a name behind it")],
)
def test_an_argument_that_names_the_service_or_is_none_is_refused(
    words: tuple[str, ...], text: str, shop: Monorepo
) -> None:
    ran = shop.inv("db.check", "--service", "billing", *words)
    assert ran.code in (1, 2)
    assert any(part in ran.text for part in text.split("|")), ran.text
    assert "Traceback" not in ran.text


def test_the_program_alembic_has_the_same_service_and_arguments(shop: Monorepo, dsn: Dsn) -> None:
    ran = alembic(shop, "-x", "service=billing", "-x", "tenant=c", "upgrade", "head")
    assert ran.code == 0, ran.text
    assert profile(dsn) == "billing of c"
    without = alembic(shop, "current")
    assert without.code != 0
    assert "names no service" in without.text
    assert "Traceback" not in without.text


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("version_table_schema", "version_table_schema in pyproject.toml"),
        ("include_schemas", "the MetaData of the models"),
        ("transactional_ddl", "autocommit_block"),
        ("literal_binds", "--sql"),
        ("dialect_opts", "--sql"),
        ("as_sql", "--sql"),
        ("url", "DATABASE_DSN"),
        ("starting_rev", "--revision"),
    ],
)
def test_an_option_that_is_decided_elsewhere_says_where(option: str, hint: str, shop: Monorepo) -> None:
    write_hooks(shop, f'OPTIONS["{option}"] = True\n')
    for refused in (
        service_migrations.upgrade(shop.find("billing")),
        service_migrations.sql(shop.find("billing"), "head"),
    ):
        with pytest.raises(ConfigurationError, match=rf"migrations/env\.py: {option} is no option there") as caught:
            wait(refused)
        assert hint in str(caught.value)
        assert f"Remove {option}" in str(caught.value)


OWN = '''"""${message}, of billing alone"""
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

def upgrade():
    ${upgrades if upgrades else "pass"}

def downgrade():
    ${downgrades if downgrades else "pass"}
'''


@pytest.mark.parametrize("beside", [True, False])
def test_a_service_has_a_template_of_its_own(beside: bool, monorepo: Monorepo, dsn: Dsn) -> None:
    monorepo.service("billing", None, dsn)
    monorepo.service("catalog", None, dsn)
    table = '\n[tool.service-migrations.service.billing]\nversions = "services/billing/alembic/versions"\n'
    pyproject = monorepo.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text(encoding="utf-8") + table, encoding="utf-8")
    versions = monorepo.root / "services" / "billing" / "alembic" / "versions"
    versions.mkdir(parents=True)
    ((versions if beside else versions.parent) / "script.py.mako").write_text(OWN, encoding="utf-8")

    def text(revision: service_migrations.Revision | None) -> str:
        assert revision is not None
        return (monorepo.root / revision.path).read_text(encoding="utf-8")

    compared = text(wait(service_migrations.revision(monorepo.find("billing"), "one")))
    assert "one, of billing alone" in compared
    assert "create_table" in compared
    assert "two, of billing alone" in text(
        wait(service_migrations.revision(monorepo.find("billing"), "two", empty=True))
    )
    assert "of billing alone" not in text(wait(service_migrations.revision(monorepo.find("catalog"), "one")))
    ran = alembic(monorepo, "-x", "service=billing", "revision", "-m", "three")
    assert ran.code == 0, ran.text
    assert any("three, of billing" in path.read_text(encoding="utf-8") for path in versions.glob("*.py"))
    wait(service_migrations.upgrade(monorepo.find("billing")))
    assert wait(service_migrations.check(monorepo.find("billing"))).differences == ()


@pytest.mark.parametrize("template", ["%%(rev)s_%%(slug)s", "%%(slug)s", "rev_%%(rev)s"])
def test_no_half_revision_is_left_whatever_its_name(template: str, monorepo: Monorepo, dsn: Dsn) -> None:
    service = monorepo.service("billing", None, dsn)
    pyproject = monorepo.root / "pyproject.toml"
    lines = pyproject.read_text(encoding="utf-8").splitlines()
    lines = [f'file_template = "{template}"' if line.startswith("file_template") else line for line in lines]
    hook = (
        '[[tool.alembic.post_write_hooks]]\nname = "fails"\ntype = "console_scripts"\nentrypoint = "no-such-program"\n'
    )
    pyproject.write_text("\n".join([*lines, "", hook]), encoding="utf-8")
    with pytest.raises(UsageError, match="no-such-program"):
        wait(service_migrations.revision(service, "change"))
    assert list((monorepo.root / "migrations" / "versions" / "billing").glob("*.py")) == []


def test_the_names_and_the_hooks_of_tool_alembic_hold(
    monorepo: Monorepo, dsn: Dsn, capsys: pytest.CaptureFixture[str]
) -> None:
    service = monorepo.service("billing", None, dsn)
    pyproject = monorepo.root / "pyproject.toml"
    lines = pyproject.read_text(encoding="utf-8").splitlines()
    settings = {"file_template": "%%(rev)s-%%(slug)s", "timezone": "Asia/Tokyo", "truncate_slug_length": "10"}
    lines = [line for line in lines if line.partition(" ")[0] not in settings]
    at = lines.index("[tool.alembic]") + 1
    lines[at:at] = [f'{key} = "{value}"' for key, value in settings.items()]
    hook = '[[tool.alembic.post_write_hooks]]\nname = "note"\ntype = "exec"\nexecutable = "/bin/cp"\n'
    hook += f'options = "REVISION_SCRIPT_FILENAME {monorepo.root}/copied.py"\n'
    pyproject.write_text("\n".join([*lines, "", hook]), encoding="utf-8")
    revision = wait(service_migrations.revision(service, "a message that is long"))
    assert revision is not None
    assert capsys.readouterr().out == ""
    assert revision.path.endswith(f"{revision.revision}-a_message_.py")
    assert "+09:00" in (monorepo.root / "copied.py").read_text(encoding="utf-8")


def test_an_error_at_the_top_of_env_py_is_one_line_with_its_place(shop: Monorepo) -> None:
    write_hooks(shop, 'OPTIONS["include_object"] = no_such_name\n')
    service = shop.find("billing")
    for refused in (service_migrations.upgrade(service), service_migrations.sql(service, "head")):
        with pytest.raises(MigrationError, match="no_such_name"):
            wait(refused)


@pytest.mark.parametrize(
    ("name", "value"), [("naming_convention", '{"uq": "uq_%(table_name)s"}'), ("schema", '"sales"')]
)
def test_what_env_py_sets_of_the_models_is_refused_with_the_file_that_has_to_set_it(
    name: str, value: str, monorepo: Monorepo, dsn: Dsn
) -> None:
    monorepo.service("billing", MODELS.format(table="things"), dsn)
    monorepo.revision("billing", "billing1", None, 'op.create_unique_constraint(None, "things", ["id"])')
    write_hooks(monorepo, f"from services.billing.models import Base\nBase.metadata.{name} = {value}")
    for words in (("db.upgrade",), ("db.upgrade", "--sql")):
        ran = monorepo.inv(*words, "--service", "billing")
        assert ran.code == 78, ran.text
        assert ran.err.splitlines()[-1].endswith(
            f"services/billing/models.py: {name} of the MetaData is set in migrations/env.py, after its tables were "
            "read. Set it there, before the classes."
        ), ran.text


def test_a_revision_reads_the_option_that_env_py_sets(monorepo: Monorepo, dsn: Dsn) -> None:
    monorepo.service("billing", MODELS.format(table="things"), dsn)
    up = 'op.execute("CREATE TABLE " + op.get_context().config.get_main_option("name") + " (id int)")'
    monorepo.revision("billing", "billing1", None, up, 'op.execute("DROP TABLE named")')
    write_hooks(monorepo, 'context.config.set_main_option("name", "named")')
    plan = monorepo.inv("db.plan", "--service", "billing", "--sql")
    assert "CREATE TABLE named" in plan.out, plan.text
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
    assert query(dsn, "SELECT count(*) FROM named")[0][0] == 0

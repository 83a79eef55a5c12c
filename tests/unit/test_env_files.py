"""Another .env than the usual one: ``--env``, ``--env-file`` and their variables."""

import os
from pathlib import Path

import pytest

from service_migrations.env_files import ENV_FILE, ENVIRONMENT
from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.settings.model import Settings, load, load_many
from service_migrations.settings.sources import Sources
from service_migrations.tasks.support.flags import chosen_environment
from tests.support.monorepo import Monorepo
from tests.support.table import set_keys


def dsn(host: str) -> str:
    return f"postgresql://app:x@{host}/shop"


def write(path: Path, **values: str) -> None:
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()), encoding="utf-8")
    path.chmod(0o600)


def found(monorepo: Monorepo, **environment: str) -> tuple[str, str]:
    """Return host and search_path of billing."""
    settings = load(monorepo.find("billing"), Sources(environment))
    return settings.dsn.hosts[0][0], settings.search_path


def refused(monorepo: Monorepo, **environment: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        found(monorepo, **environment)
    return str(caught.value)


@pytest.fixture
def repo(monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> Monorepo:
    for name in (ENVIRONMENT, ENV_FILE):
        monkeypatch.delenv(name, raising=False)
    monorepo.service("billing", dsn=dsn("development"), MIGRATIONS_SEARCH_PATH="development")
    write(monorepo.root / ".env", MIGRATIONS_SEARCH_PATH="shared", MIGRATIONS_LOCK_WAIT="7s")
    return monorepo


def test_a_named_environment_is_read_instead_and_never_besides(repo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    service, root = repo.root / "services/billing/.env.staging", repo.root / ".env.staging"
    write(service, DATABASE_DSN=dsn("staging"))
    monkeypatch.setenv(ENVIRONMENT, "staging")
    assert found(repo) == ("staging", "public"), "nothing of development is left"
    assert load(repo.find("billing"), Sources({})).limits.lock_wait == 60
    write(root, MIGRATIONS_SEARCH_PATH="of-all", DATABASE_DSN=dsn("of-all"))
    assert found(repo) == ("staging", "of-all")
    service.unlink()
    assert found(repo) == ("of-all", "of-all")
    assert found(repo, BILLING_DATABASE_DSN=dsn("prefixed"))[0] == "prefixed"
    assert found(repo, DATABASE_DSN=dsn("bare"))[0] == "bare"


def test_an_environment_without_files_is_an_error_with_their_paths(
    repo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "staging")
    assert refused(repo, BILLING_DATABASE_DSN=dsn("prefixed")) == (
        "services/billing/.env.staging and .env.staging do not exist. Correct --env or MIGRATIONS_ENV."
    )


@pytest.mark.parametrize("name", ["../x", "a/b", "example", ".staging", "", " ", "a b"])
def test_what_names_no_environment_is_refused(repo: Monorepo, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, name)
    if name:
        assert "which names no environment" in refused(repo)
    else:
        assert found(repo)[0] == "development", "an empty variable is not set"


def test_a_path_of_the_table_gets_the_name_of_the_environment(repo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    set_keys(repo, 'env_file = "{path}/config/settings.env"')
    monkeypatch.setenv(ENVIRONMENT, "staging")
    (repo.root / "services/billing/config").mkdir()
    write(repo.root / "services/billing/config/settings.env.staging", DATABASE_DSN=dsn("staging"))
    assert found(repo)[0] == "staging"


def test_a_file_is_read_instead_of_every_other(repo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    write(repo.root / "deploy.env", DATABASE_DSN=dsn("file"))
    monkeypatch.setenv(ENV_FILE, "deploy.env")
    assert found(repo) == ("file", "public")
    write(repo.root / "deploy.env", DATABASE_DSN=dsn("file"), BILLING_DATABASE_DSN=dsn("own"), CATALOG_DATABASE_DSN="x")
    assert found(repo) == ("own", "public")
    assert found(repo, DATABASE_DSN=dsn("bare"))[0] == "bare"


def test_a_file_that_is_missing_is_an_error_with_its_path(repo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_FILE, "/nowhere/deploy.env")
    message = refused(repo, BILLING_DATABASE_DSN=dsn("prefixed"))
    assert message == "/nowhere/deploy.env does not exist. Correct --env-file or MIGRATIONS_ENV_FILE."


def test_a_file_never_aims_several_services_at_one_database(repo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.service("catalog")
    monkeypatch.setenv(ENV_FILE, "deploy.env")
    services = [repo.find("billing"), repo.find("catalog")]
    write(repo.root / "deploy.env", DATABASE_DSN=dsn("file"))
    with pytest.raises(UsageError) as caught:
        load_many(services, Sources({}))
    assert str(caught.value) == (
        "deploy.env:1 DATABASE_DSN: it would aim all 2 services at one database. "
        "Name one with --service, or set BILLING_DATABASE_DSN and so on."
    )
    write(repo.root / "deploy.env", BILLING_DATABASE_DSN=dsn("b"), CATALOG_DATABASE_DSN=dsn("c"))
    loaded = load_many(services, Sources({}))
    assert [settings.dsn.hosts[0][0] for settings in loaded if isinstance(settings, Settings)] == ["b", "c"]


def test_a_line_without_a_value_aims_no_services_at_one_database(
    repo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused as what it is, for each of them."""
    repo.service("catalog")
    monkeypatch.setenv(ENV_FILE, "deploy.env")
    write(repo.root / "deploy.env", DATABASE_DSN="")
    loaded = load_many([repo.find("billing"), repo.find("catalog")], Sources({}))
    message = "deploy.env:1: DATABASE_DSN is empty. Give it a value, or remove the line."
    assert [str(settings) for settings in loaded] == [message, message]


def test_a_bare_line_of_a_file_is_for_the_selected_service_and_not_for_its_siblings(
    repo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo.root / "deploy.env", DATABASE_DSN=dsn("file"))
    monkeypatch.setenv(ENV_FILE, "deploy.env")
    service = repo.find("billing")
    assert load(service, Sources({})).dsn.hosts[0][0] == "file"
    with pytest.raises(MigrationError, match="DATABASE_DSN is missing"):
        load(service, Sources({}).of_siblings())


def test_a_password_of_a_file_keeps_to_its_server(repo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    write(repo.root / "deploy.env", DATABASE_DSN="postgresql://app@h/x", BILLING_DATABASE_PASSWORD="pw")
    monkeypatch.setenv(ENV_FILE, "deploy.env")
    assert load(repo.find("billing"), Sources({})).dsn.password == "pw"
    elsewhere = Sources({"DATABASE_DSN": "postgresql://app@elsewhere/x"})
    assert load(repo.find("billing"), elsewhere).dsn.password is None


def test_both_variables_are_one_too_many(repo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "staging")
    monkeypatch.setenv(ENV_FILE, "deploy.env")
    assert refused(repo) == "environment MIGRATIONS_ENV and MIGRATIONS_ENV_FILE are both set. Unset one of them."


def test_an_option_replaces_both_variables_while_it_holds(repo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    write(repo.root / "services/billing/.env.staging", DATABASE_DSN=dsn("staging"))
    write(repo.root / "deploy.env", DATABASE_DSN=dsn("file"))
    monkeypatch.chdir(repo.root / "services")
    for name, value in ((ENVIRONMENT, "nonsense"), (ENV_FILE, "nonsense")):
        monkeypatch.setenv(name, value)
        with chosen_environment("staging", None):
            assert found(repo)[0] == "staging"
        with chosen_environment(None, "../deploy.env"):
            assert found(repo)[0] == "file"
        assert (os.environ[name], {ENVIRONMENT, ENV_FILE} & os.environ.keys()) == (value, {name})
        monkeypatch.delenv(name)


@pytest.mark.parametrize(("env", "file"), [("", None), (" ", None), ("--json", None), (None, ""), ("a", "b")])
def test_an_option_without_a_name_is_wrong_use(env: str | None, file: str | None) -> None:
    with pytest.raises(UsageError), chosen_environment(env, file):
        pytest.fail("an unset variable would mean development")


def test_a_variable_of_a_file_never_leads_two_templates_to_one_database(
    repo: Monorepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_keys(repo, 'dsn = "postgresql://{U}@{H}/{D}"')
    repo.service("catalog")
    monkeypatch.setenv(ENV_FILE, "deploy.env")
    services = [repo.find("billing"), repo.find("catalog")]
    write(repo.root / "deploy.env", U="app", H="h", D="d")
    with pytest.raises(UsageError, match=r"deploy\.env:3 D: it would aim billing and catalog at one database"):
        load_many(services, Sources({}))
    write(repo.root / "deploy.env", U="app", H="h", D="d", BILLING_D="b", CATALOG_D="c")
    loaded = load_many(services, Sources({}))
    assert [settings.dsn.database for settings in loaded if isinstance(settings, Settings)] == ["b", "c"]

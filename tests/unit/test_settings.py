"""Settings: where each comes from, which wins, and the guards against aiming at the wrong database."""

import asyncio
import os
import re
import stat
from dataclasses import replace

import pytest

from service_migrations.connection.parameters import session_settings, timeouts
from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import parse
from service_migrations.settings.duration import seconds as duration
from service_migrations.settings.keys import KEYS
from service_migrations.settings.model import Settings, load, load_many
from service_migrations.settings.sources import Sources
from service_migrations.upgrade.retries import scaled_attempts
from tests.support.monorepo import Monorepo

DSN = "postgresql://app:x@{host}/billing"


def dsn(host: str) -> str:
    return DSN.format(host=host)


def host(service: Service, **environment: str) -> str:
    return load(service, Sources(environment)).dsn.hosts[0][0]


def refused(service: Service, **environment: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(service, Sources(environment))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.fixture
def billing(monorepo: Monorepo) -> Service:
    return monorepo.service("billing", dsn=dsn("service-file"))


def test_the_nearest_place_wins(monorepo: Monorepo, billing: Service) -> None:
    (monorepo.root / ".env").write_text(f"DATABASE_DSN={dsn('root-file')}\n", encoding="utf-8")
    bare, prefixed = {"DATABASE_DSN": dsn("bare")}, {"BILLING_DATABASE_DSN": dsn("prefixed")}
    assert host(billing, **bare, **prefixed) == "prefixed"
    assert host(billing, **bare) == "bare"
    assert host(billing) == "service-file"
    billing.env_file.unlink()
    assert host(billing) == "root-file"


def test_the_origin_of_a_value_is_told(monorepo: Monorepo, billing: Service) -> None:
    (monorepo.root / ".env").write_text("# first\nMIGRATIONS_LOCK_WAIT=1s\n", encoding="utf-8")
    collected = Sources({"BILLING_MIGRATIONS_LOCK_TIMEOUT": "2s", "MIGRATIONS_STATEMENT_TIMEOUT": "3s"}).collect(
        billing
    )
    origins = {key: str(values[0].origin) for key, values in collected.items() if values}
    assert origins["DATABASE_DSN"] == "services/billing/.env:1"
    assert origins["MIGRATIONS_LOCK_WAIT"] == ".env:2"
    assert origins["MIGRATIONS_LOCK_TIMEOUT"] == "environment BILLING_MIGRATIONS_LOCK_TIMEOUT"
    assert origins["MIGRATIONS_STATEMENT_TIMEOUT"] == "environment MIGRATIONS_STATEMENT_TIMEOUT"
    assert origins["MIGRATIONS_CONNECT_TIMEOUT"] == "default"


def test_an_empty_value_in_the_environment_is_not_set(billing: Service) -> None:
    assert host(billing, DATABASE_DSN="", BILLING_DATABASE_DSN="") == "service-file"


def test_a_parent_folders_env_is_never_looked_for(monorepo: Monorepo) -> None:
    (monorepo.root.parent / ".env").write_text(f"DATABASE_DSN={dsn('above')}\n", encoding="utf-8")
    (monorepo.root / "services" / ".env").write_text(f"DATABASE_DSN={dsn('between')}\n", encoding="utf-8")
    assert "services/billing/.env does not exist" in refused(monorepo.service("billing"))


def test_libpqs_own_variables_are_never_a_fall_back(monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSERVICE", "DATABASE_URL"):
        monkeypatch.setenv(name, "postgresql://app:x@elsewhere/else")
    message = refused(monorepo.service("billing"), **os.environ)
    assert message == (
        "services/billing/.env does not exist, so DATABASE_DSN is missing. Copy .env.example there, "
        "set BILLING_DATABASE_DSN, or run `inv up`."
    )


def test_the_name_that_others_give_a_dsn_is_not_called_a_typo(monorepo: Monorepo, billing: Service) -> None:
    monorepo.env("billing", DATABASE_URL="postgresql://app:x@localhost/billing")
    assert refused(billing) == (
        "services/billing/.env: DATABASE_DSN is missing. "
        'Write dsn_key = "DATABASE_URL" into [tool.service-migrations] of pyproject.toml, or set BILLING_DATABASE_DSN.'
    )


@pytest.mark.parametrize("typo", ["DATABASE_DNS", "DATABSE_DSN", "DATBASE_DSN"])
def test_a_key_that_is_nearly_right_is_named(monorepo: Monorepo, billing: Service, typo: str) -> None:
    monorepo.env("billing", **{typo: "postgresql://app:hunter2@localhost/billing"})
    message = refused(billing)
    assert message.startswith(f"services/billing/.env: DATABASE_DSN is missing (is {typo} a typo?).")
    assert "hunter2" not in message


def test_an_empty_key_is_told_with_its_line(billing: Service) -> None:
    billing.env_file.write_text("# the database\n\nDATABASE_DSN=\n", encoding="utf-8")
    assert refused(billing).startswith("services/billing/.env:3: DATABASE_DSN is empty.")


@pytest.mark.parametrize("text", ["DATABASE_DSN='postgresql://app:hunter2@h/d\nX=1\n", '\n\nDATABASE_DSN="hunter2\n'])
def test_a_quote_that_stays_open_is_told_with_its_line_and_not_its_value(billing: Service, text: str) -> None:
    billing.env_file.write_text(text, encoding="utf-8")
    line = 1 + text.index("DATABASE_DSN")
    message = refused(billing)
    assert message == f"services/billing/.env:{line} is no KEY=value line. Is a quote left open?"


def test_a_file_that_is_not_utf_8_is_told_with_its_place(billing: Service) -> None:
    billing.env_file.write_bytes(b"# caf\xe9 hunter2\n")
    message = refused(billing)
    assert message == "services/billing/.env: byte 5 is not UTF-8. Save the file as UTF-8."


@pytest.mark.parametrize("key", ["DATABASE_PASSWORD_FILE", "DATABASE_DSN", "MIGRATIONS_SEARCH_PATH", "OF_NOBODY"])
def test_a_character_that_no_text_has_is_told_with_its_line(billing: Service, key: str) -> None:
    billing.env_file.write_text(f"DATABASE_DSN={dsn('h')}\n\n{key}=hunter\0two\n", encoding="utf-8")
    message = refused(billing)
    assert message == "services/billing/.env:3 has a NUL character. Was the file cut off, or saved as UTF-16?"


@pytest.mark.parametrize("target", ["nowhere", ".env"])
def test_a_link_to_nowhere_is_no_missing_file_without_which_the_top_level_decides(
    monorepo: Monorepo, billing: Service, target: str
) -> None:
    """Such as one into a volume that isn't mounted: the database of all services would be migrated instead."""
    billing.env_file.unlink()
    billing.env_file.symlink_to(target)
    (monorepo.root / ".env").write_text(f"DATABASE_DSN={dsn('all')}\n")
    reason = f"services/billing/.env can't be read: it is a link to {target}, which leads nowhere."
    assert refused(billing).startswith(reason)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(billing: Service) -> None:
    billing.env_file.write_bytes(f"\ufeffDATABASE_DSN={dsn('windows')}\r\n".encode())
    assert host(billing) == "windows"


@pytest.mark.parametrize("value", ["${HOME}", "$HOME", "${UNDEFINED}", "a#b", "%s", "%(here)s", "a\\\\b"])
def test_a_single_quoted_value_is_taken_as_it_stands(monorepo: Monorepo, billing: Service, value: str) -> None:
    monorepo.env("billing", DATABASE_DSN=dsn("h"), DATABASE_PASSWORD=f"'{value}'")
    assert load(billing, Sources({})).dsn.password == value.replace("\\\\", "\\")


@pytest.mark.parametrize("value", ["pa$HOME", "pa${HOME}", "a#b"])
def test_nothing_is_interpolated_without_quotes_either(monorepo: Monorepo, billing: Service, value: str) -> None:
    monorepo.env("billing", DATABASE_DSN=dsn("h"), DATABASE_PASSWORD=value)
    assert load(billing, Sources({})).dsn.password == value


def test_a_mounted_secret_loses_its_line_end_and_nothing_else(monorepo: Monorepo, billing: Service) -> None:
    secret = monorepo.root / "secret"
    monorepo.env("billing", DATABASE_DSN=dsn("h"), DATABASE_PASSWORD_FILE=str(secret))
    for content, password in ((b" x \n", " x "), (b"x\r\n", "x"), (b"x", "x")):
        secret.write_bytes(content)
        assert load(billing, Sources({})).dsn.password == password


@pytest.mark.parametrize("password", ["hunter2\n", "hunt\ner2", "hunter2\x00", "\x1bhunter2"])
def test_a_password_with_a_control_character_is_refused(monorepo: Monorepo, billing: Service, password: str) -> None:
    (monorepo.root / "secret").write_text(f"{password}\n", encoding="utf-8")
    for key, value in (("DATABASE_PASSWORD", password), ("DATABASE_PASSWORD_FILE", "secret")):
        assert refused(billing, **{key: value}) == (
            f"environment {key}: {key} holds a control character, such as a line end. Remove it."
        )


def test_a_mounted_secret_is_found_from_every_folder(
    monorepo: Monorepo, billing: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    (monorepo.root / "secret").write_text("apart\n", encoding="utf-8")
    monorepo.env("billing", DATABASE_DSN=dsn("h"), DATABASE_PASSWORD_FILE="secret")
    monkeypatch.chdir(billing.path)
    assert load(billing, Sources({})).dsn.password == "apart"


@pytest.mark.parametrize(("content", "says"), [(None, "No such file or directory"), (b"\xff", "it is not UTF-8")])
def test_a_mounted_secret_that_cant_be_read_is_told(
    monorepo: Monorepo, billing: Service, content: bytes | None, says: str
) -> None:
    secret = monorepo.root / "secret"
    if content:
        secret.write_bytes(content)
    monorepo.env("billing", DATABASE_DSN=dsn("h"), DATABASE_PASSWORD_FILE=str(secret))
    assert refused(billing) == f"services/billing/.env:2: DATABASE_PASSWORD_FILE can't be read: {says}."


def test_two_passwords_in_one_place_are_one_too_many(monorepo: Monorepo, billing: Service) -> None:
    monorepo.env("billing", DATABASE_DSN=dsn("h"), DATABASE_PASSWORD="hunter2", DATABASE_PASSWORD_FILE="/hunter3")
    message = refused(billing)
    assert "DATABASE_PASSWORD and DATABASE_PASSWORD_FILE are both set. Remove one of them." in message
    assert message.startswith("services/billing/.env:")
    assert "hunter" not in message


def test_a_password_apart_wins_over_the_one_in_the_dsn(monorepo: Monorepo, billing: Service) -> None:
    monorepo.env("billing", DATABASE_DSN=dsn("h"), DATABASE_PASSWORD="apart")
    assert load(billing, Sources({})).dsn.password == "apart"


BARE = "postgresql://app@{}:5432/app"


@pytest.mark.parametrize("key", ["DATABASE_PASSWORD", "DATABASE_PASSWORD_FILE"])
@pytest.mark.parametrize("name", ["DATABASE_DSN", "BILLING_DATABASE_DSN", "BILLING_DATABASE_DIRECT_DSN"])
def test_a_files_password_goes_only_to_the_server_that_the_file_names(
    monorepo: Monorepo, billing: Service, name: str, key: str
) -> None:
    """A password of a lower layer; the DSN of the environment has its own, or none."""
    (monorepo.root / "secret").write_text("of-the-file\n", encoding="utf-8")
    secret = {key: "of-the-file" if key == "DATABASE_PASSWORD" else "secret"}
    monorepo.env("billing", DATABASE_DSN=dsn("h"), **secret)
    for given, password in (
        (dsn("elsewhere"), "x"),
        (BARE.format("elsewhere"), None),
        (BARE.format("h").replace("5432", "5433"), None),
        (dsn("h"), "x"),
        (BARE.format("h"), "of-the-file"),
    ):
        own_dsn = load(billing, Sources({name: given})).dsn
        assert own_dsn.password == password, given
        assert own_dsn == replace(parse(given, "x"), password=password)
    monorepo.env("billing", **secret)  # without a DSN it names no server
    assert load(billing, Sources({name: BARE.format("h")})).dsn.password is None
    monorepo.env("billing", DATABASE_DSN=dsn("pooler"), DATABASE_DIRECT_DSN=dsn("h"), **secret)
    assert load(billing, Sources({name: BARE.format("pooler")})).dsn.password == "of-the-file"
    assert load(billing, Sources({name: BARE.format("h")})).dsn.password == "of-the-file"


def test_a_password_of_the_roots_file_goes_only_to_the_server_that_it_names(monorepo: Monorepo) -> None:
    billing = monorepo.service("billing", dsn=BARE.format("h"))
    root_file = monorepo.root / ".env"
    root_file.write_text("DATABASE_PASSWORD=of-the-root\n", encoding="utf-8")
    assert load(billing, Sources({})).dsn.password is None
    root_file.write_text(f"DATABASE_DSN={dsn('h')}\nDATABASE_PASSWORD=of-the-root\n", encoding="utf-8")
    assert load(billing, Sources({})).dsn.password == "of-the-root"


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> set[object]:
    """Forget what was warned of: another test may have had the same folder."""
    fresh: set[object] = set()
    monkeypatch.setattr("service_migrations.settings.notices._logged", fresh)
    return fresh


def test_a_password_that_is_not_sent_is_told_once(
    monorepo: Monorepo, billing: Service, caplog: pytest.LogCaptureFixture, warned: set[object]
) -> None:
    assert not warned
    monorepo.env("billing", DATABASE_DSN=dsn("h"), DATABASE_PASSWORD="hunter2")
    for _ in range(2):
        load(billing, Sources({"BILLING_DATABASE_DSN": BARE.format("elsewhere")}))
    (message,) = caplog.messages
    assert message == (
        "billing: DATABASE_PASSWORD of services/billing/.env:2 is for another server, and isn't sent to that of "
        "environment BILLING_DATABASE_DSN."
    )


@pytest.mark.parametrize("key", ["MIGRATION_LOCK_TIMEOUT", "MIGRATIONS_LOCK_TIME_OUT", "MIGRATIONS_LOCK_TIMEOUTS"])
def test_a_setting_that_is_misspelt_is_told_once(
    monorepo: Monorepo, billing: Service, caplog: pytest.LogCaptureFixture, warned: set[object], key: str
) -> None:
    assert not warned
    monorepo.env("billing", DATABASE_DSN=dsn("h"), **{key: "1s"})
    for _ in range(2):
        load(billing, Sources({}))
    assert caplog.messages == [f"services/billing/.env:2: {key} isn't read. Is MIGRATIONS_LOCK_TIMEOUT meant?"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("MIGRATIONS_LOCK_WIAT", "MIGRATIONS_LOCK_WAIT"),
        ("BILLING_MIGRATIONS_LOCK_TIMEOUTS", "BILLING_MIGRATIONS_LOCK_TIMEOUT"),
    ],
)
def test_a_variable_that_is_misspelt_is_told_once(
    monorepo: Monorepo, billing: Service, caplog: pytest.LogCaptureFixture, warned: set[object], key: str, meant: str
) -> None:
    assert not warned
    monorepo.env("billing", DATABASE_DSN=dsn("h"))
    for _ in range(2):
        load(billing, Sources({key: "1s"}))
    assert caplog.messages == [f"environment: {key} isn't read. Is {meant} meant?"]


@pytest.mark.parametrize(
    "key", ["MIGRATIONS_ROOT", "MIGRATIONS_ENV", "MIGRATIONS_ENV_FILE", "ORDERS_MIGRATIONS_LOCK_WIAT"]
)
def test_a_variable_of_another_meaning_is_not(
    monorepo: Monorepo, billing: Service, caplog: pytest.LogCaptureFixture, warned: set[object], key: str
) -> None:
    assert not warned
    monorepo.env("billing", DATABASE_DSN=dsn("h"))
    load(billing, Sources({key: "1s"}))
    assert caplog.messages == []


def test_a_file_is_read_once_for_a_command_unless_it_was_written_meanwhile(
    monorepo: Monorepo, billing: Service
) -> None:
    sources = Sources({})
    assert load(billing, sources).dsn.hosts[0][0] == "service-file"
    monorepo.env("billing", DATABASE_DSN=dsn("written"))
    assert load(billing, sources).dsn.hosts[0][0] == "service-file"
    sources.forget(billing.env_file)
    assert load(billing, sources).dsn.hosts[0][0] == "written"


def test_what_is_misspelt_at_a_sibling_is_not_told(
    monorepo: Monorepo, billing: Service, caplog: pytest.LogCaptureFixture, warned: set[object]
) -> None:
    """Nobody wants to read here of the files of hundreds of others, which are only compared with."""
    monorepo.env("billing", DATABASE_DSN=dsn("h"), MIGRATIONS_LOCK_TIMEOUTS="1s")
    billing.env_file.chmod(0o644)
    sources = Sources({"BILLING_MIGRATIONS_LOCK_WIAT": "1s"})
    sources.of_siblings().collect(billing)
    assert (caplog.messages, warned) == ([], set())
    sources.collect(billing)
    assert len(caplog.messages) == 3


@pytest.mark.parametrize("key", ["MIGRATIONS_PATH", "LOCK_TIMEOUT", "MIGRATIONS_ENV", "MIGRATE", "BILLING_TIMEOUT"])
def test_a_variable_of_a_teams_own_is_not(
    monorepo: Monorepo, billing: Service, caplog: pytest.LogCaptureFixture, warned: set[object], key: str
) -> None:
    assert not warned
    monorepo.env("billing", DATABASE_DSN=dsn("h"), **{key: "1s"})
    load(billing, Sources({}))
    assert caplog.messages == []


SECRETS = ("DATABASE_PASSWORD", "DATABASE_PASSWORD_FILE", "DATABASE_PASSWORD_COMMAND")
LAYERS = ("prefixed", "bare", "service", "root")
"""From the nearest on."""


def put(monorepo: Monorepo, values: dict[str, dict[str, str]]) -> Sources:
    """Write values, by layer and key, to the .env files; return the sources with the environment's."""
    monorepo.env("billing", **values.get("service", {}))
    root = "".join(f"{key}={value}\n" for key, value in values.get("root", {}).items())
    (monorepo.root / ".env").write_text(root, encoding="utf-8")
    prefixed = {f"BILLING_{key}": value for key, value in values.get("prefixed", {}).items()}
    return Sources({**values.get("bare", {}), **prefixed})


@pytest.mark.parametrize("key", KEYS)
def test_of_every_key_the_nearest_layer_wins(monorepo: Monorepo, billing: Service, key: str) -> None:
    for number in range(len(LAYERS)):
        given = {layer: {key: layer} for layer in LAYERS[number:]}
        settings = put(monorepo, given).collect(billing)[key]
        assert [setting.value for setting in settings][: len(given)] == list(given)
        assert all(setting.origin.layer == 0 for setting in settings[len(given) :])


@pytest.mark.parametrize("near", SECRETS)
@pytest.mark.parametrize("far", SECRETS)
def test_of_two_passwords_that_of_the_nearer_layer_wins_whichever_keys_they_have(
    monorepo: Monorepo, billing: Service, near: str, far: str
) -> None:
    near_value = "cat near" if near.endswith("COMMAND") else "near"
    far_value = "cat far" if far.endswith("COMMAND") else "far"
    for number, layer in enumerate(LAYERS[:-1]):
        for further in LAYERS[number + 1 :]:
            for name in ("near", "far"):
                (monorepo.root / name).write_text(name, encoding="utf-8")
            given: dict[str, dict[str, str]] = {"root": {"DATABASE_DSN": BARE.format("h")}}
            given.setdefault(layer, {})[near] = near_value
            given.setdefault(further, {})[far] = far_value
            dsn = load(billing, put(monorepo, given)).dsn
            assert asyncio.run(dsn.current_password()) == "near", (layer, further)


@pytest.mark.parametrize("layer", LAYERS)
def test_two_passwords_of_one_layer_are_one_too_many_in_every_layer(
    monorepo: Monorepo, billing: Service, layer: str
) -> None:
    given: dict[str, dict[str, str]] = {"root": {"DATABASE_DSN": dsn("h")}}
    given.setdefault(layer, {}).update(dict.fromkeys(SECRETS, "hunter2"))
    sources = put(monorepo, given)
    with pytest.raises(ConfigurationError, match=r"are both set\. Remove one of them") as caught:
        load(billing, sources)
    assert "hunter2" not in str(caught.value)


def test_the_direct_dsn_is_what_migrations_connect_with(monorepo: Monorepo, billing: Service) -> None:
    monorepo.env("billing", DATABASE_DSN=dsn("pooler"), DATABASE_DIRECT_DSN=dsn("server"))
    assert host(billing) == "server"
    assert host(billing, BILLING_DATABASE_DSN=dsn("environment")) == "environment"


@pytest.mark.parametrize("key", ["DATABASE_DSN", "DATABASE_DIRECT_DSN"])
def test_a_bare_dsn_never_aims_several_services_at_one_database(monorepo: Monorepo, key: str) -> None:
    services = [monorepo.service(name, dsn=dsn(name)) for name in ("billing", "catalog")]
    with pytest.raises(UsageError) as caught:
        load_many(services, Sources({key: dsn("bare")}))
    assert str(caught.value) == (
        f"environment {key}: it would aim all 2 services at one database. "
        f"Name one with --service, or set BILLING_{key} and so on."
    )
    (settings,) = load_many(services[:1], Sources({key: dsn("bare")}))
    assert isinstance(settings, Settings)
    assert settings.dsn.hosts[0][0] == "bare"


def test_two_services_never_share_a_database_and_a_version_table(monorepo: Monorepo) -> None:
    shared = {"MIGRATIONS_VERSION_TABLE": "alembic_version"}
    billing = monorepo.service("billing", dsn="postgresql://a:1@localhost/shop", **shared)
    catalog = monorepo.service("catalog", dsn="postgresql://b:2@127.0.0.1:5432/shop", **shared)
    for services in ([billing, catalog], [billing], [catalog]):
        with pytest.raises(ConfigurationError, match="both keep their revision in alembic_version of"):
            load_many(services, Sources({}))
    monorepo.env("catalog", DATABASE_DSN="postgresql://b:2@localhost/shop")
    assert not [
        settings for settings in load_many([billing, catalog], Sources({})) if isinstance(settings, MigrationError)
    ]


def test_one_services_mistake_leaves_the_others_their_settings(monorepo: Monorepo, billing: Service) -> None:
    catalog = monorepo.service("catalog")
    first, second = load_many([billing, catalog], Sources({}))
    assert isinstance(first, Settings)
    assert isinstance(second, ConfigurationError)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("1.5s", 1.5), ("2m", 120), ("1h", 3600), ("0", 0), ("0s", 0)]
)
def test_a_duration_has_its_unit(text: str, seconds: float) -> None:
    assert duration(text, "here") == seconds


@pytest.mark.parametrize("text", ["5", "-5s", "soon", "5 parsecs", "1e3s", "", "0x5s", "inf"])
@pytest.mark.parametrize("key", [key for key in KEYS if key.endswith(("_TIMEOUT", "_WAIT"))])
def test_a_duration_without_sense_is_told_with_its_place(billing: Service, key: str, text: str) -> None:
    environment = {f"BILLING_{key}": text or " "}
    message = refused(billing, **environment)
    assert message.startswith(f"environment BILLING_{key}: {key} is ")
    assert re.search(r"which is no duration\. Write 500ms, 5s(, 2m or 0| or 2m)\.$", message)


@pytest.mark.parametrize("key", [key for key in KEYS if key.endswith(("_TIMEOUT", "_WAIT"))])
def test_no_limit_is_a_limit_only_where_nobody_else_has_to_wait(billing: Service, key: str) -> None:
    """Without a limit, a connection or an ALTER TABLE would wait for ever, and others behind it."""
    for text in ("0", "0s"):
        if key in ("MIGRATIONS_CONNECT_TIMEOUT", "MIGRATIONS_LOCK_TIMEOUT"):
            message = refused(billing, **{key: text})
            assert message.startswith(f"environment {key}: {key} is ")
            assert "Write 500ms, 5s or 2m" in message
        else:
            limits = load(billing, Sources({key: text})).limits
            assert getattr(limits, key.removeprefix("MIGRATIONS_").lower()) == 0


def test_a_file_that_was_edited_is_refused_or_warned_of(billing: Service) -> None:
    assert [load(billing, Sources({"MIGRATIONS_EDITED": value})).edited for value in ("refuse", "warn", "")] == [
        *("refuse", "warn", "refuse")
    ]
    assert refused(billing, MIGRATIONS_EDITED="ignore") == (
        "environment MIGRATIONS_EDITED: MIGRATIONS_EDITED is 'ignore'. Write refuse or warn."
    )


@pytest.mark.parametrize("text", ["9999999h", "597h", "2147483648ms", "9" * 400 + "s", "0.5ms", "0.0001s"])
def test_a_duration_is_one_that_postgresql_can_hold(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^here is '[^']+', which PostgreSQL can't hold\. Write 1ms to 596h\.$"
    ):
        duration(text, "here")


@pytest.mark.parametrize("name", ["a-b", "x; DROP TABLE y", '"x"', "1st", "a" * 60, "public.versions"])
def test_a_version_tables_name_is_an_identifier(billing: Service, name: str) -> None:
    message = refused(billing, MIGRATIONS_VERSION_TABLE=name)
    hint = " Write it without a schema, which is that of the models' MetaData." if "." in name else ""
    assert message == (
        f"environment MIGRATIONS_VERSION_TABLE: MIGRATIONS_VERSION_TABLE is {name!r}, which is no table's name.{hint}"
    )


def test_settings_print_no_password(monorepo: Monorepo, billing: Service) -> None:
    secret = "postgresql://app:hunter2@localhost/billing"
    monorepo.env("billing", DATABASE_DSN=secret, DATABASE_ADMIN_DSN=secret, DATABASE_PASSWORD="hunter2")
    assert "hunter2" not in repr(load(billing, Sources({})))
    collected = Sources({"DATABASE_DIRECT_DSN": "hunter2"}).collect(billing)
    assert "hunter2" not in repr(collected)
    shown = {key: values[0].shown for key, values in collected.items() if values}
    assert shown["DATABASE_DSN"] == "postgresql://app:***@localhost:5432/billing"
    assert shown["DATABASE_PASSWORD"] == "***"
    assert shown["DATABASE_DIRECT_DSN"] == "*** (no valid DSN)"


def test_the_example_holds_every_key_and_each_with_a_comment(monorepo: Monorepo) -> None:
    lines = (monorepo.root / ".env.example").read_text(encoding="utf-8").splitlines()
    for key in KEYS:
        (index,) = [number for number, line in enumerate(lines) if line.lstrip("#").startswith(f"{key}=")]
        assert lines[index - 1].startswith("# "), key
    assert [line for line in lines if line and not line.startswith("#")] == [
        "DATABASE_DSN=postgresql://<service>:<password>@localhost:5432/<service>"
    ]


def test_the_factory_writes_a_file_that_only_its_owner_reads(billing: Service) -> None:
    assert stat.S_IMODE(billing.env_file.stat().st_mode) == 0o600


WITHOUT = "postgresql://app@h/app"
SECRET_VALUES = {key: dsn("h") for key in KEYS if key.endswith("_DSN")} | {"DATABASE_PASSWORD": "hunter2"}


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o666])
@pytest.mark.parametrize("of", ["service", "root"])
def test_a_password_in_a_file_that_others_can_use_is_told(
    monorepo: Monorepo, billing: Service, of: str, mode: int, caplog: pytest.LogCaptureFixture, warned: set[object]
) -> None:
    assert not warned
    path = billing.env_file if of == "service" else monorepo.root / ".env"
    shown = "services/billing/.env" if of == "service" else ".env"
    path.write_text(f"DATABASE_DSN={dsn('h')}\n", encoding="utf-8")
    path.chmod(mode)
    line = f"{shown} holds a password, and others than its owner can read it. Run: chmod 600 {shown}"
    assert Sources({}).exposed(billing) == (line,)
    for _ in range(2):
        Sources({}).collect(billing)
    assert caplog.messages == [line]


def test_the_files_of_services_that_are_only_compared_with_are_no_matter_of_a_command(
    monorepo: Monorepo, billing: Service, caplog: pytest.LogCaptureFixture, warned: set[object]
) -> None:
    assert not warned
    others = [monorepo.service(name, dsn=f"postgresql://app:x@h/{name}") for name in ("catalog", "orders")]
    for service in (billing, *others):
        service.env_file.chmod(0o644)
    load(billing, Sources({}))
    assert [message.partition(" ")[0] for message in caplog.messages] == ["services/billing/.env"]
    load(others[0], Sources({}))
    assert [message.partition(" ")[0] for message in caplog.messages[1:]] == ["services/catalog/.env"]


@pytest.mark.parametrize("key", SECRET_VALUES)
def test_every_key_that_may_hold_a_password_is_looked_at(billing: Service, key: str) -> None:
    billing.env_file.write_text(f"{key}={SECRET_VALUES[key]}\n", encoding="utf-8")
    billing.env_file.chmod(0o644)
    assert len(Sources({}).exposed(billing)) == 1


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (f"DATABASE_DSN={dsn('h')}", 0o600),
        (f"DATABASE_DSN={dsn('h')}", 0o700),
        (f"DATABASE_DSN={WITHOUT}", 0o644),
        ("DATABASE_DSN=nonsense", 0o644),
        ("DATABASE_PASSWORD_FILE=/run/secrets/x", 0o644),
        ("MIGRATIONS_LOCK_WAIT=1s", 0o644),
        ("OTHER_PASSWORD=x", 0o644),
    ],
)
def test_a_file_without_a_password_or_of_its_owner_alone_is_not_told(billing: Service, text: str, mode: int) -> None:
    billing.env_file.write_text(f"{text}\n", encoding="utf-8")
    billing.env_file.chmod(mode)
    assert Sources({}).exposed(billing) == ()


@pytest.mark.parametrize("asked", ["5s", "5ms", "1ms"])
def test_no_attempt_waits_without_end_however_short_the_timeout_is(billing: Service, asked: str) -> None:
    """For the server 0 is no time at all: without limit."""
    own = load(billing, Sources({"MIGRATIONS_LOCK_TIMEOUT": asked, "MIGRATIONS_STATEMENT_TIMEOUT": asked}))
    for attempt in scaled_attempts(own.limits.lock_timeout):
        sent = timeouts(replace(own.limits, lock_timeout=attempt.lock_timeout))
        assert int(sent["lock_timeout"]) > 0
        assert int(sent["statement_timeout"]) > 0


def test_timeouts_in_the_options_of_a_dsn_do_not_hold_for_a_migration(billing: Service) -> None:
    """An application's DSN may have its own; the other options stay."""
    options = "?options=-c%20lock_timeout%3D0%20-c%20statement_timeout%3D1%20-c%20work_mem%3D7MB"
    sent = session_settings(load(billing, Sources({"DATABASE_DSN": dsn("db") + options})))
    assert (sent["lock_timeout"], sent["statement_timeout"], sent["work_mem"]) == ("5000", "0", "7MB")


@pytest.mark.parametrize("path", ["public, pg_catalog", 'app,"pg_catalog"', "$user, PG_CATALOG, public"])
def test_a_search_path_with_other_functions_before_those_of_postgresql_is_refused(billing: Service, path: str) -> None:
    assert "MIGRATIONS_SEARCH_PATH" in refused(
        billing, BILLING_DATABASE_DSN=dsn("h"), BILLING_MIGRATIONS_SEARCH_PATH=path
    )


@pytest.mark.parametrize("path", ["pg_catalog, public", '"$user", public'])
def test_another_search_path_is_accepted(billing: Service, path: str) -> None:
    settings = load(billing, Sources({"BILLING_DATABASE_DSN": dsn("h"), "BILLING_MIGRATIONS_SEARCH_PATH": path}))
    assert settings.search_path == path

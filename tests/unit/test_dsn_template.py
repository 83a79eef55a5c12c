"""A DSN from the variables that a team has: ``dsn`` and ``dsn_key`` in the table, and which layer wins."""

import pytest

from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from service_migrations.monorepo import Service
from service_migrations.settings import missing
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import Settings, load, load_many
from service_migrations.settings.password import PASSWORD_KEYS
from service_migrations.settings.sources import Sources
from tests.support.database import PASSWORDS
from tests.support.monorepo import Monorepo
from tests.support.table import set_keys

TEMPLATE = "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{POSTGRES_HOST}:{POSTGRES_PORT}/{POSTGRES_DB}"
VALUES = {"USER": "app", "PASSWORD": "pw", "HOST": "h", "PORT": "6543", "DB": "shop"}
LAYERS = ("prefixed", "bare", "service", "root")
"""From the nearest on."""


def variables(**changes: str) -> dict[str, str]:
    return {f"POSTGRES_{key}": value for key, value in {**VALUES, **changes}.items()}


def put(monorepo: Monorepo, values: dict[str, dict[str, str]]) -> Sources:
    """Write values, by layer and key, to the .env files of billing and the root; return all sources."""
    monorepo.env("billing", **values.get("service", {}))
    root = "".join(f"{key}={value}\n" for key, value in values.get("root", {}).items())
    (monorepo.root / ".env").write_text(root, encoding="utf-8")
    (monorepo.root / ".env").chmod(0o600)
    prefixed = {f"BILLING_{key}": value for key, value in values.get("prefixed", {}).items()}
    return Sources({**values.get("bare", {}), **prefixed})


def of(monorepo: Monorepo, values: dict[str, dict[str, str]]) -> Dsn:
    return load(monorepo.find("billing"), put(monorepo, values)).dsn


def refused(monorepo: Monorepo, values: dict[str, dict[str, str]]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        of(monorepo, values)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    monorepo.service("billing")
    set_keys(monorepo, f'dsn = "{TEMPLATE}"')
    return monorepo


@pytest.fixture(autouse=True)
def _fresh_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service_migrations.settings.notices._logged", set())


@pytest.mark.parametrize("layer", LAYERS)
def test_a_template_is_filled_from_every_layer(repo: Monorepo, layer: str) -> None:
    assert of(repo, {layer: variables()}) == Dsn("app", "shop", (("h", 6543),), "pw")


@pytest.mark.parametrize("key", VALUES)
def test_of_every_variable_the_nearest_layer_wins(repo: Monorepo, key: str) -> None:
    for number in range(len(LAYERS)):
        given: dict[str, dict[str, str]] = {
            layer: {f"POSTGRES_{key}": str(1000 + LAYERS.index(layer))} for layer in LAYERS[number:]
        }
        # the host stays the same, so that no password is withheld
        given["prefixed"] = {**variables(), **given.get("prefixed", {})}
        given["prefixed"] |= {} if number == 0 else {f"POSTGRES_{key}": ""}
        setting = of(repo, given)
        shown = {
            "USER": setting.user,
            "PASSWORD": setting.password,
            "HOST": setting.hosts[0][0],
            "PORT": str(setting.hosts[0][1]),
            "DB": setting.database,
        }
        if key == "PASSWORD" and number:
            assert shown[key] is None, "the server is of a higher layer"
        else:
            assert shown[key] == str(1000 + number)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("PASSWORD", value) for value in PASSWORDS),
        *(
            (key, value)
            for key in ("USER", "PASSWORD", "DB")
            for value in ("a b", "ü", "100%sure", "a@b:c/d?e#f", "$x")
        ),
    ],
)
def test_each_value_is_percent_encoded(repo: Monorepo, key: str, value: str) -> None:
    setting = of(repo, {"prefixed": variables(**{key: value})})
    assert {"USER": setting.user, "PASSWORD": setting.password, "DB": setting.database}[key] == value
    assert setting.hosts == (("h", 6543),)


@pytest.mark.parametrize(
    ("host", "port", "hosts"),
    [
        ("::1", "5432", (("::1", 5432),)),
        ("/cloudsql/shop:europe-west1:db-1", "5432", (("/cloudsql/shop:europe-west1:db-1", 5432),)),
        ("/run/postgresql", "6432", (("/run/postgresql", 6432),)),
        ("a,b", "5432", (("a", 5432), ("b", 5432))),
    ],
)
def test_a_host_may_be_an_address_a_socket_or_several(repo: Monorepo, host: str, port: str, hosts: object) -> None:
    assert of(repo, {"service": variables(HOST=host, PORT=port)}).hosts == hosts


def test_a_port_may_be_a_parameter_of_the_template(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    set_keys(monorepo, 'dsn = "postgresql://{U}:{P}@h/x?application_name=y&port={PORT}"')
    values = {"U": "app", "P": "pw", "PORT": "6543"}
    setting = of(monorepo, {"service": values})
    assert (setting.hosts, setting.password) == ((("h", 6543),), "pw")
    assert of(monorepo, {"service": values, "bare": {"PORT": "1"}}).password is None, "it leads to the server too"


def test_a_password_of_several_variables_is_used_whole_or_not_at_all(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    set_keys(monorepo, 'dsn = "postgresql://app:{FIRST}{SECOND}@h/x"')
    assert of(monorepo, {"service": {"FIRST": "a", "SECOND": "b"}}).password == "ab"
    assert of(monorepo, {"service": {"FIRST": "a", "SECOND": ""}}).password is None
    apart = of(monorepo, {"service": {"FIRST": "a", "DATABASE_PASSWORD": "apart"}})
    assert apart.password == "apart"


def test_a_socket_may_be_a_parameter_of_the_template(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    set_keys(monorepo, 'dsn = "postgresql://{U}:{P}@/{name}?host={SOCKET}&application_name={name}"')
    values = {"U": "app", "P": "pw", "SOCKET": "/cloudsql/shop:europe-west1:db-1"}
    setting = of(monorepo, {"service": values})
    assert setting.hosts == (("/cloudsql/shop:europe-west1:db-1", 5432),)
    assert (setting.database, setting.parameters["application_name"]) == ("billing", "billing")
    elsewhere = of(monorepo, {"service": values, "bare": {"SOCKET": "/elsewhere"}})
    assert elsewhere.password is None, "a parameter leads to the server too"


@pytest.mark.parametrize("key", VALUES)
def test_a_variable_that_is_not_set_is_named_with_its_file_and_the_template(repo: Monorepo, key: str) -> None:
    values = variables()
    del values[f"POSTGRES_{key}"]
    assert refused(repo, {"service": values}) == (
        f"services/billing/.env: POSTGRES_{key} is missing, which [tool.service-migrations] dsn of pyproject.toml "
        f"names. Add it, or set BILLING_POSTGRES_{key}."
    )


def test_without_any_env_file_the_first_steps_are_named(repo: Monorepo) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(repo.find("billing"), Sources(variables(USER="")))
    assert str(caught.value) == (
        "services/billing/.env does not exist, so POSTGRES_USER is missing, which [tool.service-migrations] dsn of "
        "pyproject.toml names. Copy .env.example there, set BILLING_POSTGRES_USER, or run `inv up`."
    )


def test_a_default_holds_where_the_variable_is_in_no_layer(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    set_keys(monorepo, 'dsn = "postgresql://{U}@{H:-localhost}:{P:-5432}/{name}"')
    assert of(monorepo, {"service": {"U": "app"}}).hosts == (("localhost", 5432),)
    assert of(monorepo, {"service": {"U": "app", "P": "1"}}).hosts == (("localhost", 1),)
    assert of(monorepo, {"service": {"U": "app", "P": ""}, "bare": {"H": ""}}).hosts == (("localhost", 5432),)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("postgresql://app:hunter2@{H}/x", "dsn holds a password, and the file is committed."),
        ("postgresql://app:a{P}hunter2@{H}/x", "dsn holds a password, and the file is committed."),
        ("postgresql://app:{P:-hunter2}@{H}/x", "dsn holds a password, and the file is committed."),
        ("{DATABASE_URL}", 'dsn is no URL with variables in its parts. Write dsn_key = "DATABASE_URL".'),
        *(
            (text, "dsn is no URL with variables in its parts. Write it as postgresql://{USER}:{PASSWORD}@{HOST}/")
            for text in ("{SCHEME}://app@h/x", "app@{H}/x", "x", "{A}{B}")
        ),
        ("postgresql://{}@h/x", "dsn has braces that name no variable."),
        ("postgresql://{U@h/x", "dsn has braces that name no variable."),
        ("postgresql://${U}@h/x", "is missing"),
        ("mysql://app@{H}/x", "is for 'mysql', not for PostgreSQL"),
        ("postgresql://app@{H}/x?sslmod=require", "has the parameter 'sslmod'"),
        ("postgresql://app@{H}/x?password=hunter2", "has the parameter 'password'"),
        ("postgresql://app@/x", "names no host"),
    ],
)
def test_a_template_that_cant_be_is_refused_with_its_place(monorepo: Monorepo, template: str, says: str) -> None:
    monorepo.service("billing")
    set_keys(monorepo, f"dsn = '{template}'")
    message = refused(monorepo, {"service": {"H": "h", "P": "p"}})
    assert says in message
    assert "pyproject.toml" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("HOST", "<host>", "POSTGRES_HOST still holds <host>."),
        ("USER", "${USER}", "POSTGRES_USER still holds ${USER}."),
        ("PASSWORD", "'\x01'", "POSTGRES_PASSWORD holds a control character"),
        ("USER", "", "POSTGRES_USER is empty."),
    ],
)
def test_a_value_that_cant_be_is_told_with_its_line(repo: Monorepo, key: str, value: str, says: str) -> None:
    message = refused(repo, {"service": variables(**{key: value})})
    number = 1 + list(VALUES).index(key)
    assert message.startswith(f"services/billing/.env:{number}: {says}"), message


def test_a_port_that_is_none_names_the_template(repo: Monorepo) -> None:
    message = refused(repo, {"service": variables(PORT="x")})
    assert message.startswith("pyproject.toml: [tool.service-migrations] dsn names a host or a port that can't be")


def test_a_host_with_a_port_names_its_variable(repo: Monorepo) -> None:
    message = refused(repo, {"bare": variables(HOST="db.internal:6432")})
    assert message == (
        "environment POSTGRES_HOST: POSTGRES_HOST holds a port too, 'db.internal:6432', and stands for the host "
        "alone. Give the port a place of its own in the template: {POSTGRES_HOST}:{PORT}."
    )


def test_an_empty_password_is_none(repo: Monorepo) -> None:
    assert of(repo, {"service": variables(PASSWORD="")}).password is None


def test_a_password_may_come_from_where_every_dsns_may(repo: Monorepo) -> None:
    values = variables()
    del values["POSTGRES_PASSWORD"]
    assert of(repo, {"service": {**values, "DATABASE_PASSWORD": "apart"}}).password == "apart"
    (repo.root / "secret").write_text("mounted", encoding="utf-8")
    assert of(repo, {"service": values, "bare": {"DATABASE_PASSWORD_FILE": "secret"}}).password == "mounted"


@pytest.mark.parametrize("high", LAYERS[:-1])
@pytest.mark.parametrize("key", ["HOST", "PORT"])
def test_a_password_of_a_lower_layer_goes_only_to_the_server_that_it_would_go_to_without_the_higher(
    repo: Monorepo, key: str, high: str, caplog: pytest.LogCaptureFixture
) -> None:
    for low in LAYERS[LAYERS.index(high) + 1 :]:
        given = {low: variables(), high: {f"POSTGRES_{key}": "1234"}}
        assert of(repo, given).password is None, low
        given[high][f"POSTGRES_{key}"] = VALUES[key]
        assert of(repo, given).password == "pw", low
        given[high] = {f"POSTGRES_{key}": "1234", "POSTGRES_PASSWORD": "own"}
        assert of(repo, given).password == "own", low
    assert caplog.messages[0].startswith("billing: POSTGRES_PASSWORD of ")
    assert "is for another server, and isn't sent to that of " in caplog.messages[0]
    assert "pw" not in caplog.text


def test_a_password_whose_layers_name_no_server_goes_nowhere(repo: Monorepo) -> None:
    without_server = {key: value for key, value in variables().items() if key not in ("POSTGRES_HOST", "POSTGRES_PORT")}
    given = {"service": without_server, "bare": {"POSTGRES_HOST": "h", "POSTGRES_PORT": "1"}}
    assert of(repo, given).password is None
    given["root"] = {"POSTGRES_HOST": "h", "POSTGRES_PORT": "1"}
    assert of(repo, given).password == "pw"


@pytest.mark.parametrize("key", ["DATABASE_PASSWORD", "DATABASE_PASSWORD_FILE"])
def test_a_password_apart_goes_only_to_the_server_that_the_template_has_in_its_layers(repo: Monorepo, key: str) -> None:
    (repo.root / "apart").write_text("apart", encoding="utf-8")
    values = {key: value for key, value in variables().items() if key != "POSTGRES_PASSWORD"}
    given = {"service": {**values, key: "apart"}, "bare": {"POSTGRES_HOST": "elsewhere"}}
    assert of(repo, given).password is None
    given["bare"]["POSTGRES_HOST"] = "h"
    assert of(repo, given).password == "apart"


def dsn(host: str) -> str:
    return f"postgresql://app:x@{host}/shop"


@pytest.mark.parametrize("layer", LAYERS)
def test_the_highest_layer_decides_between_a_template_and_a_dsn(repo: Monorepo, layer: str) -> None:
    for other in LAYERS:
        given: dict[str, dict[str, str]] = {layer: variables()}
        given.setdefault(other, {})
        given[other] = {**given[other], "DATABASE_DSN": dsn("of-dsn")}
        wins = LAYERS.index(other) <= LAYERS.index(layer)
        assert of(repo, given).hosts[0][0] == ("of-dsn" if wins else "h"), other


def test_a_value_that_cant_be_is_no_error_where_another_dsn_wins(repo: Monorepo) -> None:
    given = {"service": variables(HOST="<host>", PORT="x"), "bare": {"DATABASE_DSN": dsn("of-dsn")}}
    assert of(repo, given).hosts[0][0] == "of-dsn"


def test_a_host_of_the_environment_is_never_passed_over_for_a_dsn_of_a_file(repo: Monorepo) -> None:
    given = {"service": {"DATABASE_DSN": dsn("of-dsn"), "POSTGRES_PASSWORD": "pw"}, "bare": {"POSTGRES_HOST": "h"}}
    assert refused(repo, given) == (
        "services/billing/.env: POSTGRES_USER and POSTGRES_PORT and POSTGRES_DB are missing, which "
        "[tool.service-migrations] dsn of pyproject.toml names. Add them, or set BILLING_POSTGRES_USER and "
        "BILLING_POSTGRES_PORT and BILLING_POSTGRES_DB."
    )
    del given["bare"]
    assert of(repo, given).hosts[0][0] == "of-dsn", "a password alone leads nowhere"


@pytest.mark.parametrize("key", ["P", "APPLICATION"])
def test_what_leads_nowhere_never_makes_a_template_win(monorepo: Monorepo, key: str) -> None:
    monorepo.service("billing")
    set_keys(monorepo, 'dsn = "postgresql://{U}:{P}@{H}/{name}?application_name={APPLICATION}"')
    values = {"U": "app", "P": "pw", "H": "h", "APPLICATION": "a"}
    given = {"service": {**values, "DATABASE_DSN": dsn("of-dsn")}, "bare": {key: "other"}}
    assert of(monorepo, given).hosts[0][0] == "of-dsn"
    given["bare"]["U"] = "app"
    assert of(monorepo, given).hosts[0][0] == "h"


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg", "postgresql+asyncpg"]
)
def test_a_team_may_name_its_own_variable(monorepo: Monorepo, layer: str, scheme: str) -> None:
    monorepo.service("billing")
    set_keys(monorepo, 'dsn_key = "DATABASE_URL"')
    assert of(monorepo, {layer: {"DATABASE_URL": f"{scheme}://app:x@h/shop"}}) == Dsn(
        "app", "shop", (("h", 5432),), "x"
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_the_teams_variable_has_the_layers_of_database_dsn_and_stands_behind_it(monorepo: Monorepo, layer: str) -> None:
    monorepo.service("billing")
    set_keys(monorepo, 'dsn_key = "DATABASE_URL"')
    for other in LAYERS:
        for key in ("DATABASE_DSN", "DATABASE_DIRECT_DSN"):
            given: dict[str, dict[str, str]] = {layer: {"DATABASE_URL": dsn("url")}}
            given[other] = {**given.get(other, {}), key: dsn("ours")}
            wins = LAYERS.index(other) <= LAYERS.index(layer)
            assert of(monorepo, given).hosts[0][0] == ("ours" if wins else "url"), (other, key)


def test_a_password_of_the_file_goes_only_to_the_server_that_the_teams_variable_names(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    set_keys(monorepo, 'dsn_key = "DATABASE_URL"')
    given = {"service": {"DATABASE_URL": "postgresql://app@h/shop", "DATABASE_PASSWORD": "pw"}}
    assert of(monorepo, given).password == "pw"
    given["bare"] = {"DATABASE_URL": "postgresql://app@elsewhere/shop"}
    assert of(monorepo, given).password is None


def test_a_services_own_table_replaces_what_all_have(repo: Monorepo) -> None:
    set_keys(repo, 'dsn_key = "BILLING_URL"', service="billing")
    repo.env("billing", **variables(), BILLING_URL=dsn("own"))
    assert load(repo.find("billing"), Sources({})).dsn.hosts[0][0] == "own"
    assert repo.find("billing").dsn is None


def test_db_env_shows_each_variable_and_masks_the_password(repo: Monorepo) -> None:
    collected = put(repo, {"service": variables(PASSWORD="hunter2")}).collect(repo.find("billing"))
    shown = {key: (values[0].shown, str(values[0].origin)) for key, values in collected.items() if values}
    assert shown["POSTGRES_PASSWORD"] == ("***", "services/billing/.env:2")
    assert shown["POSTGRES_HOST"] == ("h", "services/billing/.env:3")
    assert shown["DATABASE_DSN"] == ("postgresql://app:***@h:6543/shop", "[tool.service-migrations] dsn")
    assert "hunter2" not in repr(collected)


@pytest.mark.parametrize("of_file", ["service", "root"])
def test_a_file_with_the_password_of_a_template_that_others_can_read_is_told(repo: Monorepo, of_file: str) -> None:
    sources = put(repo, {of_file: variables()})
    path = repo.root / (".env" if of_file == "root" else "services/billing/.env")
    assert sources.exposed(repo.find("billing")) == ()
    path.chmod(0o644)
    assert len(sources.exposed(repo.find("billing"))) == 1


def two(monorepo: Monorepo, template: str, **of_files: dict[str, str]) -> list[Service]:
    set_keys(monorepo, f'dsn = "{template}"')
    services = [monorepo.service(name) for name in ("billing", "catalog")]
    for name, values in of_files.items():
        monorepo.env(name, **values)
    return services


def merged(services: list[Service], **environment: str) -> str | None:
    try:
        loaded = load_many(services, Sources(environment))
    except UsageError as error:
        return str(error)
    assert all(isinstance(settings, Settings) for settings in loaded), loaded
    return None


SHORT = "postgresql://{U}:{P}@{H}/{D}"
OWN = {"U": "app", "P": "pw"}
SAME = dict.fromkeys(("BILLING_DATABASE_DSN", "CATALOG_DATABASE_DSN"), "postgresql://app:pw@h/same")


@pytest.mark.parametrize(
    ("template", "files", "environment", "refused_for"),
    [
        # one server for all is no mistake: each has its own database
        (SHORT.replace("{D}", "{name}"), {}, {"H": "h", **OWN}, None),
        (SHORT, {"billing": {"D": "b", **OWN}, "catalog": {"D": "c", **OWN}}, {"H": "h"}, None),
        # a database for all is one
        (SHORT, {"billing": {"H": "h", **OWN}, "catalog": {"H": "h", **OWN}}, {"D": "d"}, "D"),
        (SHORT, {}, {"H": "h", "D": "d", **OWN}, "D"),
        (SHORT, {}, {"H": "h", "BILLING_D": "b", "CATALOG_D": "c", **OWN}, None),
        # the same name on two servers, which a host for all makes one
        (SHORT, {"billing": {"H": "1", "D": "d", **OWN}, "catalog": {"H": "2", "D": "d", **OWN}}, {"H": "3"}, "H"),
        (SHORT, {"billing": {"H": "1", "D": "d", **OWN}, "catalog": {"H": "2", "D": "d", **OWN}}, {}, None),
        # two services that share a database by their own files go on sharing it
        (SHORT, {"billing": {"H": "1", "D": "d", **OWN}, "catalog": {"H": "1", "D": "d", **OWN}}, {"H": "3"}, None),
        (SHORT, {"billing": {"H": "1", "D": "d", **OWN}, "catalog": {"H": "1", "D": "d", **OWN}}, {"U": "x"}, None),
        # a variable that nobody sets has its default
        (
            SHORT.replace("{H}", "{H}:{PORT:-6543}"),
            {"billing": {"H": "1", "D": "d", **OWN}, "catalog": {"H": "2", "D": "d", **OWN}},
            {"H": "3"},
            "H",
        ),
        # a DSN of each, which wins over the template
        (
            SHORT,
            {"billing": {"H": "h", "D": "b", **OWN}, "catalog": {"H": "h", "D": "c", **OWN}},
            {"D": "d", **SAME},
            None,
        ),
        # the same database on a server of each
        (SHORT, {"billing": {"H": "1", **OWN}, "catalog": {"H": "2", **OWN}}, {"D": "d"}, None),
    ],
)
def test_a_bare_variable_never_leads_two_services_to_one_database(
    monorepo: Monorepo,
    template: str,
    files: dict[str, dict[str, str]],
    environment: dict[str, str],
    refused_for: str | None,
) -> None:
    services = two(monorepo, template, **files)
    for order in (services, services[::-1]):
        message = merged(order, **environment)
        if refused_for is None:
            assert message is None
        else:
            assert message is not None
            assert message.startswith(f"environment {refused_for}: it would aim "), message
    for service in services:
        load(service, Sources(environment))


@pytest.mark.parametrize("key", PASSWORD_KEYS)
def test_a_password_apart_stands_in_for_no_other_variable(repo: Monorepo, key: str) -> None:
    values = variables()
    del values["POSTGRES_PASSWORD"], values["POSTGRES_HOST"]
    message = refused(repo, {"service": {**values, key: "'secret x'"}})
    assert "POSTGRES_HOST" in message
    assert "POSTGRES_PASSWORD" not in message


@pytest.mark.parametrize("line", ["POSTGRES_PASSWORD", "POSTGRES_PASSWORD=", "POSTGRES_PASSWORD=''"])
def test_a_password_without_a_value_is_none(repo: Monorepo, line: str) -> None:
    values = variables()
    del values["POSTGRES_PASSWORD"]
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    (repo.root / "services/billing/.env").write_text(f"{text}{line}\n", encoding="utf-8")
    assert not load(repo.find("billing"), Sources({})).dsn.password


@pytest.mark.parametrize("sharing", [True, False])
def test_a_bare_variable_of_the_team_never_aims_several_services_at_one_database(
    monorepo: Monorepo, sharing: bool
) -> None:
    billing, catalog = (monorepo.service(name, dsn=dsn(name)) for name in ("billing", "catalog"))
    set_keys(monorepo, 'dsn_key = "DATABASE_URL"', *(() if sharing else ("",)), service="billing")
    if sharing:
        set_keys(monorepo, 'dsn_key = "DATABASE_URL"', service="catalog")
    services = [monorepo.find(service.name) for service in (billing, catalog)]
    sources = Sources({"DATABASE_URL": dsn("bare")})
    if sharing:
        with pytest.raises(UsageError) as caught:
            load_many(services, sources)
        assert str(caught.value) == (
            "environment DATABASE_URL: it would aim all 2 services at one database. "
            "Name one with --service, or set BILLING_DATABASE_URL and so on."
        )
    else:
        loaded = load_many(services, sources)
        assert [settings.dsn.hosts[0][0] for settings in loaded if isinstance(settings, Settings)] == [
            "bare",
            "catalog",
        ]


def test_bare_variables_are_for_the_selected_service_and_not_for_its_siblings(repo: Monorepo) -> None:
    repo.env("billing", **variables())
    sources = Sources({"POSTGRES_HOST": "bare", "BILLING_POSTGRES_DB": "own"})
    service = repo.find("billing")
    assert load(service, sources).target == "app@bare:6543/own"
    sibling = sources.of_siblings()
    assert load(service, sibling).target == "app@h:6543/own"


@pytest.mark.parametrize(
    ("lines", "proposal"),
    [
        ({"DATABASE_URL": dsn("h")}, 'dsn_key = "DATABASE_URL"'),
        ({"SQLALCHEMY_DATABASE_URI": "postgresql+psycopg2://a:b@h/x"}, 'dsn_key = "SQLALCHEMY_DATABASE_URI"'),
        (variables(), f'dsn = "{TEMPLATE}"'),
        (
            {"DB_NAME": "x", "DB_USERNAME": "u", "DB_PASS": "hunter2", "DB_HOST": "h"},
            'dsn = "postgresql://{DB_USERNAME}:{DB_PASS}@{DB_HOST}/{DB_NAME}"',
        ),
        (
            {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "hunter2", "POSTGRES_DB": "d"},
            'dsn = "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@localhost/{POSTGRES_DB}"',
        ),
        ({"PGUSER": "u", "PGPASSWORD": "hunter2"}, 'dsn = "postgresql://{PGUSER}:{PGPASSWORD}@localhost/{name}"'),
        ({"PGHOST": "h", "PGPASSWORD": "hunter2"}, 'dsn = "postgresql://{name}:{PGPASSWORD}@{PGHOST}/{name}"'),
        # of several prefixes the one with the most parts, of several variables for one part the first
        (
            {"A_DB_USER": "a", "A_DB_HOST": "a", "DB_USER": "u", "DB_HOST": "h", "DB_NAME": "d", "DB_DATABASE": "e"},
            'dsn = "postgresql://{DB_USER}@{DB_HOST}/{DB_NAME}"',
        ),
    ],
)
@pytest.mark.parametrize("of_file", ["service", "root"])
def test_a_missing_dsn_names_the_line_that_would_use_what_is_there(
    monorepo: Monorepo, lines: dict[str, str], proposal: str, of_file: str
) -> None:
    monorepo.service("billing")
    message = refused(monorepo, {of_file: lines})
    assert message == (
        f"services/billing/.env: DATABASE_DSN is missing. Write {proposal} into [tool.service-migrations] of "
        "pyproject.toml, or set BILLING_DATABASE_DSN."
    )
    set_keys(monorepo, proposal)
    assert of(monorepo, {of_file: lines}).hosts[0][0] in ("h", "localhost"), "the line that is named works"


@pytest.mark.parametrize("word", missing._PARTS)
def test_every_word_for_a_part_is_proposed_with_what_has_the_same_prefix(monorepo: Monorepo, word: str) -> None:
    monorepo.service("billing")
    for prefix in ("POSTGRES_", "PG", "POSTGRESQL_", "DB_", "DATABASE_", "SQL_", "SHOP_DB_"):
        other = "PASSWORD" if missing._PARTS[word] == "user" else "USER"
        message = refused(monorepo, {"service": {f"{prefix}{word}": "1", f"{prefix}{other}": "x"}})
        assert f"{{{prefix}{word}}}" in message
        assert f"{{{prefix}{other}}}" in message


@pytest.mark.parametrize(
    "lines",
    [
        *({}, {"SECRET_KEY": "x"}, {"POSTGRES_PASSWORD": "x"}, {"MYSQL_URL": "mysql://h/x"}),
        {"POSTGRES_HOST": "h", "POSTGRES_PORT": "1", "POSTGRES_DB": "d"},
    ],
)
def test_what_is_no_dsn_is_not_proposed(monorepo: Monorepo, lines: dict[str, str]) -> None:
    monorepo.service("billing")
    message = refused(monorepo, {"service": lines})
    assert message == ("services/billing/.env: DATABASE_DSN is missing. See .env.example, or set BILLING_DATABASE_DSN.")


def test_a_line_without_a_value_is_no_dsn(monorepo: Monorepo) -> None:
    monorepo.service("billing").env_file.write_text("FLAG\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"DATABASE_DSN is missing\. See \.env\.example"):
        load(monorepo.find("billing"), Sources({}))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("DATABASE_DNS=x", "DATABASE_DSN is missing (is DATABASE_DNS a typo?). See .env.example, or set BILLING_"),
        (f"URL={dsn('h')}", 'DATABASE_DSN is missing. Write dsn_key = "URL" into [tool.service-migrations] of '),
        ("SECRET=x", "DATABASE_DSN is missing. See .env.example, or set BILLING_DATABASE_DSN."),
    ],
)
def test_lines_of_the_root_count_where_the_service_has_no_file(monorepo: Monorepo, line: str, says: str) -> None:
    monorepo.service("billing")
    (monorepo.root / ".env").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(monorepo.find("billing"), Sources({}))
    assert str(caught.value).startswith(f"services/billing/.env: {says}")


@pytest.mark.parametrize("template", ["", "postgresql://app@{H}/x"])
def test_the_first_steps_of_a_named_environment_are_to_set_the_variable(
    monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monorepo.service("billing")
    if template:
        set_keys(monorepo, f'dsn = "{template}"')
    (monorepo.root / ".env.staging").write_text("", encoding="utf-8")
    monkeypatch.setenv("MIGRATIONS_ENV", "staging")
    with pytest.raises(ConfigurationError) as caught:
        load(monorepo.find("billing"), Sources({}))
    key, names = (
        ("H", ", which [tool.service-migrations] dsn of pyproject.toml names")
        if template
        else (
            "DATABASE_DSN",
            "",
        )
    )
    assert str(caught.value) == (
        f"services/billing/.env.staging does not exist, so {key} is missing{names}. Set BILLING_{key}."
    )


def test_a_sibling_with_a_broken_template_stops_nothing(repo: Monorepo) -> None:
    repo.env("billing", **variables())
    repo.service("catalog")
    set_keys(repo, 'dsn = "nonsense"', service="catalog")
    first, second = load_many([repo.find("billing"), repo.find("catalog")], Sources({}))
    assert isinstance(first, Settings)
    assert isinstance(second, MigrationError)

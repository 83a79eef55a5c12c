"""``[tool.service-migrations]``: every key, and what is refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from service_migrations.configuration import Configuration, ServiceTable, read_configuration
from service_migrations.errors import ConfigurationError
from service_migrations.pyproject import read_tools

EVERYTHING = """
[tool.service-migrations]
services = ["apps/*/backend", "./libs/*/"]
source = "apps/{name}/src"
models = "{name}.db.models"
versions = ["apps/{name}/versions/", "{path}/older"]
recursive_version_locations = true
version_table = "version_of_{name}"
version_table_schema = "meta"
driver = "psycopg"
env_file = "{path}/config/.env"
dsn = "postgresql://{POSTGRES_USER}@{POSTGRES_HOST}/{POSTGRES_DB}"
dsn_key = "DATABASE_URL"
password = "ops.tokens:database"
ignore = ["*_archive", "spatial_ref_sys"]
postgres = ["14", "18"]

[tool.service-migrations.service.payments]
path = "apps/pay/"
source = "apps/pay/src"
models = "pay.models"
versions = "apps/{name}/alembic/versions"
recursive_version_locations = false
version_table = "alembic_version"
version_table_schema = "pay"
driver = "asyncpg"
env_file = "apps/pay/production.env"
dsn = "postgresql://pay@/{PGDATABASE}"
dsn_key = "PAY_URL"
password = "pay.tokens:database"
ignore = ["spatial_ref_sys"]
"""


def read(root: Path, text: str) -> Configuration:
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    return read_configuration(root)


def refused(root: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(root, text)
    return str(caught.value)


def test_every_key_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, EVERYTHING) == Configuration(
        services=("apps/*/backend", "libs/*"),
        source="apps/{name}/src",
        models="{name}.db.models",
        versions=("apps/{name}/versions", "{path}/older"),
        recursive_version_locations=True,
        version_table="version_of_{name}",
        version_table_schema="meta",
        driver="psycopg",
        env_file="{path}/config/.env",
        dsn="postgresql://{POSTGRES_USER}@{POSTGRES_HOST}/{POSTGRES_DB}",
        dsn_key="DATABASE_URL",
        password="ops.tokens:database",
        ignore=("*_archive", "spatial_ref_sys"),
        postgres=("14", "18"),
        service={
            "payments": ServiceTable(
                path="apps/pay",
                source="apps/pay/src",
                models="pay.models",
                versions=("apps/payments/alembic/versions",),
                recursive_version_locations=False,
                version_table="alembic_version",
                version_table_schema="pay",
                driver="asyncpg",
                env_file="apps/pay/production.env",
                dsn="postgresql://pay@/{PGDATABASE}",
                dsn_key="PAY_URL",
                password="pay.tokens:database",
                ignore=("spatial_ref_sys",),
            )
        },
        given=frozenset(field.name for field in fields(Configuration)) - {"given"},
    )


@pytest.mark.parametrize("text", ["", "[tool.alembic]\n", "[tool]\nservice-migrations = {}\n", "tool = 1\n"])
def test_convention_stands_in_for_what_is_missing(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == Configuration()
    assert Configuration().models == "services.{name}.models"


def test_a_folder_without_the_file_has_the_convention(tmp_path: Path) -> None:
    assert read_configuration(tmp_path) == Configuration()
    assert read_tools(tmp_path) == {}


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    assert read(tmp_path, '[tool.service-migrations]\npostgres = ["14"]\n').postgres == ("14",)
    assert read(tmp_path, '[tool.service-migrations]\npostgres = ["14", "15"]\n').postgres == ("14", "15")


def test_a_dash_in_the_name_of_a_table_is_an_underscore(tmp_path: Path) -> None:
    table = '[tool.service-migrations.service.billing-api]\nversions = "v/{name}"\n'
    assert read(tmp_path, table).service == {"billing_api": ServiceTable(versions=("v/billing_api",))}


SHARED = (
    "source, models, versions, recursive_version_locations, version_table, version_table_schema, driver, env_file, "
    "dsn, dsn_key, password, ignore"
)
KEYS = f"services, {SHARED}, postgres, service"
OF_A_SERVICE = f"path, {SHARED}"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("servces = []", "Did you mean services?"),
        ('model = "x"', "Did you mean models?"),
        ('version-table = "x"', "Did you mean version_table?"),
        ("Postgres = []", "Did you mean postgres?"),
        ('timeout = "x"', f"Known: {KEYS}."),
        ("given = []", f"Known: {KEYS}."),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path: Path, line: str, hint: str) -> None:
    key = line.partition(" ")[0]
    message = refused(tmp_path, f"[tool.service-migrations]\n{line}\n")
    assert message == f"pyproject.toml: [tool.service-migrations]: there is no key {key!r}. {hint}"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('paths = "x"', "Did you mean path?"),
        ('version-table = "x"', "Did you mean version_table?"),
        ("postgres = []", f"Known: {OF_A_SERVICE}."),
    ],
)
def test_an_unknown_key_of_one_service_is_refused_with_the_nearest_one(tmp_path: Path, line: str, hint: str) -> None:
    key = line.partition(" ")[0]
    message = refused(tmp_path, f"[tool.service-migrations.service.billing]\n{line}\n")
    assert message == f"pyproject.toml: [tool.service-migrations.service.billing]: there is no key {key!r}. {hint}"


@pytest.mark.parametrize("key", ["services", "postgres", "ignore"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('"services/*"', " is a string. Write a list of strings."),
        ("3", " is a number. Write a list of strings."),
        ("[]", " is empty. Write a list of strings."),
        ("{}", " is a table. Write a list of strings."),
        ("[14]", "[0] is a number. Write a string."),
        ('["14", ""]', "[1] is empty. Write a string."),
        ('["14", " "]', "[1] is empty. Write a string."),
        ("[[]]", "[0] is empty. Write a string."),
    ],
)
def test_a_list_of_strings_is_one(tmp_path: Path, key: str, value: str, problem: str) -> None:
    message = refused(tmp_path, f"[tool.service-migrations]\n{key} = {value}\n")
    assert message == f"pyproject.toml: [tool.service-migrations] {key}{problem}"


@pytest.mark.parametrize("table", ["", ".service.billing"])
@pytest.mark.parametrize(
    "key",
    [
        *("path", "source", "models", "version_table", "version_table_schema", "driver", "env_file"),
        *("dsn", "dsn_key", "password"),
    ],
)
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('""', "empty"),
        ('"  "', "empty"),
        ("true", "a boolean"),
        ("1.5", "a number"),
        ('["x"]', "a list"),
        ("{}", "a table"),
        ("2026-01-01", "a date"),
    ],
)
def test_a_string_is_one(tmp_path: Path, table: str, key: str, value: str, problem: str) -> None:
    message = refused(tmp_path, f"[tool.service-migrations{table}]\n{key} = {value}\n")
    if key == "path" and not table:
        assert "there is no key 'path'" in message
    else:
        assert message == f"pyproject.toml: [tool.service-migrations{table}] {key} is {problem}. Write a string."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool]\nservice-migrations = 3\n", "tool.service-migrations is a number. Write a table, "),
        ("[[tool.service-migrations]]\n", "tool.service-migrations is a list. Write a table, "),
        ("[tool.service-migrations]\nservice = 3\n", "[tool.service-migrations.service] is a number. Write a table "),
        ("[[tool.service-migrations.service]]\n", "[tool.service-migrations.service] is a list. Write a table "),
        ('[tool.service-migrations.service]\nx = "y"\n', "[tool.service-migrations.service.x] is a string. Write a t"),
    ],
)
def test_a_table_is_one(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text).startswith(f"pyproject.toml: {message}")


@pytest.mark.parametrize("first", ["billing-api", "billing_api"])
def test_two_tables_of_one_name_are_refused(tmp_path: Path, first: str) -> None:
    second = {"billing-api": "billing_api", "billing_api": "billing-api"}[first]
    text = "".join(f'[tool.service-migrations.service.{name}]\npath = "{name}"\n' for name in (first, second))
    assert refused(tmp_path, text) == (
        f"pyproject.toml: [tool.service-migrations.service.{second}]: {first} and {second} are one name. "
        f"Remove one of the tables."
    )


def test_two_tables_of_one_path_are_refused(tmp_path: Path) -> None:
    text = "".join(
        f'[tool.service-migrations.service.{name}]\npath = "{path}"\n' for name, path in (("a", "x"), ("b", "./x/"))
    )
    message = refused(tmp_path, text)
    assert message == (
        "pyproject.toml: [tool.service-migrations.service.b]: a has the path 'x' too. Correct one of the tables."
    )


@pytest.mark.parametrize("name", ["Billing", "2fa", "class", '"a.b"', '""', '"bü"', "_a"])
def test_a_table_is_of_a_name_that_a_service_can_have(tmp_path: Path, name: str) -> None:
    message = refused(tmp_path, f'[tool.service-migrations.service.{name}]\npath = "x"\n')
    assert f"{name.strip(chr(34))!r} can't be a service. Write a name of lower-case letters, digits" in message


@pytest.mark.parametrize("value", ["/etc", "../x", "a/../../x", ".."])
@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("", "services"),
        ("", "source"),
        ("", "versions"),
        *((".service.x", key) for key in ("path", "source", "versions")),
    ],
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, table: str, key: str, value: str) -> None:
    text = f'["{value}"]' if key == "services" else f'"{value}"'
    if key == "versions" and not table:
        text = text[:-1] + '/{name}"'
    message = refused(tmp_path, f"[tool.service-migrations{table}]\n{key} = {text}\n")
    assert message.startswith(f"pyproject.toml: [tool.service-migrations{table}] {key}")
    assert message.endswith(" leads out of the repository. Write a path below pyproject.toml.")


@pytest.mark.parametrize("key", ["services", "source", "versions", "env_file"])
def test_a_path_with_a_control_character_is_refused_in_one_line(tmp_path: Path, key: str) -> None:
    text = '["a\\n*"]' if key == "services" else '"{name}/a\\nb"'
    message = refused(tmp_path, f"[tool.service-migrations]\n{key} = {text}\n")
    assert message.startswith(f"pyproject.toml: [tool.service-migrations] {key}")
    assert message.endswith(" has a control character. Write a path in one line.")
    assert "\n" not in message


@pytest.mark.parametrize("key", ["services", "source", "models", "versions", "env_file"])
def test_a_name_that_no_folder_has_is_refused(tmp_path: Path, key: str) -> None:
    text = f'"{{name}}.{"ä" * 200}"' if key == "models" else f'"{{name}}/{"ä" * 200}"'
    text = f'["{"ä" * 200}/*"]' if key == "services" else text
    message = refused(tmp_path, f"[tool.service-migrations]\n{key} = {text}\n")
    assert message.startswith(f"pyproject.toml: [tool.service-migrations] {key}")
    assert message.endswith(" has a name of 400 bytes. A folder's has 255 at most.")


@pytest.mark.parametrize("pattern", ["services/**", "**/models", "**"])
def test_a_pattern_says_which_folder_names_a_service(tmp_path: Path, pattern: str) -> None:
    message = refused(tmp_path, f'[tool.service-migrations]\nservices = ["{pattern}"]\n')
    assert message == (
        f"pyproject.toml: [tool.service-migrations] services: {pattern!r} doesn't say which folder names a service. "
        f"Write * for each."
    )


@pytest.mark.parametrize("pattern", [".", "./"])
def test_the_top_level_is_no_pattern(tmp_path: Path, pattern: str) -> None:
    message = refused(tmp_path, f'[tool.service-migrations]\nservices = ["{pattern}"]\n')
    assert "is the top level. Write the folders below it, such as services/*." in message


@pytest.mark.parametrize("value", ['"migrations/versions"', '["{name}/versions", "migrations/versions"]'])
def test_a_folder_of_revisions_without_the_name_would_be_one_for_all(tmp_path: Path, value: str) -> None:
    message = refused(tmp_path, f"[tool.service-migrations]\nversions = {value}\n")
    assert message.endswith(" versions is 'migrations/versions' for every service. Put {name} or {path} into it.")
    assert read(tmp_path, f"[tool.service-migrations.service.x]\nversions = {value}\n")


def test_version_tables_may_have_one_name_in_databases_of_their_own(tmp_path: Path) -> None:
    text = '[tool.service-migrations]\nversion_table = "alembic_version"\n'
    assert read(tmp_path, text).version_table == "alembic_version"


@pytest.mark.parametrize("table", ["", ".service.x"])
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("versions = []", "versions is empty. Write a list of strings."),
        ("versions = 3", "versions is a number. Write a string."),
        ('versions = ["{name}", 3]', "versions[1] is a number. Write a string."),
        ('recursive_version_locations = "true"', "recursive_version_locations is a string. Write true or false."),
        ("recursive_version_locations = 1", "recursive_version_locations is a number. Write true or false."),
        ('driver = "psycopg2"', "driver is 'psycopg2'. Write asyncpg or psycopg."),
        ('dsn_key = "database-url"', "dsn_key is 'database-url'. Write the name of a variable, such as DATABASE_URL."),
    ],
)
def test_a_value_is_of_its_kind(tmp_path: Path, table: str, line: str, problem: str) -> None:
    assert refused(tmp_path, f"[tool.service-migrations{table}]\n{line}\n").endswith(f"] {problem}")


@pytest.mark.parametrize("table", ["", ".service.x"])
@pytest.mark.parametrize("value", ["{service}", "{}", "{name", "name}", "{{name}}", "{name!r}"])
@pytest.mark.parametrize("key", ["source", "models", "versions", "version_table"])
def test_no_other_braces_mean_anything(tmp_path: Path, table: str, key: str, value: str) -> None:
    message = refused(tmp_path, f'[tool.service-migrations{table}]\n{key} = "a{value}"\n')
    replaced = "{name} and {path} are" if key in ("source", "versions") else "{name} is"
    assert message.endswith(f"Only {replaced} replaced; remove all other braces.")


@pytest.mark.parametrize("value", ["a-b.models", "a/models.py", ".models", "a..b", "a.b.", "1a", "a:b", "a b"])
def test_models_are_a_dotted_module(tmp_path: Path, value: str) -> None:
    message = refused(tmp_path, f'[tool.service-migrations.service.x]\nmodels = "{value}"\n')
    assert message.endswith(f" models is {value!r}. Write a dotted module, such as payments.db.models.")


@pytest.mark.parametrize("value", ["public.versions", "a-b", "1st", "a b", "ä", "x; DROP TABLE y"])
def test_a_version_table_is_an_identifier(tmp_path: Path, value: str) -> None:
    message = refused(tmp_path, f'[tool.service-migrations.service.x]\nversion_table = "{value}"\n')
    assert message.endswith(f" version_table is {value!r}. Write letters, digits and underscores, without a schema "
                            f"and without quotes.")  # fmt: skip


@pytest.mark.parametrize(
    ("value", "end"),
    [
        *(
            (value, "Write letters, digits and underscores without quotes.")
            for value in ("my.schema", "a-b", "", "a b")
        ),
        *((value, "PostgreSQL keeps this name for itself.") for value in ("pg_meta", "information_schema")),
        ("x" * 64, "PostgreSQL has room for 63 of them."),
    ],
)
def test_the_schema_of_a_version_table_is_an_identifier(tmp_path: Path, value: str, end: str) -> None:
    message = refused(tmp_path, f'[tool.service-migrations.service.x]\nversion_table_schema = "{value}"\n')
    assert message.endswith(end if value else "is empty. Write a string.")
    assert "\n" not in message


def test_a_version_table_fits_into_postgresql(tmp_path: Path) -> None:
    table = "[tool.service-migrations.service.x]\nversion_table = "
    assert read(tmp_path, f'{table}"{"v" * 59}"\n').service["x"].version_table == "v" * 59
    message = refused(tmp_path, f'{table}"{"v" * 60}"\n')
    assert message.endswith(" version_table has 60 characters. PostgreSQL has room for 59 of them.")


@pytest.mark.parametrize("value", ["14.1", "pg14", "v14", "-1"])
def test_a_version_of_postgresql_is_a_major_one(tmp_path: Path, value: str) -> None:
    message = refused(tmp_path, f'[tool.service-migrations]\npostgres = ["{value}"]\n')
    assert message.endswith(f' {value!r} is not a major version. Write them as in ["14", "18"].')


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    message = refused(tmp_path, "[tool.service-migrations]\nservices = [\n")
    assert message.startswith(f"{tmp_path / 'pyproject.toml'}: ")
    assert "Correct the file." in message
    (tmp_path / "pyproject.toml").write_bytes(b"x = '\xff'\n")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml: .*Correct the file"):
        read_tools(tmp_path)


def test_a_file_that_cant_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml can't be read: Is a directory\."):
        read_configuration(tmp_path)


@pytest.mark.parametrize("value", ["hunter2", "hunter2.x", "a:b:hunter2", "a/hunter2:c", "a b:c", ":c", "a:"])
def test_what_is_no_function_is_no_password_and_is_not_shown(tmp_path: Path, value: str) -> None:
    assert refused(tmp_path, f"[tool.service-migrations]\npassword = '{value}'\n") == (
        "pyproject.toml: [tool.service-migrations] password is no function. "
        "Write it as package.module:function; a password stays out of here."
    )

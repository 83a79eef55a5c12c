# ruff: noqa: E501, ISC004 - files of others as they are, each in one line of a table
"""What ``db.adopt`` reads of a monorepo of plain Alembic: files as teams have them."""

import time
from pathlib import Path

import pytest

from service_migrations.adoption.plain_service import PlainService
from service_migrations.adoption.survey import survey
from tests.support.plain_alembic import INI, MODELS, env, revision, service, write


def only(root: Path) -> PlainService:
    services = survey(root)
    assert len(services) == 1, services
    return services[0]


def notes(found: PlainService, kind: str | None = None) -> list[str]:
    return [str(note) for note in found.notes if kind in (None, note.kind)]


DSN = [
    ("os.environ", 'config.set_main_option("sqlalchemy.url", os.environ["DATABASE_URL"])', "DATABASE_URL", None),
    (
        "getenv",
        'config.set_main_option("sqlalchemy.url", os.getenv("DB_URL", "postgresql://localhost/x"))',
        "DB_URL",
        None,
    ),
    (
        "escaped",
        'url = os.environ.get("DATABASE_URL")\nconfig.set_main_option("sqlalchemy.url", url.replace("%", "%%"))',
        "DATABASE_URL",
        None,
    ),
    (
        "f-string",
        "config.set_main_option('sqlalchemy.url', f\"postgresql+psycopg2://{os.environ['PG_USER']}:"
        "{os.environ['PG_PASSWORD']}@{os.environ['PG_HOST']}/{os.environ['PG_DB']}\")",
        None,
        "postgresql://{PG_USER}:{PG_PASSWORD}@{PG_HOST}/{PG_DB}",
    ),
    (
        "function with defaults",
        """
def get_url():
    user = os.getenv("POSTGRES_USER", "postgres")
    password = os.getenv("POSTGRES_PASSWORD", "")
    server = os.getenv("POSTGRES_SERVER", "db")
    db = os.getenv("POSTGRES_DB", "app")
    return f"postgresql+psycopg://{user}:{password}@{server}/{db}"

configuration = config.get_section(config.config_ini_section)
configuration["sqlalchemy.url"] = get_url()
""",
        None,
        "postgresql://{POSTGRES_USER:-postgres}:{POSTGRES_PASSWORD}@{POSTGRES_SERVER:-db}/{POSTGRES_DB:-app}",
    ),
    (
        "percent",
        "config.set_main_option('sqlalchemy.url', 'postgresql://%s:%s@db:5432/%s' % "
        "(os.environ['U'], os.environ['P'], os.environ['D']))",
        None,
        "postgresql://{U}:{P}@db:5432/{D}",
    ),
    (
        "format",
        "config.set_main_option('sqlalchemy.url', 'postgresql://{}:{}@{host}/app'.format("
        "os.environ['U'], os.environ['P'], host=os.environ['H']))",
        None,
        "postgresql://{U}:{P}@{H}/app",
    ),
    (
        "of a name in capitals",
        'SERVICE = "shop"\nconfig.set_main_option("sqlalchemy.url", os.environ[f"{SERVICE.upper()}_DATABASE_URL"])',
        "SHOP_DATABASE_URL",
        None,
    ),
    (
        "with a name in small letters",
        "NAME = 'Shop'\nconfig.set_main_option('sqlalchemy.url', f\"postgresql://{os.environ['U']}@db/{NAME.lower()}\")",
        None,
        "postgresql://{U}@db/shop",
    ),
    (
        "URL.create",
        """
from sqlalchemy.engine import URL
url = URL.create("postgresql+psycopg2", username=os.environ["U"], password=os.environ["P"], host=os.environ["H"],
                 port=int(os.environ["O"]), database=os.environ["D"])
config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False))
""",
        None,
        "postgresql://{U}:{P}@{H}:{O}/{D}",
    ),
    (
        "create_engine",
        'from sqlalchemy import create_engine\nengine = create_engine(os.environ["DATABASE_URL"])',
        "DATABASE_URL",
        None,
    ),
    (
        "or the ini",
        'config.set_main_option("sqlalchemy.url", os.environ.get("DATABASE_URL") or config.get_main_option("sqlalchemy.url"))',
        "DATABASE_URL",
        None,
    ),
    (
        "or the ini, by keyword",
        'config.set_main_option("sqlalchemy.url", os.getenv("DATABASE_URL") or config.get_main_option(name="sqlalchemy.url"))',
        "DATABASE_URL",
        None,
    ),
    (
        "or a section of the ini, by keyword",
        """
own = config.get_section_option(section="alembic", name="sqlalchemy.url")
config.set_main_option(name="sqlalchemy.url", value=os.getenv("DATABASE_URL") or own)
""",
        "DATABASE_URL",
        None,
    ),
    (
        "or the ini, with no name at all",
        'config.set_main_option("sqlalchemy.url", os.getenv("DATABASE_URL") or config.get_main_option())',
        "DATABASE_URL",
        None,
    ),
    (
        "decouple",
        'from decouple import config as env\nconfig.set_main_option("sqlalchemy.url", env("DATABASE_URL"))',
        "DATABASE_URL",
        None,
    ),
    (
        "environs",
        'from environs import Env\nsettings = Env()\nconfig.set_main_option("sqlalchemy.url", settings.str("DATABASE_URL"))',
        "DATABASE_URL",
        None,
    ),
    (
        "another scheme, once",
        "config.set_main_option('sqlalchemy.url', os.environ['DATABASE_URL'].replace('postgres:', 'postgresql:', 1))",
        "DATABASE_URL",
        None,
    ),
    (
        "another scheme of the same name",
        """
url = os.environ["DATABASE_URL"]
if url.startswith("postgres:"):
    url = url.replace("postgres:", "postgresql:", 1)
config.set_main_option("sqlalchemy.url", url)
""",
        "DATABASE_URL",
        None,
    ),
    (
        "another name for the environment",
        'env = os.environ\nKEY = "DATABASE_URL"\nconfig.set_main_option("sqlalchemy.url", env[KEY])',
        "DATABASE_URL",
        None,
    ),
    (
        "a function of the team's, with a name",
        """
def must(name, default=None):
    value = os.getenv(name, default)
    if not value:
        raise RuntimeError(name)
    return value

config.set_main_option("sqlalchemy.url", f"postgresql://{must('U')}:{must(name='P')}@{must('H', 'db')}/app")
""",
        None,
        "postgresql://{U}:{P}@{H:-db}/app",
    ),
    (
        "format of the environment",
        "config.set_main_option('sqlalchemy.url', 'postgresql://{U}:{P}@{H}/app'.format(**os.environ))",
        None,
        "postgresql://{U}:{P}@{H}/app",
    ),
    (
        "percent of the environment",
        "config.set_main_option('sqlalchemy.url', 'postgresql://%(U)s:%(P)s@%(H)s/app' % os.environ)",
        None,
        "postgresql://{U}:{P}@{H}/app",
    ),
    (
        "a password with a default",
        "config.set_main_option('sqlalchemy.url', f\"postgresql://u:{os.getenv('KEY', 'hunter2')}@h/app\")",
        None,
        "postgresql://u:{KEY}@h/app",
    ),
    (
        "a default with braces, and one with other marks",
        "config.set_main_option('sqlalchemy.url', f\"postgresql://{os.getenv('U', 'a@b c')}@{os.getenv('H', '{h}')}/d\")",
        None,
        "postgresql://{U:-a@b c}@{H}/d",
    ),
]


@pytest.mark.parametrize(("before", "key", "template"), [case[1:] for case in DSN], ids=[case[0] for case in DSN])
def test_the_dsn_is_that_of_the_variables_that_env_py_reads(tmp_path, before, key, template):
    service(tmp_path, **{"alembic/env.py": env(before=f"import os\n{before}")})
    found = only(tmp_path)
    assert (found.dsn.dsn_key, found.dsn.dsn) == (key, template)
    assert notes(found) == []


SETTINGS = [
    (
        "a field",
        "class Settings(BaseSettings):\n    database_url: str\n\nsettings = Settings()",
        "settings.database_url",
        ("DATABASE_URL", None),
    ),
    (
        "a prefix",
        "class Settings(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='SHOP_')\n    db_url: str\n\n"
        "settings = Settings()",
        "settings.db_url",
        ("SHOP_DB_URL", None),
    ),
    (
        "an alias",
        "class Settings(BaseSettings):\n    url: str = Field(validation_alias='DATABASE_URL')\n\nsettings = Settings()",
        "str(settings.url)",
        ("DATABASE_URL", None),
    ),
    (
        "get_settings()",
        "class Settings(BaseSettings):\n    database_url: str\n\n@lru_cache\ndef get_settings():\n    return Settings()\n"
        "settings = get_settings()",
        "settings.database_url",
        ("DATABASE_URL", None),
    ),
    (
        "a property",
        """
class Settings(BaseSettings):
    POSTGRES_SERVER: str
    POSTGRES_PORT: int = 5432
    POSTGRES_USER: str
    POSTGRES_PASSWORD: str = ""
    POSTGRES_DB: str = ""

    @computed_field
    @property
    def URI(self) -> PostgresDsn:
        return MultiHostUrl.build(scheme="postgresql+psycopg", username=self.POSTGRES_USER,
            password=self.POSTGRES_PASSWORD, host=self.POSTGRES_SERVER, port=self.POSTGRES_PORT, path=self.POSTGRES_DB)

settings = Settings()
""",
        "str(settings.URI)",
        (
            None,
            "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{POSTGRES_SERVER}:{POSTGRES_PORT:-5432}/{POSTGRES_DB}",
        ),
    ),
    (
        "a validator",
        """
class Settings(BaseSettings):
    POSTGRES_SERVER: str
    POSTGRES_USER: str
    POSTGRES_PASSWORD: str
    POSTGRES_DB: str
    URI: Optional[PostgresDsn] = None

    @validator("URI", pre=True)
    def assemble(cls, v, values):
        if isinstance(v, str):
            return v
        return PostgresDsn.build(scheme="postgresql", user=values.get("POSTGRES_USER"),
            password=values.get("POSTGRES_PASSWORD"), host=values.get("POSTGRES_SERVER"),
            path=f"/{values.get('POSTGRES_DB') or ''}")

settings = Settings()
""",
        "settings.URI",
        (None, "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{POSTGRES_SERVER}/{POSTGRES_DB}"),
    ),
    (
        "nested",
        "class Db(BaseSettings):\n    model_config = {'env_prefix': 'DB_'}\n    url: str\n\n"
        "class Settings(BaseSettings):\n    db: Db = Db()\n\nsettings = Settings()",
        "settings.db.url",
        ("DB_URL", None),
    ),
    (
        "a class with parts",
        "class settings:\n    USER = os.getenv('DB_USER')\n    HOST = os.getenv('DB_HOST', 'db')\n"
        "    URL = f'postgresql://{USER}@{HOST}/shop'",
        "settings.URL",
        (None, "postgresql://{DB_USER}@{DB_HOST:-db}/shop"),
    ),
    (
        "a method",
        "class Settings(BaseSettings):\n    db_url: str\n\n    def url(self):\n        return self.db_url\n\n"
        "settings = Settings()",
        "settings.url()",
        ("DB_URL", None),
    ),
    ("a plain class", "class settings:\n    URL = os.environ['DATABASE_URL']", "settings.URL", ("DATABASE_URL", None)),
    (
        "a module",
        "import os\nURL = os.environ['DATABASE_URL']\nclass settings:\n    X = URL",
        "settings.X",
        ("DATABASE_URL", None),
    ),
]


@pytest.mark.parametrize(
    ("settings", "expression", "expected"), [case[1:] for case in SETTINGS], ids=[case[0] for case in SETTINGS]
)
def test_the_dsn_of_settings_is_followed_to_the_variables_of_their_class(tmp_path, settings, expression, expected):
    before = f"from shop.config import settings\nconfig.set_main_option('sqlalchemy.url', {expression})"
    service(tmp_path, **{"alembic/env.py": env(before=before), "shop/config.py": f"import os\n{settings}"})
    found = only(tmp_path)
    assert (found.dsn.dsn_key, found.dsn.dsn) == expected
    assert notes(found) == []


def test_the_names_in_an_ini_are_variables_where_the_file_has_no_value_for_them(tmp_path):
    url = "postgresql+psycopg2://%(POSTGRES_USER)s:%(POSTGRES_PASSWORD)s@%(host)s:5432/%(DB)s?application_name=100%%"
    before = 'import os\nconfig.set_section_option("alembic", "DB", os.environ["POSTGRES_DB"])'
    ini = f"[alembic]\nscript_location = %(here)s/alembic\nhost = db.internal\nsqlalchemy.url = {url}\n"
    service(tmp_path, **{"alembic.ini": ini, "alembic/env.py": env(before=before)})
    found = only(tmp_path)
    template = "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@db.internal:5432/{POSTGRES_DB}?application_name=100%"
    assert found.dsn.dsn == template


def test_a_variable_keeps_its_default_where_no_env_file_has_it(tmp_path):
    before = """import os
host, port = "h", "p"
port = os.getenv("PG_PORT", "5432")
config.set_main_option("sqlalchemy.url", f"postgresql://{os.environ['U']}@{os.getenv('PG_HOST', 'db')}:{port}/app")
"""
    service(tmp_path, **{"alembic/env.py": env(before=before), ".env.example": "PG_PORT=1\nU=x\n"})
    found = only(tmp_path)
    assert found.dsn.dsn == "postgresql://{U}@{PG_HOST:-db}:{PG_PORT}/app"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///shop.db", "left alone: its database is sqlite, and this library is for PostgreSQL."),
        ("mysql+pymysql://u:p@h/db", "left alone: its database is mysql, and this library is for PostgreSQL."),
    ],
)
def test_another_database_is_left_alone_by_name_unless_its_dsn_is_a_placeholder(tmp_path, url, expected):
    ini = INI.replace("%(DATABASE_URL)s", url)
    service(tmp_path, **{"alembic.ini": ini})
    found = only(tmp_path)
    assert found.state == "left alone"
    assert notes(found) == [f"{expected} If that is a placeholder, set DATABASE_DSN in apps/shop/.env."]
    service(tmp_path, **{"alembic.ini": ini, ".env": "DATABASE_DSN=postgresql://u@h/d\n"})
    assert only(tmp_path).state == "new"


def test_a_variable_whose_default_is_another_database_is_named(tmp_path):
    before = "import os\nconfig.set_main_option('sqlalchemy.url', os.getenv('DATABASE_URL', 'sqlite:///shop.db'))"
    service(tmp_path, **{"alembic/env.py": env(before=before)})
    found = only(tmp_path)
    assert found.state == "left alone"
    assert notes(found) == [
        "left alone: where DATABASE_URL isn't set, its database is sqlite, and this library is for PostgreSQL. If "
        "DATABASE_URL is of PostgreSQL, set it in apps/shop/.env."
    ]
    service(tmp_path, **{"alembic/env.py": env(before=before), ".env": "DATABASE_URL=postgresql://u@h/d\n"})
    assert only(tmp_path).dsn.dsn_key == "DATABASE_URL"


def test_names_that_are_made_of_themselves_are_no_dsn_and_take_no_time(tmp_path):
    before = "".join(f"options = options.part_{number}\n" for number in range(6))
    before += "config.set_main_option('sqlalchemy.url', options.url)"
    service(tmp_path, **{"alembic/env.py": env(before=before)})
    started = time.monotonic()
    found = only(tmp_path)
    assert time.monotonic() - started < 5
    assert found.dsn.description == "unknown"


def test_a_placeholder_of_another_tool_is_no_dsn(tmp_path):
    service(tmp_path, **{"alembic.ini": INI.replace("%(DATABASE_URL)s", "${DATABASE_URL}")})
    assert notes(only(tmp_path)) == [
        "to do: apps/shop/alembic.ini:5 has ${DATABASE_URL}, which something else fills in. Set DATABASE_DSN in "
        "apps/shop/.env, or dsn_key."
    ]


def test_the_options_of_a_pyproject_toml_go_with_those_of_the_ini_beside_it(tmp_path):
    url = "postgresql+psycopg2://%(DB_USER)s@db/shop"
    table = '[tool.alembic]\nscript_location = "%(here)s/alembic"\nprepend_sys_path = ["."]\n'
    service(tmp_path, **{"alembic.ini": f"[alembic]\nsqlalchemy.url = {url}\n", "pyproject.toml": table})
    assert only(tmp_path).dsn.dsn == "postgresql://{DB_USER}@db/shop"
    service(tmp_path, **{"alembic.ini": "[loggers]\nkeys = root\n", "pyproject.toml": table})
    assert only(tmp_path).config == tmp_path / "apps/shop/pyproject.toml"


def test_sections_that_share_an_env_py_are_services_of_their_own(tmp_path):
    names = ("orders", "users")
    sections = [
        f"[alembic:{name}]\nscript_location = migrations\nversion_locations = migrations/versions/{name}\n"
        f"sqlalchemy.url = postgresql://u@h/{name}\n"
        for name in names
    ]
    files = {f"migrations/versions/{name}/1.py": revision(f"1{name}", None) for name in names}
    write(tmp_path, {"alembic.ini": "".join(sections), "migrations/env.py": env(), "shop/models.py": MODELS, **files})
    services = survey(tmp_path)
    assert [(each.name, each.revisions.heads) for each in services] == [
        ("orders", ("1orders",)),
        ("users", ("1users",)),
    ]
    assert [str(note).split()[2] for each in services for note in each.notes if "the DSN itself" in str(note)] == [
        "alembic.ini:4",
        "alembic.ini:8",
    ]


def test_a_history_of_several_databases_is_blocked(tmp_path):
    ini = "[alembic]\nscript_location = alembic\ndatabases = one, two\n[one]\nsqlalchemy.url = postgresql://u@h/a\n"
    options = ', upgrade_token="%s_upgrades" % name, downgrade_token="%s_downgrades" % name'
    service(tmp_path, **{"alembic.ini": ini, "alembic/env.py": env(options=options)})
    found = only(tmp_path)
    assert found.state == "blocked"
    (note,) = notes(found, "blocked")
    assert note.endswith(
        "it runs each revision for several databases, and a service has one; leave it to Alembic, or split the history."
    )
    assert notes(found, "hook") == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"script_location = alembic\n", "File contains no section headers"), (b"[alembic]\n# \xe9\n", "it isn't UTF-8")],
)
def test_an_ini_that_cant_be_read_is_named(tmp_path, content, reason):
    service(tmp_path)
    (tmp_path / "apps/shop/alembic.ini").write_bytes(content)
    text = f"to do: apps/shop/alembic.ini: its options aren't known, as it can't be read: {reason}."
    assert text in notes(only(tmp_path))


def test_options_of_configure_that_nobody_can_read_are_a_hook(tmp_path):
    service(tmp_path, **{"alembic/env.py": env(options=", **config.get_section('more')")})
    (note,) = notes(only(tmp_path), "hook")
    assert note.endswith(": options of configure() can't be read from it: **config.get_section('more').")


@pytest.mark.parametrize(
    "lines",
    ["app.config['SQLALCHEMY_DATABASE_URI'] = url", "app.config.from_mapping(SQLALCHEMY_DATABASE_URI=url)"],
)
def test_the_dsn_of_a_flask_application_is_found_where_it_is_made(tmp_path, lines):
    application = f"import os\ndef create():\n    url = os.environ['DATABASE_URL']\n    {lines}\n"
    imports = "from flask import current_app\nfrom shop.models import Base"
    before = "config.set_main_option('sqlalchemy.url', str(current_app.extensions['migrate'].db.engine.url))"
    service(
        tmp_path,
        **{
            "alembic.ini": None,
            "alembic/env.py": env(imports=imports, before=before),
            "shop/application.py": application,
        },
    )
    assert only(tmp_path).dsn.dsn_key == "DATABASE_URL"


def test_a_dsn_that_nothing_names_is_for_a_person(tmp_path):
    url = "driver://user:pass@localhost/dbname"
    service(tmp_path, **{"alembic.ini": INI.replace("%(DATABASE_URL)s", url)})
    assert notes(only(tmp_path)) == ["to do: apps/shop/alembic.ini:5 has no DSN. Set DATABASE_DSN in apps/shop/.env."]
    service(tmp_path, **{"alembic/env.py": env(before="config.set_main_option('sqlalchemy.url', vault.read())")})
    assert notes(only(tmp_path))[0].startswith("to do: apps/shop/alembic")


def test_a_variable_that_leads_to_another_database_in_the_teams_env_file_is_left_alone(tmp_path):
    before = 'import os\nconfig.set_main_option("sqlalchemy.url", os.environ["DATABASE_URL"])'
    service(tmp_path, **{"alembic/env.py": env(before=before), ".env": "DATABASE_URL=sqlite:///x.db\n"})
    assert only(tmp_path).state == "left alone"


def test_a_dsn_with_a_password_never_gets_into_the_table_or_into_a_message(tmp_path):
    url = "postgresql://shop:hunter2@localhost/shop"
    service(tmp_path, **{"alembic.ini": INI.replace("%(DATABASE_URL)s", url)})
    found = only(tmp_path)
    assert (found.dsn.dsn, found.dsn.dsn_key) == (None, None)
    assert notes(found, "to do") == [
        "to do: apps/shop/alembic.ini:5 has the DSN itself. Write it into apps/shop/.env as DATABASE_DSN; a password "
        "has no place in the table."
    ]
    before = (
        "import os\nconfig.set_main_option('sqlalchemy.url', f\"postgresql://shop:hunter2@{os.environ['H']}/shop\")"
    )
    service(tmp_path, **{"alembic/env.py": env(before=before)})
    found = only(tmp_path)
    assert (found.dsn.dsn, found.dsn.dsn_key) == (None, None)
    assert "hunter2" not in str(found.as_json())


def test_a_line_says_what_a_service_has(tmp_path):
    service(
        tmp_path,
        **{"alembic/versions/0002_second.py": revision("0002", "0001"), ".env": "DATABASE_DSN=postgresql://u@h/d\n"},
    )
    found = only(tmp_path)
    assert (found.name, found.state) == ("shop", "new")
    assert found.summary() == (
        "apps/shop; models shop.models in apps/shop; revisions 2 in apps/shop/alembic/versions; head 0002; version "
        "table alembic_version; DSN from DATABASE_DSN"
    )


@pytest.mark.parametrize(
    ("before", "options", "expected"),
    [
        ("", ", version_table='shop_versions'", ("shop_versions", None)),
        ("TABLE = 'shop_versions'", ", version_table=TABLE", ("shop_versions", None)),
        ("SCHEMA = 'shop'", ", version_table='v_' + SCHEMA, version_table_schema=SCHEMA", ("v_shop", "shop")),
        ("from shop.names import TABLE, SCHEMA", ", version_table=TABLE, version_table_schema=SCHEMA", ("vt", "sales")),
        ("SCHEMA = None", ", version_table_schema=None", ("alembic_version", None)),
        ("options = dict(version_table='vt', compare_type=True)", ", **options", ("vt", None)),
        ("options = {'version_table_schema': 's'}", ", **options", ("alembic_version", "s")),
        ("NAME = f'{\"shop\"}_alembic'", ", version_table=NAME", ("shop_alembic", None)),
    ],
)
def test_the_version_table_is_what_configure_gets(tmp_path, before, options, expected):
    files = {"alembic/env.py": env(before=before, options=options), "shop/names.py": "TABLE = 'vt'\nSCHEMA = 'sales'\n"}
    service(tmp_path, **files)
    found = only(tmp_path)
    assert (found.version_table, found.version_table_schema) == expected


def test_a_version_table_that_is_computed_is_named(tmp_path):
    service(tmp_path, **{"alembic/env.py": env(options=", version_table=choose()")})
    line = (
        env(options=", version_table=choose()")
        .splitlines()
        .index(
            "        context.configure(connection=connection, target_metadata=target_metadata, version_table=choose())"
        )
    )
    assert (
        f"to do: apps/shop/alembic/env.py:{line + 1}: version_table can't be read from it; set version_table in the table."
        in notes(only(tmp_path))
    )


HOOKS = [
    ("def include_object(*a): return True", ", include_object=include_object", "include_object=include_object"),
    ("def include_name(*a): return True", ", include_name=include_name", "include_name=include_name"),
    ("def empty(c, r, d): pass", ", process_revision_directives=empty", "process_revision_directives=empty"),
    ("def render(*a): return False", ", render_item=render", "render_item=render"),
    ("def compare(*a): return None", ", compare_type=compare", "compare_type=compare"),
    ("", ", profile='eu'", "profile='eu'"),
    ("tenant = context.get_x_argument(as_dictionary=True).get('tenant')", "", "it reads arguments of `alembic -x`"),
]


@pytest.mark.parametrize(("before", "options", "expected"), HOOKS, ids=[case[2] for case in HOOKS])
def test_what_env_py_passes_on_beside_the_usual_needs_a_hook(tmp_path, before, options, expected):
    service(tmp_path, **{"alembic/env.py": env(before=before, options=options)})
    (hook,) = notes(only(tmp_path), "hook")
    assert hook.endswith(f": {expected}.")
    assert hook.startswith("hook: apps/shop/alembic/env.py:")


def test_compare_type_true_and_what_every_env_py_does_need_none(tmp_path):
    service(
        tmp_path, **{"alembic/env.py": env(options=", compare_type=True, render_as_batch=False, include_schemas=True")}
    )
    assert notes(only(tmp_path), "hook") == []


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("import requests\nrequests.get('http://x')", "it does something at import: requests.get('http://x')."),
        ("import sys\nsys.exit(1)", "it does something at import: sys.exit(1)."),
        ("from shop import app\nif True:\n    app.setup()", "it does something at import: app.setup()."),
        (
            "def f(connection):\n    connection.execute(text('SET search_path TO shop'))",
            "it runs SQL of its own: connection.execute(text('SET search_path TO shop')).",
        ),
    ],
)
def test_what_env_py_does_beside_migrating_is_named_and_not_done(tmp_path, before, expected):
    service(tmp_path, **{"alembic/env.py": env(before=before)})
    (hook,) = notes(only(tmp_path), "hook")
    assert hook.endswith(expected)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (
            "target_metadata.naming_convention = {'pk': 'PK_%(table_name)s'}",
            "it sets what others read: target_metadata.naming_convention; "
            "set it in the models, before the classes: the tables are read before the shared env.py runs.",
        ),
        (
            "Base.metadata.schema = 'sales'",
            "it sets what others read: Base.metadata.schema; "
            "set it in the models, before the classes: the tables are read before the shared env.py runs.",
        ),
        ("import os\nos.environ['REGION'] = 'eu'", "it sets what others read: os.environ['REGION']."),
        ("import os\nos.environ.setdefault('REGION', 'eu')", "it sets what others read: os.environ.setdefault."),
        ("import shop.state\nshop.state.N = 8", "it sets what others read: shop.state.N."),
        ("config.attributes['n'] = 7", "it sets what others read: config.attributes['n']."),
        (
            "def f(connection):\n    connection.dialect.default_schema_name = 'a'",
            "it sets what others read: connection.dialect.default_schema_name.",
        ),
        (
            "from sqlalchemy import MetaData\nmetadata = MetaData(naming_convention={'pk': 'PK'})",
            "MetaData() gets naming_convention.",
        ),
        (
            "from sqlalchemy import create_engine\ndef f(url):\n"
            "    return create_engine(url, connect_args={'options': '-csearch_path=acme'})",
            "create_engine() gets connect_args.",
        ),
        (
            "def f(connection):\n    return connection.execution_options(schema_translate_map={None: 'acme'})",
            "execution_options() gets schema_translate_map.",
        ),
        (
            "from sqlalchemy.ext.compiler import compiles\nfrom sqlalchemy.schema import CreateTable\n"
            "@compiles(CreateTable, 'postgresql')\ndef f(*a, **k): return ''",
            "it registers something: compiles(CreateTable, 'postgresql').",
        ),
        (
            "from alembic.operations import Operations\n@Operations.register_operation('create_seq')\nclass A: pass",
            "it registers something: Operations.register_operation('create_seq').",
        ),
        (
            "from alembic.ddl.postgresql import PostgresqlImpl\nclass Ours(PostgresqlImpl): pass",
            "it has an implementation of its own: class Ours.",
        ),
        (
            "def f():\n    context.run_migrations(tenant='a')",
            "it gives arguments to upgrade(): context.run_migrations(tenant='a').",
        ),
    ],
)
def test_what_env_py_changes_for_the_revisions_is_named(tmp_path, before, expected):
    service(tmp_path, **{"alembic/env.py": env(before=before)})
    (hook,) = notes(only(tmp_path), "hook")
    assert hook.endswith(expected)


@pytest.mark.parametrize(
    "before",
    [
        "url = config.get_main_option('x')\nurl = url.replace('a', 'b')",
        "configuration = config.get_section('x') or {}\nconfiguration['sqlalchemy.url'] = 'postgresql://app@db/shop'",
        "import logging\nlogging.raiseExceptions = False",
        "def empty(c, r, directives):\n    directives[:] = []",
        "import sys\nsys.path[0] = '.'",
        "def f(connection):\n    connection.execution_options(stream_results=True)",
    ],
)
def test_what_env_py_sets_for_itself_needs_none(tmp_path, before):
    service(tmp_path, **{"alembic/env.py": env(before=before)})
    assert notes(only(tmp_path), "hook") == []


def test_places_with_one_text_are_named_three_times_and_counted(tmp_path):
    body = "op.execute(op.get_context().config.get_main_option('schema'))"
    ids = [f"{number:04}" for number in range(1, 10)]
    pairs = zip([None, *ids], ids, strict=False)
    service(tmp_path, **{f"alembic/versions/{each}_first.py": revision(each, before, body) for before, each in pairs})
    *named, last = notes(only(tmp_path), "to do")
    assert len([note for note in named if "/versions/" in note]) == 3
    assert last.startswith("to do: and 6 more places: it reads the ini file, which isn't read here: op.get_context()")


SETS = "it sets {} for the session, which doesn't last for the revisions after it here; set it in each that needs it."


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        ("op.execute('SET search_path TO sales, public')", "pass", [SETS.format("search_path")]),
        ("op.execute(sa.text(' set session Time Zone \\'Asia/Tokyo\\''))", "pass", [SETS.format("timezone")]),
        ("op.get_bind().exec_driver_sql('SET ROLE owner')", "pass", [SETS.format("role")]),
        ("op.execute('SET search_path = a')", "op.execute('SET search_path = b')", []),
        ("op.execute('SET search_path = a')\nop.execute('RESET search_path')", "pass", []),
        ("op.execute('SET ROLE owner')\nop.execute('SET ROLE NONE')", "pass", []),
        ("op.execute('SET LOCAL search_path = a')", "pass", []),
        ("op.execute('UPDATE t SET role = 1')", "pass", []),
        ("pass", "op.execute('SET search_path = a')", []),
        (
            "op.execute(op.get_context().config.get_main_option('first_id'))",
            "pass",
            [
                "it reads the ini file, which isn't read here: op.get_context().config.get_main_option('first_id'); "
                "set it in migrations/env.py with context.config.set_main_option(…)."
            ],
        ),
        (
            "from alembic import context\ncontext.config.get_section('x')",
            "pass",
            [
                "it reads the ini file, which isn't read here: context.config.get_section('x'); "
                "set it in migrations/env.py with context.config.set_main_option(…)."
            ],
        ),
        (
            "from alembic import context\ncontext.config.attributes['n']",
            "pass",
            ["it reads context.config.attributes, which is another one here."],
        ),
    ],
)
def test_what_a_revision_leaves_or_finds_only_under_plain_alembic_is_named(tmp_path, first, then, expected):
    files = {
        "alembic/versions/0001_first.py": revision("0001", None, first),
        "alembic/versions/0002_then.py": revision("0002", "0001", then),
    }
    service(tmp_path, **files)
    found = [note for note in notes(only(tmp_path), "to do") if "versions/" in note]
    assert [note.split(": ", 2)[2] for note in found] == expected
    assert all(note.startswith("to do: apps/shop/alembic/versions/0001_first.py:") for note in found)


@pytest.mark.parametrize("loads", [True, False])
def test_a_revision_that_reads_what_env_py_has_loaded_is_named(tmp_path, loads):
    files = {"alembic/versions/0001_first.py": revision("0001", None, "import os\nos.environ.get('REGION', 'eu')")}
    before = "from dotenv import load_dotenv\nload_dotenv()" if loads else ""
    service(tmp_path, **files, **{"alembic/env.py": env(before=before)})
    text = "it reads the environment, into which env.py loads a .env; load it in the models, or set the variable."
    found = [note for note in notes(only(tmp_path), "to do") if text in note]
    assert len(found) == int(loads)


LOOP = """
def run_one(schema):
    context.configure(url="x", target_metadata=target_metadata)
    context.run_migrations()
def again(schemas):
    for schema in {over}:
        run_one(schema)
        {end}
"""


@pytest.mark.parametrize("over", ["schemas", "get_tenants()", "['a', 'b']"])
def test_an_env_py_that_runs_its_history_for_several_schemas_is_blocked(tmp_path, over):
    service(tmp_path, **{"alembic/env.py": env(before=LOOP.format(over=over, end="pass"))})
    (text,) = notes(only(tmp_path), "blocked")
    assert text.startswith("blocked: apps/shop/alembic/env.py:")
    assert f"it runs the history for each of {over}, and a service has one database and one schema" in text


@pytest.mark.parametrize(("over", "end"), [("range(5)", "pass"), ("schemas", "break"), ("schemas", "return")])
def test_an_env_py_that_tries_again_is_not(tmp_path, over, end):
    service(tmp_path, **{"alembic/env.py": env(before=LOOP.format(over=over, end=end))})
    assert notes(only(tmp_path), "blocked") == []


def test_an_env_py_that_cant_be_parsed_is_named_and_the_others_are_read(tmp_path):
    service(tmp_path, "apps/broken", **{"alembic/env.py": "import os\nprint 'x'\n"})
    service(tmp_path)
    broken, shop = survey(tmp_path)
    assert (broken.name, broken.state, shop.state) == ("broken", "blocked", "new")
    assert notes(broken)[0].startswith("blocked: apps/broken/alembic/env.py:2: it can't be parsed: ")


def test_an_env_py_that_is_missing_is_named(tmp_path):
    service(tmp_path, **{"alembic/env.py": None})
    assert notes(only(tmp_path)) == ["blocked: apps/shop/alembic/env.py: there is no env.py."]


HISTORIES = [
    ({"0002": ("0003", {})}, "blocked: apps/shop/alembic/versions/0002.py: 0002 follows 0003, which no file has."),
    (
        {"0002": ("0003", {}), "0003": ("0002", {})},
        "blocked: apps/shop/alembic/versions/0002.py: the history is a circle: 0002 -> 0003 -> 0002.",
    ),
    (
        {"0002": ("0001", {}), "0003": ("0001", {})},
        "to do: apps/shop/alembic/versions: 2 heads: 0002, 0003. Where they are meant, each needs branch_labels; "
        "otherwise `inv db.rebase` makes one line of them.",
    ),
    (
        {"0002": ("0001", {"depends_on": "9999"})},
        "blocked: apps/shop/alembic/versions/0002.py: 0002 follows 9999, which no file has.",
    ),
]


@pytest.mark.parametrize(("revisions", "expected"), HISTORIES)
def test_a_history_that_is_not_whole_is_named_by_its_file(tmp_path, revisions, expected):
    files = {f"alembic/versions/{name}.py": revision(name, down, **more) for name, (down, more) in revisions.items()}
    service(tmp_path, **files)
    assert notes(only(tmp_path)) == [expected]


@pytest.mark.parametrize(
    "change",
    [
        ("down_revision = '0001'", 'down_revision = f"{int(revision) - 1:04}"'),
        ("revision = '0002'", 'revision = "00" + "02"[:2]'),
    ],
)
def test_ids_that_are_computed_block_nothing(tmp_path, change):
    """Plain Alembic runs such a history, and so does this library, which imports it."""
    second = revision("0002", "0001", 'op.execute("SELECT 1; SELECT 2")').replace(*change)
    service(tmp_path, **{"alembic/versions/0002.py": second})
    found = only(tmp_path)
    assert (found.state, found.revisions.heads, found.driver) == ("new", (), "psycopg")
    assert "head not known" in found.summary()
    (text,) = notes(found, "to do")
    assert text.startswith("to do: apps/shop/alembic/versions/0002.py:")
    assert "is computed" in text
    assert "`inv db.heads --write`" in text


def test_what_a_revision_with_computed_ids_imports_is_read_too(tmp_path):
    helper = "from alembic import op\n\n\ndef grow():\n    op.execute('SELECT 1; SELECT 2')\n"
    second = revision("0002", "0001", "ops.grow()").replace("revision = '0002'", 'revision = "00" + "02"[:2]')
    service(tmp_path, **{"alembic/versions/0002.py": f"import ops\n{second}", "ops.py": helper})
    assert only(tmp_path).driver == "psycopg"


def test_labelled_branches_are_several_heads_on_purpose(tmp_path):
    files = {
        "alembic/versions/e.py": revision("e", "0001", branch_labels=("expand",)),
        "alembic/versions/c.py": revision("c", "0001", branch_labels="contract", depends_on="e"),
    }
    service(tmp_path, **files)
    found = only(tmp_path)
    assert (found.revisions.heads, notes(found)) == (("c", "e"), [])


@pytest.mark.parametrize("labels", ["(EXPAND,)", "branches.EXPAND", "('2024', EXPAND)"])
def test_a_label_may_be_a_constant_of_another_module(tmp_path, labels):
    imports = "import branches\nfrom branches import EXPAND\n"
    files = {
        f"alembic/versions/{name}.py": f"{imports}{revision(name, '0001', **more)}\nbranch_labels = {labels}\n"
        for name, more in {"c": {"depends_on": "expand"}, "e": {}}.items()
    }
    service(tmp_path, **files)
    found = only(tmp_path)
    assert (found.revisions.heads, notes(found)) == (("c", "e"), [])


def test_revisions_in_folders_below_count_where_the_option_is_set_or_the_history_needs_them(tmp_path):
    files = {"alembic/versions/2024/0002.py": revision("0002", "0001")}
    service(tmp_path, **files)
    found = only(tmp_path)
    assert (found.recursive, len(found.revisions.down)) == (False, 1)
    assert notes(found)[0].endswith("recursive_version_locations = true reads them.")
    service(tmp_path, **files, **{"alembic.ini": f"{INI}recursive_version_locations = true\n"})
    assert (only(tmp_path).recursive, only(tmp_path).revisions.heads) == (True, ("0002",))
    service(
        tmp_path,
        **{
            "alembic/versions/0001_first.py": revision("0003", "0002"),
            "alembic/versions/2023/a.py": revision("0001", None),
        },
    )
    found = only(tmp_path)
    assert (found.recursive, found.revisions.heads, notes(found)) == (True, ("0003",), [])


PSYCOPG = [
    ('op.execute("ALTER TABLE a ADD b int; ALTER TABLE a ADD c int")', "2 statements in one text"),
    ('op.execute(sa.text("SELECT 1; UPDATE a SET b = 1"))', "2 statements in one text"),
    ('op.execute(f"""CREATE TABLE {x} (a int);\nCREATE INDEX i ON {x} (a);""")', "2 statements in one text"),
    ('op.get_bind().exec_driver_sql("DO $$ BEGIN; END $$; SELECT 1")', "2 statements in one text"),
    ("op.execute(SQL)", "2 statements in one text"),
    ('op.get_bind().exec_driver_sql("UPDATE a SET b = %s", (1,))', "%s for a parameter"),
    ("op.get_bind().connection.cursor().execute('SELECT 1')", "it calls cursor()"),
    ('op.get_bind().execute(sa.text("UPDATE a SET b = :b"), {"b": "1"})', "parameters in a text"),
    ('op.get_bind().execute(sa.text("UPDATE a SET b = :b").bindparams(b="1"))', "parameters in a text"),
    ("from psycopg2 import errors\nop.drop_table('a')", "it imports psycopg2"),
    ("op.bulk_insert(sa.table('a', sa.column('d', sa.Date)), [{'d': '2024-01-01'}])", "a text into a column of dates"),
]


@pytest.mark.parametrize(("body", "expected"), PSYCOPG, ids=range(len(PSYCOPG)))
def test_a_history_that_asyncpg_wont_run_gets_the_driver_psycopg_with_file_and_line(tmp_path, body, expected):
    text = 'SQL = """\nCREATE TABLE a (b int);\nDROP TABLE a;\n"""\n' + revision("0001", None, body)
    service(tmp_path, **{"alembic/versions/0001_first.py": text})
    found = only(tmp_path)
    assert found.driver == "psycopg"
    assert expected in notes(found, "driver")[0]
    assert notes(found, "driver")[0].startswith("driver: apps/shop/alembic/versions/0001_first.py:")


ELSEWHERE = [
    ('sql = """CREATE TABLE a (x int); CREATE TABLE b (x int)"""\nop.execute(sql)', "7: 2 statements in one text"),
    ("for text in ['SELECT 1', 'SELECT 1; SELECT 2']:\n    op.execute(text)", "6: 2 statements in one text"),
    ("run('CREATE TABLE a (x int); CREATE TABLE b (x int)')", "6: 2 statements in one text"),
    ("op.execute((Path(__file__).parent / 'a.sql').read_text())", "6: it executes the text of a file"),
    ("sql = open('a.sql').read()\nop.execute(sa.text(sql))", "7: it executes the text of a file"),
]


@pytest.mark.parametrize(("body", "expected"), ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_several_statements_are_seen_where_a_name_a_loop_or_a_file_brings_them(tmp_path, body, expected):
    text = revision("0001", None, body)
    service(tmp_path, **{"alembic/versions/0001_first.py": text})
    line, _, reason = expected.partition(": ")
    (note,) = notes(only(tmp_path), "driver")
    assert f"0001_first.py:{line}: {reason}" in note


OF_ANOTHER_DATABASE = (
    'if op.get_bind().dialect.name == "sqlite":\n    op.execute("SELECT 1; SELECT 2")',
    'sql = "SELECT 1; SELECT 2"\nif op.get_bind().dialect.name != "postgresql":\n    op.execute(sql)',
    'if op.get_bind().dialect.name == "mysql":\n    op.get_bind().connection.cursor()',
    'bind = op.get_bind()\nif bind.dialect.name == "mysql":\n    bind.execute(sa.text(f"SELECT 1; SELECT {bind}"))',
)


@pytest.mark.parametrize("body", OF_ANOTHER_DATABASE, ids=range(len(OF_ANOTHER_DATABASE)))
def test_a_branch_for_another_database_needs_no_driver(tmp_path, body):
    service(tmp_path, **{"alembic/versions/0001_first.py": revision("0001", None, body)})
    assert notes(only(tmp_path), "driver") == []


def test_a_text_that_two_databases_are_given_needs_a_driver(tmp_path):
    body = (
        'sql = "SELECT 1; SELECT 2"\ndef run(text):\n    op.execute(text)\n'
        'if op.get_bind().dialect.name == "sqlite":\n    op.execute(sql)\nelse:\n    run(sql)'
    )
    service(tmp_path, **{"alembic/versions/0001_first.py": revision("0001", None, body)})
    (note,) = notes(only(tmp_path), "driver")
    assert "2 statements in one text" in note


def test_a_helper_of_the_revisions_is_read_for_the_driver_and_the_applications_code_is_not(tmp_path):
    helper = "from alembic import op\ndef run():\n    op.execute('CREATE TABLE a (x int); SELECT 1')\n"
    files = {
        "shop/ops.py": helper,
        "shop/jobs.py": "import psycopg2\ndef run(connection):\n    connection.cursor().execute('SELECT 1')\n",
        "alembic/versions/0001_first.py": "import shop.ops\nimport shop.jobs\n" + revision("0001", None),
        "alembic/versions/0002_next.py": "from shop.ops import run\n" + revision("0002", "0001"),
    }
    service(tmp_path, **files)
    assert notes(only(tmp_path), "driver") == [
        "driver: apps/shop/shop/ops.py:3: 2 statements in one text, and asyncpg takes one."
    ]


READS = [
    "for ip, in op.get_bind().execute(sa.text('SELECT ip FROM hosts')):\n    print(ip)",
    "rows = op.get_bind().execute(sa.text('SELECT ip FROM hosts'))\nfor row in rows:\n    print(row)",
    "op.get_bind().execute(sa.text('SELECT ip FROM hosts')).fetchall()",
    "ip = op.get_bind().scalar(sa.select(sa.column('ip')))",
    "result = op.get_bind().execute(sa.text('SELECT ip FROM hosts'))\nip = result.first()[0]",
    "ips = {ip for ip, in op.get_bind().execute(sa.text('SELECT ip FROM hosts'))}",
    "ips = dict(op.get_bind().execute(sa.text('SELECT id, ip FROM hosts')))",
    "for host in sa.orm.Session(op.get_bind()).query(Host).filter(Host.ip == None).all():\n    host.ip = 'x'",
    "if op.get_bind().execute(sa.text('SELECT ip FROM hosts')).scalar() == '10.0.0.1':\n    pass",
]


@pytest.mark.parametrize("body", READS, ids=range(len(READS)))
def test_a_history_of_psycopg2_that_reads_rows_gets_psycopg_whose_values_are_the_same(tmp_path, body):
    text = revision("0001", None, body)
    service(tmp_path, **{"alembic/versions/0001_first.py": text})
    found = only(tmp_path)
    (note,) = notes(found, "driver")
    assert found.driver == "psycopg"
    assert "it reads rows, and asyncpg has other values for some types: " in note


@pytest.mark.parametrize(
    "body",
    [
        "if op.get_bind().execute(sa.text('SELECT 1 FROM hosts')).scalar():\n    pass",
        "if not (op.get_bind().scalar(sa.text('SELECT count(*) FROM hosts')) > 0):\n    pass",
        "if op.get_bind().execute(sa.text('SELECT 1 FROM hosts')).first() is None and True:\n    pass",
        "for column in sa.inspect(op.get_bind()).get_columns('hosts'):\n    pass",
        "for name in ('a', 'b'):\n    op.drop_table(name)",
    ],
)
def test_a_history_that_only_asks_whether_there_is_something_keeps_asyncpg(tmp_path, body):
    service(tmp_path, **{"alembic/versions/0001_first.py": revision("0001", None, body)})
    assert (only(tmp_path).driver, notes(only(tmp_path), "driver")) == (None, [])


@pytest.mark.parametrize(
    ("before", "url", "expected"),
    [
        ("", "postgresql+asyncpg://localhost/shop", "psycopg"),  # a sync env.py replaces the driver
        ("", "postgresql://localhost/shop", "psycopg"),
        ("async def run():\n    async with engine.connect() as c:\n        await c.run_sync(do)", "", None),
        (
            "async def run():\n    async with engine.connect() as c:\n        await c.run_sync(do)",
            "postgresql+psycopg://localhost/shop",
            "psycopg",
        ),
    ],
)
def test_the_driver_of_a_history_is_the_one_that_env_py_can_run(tmp_path, before, url, expected):
    body = "op.get_bind().execute(sa.text('SELECT 1')).fetchall()"
    files = {"alembic/env.py": env(before=before), "alembic/versions/0001_first.py": revision("0001", None, body)}
    service(tmp_path, **files, **({".env": f"DATABASE_URL={url}\n"} if url else {}))
    assert only(tmp_path).driver == expected


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
@pytest.mark.parametrize("body", ["op.get_bind().execute(sa.text('SELECT 1')).fetchall()", "op.execute('A; B')"])
def test_a_history_of_psycopg_3_that_reads_rows_is_told_whose_values_it_gets(tmp_path, driver, body):
    service(
        tmp_path,
        **{
            ".env": f"DATABASE_URL=postgresql+{driver}://localhost/shop\n",
            "alembic/versions/0001_first.py": revision("0001", None, body),
        },
    )
    is_told = any("its DSN is for psycopg 3" in note for note in notes(only(tmp_path), "driver"))
    assert is_told is (driver == "psycopg" and "fetchall" in body)


def test_sql_that_is_made_of_itself_is_no_circle(tmp_path):
    text = "SQL = 'ALTER TABLE a'\nSQL = SQL + ' ADD b int'\n" + revision("0001", None, "op.execute(SQL)")
    service(tmp_path, **{"alembic/versions/0001_first.py": text})
    assert only(tmp_path).driver is None


@pytest.mark.parametrize(
    "body",
    [
        "op.execute(\"ALTER TABLE a ADD b text DEFAULT 'a;b';\")",
        'op.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; SELECT 2 $$; -- ; done")',
        'op.execute(sa.text("UPDATE a SET b = 1"))',
        "op.create_table('a', sa.Column('b', sa.Integer))",
    ],
)
def test_a_history_that_asyncpg_runs_keeps_it(tmp_path, body):
    service(tmp_path, **{"alembic/versions/0001_first.py": revision("0001", None, body)})
    found = only(tmp_path)
    assert (found.driver, notes(found, "driver")) == (None, [])


def test_a_history_that_ran_with_asyncpg_keeps_it(tmp_path):
    body = 'op.get_bind().execute(sa.text("UPDATE a SET b = :b"), {"b": 1})'
    text = env(imports="from sqlalchemy.ext.asyncio import async_engine_from_config\nfrom shop.models import Base")
    service(tmp_path, **{"alembic/env.py": text, "alembic/versions/0001_first.py": revision("0001", None, body)})
    assert only(tmp_path).driver is None


MODULES = [
    ("a package", "from shop.db import Base", {"shop/db/__init__.py": "from shop.db.orders import Base, Order\n__all__ = ['Base', 'Order']\n", "shop/db/orders.py": MODELS}, "shop.db"),
    ("a submodule", "from shop import models\nBase = models.Base", {}, "shop.models"),
    ("dotted", "import shop.models\nBase = shop.models.Base", {}, "shop.models"),
    ("another name", "from shop import models as m\nBase = m.Base", {}, "shop.models"),
    (
        "all models imported elsewhere",
        "from shop.base import Base\nimport shop.everything",
        {"shop/models.py": "", "shop/base.py": "from sqlalchemy.orm import DeclarativeBase\nclass Base(DeclarativeBase): pass\n",
         "shop/orders.py": "from shop.base import Base\nclass Order(Base):\n    __tablename__ = 'orders'\n",
         "shop/everything.py": "from shop.base import Base\nfrom shop.orders import Order\n__all__ = ['Base', 'Order']\n"},
        "shop.everything",
    ),
    (
        "one module for each",
        "from shop.models.base import Base\nfrom shop.models import order, user",
        {"shop/models.py": None, "shop/models/__init__.py": "__all__ = ['Base']\nfrom .base import Base\n",
         "shop/models/base.py": "from sqlalchemy.orm import DeclarativeBase\nclass Base(DeclarativeBase): pass\n",
         "shop/models/order.py": "from .base import Base\nclass Order(Base):\n    __tablename__ = 'orders'\n",
         "shop/models/user.py": "from .base import Base\nclass User(Base):\n    __tablename__ = 'users'\n"},
        "shop.models",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'},
        {"alembic.ini": "[alembic]\nscript_location = migrations\n"},
        {"alembic.ini": "[alembic]\nscript_location = .\n", "script.py.mako": ""},
    ],
    ids=["a table", "an ini file", "a template of revisions"],
)
def test_a_configuration_without_env_py_and_revisions_is_a_template_and_no_service(
    tmp_path: Path, files: dict[str, str]
) -> None:
    service(tmp_path)
    for name, text in files.items():
        path = tmp_path / "library" / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert [plain_service.name for plain_service in survey(tmp_path)] == ["shop"]


def test_a_folder_with_a_placeholder_in_its_name_is_a_template(tmp_path: Path) -> None:
    service(tmp_path)
    service(tmp_path, "templates/{{cookiecutter.name}}")
    assert [plain_service.name for plain_service in survey(tmp_path)] == ["shop"]


def test_this_repository_has_nothing_left_to_adopt() -> None:
    root = Path(__file__).parents[3]
    places = [plain_service.path for plain_service in survey(root) if not plain_service.adopted]
    assert [path for path in places if not path.is_relative_to(root / "tests")] == []


@pytest.mark.parametrize(
    ("imports", "files", "expected"), [case[1:] for case in MODULES], ids=[case[0] for case in MODULES]
)
def test_the_models_are_the_module_that_brings_every_table_of_env_py(tmp_path, imports, files, expected):
    service(tmp_path, **{"alembic/env.py": env(imports=imports), **files})
    found = only(tmp_path)
    assert found.models
    assert found.models.name == expected
    assert notes(found) == []


def _inside_a_package(tmp_path, **files):
    """Write a service whose env.py is deep in its package, with modules that have the names of libraries beside it."""
    packages = ("shop", "shop/db", "shop/db/sqlalchemy", "shop/db/alembic")
    service(
        tmp_path,
        **{
            "alembic.ini": None,
            "alembic/env.py": None,
            "shop/models.py": MODELS,
            **{f"{folder}/__init__.py": "" for folder in packages},
            "shop/db/sqlalchemy/base.py": "from sqlalchemy.orm import DeclarativeBase as Base\n",
            "shop/db/sqlalchemy/models.py": MODELS.replace("orders", "parcels"),
            "shop/db/alembic/script.py.mako": "",
            "shop/db/alembic/versions/1.py": "from shop.db.sqlalchemy import models\n" + revision("1", None),
        },
        **files,
    )
    return only(tmp_path)


def test_a_folder_with_the_name_of_a_library_is_not_what_env_py_imports(tmp_path):
    found = _inside_a_package(tmp_path, **{"shop/db/alembic/env.py": env()})
    assert found.models
    assert (found.models.name, found.relative(found.models.source)) == ("shop.models", "apps/shop")
    found = _inside_a_package(tmp_path, **{"shop/db/alembic/env.py": env("from shop.db.sqlalchemy.base import Base")})
    assert found.models
    assert (found.models.name, found.relative(found.models.source)) == ("shop.db.sqlalchemy.models", "apps/shop")


def test_a_revision_with_tables_of_its_own_is_not_the_models(tmp_path):
    tables = "import sqlalchemy as sa\nlatest = sa.Table('latest', sa.MetaData())\n"
    service(tmp_path, **{"shop/models.py": None, "shop/versions/1.py": tables + revision("1", None)})
    assert notes(only(tmp_path)) == [
        "blocked: apps/shop/alembic/env.py: no module with tables is found for Base.metadata; set models and source."
    ]


def test_a_src_layout_has_its_source_there(tmp_path):
    service(tmp_path, **{"shop/models.py": None, "src/shop/models.py": MODELS})
    found = only(tmp_path)
    assert found.models
    assert found.relative(found.models.source) == "apps/shop/src"


@pytest.mark.parametrize(
    "line",
    [
        "sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + '')",
        "sys.path.append(str(Path(__file__).resolve().parents[1] / 'lib'))",
        "ROOT = os.path.join(os.path.dirname(__file__), '..', 'lib')\nsys.path.insert(0, os.path.realpath(ROOT))",
        "BASE = Path(__file__).parent.parent\nsys.path.append(os.path.join(str(BASE), 'lib'))",
    ],
)
def test_a_folder_that_env_py_puts_on_sys_path_is_the_source(tmp_path, line):
    imports = f"import os, sys\nfrom pathlib import Path\n{line}\nfrom shop.models import Base"
    folder = "" if "+ ''" in line else "lib/"
    service(
        tmp_path, **{"alembic/env.py": env(imports=imports), "shop/models.py": None, f"{folder}shop/models.py": MODELS}
    )
    found = only(tmp_path)
    assert found.models
    assert found.relative(found.models.source) == f"apps/shop/{folder}".rstrip("/")


EXPORTS = [
    (MODELS.replace('__all__ = ["Base", "Order"]', ""), "from shop.models import Base", '__all__ = ["Base", "Order"]'),
    (
        "from sqlmodel import Field, SQLModel\nclass User(SQLModel, table=True):\n    id: int = Field(primary_key=True)\n"
        "class UserPublic(SQLModel):\n    id: int\n",
        "from shop.models import SQLModel\nBase = SQLModel",
        '__all__ = ["User"]',
    ),
    (
        "from sqlalchemy import MetaData, Table, Column, Integer\nmetadata = MetaData()\norders = Table('orders', metadata)\n",
        "from shop import models\nclass Base:\n    metadata = models.metadata",
        '__all__ = ["metadata"]',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("models", "imports", "expected"), EXPORTS, ids=["base", "sqlmodel", "metadata"])
def test_models_without_all_get_the_line_that_they_lack(tmp_path, models, imports, expected):
    service(tmp_path, **{"alembic/env.py": env(imports=imports), "shop/models.py": models})
    assert f"to do: apps/shop/shop/models.py: it has no __all__. Add: {expected}" in notes(only(tmp_path))


def test_models_in_several_modules_are_named(tmp_path):
    files = {
        "alembic/env.py": env(imports="from shop.models import Base\nimport shop.audit"),
        "shop/audit.py": "from shop.models import Base\nclass Audit(Base):\n    __tablename__ = 'audit'\n",
    }
    service(tmp_path, **files)
    found = only(tmp_path)
    # audit imports the models too, so that it brings all
    assert found.models
    assert found.models.name == "shop.audit"
    service(tmp_path, **files | {"shop/audit.py": "from sqlalchemy import Table\naudit = Table('audit', None)\n"})
    assert notes(only(tmp_path), "to do") == [
        "to do: apps/shop/shop/models.py: shop.audit has tables that shop.models doesn't import; import them there, "
        "or set models to a module that imports all and has an __all__."
    ]


def test_no_models_are_named_with_what_env_py_has(tmp_path):
    service(tmp_path, **{"shop/models.py": None})
    assert notes(only(tmp_path)) == [
        "blocked: apps/shop/alembic/env.py: no module with tables is found for Base.metadata; set models and source."
    ]


FLASK = """
import logging
from logging.config import fileConfig
from flask import current_app
from alembic import context
config = context.config
fileConfig(config.config_file_name)
logger = logging.getLogger('alembic.env')

def get_engine():
    try:
        return current_app.extensions['migrate'].db.get_engine()
    except (TypeError, AttributeError):
        return current_app.extensions['migrate'].db.engine

def get_engine_url():
    try:
        return get_engine().url.render_as_string(hide_password=False).replace('%', '%%')
    except AttributeError:
        return str(get_engine().url).replace('%', '%%')

config.set_main_option('sqlalchemy.url', get_engine_url())
target_db = current_app.extensions['migrate'].db

def get_metadata():
    if hasattr(target_db, 'metadatas'):
        return target_db.metadatas[None]
    return target_db.metadata

def run_migrations_online():
    def process_revision_directives(context, revision, directives):
        if getattr(config.cmd_opts, 'autogenerate', False):
            script = directives[0]
            if script.upgrade_ops.is_empty():
                directives[:] = []
                logger.info('No changes in schema detected.')
    conf_args = current_app.extensions['migrate'].configure_args
    if conf_args.get("process_revision_directives") is None:
        conf_args["process_revision_directives"] = process_revision_directives
    connectable = get_engine()
    with connectable.connect() as connection:
        context.configure(connection=connection, target_metadata=get_metadata(), **conf_args)
        with context.begin_transaction():
            context.run_migrations()

run_migrations_online()
"""


def test_an_environment_of_flask_migrate_is_read_with_the_applications_configuration(tmp_path):
    files = {
        "alembic.ini": None,
        "alembic/env.py": None,
        "alembic/versions/0001_first.py": None,
        "migrations/alembic.ini": "[alembic]\n[loggers]\nkeys = root\n",
        "migrations/env.py": FLASK,
        "migrations/versions/0001.py": revision("0001", None),
        "shop/models.py": "from shop import db\nclass Order(db.Model):\n    id = db.Column(db.Integer)\n",
        "shop/__init__.py": "from flask_sqlalchemy import SQLAlchemy\ndb = SQLAlchemy()\n",
        "shop/config.py": "import os\nclass Config:\n    SQLALCHEMY_DATABASE_URI = os.environ.get('DATABASE_URL')\n",
    }
    service(tmp_path, **files)
    found = only(tmp_path)
    assert (found.name, found.relative(found.path), found.dsn.dsn_key) == ("shop", "apps/shop", "DATABASE_URL")
    assert found.models
    assert (found.models.name, found.models.export) == ("shop.models", '__all__ = ["Order"]')


@pytest.mark.parametrize("of_flask", [True, False])
def test_what_revisions_need_of_a_flask_application_is_named(tmp_path, of_flask):
    uses = "from flask import current_app\nfrom shop import db, models\n"
    reads = "op.execute(current_app.config['SEED'])\nop.execute(current_app.config['MORE'])"
    files = {
        "alembic/env.py": env(
            "from flask import current_app\nfrom shop.models import Base"
            if of_flask
            else "from shop.models import Base"
        ),
        "alembic/versions/0001_first.py": uses + revision("0001", None, reads),
        "alembic/versions/0002.py": uses + revision("0002", "0001", "models.Order.query.all()\ndb.session.commit()"),
        "alembic/versions/0003.py": revision("0003", "0002", "sa.orm.Session(op.get_bind()).query(1)"),
    }
    service(tmp_path, **files)
    named = [note for note in notes(only(tmp_path)) if "application" in note]
    assert named == (
        [
            "to do: apps/shop/alembic/versions/0002.py:8: models.Order.query has a connection of the application's, which "
            "a replay refuses; use Session(bind=op.get_bind()).",
            "hook: apps/shop/alembic/versions/0001_first.py:8: it needs the context of the application, which `flask db "
            "upgrade` opens: current_app.",
        ]
        if of_flask
        else []
    )


def test_a_context_of_the_application_that_env_py_opens_is_a_hook(tmp_path):
    before = "from shop import create_app\nwith create_app().app_context():\n    pass\n"
    service(tmp_path, **{"alembic/env.py": env(before=before)})
    assert [note for note in notes(only(tmp_path)) if "context" in note] == [
        "hook: apps/shop/alembic/env.py:11: it opens the context of the application, which revisions may need: "
        "create_app().app_context()."
    ]


def test_a_revision_that_is_there_twice_under_one_name_of_a_file_has_the_folders_too(tmp_path):
    files = {f"alembic/versions/{folder}/0002.py": revision("0002", None) for folder in ("postgresql", "sqlite")}
    service(tmp_path, **files, **{"alembic/versions/0001_first.py": None})
    assert [note for note in notes(only(tmp_path)) if "also" in note] == [
        "blocked: apps/shop/alembic/versions/sqlite/0002.py:3: 0002 is also in postgresql/0002.py."
    ]


ASYNC = """
import asyncio
from logging.config import fileConfig
from sqlalchemy import pool
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import async_engine_from_config
from alembic import context
from shop.models import Base
from shop.settings import settings

config = context.config
config.set_main_option("sqlalchemy.url", settings.database_url.unicode_string())
target_metadata = Base.metadata

def do_run_migrations(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()

async def run_async_migrations() -> None:
    connectable = async_engine_from_config(config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.")
    async with connectable.connect() as connection:
        await connection.run_sync(do_run_migrations)
    await connectable.dispose()

def run_migrations_online() -> None:
    asyncio.run(run_async_migrations())

run_migrations_online()
"""


def test_the_async_template_is_read(tmp_path):
    settings = (
        "from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n    database_url: str\nsettings = S()\n"
    )
    service(tmp_path, **{"alembic/env.py": ASYNC, "shop/settings.py": settings})
    found = only(tmp_path)
    assert (found.dsn.dsn_key, found.models and found.models.name, notes(found)) == ("DATABASE_URL", "shop.models", [])


def test_several_environments_of_one_ini_are_services_by_their_sections(tmp_path):
    ini = "[DEFAULT]\nsqlalchemy.url = driver://x\n" + "".join(
        f"[{name}]\nscript_location = migrations/{name}\n" for name in ("orders", "billing")
    )
    files = {"alembic.ini": ini}
    for name in ("orders", "billing"):
        files |= {
            f"migrations/{name}/env.py": env(imports=f"from {name}.models import Base"),
            f"{name}/models.py": MODELS,
        }
        files |= {f"migrations/{name}/versions/a.py": revision("a", None)}
    write(tmp_path, files)
    services = survey(tmp_path)
    assert [(each.name, each.relative(each.path)) for each in services] == [
        ("billing", "migrations/billing"),
        ("orders", "migrations/orders"),
    ]


def test_a_table_in_pyproject_is_read_like_an_ini(tmp_path):
    toml = """
    [project]
    name = "shop"
    [tool.alembic]
    script_location = "%(here)s/alembic"
    version_locations = ["%(here)s/alembic/old", "%(here)s/alembic/new"]
    prepend_sys_path = ["%(here)s"]
    recursive_version_locations = true
    """
    files = {"alembic.ini": None, "pyproject.toml": toml, "alembic/versions/0001_first.py": None}
    files |= {"alembic/old/sub/a.py": revision("a", None), "alembic/new/b.py": revision("b", "a")}
    service(tmp_path, **files)
    found = only(tmp_path)
    assert [found.relative(path) for path in found.version_locations] == [
        "apps/shop/alembic/old",
        "apps/shop/alembic/new",
    ]
    assert (found.recursive, found.revisions.heads) == (True, ("b",))


@pytest.mark.parametrize(
    "locations",
    [
        "version_locations = %(here)s/alembic/old %(here)s/alembic/new",
        "version_locations = alembic/old, alembic/new",
        "version_locations = alembic/old:alembic/new\nversion_path_separator = os",
        "version_locations =\n    alembic/old\n    alembic/new\npath_separator = newline",
        "version_locations = alembic/old;alembic/new\nversion_path_separator = ;",
    ],
)
def test_version_locations_are_split_as_alembic_splits_them(tmp_path, locations):
    files = {"alembic.ini": f"{INI}{locations}\n", "alembic/versions/0001_first.py": None}
    files |= {"alembic/old/a.py": revision("a", None), "alembic/new/b.py": revision("b", "a")}
    service(tmp_path, **files)
    found = only(tmp_path)
    assert [found.relative(path) for path in found.version_locations] == [
        "apps/shop/alembic/old",
        "apps/shop/alembic/new",
    ]


def test_a_script_location_in_a_package_may_have_a_colon_for_each_folder(tmp_path):
    """As Alembic reads it: ``package:folder:folder``."""
    ini = INI.replace("script_location = alembic", "script_location = shop:db:history")
    files = {"alembic/env.py": None, "alembic/versions/0001_first.py": None, "alembic.ini": f"{ini}timezone = utc\n"}
    files |= {"shop/db/history/env.py": env(), "shop/db/history/versions/a.py": revision("a", None)}
    service(tmp_path, **files)
    found = only(tmp_path)
    assert (found.relative(found.config), found.revisions.heads) == ("apps/shop/alembic.ini", ("a",))


def test_two_services_with_one_version_table_of_one_database_are_both_named(tmp_path):
    before = 'import os\nconfig.set_main_option("sqlalchemy.url", os.environ["DATABASE_URL"])'
    write(tmp_path, {".env": "DATABASE_URL=postgresql://app:x@localhost/shared\n"})
    for name in ("orders", "billing", "stock"):
        options = ", version_table='alembic_stock'" if name == "stock" else ""
        files = {"alembic/env.py": env(f"from {name}.models import Base", before, options), f"{name}/models.py": MODELS}
        service(tmp_path, f"apps/{name}", **files, **{"shop/models.py": None})
    billing, orders, stock = survey(tmp_path)
    assert (billing.state, orders.state, stock.state) == ("blocked", "blocked", "new")
    assert notes(billing) == [
        "blocked: orders has the version table alembic_version of the same database; give one of them another "
        "version_table, or another database by DATABASE_DSN in apps/billing/.env."
    ]


def test_of_histories_that_share_models_the_one_that_has_them_is_adopted(tmp_path):
    """As of an application and its plugins, whose env.py all name the application's metadata."""
    for folder in ("shop", "plugins/stock", "plugins/tax"):
        files = {"shop/models.py": MODELS if folder == "shop" else None, "models.py": None}
        service(
            tmp_path, folder, **{**files, "alembic.ini": INI, "alembic/env.py": env("from shop.models import Base")}
        )
    (tmp_path / "shop/shop/models.py").rename(tmp_path / "shop/models.py")
    shop, stock, tax = survey(tmp_path)
    assert (shop.state, stock.state, tax.state) == ("new", "blocked", "blocked")
    assert notes(tax) == [
        "blocked: shop, stock have the models shop.models too, and a table belongs to one service; set models to a "
        "module of its own, if only one with __all__ = []."
    ]


def test_folders_that_name_no_service_are_passed_over_and_names_are_valid_and_different(tmp_path):
    for folder in ("apps/billing-api/backend", "apps/orders/backend", "libs/orders", "2fast"):
        service(tmp_path, folder)
    assert [plain_service.name for plain_service in survey(tmp_path)] == [
        "apps_orders_backend",
        "billing_api",
        "libs_orders",
        "service_2fast",
    ]


def test_hidden_folders_environments_and_installed_packages_are_passed_over(tmp_path):
    for folder in (".git/x", ".venv/lib", "node_modules/x", "env/lib/python3/site-packages/x"):
        service(tmp_path, folder)
    service(tmp_path, "own-venv/x")
    write(tmp_path, {"own-venv/pyvenv.cfg": ""})
    assert survey(tmp_path) == ()


def test_nothing_is_imported_and_nothing_is_changed(tmp_path):
    bomb = "raise SystemExit('imported')\n"
    files = {"alembic/env.py": env() + bomb, "shop/models.py": MODELS + bomb, "shop/__init__.py": bomb}
    service(tmp_path, **files, **{"alembic/versions/0001_first.py": revision("0001", None) + bomb})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert only(tmp_path).state == "new"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_hundred_services_are_read_in_seconds(tmp_path):
    for number in range(100):
        files = {
            f"alembic/versions/{index:04}.py": revision(f"{index:04}", f"{index - 1:04}") for index in range(2, 21)
        }
        imports = f"from shop{number}.models import Base"
        service(
            tmp_path,
            f"apps/shop{number}",
            **files,
            **{"alembic/env.py": env(imports), f"shop{number}/models.py": MODELS},
        )
    started = time.process_time()
    assert len(survey(tmp_path)) == 100
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            "from environs import Env\nenv = Env()\nwith env.prefixed('SHOP_'):\n    URL = env.str('DB_URL')",
            "SHOP_DB_URL",
        ),
        (
            "from environs import env\nwith env.prefixed('A_'), env.prefixed('B_'):\n    URL = env('DB_URL')",
            "A_B_DB_URL",
        ),
        ("from environs import Env\nenv = Env(prefix='SHOP_')\nURL = env('DB_URL')", "SHOP_DB_URL"),
        (
            "from starlette.config import Config\nconfig = Config('.env', env_prefix='SHOP_')\nURL = config('DB_URL')",
            "SHOP_DB_URL",
        ),
        ("from starlette.config import Config\nconfig = Config('.env', env_prefix=NAME)\nURL = config('DB_URL')", None),
        (
            "from environs import Env\nenv = Env()\nwith env.prefixed('SHOP_'):\n    A = 1\nURL = env.str('DB_URL')",
            "DB_URL",
        ),
    ],
)
def test_what_stands_before_the_name_of_a_variable_is_part_of_it(tmp_path, settings, expected):
    before = 'config.set_main_option("sqlalchemy.url", URL)'
    text = env(imports="from shop.models import Base\nfrom shop.settings import URL", before=before)
    service(
        tmp_path,
        **{
            "alembic.ini": "[alembic]\nscript_location = alembic\n",
            "alembic/env.py": text,
            "shop/settings.py": settings,
        },
    )
    assert only(tmp_path).dsn.dsn_key == expected


@pytest.mark.parametrize("call", ["Migrate(app, db, {})", "migrate.init_app(app, db, {})"])
def test_the_options_that_flask_migrate_is_given_are_those_of_configure(tmp_path, call):
    given = call.format("directory='migrations', compare_type=False, version_table='shop_version', include_object=only")
    files = {
        "alembic.ini": None,
        "alembic/env.py": None,
        "alembic/versions/0001_first.py": None,
        "migrations/alembic.ini": "[alembic]\n",
        "migrations/env.py": FLASK,
        "migrations/versions/0001.py": revision("0001", None),
        "shop/models.py": "from shop import db\nclass Order(db.Model):\n    id = db.Column(db.Integer)\n",
        "shop/extensions.py": "from flask_migrate import Migrate\nmigrate = Migrate()\n",
        "shop/__init__.py": f"from flask_migrate import Migrate\nfrom shop.extensions import migrate\n{given}\n",
    }
    service(tmp_path, **files)
    found = only(tmp_path)
    assert found.version_table == "shop_version"
    assert notes(found, "hook") == ["hook: apps/shop/shop/__init__.py:3: include_object=only."]


def test_a_revision_that_a_file_imports_counts_and_a_file_without_one_is_named(tmp_path):
    files = {
        "shop/revisions.py": revision("0001", None),
        "alembic/versions/0001_first.py": "from shop.revisions import *\n",
        "alembic/versions/helper.py": "NUMBER = 5\n",
    }
    service(tmp_path, **files)
    found = only(tmp_path)
    assert found.revisions.heads == ("0001",)
    assert notes(found) == [
        "to do: apps/shop/alembic/versions/helper.py: no revision is found in it; if it is computed, this file isn't counted."
    ]


def test_what_a_revision_imports_from_another_folder_of_sys_path_is_named(tmp_path):
    files = {
        "alembic.ini": INI.replace("prepend_sys_path = .", "prepend_sys_path = .:lib\npath_separator = os"),
        "lib/shop_sql/views.py": "",
        "shop/own.py": "",
        "alembic/versions/0001_first.py": "import os\nimport shop.own\nfrom shop_sql.views import *\n"
        + revision("0001", None),
    }
    service(tmp_path, **files)
    (note,) = notes(only(tmp_path))
    assert (
        "0001_first.py: it imports shop_sql.views of apps/shop/lib/shop_sql/views.py, and only apps/shop is on" in note
    )


def test_a_module_of_python_is_not_one_of_its_name_in_a_folder_of_sys_path(tmp_path):
    """Such as the folder of a package whose alembic.ini stands in it: plain Alembic has loaded these already."""
    files = {
        "alembic.ini": INI.replace("prepend_sys_path = .", "prepend_sys_path = .:shop\npath_separator = os"),
        "shop/typing.py": "",
        "shop/enum.py": "",
        "alembic/versions/0001_first.py": "import typing\nfrom enum import Enum\n" + revision("0001", None),
    }
    service(tmp_path, **files)
    assert notes(only(tmp_path), "to do") == []


def test_a_library_is_not_the_file_of_its_name_that_imports_it(tmp_path):
    """Such as an application's celery.py, in the folder of a package whose alembic.ini stands in it."""
    files = {
        "alembic.ini": INI.replace("prepend_sys_path = .", "prepend_sys_path = .:shop\npath_separator = os"),
        "shop/celery.py": "from celery import Celery\n",
        "shop/models.py": "from shop.celery import Celery\nfrom celery.result import AsyncResult\n" + MODELS,
    }
    service(tmp_path, **files)
    assert notes(only(tmp_path), "to do") == []


def test_what_models_import_from_another_folder_of_sys_path_is_named(tmp_path, monkeypatch):
    """As a package that services share: plain Alembic found it, and here its models wouldn't be imported."""
    files = {
        "alembic.ini": INI.replace("prepend_sys_path = .", "prepend_sys_path = .:../common/src\npath_separator = os"),
        "../common/src/shop_common/db.py": "from sqlalchemy.orm import DeclarativeBase\nclass Base(DeclarativeBase): pass\n",
        "shop/base.py": "from shop_common.db import Base\n",
        "shop/models.py": MODELS.replace(
            "from sqlalchemy.orm import DeclarativeBase, ", "from sqlalchemy.orm import "
        ).replace("class Base(DeclarativeBase):\n    pass\n", "from .base import Base\n"),
    }
    service(tmp_path, **files)
    (note,) = notes(only(tmp_path), "to do")
    assert note.startswith(
        "to do: apps/shop/shop/base.py: it imports shop_common.db of apps/common/src/shop_common/db.py"
    ), note
    assert "only apps/shop is on sys.path here; install that folder as a package" in note
    monkeypatch.syspath_prepend(tmp_path / "apps/common/src")
    assert notes(only(tmp_path), "to do") == []  # as in an editable install


def test_a_revision_that_asks_for_the_driver_is_named(tmp_path):
    body = "if op.get_bind().dialect.driver == 'psycopg2':\n    pass"
    service(tmp_path, **{"alembic/versions/0001_first.py": revision("0001", None, body)})
    (note,) = notes(only(tmp_path), "to do")
    assert "it reads op.get_bind().dialect.driver, and the name of the driver is asyncpg or psycopg here" in note


@pytest.mark.parametrize(
    ("question", "attribute"),
    [
        ("engine.dialect.dialect_description == 'postgresql+psycopg2'", "engine.dialect.dialect_description"),
        ("op.get_bind().engine.driver == 'psycopg2'", "op.get_bind().engine.driver"),
        ("bind.engine.url.drivername == 'postgresql'", "bind.engine.url.drivername"),
        ("bind.engine.url.drivername.startswith('postgresql+psycopg2')", "bind.engine.url.drivername"),
        ("'psycopg2' in bind.dialect.dialect_description", "bind.dialect.dialect_description"),
        ("bind.dialect.dialect_description.startswith('mysql')", None),
        ("'sqlite' not in bind.engine.url.drivername", None),
        ("node.driver == 'ipmi'", None),
    ],
)
def test_each_question_for_the_driver_is_named_and_none_for_the_database(tmp_path, question, attribute):
    body = f"bind = engine = op.get_bind()\nif {question}:\n    pass"
    service(tmp_path, **{"alembic/versions/0001_first.py": revision("0001", None, body)})
    named = [note for note in notes(only(tmp_path), "to do") if "name of the driver" in note]
    assert [f"it reads {attribute}, and" in note for note in named] == ([True] if attribute else [])


def test_the_names_of_new_revisions_are_those_of_the_top_level(tmp_path):
    given = INI + "file_template = %%(year)d/%%(rev)s\ntimezone = Europe/Berlin\n"
    service(tmp_path, **{"alembic.ini": given})
    assert notes(only(tmp_path)) == [
        "to do: apps/shop/alembic.ini:6: a new revision gets its name without file_template and timezone of this file; "
        "[tool.alembic] in pyproject.toml has these options for all."
    ]
    options = "file_template = '%%(year)d/%%(rev)s'\ntimezone = 'Europe/Berlin'\n"
    write(tmp_path, {"pyproject.toml": f"[tool.alembic]\nscript_location = 'none'\n{options}"})
    assert notes(only(tmp_path)) == []


def test_the_names_of_new_revisions_are_not_those_of_an_ini_file_of_the_top_level_either(tmp_path):
    ini = INI + "file_template = %%(year)d/%%(rev)s\n"
    location = "alembic/versions/0001_first.py"
    files = {"alembic.ini": ini, "alembic/env.py": env(), "shop/models.py": MODELS, location: revision("0001", None)}
    write(tmp_path, {"pyproject.toml": '[project]\nname = "shop"\n', **files})
    (note,) = [text for text in notes(only(tmp_path), "to do") if "file_template" in text]
    assert note.startswith("to do: alembic.ini:6: a new revision gets its name without file_template of this file; ")


def test_sections_of_logging_and_of_hooks_are_no_services_where_default_has_the_options(tmp_path):
    ini = """
[DEFAULT]
script_location = %(here)s/alembic

[orders]
version_locations = %(here)s/alembic/orders
sqlalchemy.url = postgresql://localhost/orders

[post_write_hooks]
hooks = ruff

[loggers]
keys = root

[logger_root]
level = WARNING
"""
    service(
        tmp_path,
        **{"alembic.ini": ini, "alembic/versions/0001_first.py": None, "alembic/orders/01.py": revision("01", None)},
    )
    assert [plain_service.name for plain_service in survey(tmp_path)] == ["orders"]


@pytest.mark.parametrize(
    ("line", "option", "table"),
    [
        ("'version_table', 'alembic_version'", "version_table = orders_version", "orders_version"),
        ("'version_table', 'fallback_version'", "", "fallback_version"),
        ("'version_table', default='fallback_version'", "", "fallback_version"),
        ("'version_table'", "version_table = orders_version", "orders_version"),
    ],
)
def test_a_version_table_of_the_ini_file_is_read_with_its_default(tmp_path, line, option, table):
    before = f"table = config.get_section_option(config.config_ini_section, {line})\n"
    service(
        tmp_path,
        **{"alembic.ini": f"{INI}{option}\n", "alembic/env.py": env(before=before, options=", version_table=table")},
    )
    found = only(tmp_path)
    assert (found.version_table, [text for text in notes(found) if "version_table" in text]) == (table, [])


def test_metadata_that_a_function_of_env_py_names_is_that_of_the_models(tmp_path):
    text = env(imports="from shop import storage\nfrom shop import models as tables").replace(
        "target_metadata = Base.metadata\n", ""
    )
    text = text.replace(
        "    with connectable.connect()", "    target_metadata = tables.Base.metadata\n    with connectable.connect()"
    )
    storage = "from shop import models\n"
    service(
        tmp_path,
        **{
            "alembic/env.py": text.replace("url=url, target_metadata=target_metadata", "url=url"),
            "shop/storage.py": storage,
        },
    )
    found = only(tmp_path)
    assert found.models
    assert found.models.name == "shop.models"


def test_the_name_of_a_key_of_flask_is_no_dsn_and_of_several_configurations_that_of_production_counts(tmp_path):
    settings = """
import os
from enum import StrEnum

class Key(StrEnum):
    SQLALCHEMY_DATABASE_URI = "SQLALCHEMY_DATABASE_URI"

class DevelopmentConfig:
    SQLALCHEMY_DATABASE_URI = os.environ.get("DEV_DATABASE_URL")

class ProductionConfig:
    SQLALCHEMY_DATABASE_URI = os.environ.get("DATABASE_URL")
"""
    files = {
        "alembic.ini": None,
        "alembic/env.py": None,
        "alembic/versions/0001_first.py": None,
        "migrations/alembic.ini": "[alembic]\n",
        "migrations/env.py": FLASK,
        "migrations/versions/0001.py": revision("0001", None),
        "shop/config.py": settings,
    }
    service(tmp_path, **files)
    assert only(tmp_path).dsn.dsn_key == "DATABASE_URL"


def test_a_history_without_metadata_is_told_what_its_models_can_be(tmp_path):
    files = {"shop/models.py": None, "alembic/env.py": env(imports="").replace("Base.metadata", "None")}
    service(tmp_path, **files)
    found = only(tmp_path)
    assert found.state == "blocked"
    assert any("it has no target_metadata" in text and "__all__ = []" in text for text in notes(found, "blocked"))


def test_what_a_person_has_written_into_the_table_is_no_longer_to_do(tmp_path):
    text = env(imports="", before="table = str(object())\n", options=", version_table=table").replace(
        "Base.metadata", "None"
    )
    service(
        tmp_path, **{"shop/models.py": None, "alembic.ini": INI.replace("sqlalchemy.url", "x"), "alembic/env.py": text}
    )
    before = only(tmp_path)
    assert {note.kind for note in before.notes} >= {"blocked", "to do"}
    table = """
[tool.service-migrations.service.shop]
path = "apps/shop"
source = "stubs"
models = "nothing"
versions = "apps/shop/alembic/versions"
version_table = "shop_version"
dsn_key = "SHOP_URL"
"""
    write(tmp_path, {"stubs/nothing/__init__.py": "__all__ = []\n", "pyproject.toml": table})
    found = only(tmp_path)
    assert (found.state, notes(found)) == ("adopted", [])
    assert (found.version_table, found.models and found.models.name) == ("shop_version", "nothing")
    assert found.dsn.dsn_key == "SHOP_URL"


@pytest.mark.parametrize(
    "more",
    [
        {"options": ", version_table='shop_service_migrations'"},
        {"before": "# as service_migrations does it"},
        {"imports": "from shop.models import Base\nfrom our_service_migrations import x"},
    ],
)
def test_the_name_of_the_library_in_a_text_makes_no_environment_of_its(tmp_path, more):
    service(tmp_path, **{"alembic/env.py": env(**more)})
    assert only(tmp_path).state == "new"


@pytest.mark.parametrize(
    "text", ["[ tool.alembic ]\nscript_location = 'alembic'\n", "[tool]\nalembic = {script_location = 'alembic'}\n"]
)
def test_the_table_of_alembic_is_found_however_it_is_written(tmp_path, text):
    service(tmp_path, "apps/shop", **{"alembic.ini": None, "pyproject.toml": text})
    assert only(tmp_path).config == tmp_path / "apps/shop/pyproject.toml"


def test_an_option_that_names_another_is_filled_in_to_the_end(tmp_path):
    ini = """
    [DEFAULT]
    base = %(here)s/db
    [alembic]
    script_location = %(base)s/migrations
    prepend_sys_path = .
    host = %(DB_HOST)s
    a.url = postgresql://%(host)s/shop
    sqlalchemy.url = %(a.url)s
    """
    files = {"alembic/env.py": None, "alembic/versions/0001_first.py": None, "alembic.ini": ini}
    files |= {"db/migrations/env.py": env(), "db/migrations/versions/a.py": revision("a", None)}
    service(tmp_path, **files)
    found = only(tmp_path)
    assert (found.config.name, found.path, found.dsn.dsn) == (
        "alembic.ini",
        tmp_path / "apps/shop",
        "postgresql://{DB_HOST}/shop",
    )


def test_an_option_that_names_itself_ends(tmp_path):
    ini = INI.replace("%(DATABASE_URL)s", "%(sqlalchemy.url)s").replace("= .", "= %(prepend_sys_path)s")
    service(tmp_path, **{"alembic.ini": ini})
    assert only(tmp_path).state == "new"


def test_a_relative_folder_of_sys_path_is_where_alembic_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    imports = "import sys\nsys.path.append('lib')\nfrom shop.models import Base"
    files = {"shop/models.py": None, "lib/shop/models.py": MODELS, "alembic/env.py": env(imports)}
    service(tmp_path, **files, **{"alembic.ini": INI.replace("prepend_sys_path = .\n", "")})
    found = only(tmp_path)
    assert found.models
    assert (found.models.name, found.models.source) == ("shop.models", tmp_path / "apps/shop/lib")


def test_a_number_of_toml_is_the_option_of_an_ini_file(tmp_path):
    write(tmp_path, {"pyproject.toml": "[tool.alembic]\nscript_location = 'm'\ntruncate_slug_length = 40\n"})
    service(tmp_path, **{"alembic.ini": f"{INI}truncate_slug_length = 40\n"})
    assert notes(only(tmp_path), "to do") == []


UNCERTAIN = {
    "expression": 'url = os.environ["TEST_URL"] if os.getenv("TESTING") else os.environ["DB_URL"]',
    "branches": 'if os.getenv("PROD"):\n    url = os.environ["DB_URL"]\nelse:\n    url = os.environ["TEST_URL"]',
    "three branches": """
if MODE == "a":
    url = os.environ["A_URL"]
elif MODE == "b":
    url = os.environ["B_URL"]
else:
    url = os.environ["DB_URL"]
""",
    "no other branch": 'url = os.environ["DB_URL"]\nif os.getenv("TESTING"):\n    url = os.environ["TEST_URL"]',
    "no other branch, in a function": """
def get_url():
    url = os.environ["DB_URL"]
    if os.getenv("TESTING"):
        url = os.environ["TEST_URL"]
    return url
url = get_url()
""",
    "one after the other": """
url = os.environ["DB_URL"]
if MODE == "a":
    url = os.environ["A_URL"]
if MODE == "b":
    url = os.environ["B_URL"]
""",
    "returns": """
def get_url():
    if os.getenv("TESTING"):
        return "sqlite://"
    return os.environ["DB_URL"]
url = get_url()
""",
}
SET_URL = 'config.set_main_option("sqlalchemy.url", url)'


@pytest.mark.parametrize("text", UNCERTAIN.values(), ids=UNCERTAIN)
def test_a_dsn_that_a_condition_chooses_is_not_taken(tmp_path, text):
    service(tmp_path, **{"alembic/env.py": env(before=f"{text}\n{SET_URL}")})
    found = only(tmp_path)
    assert (found.state, found.dsn.dsn_key) == ("new", None)
    assert "doesn't say where the DSN is from" in "".join(notes(found, "to do"))


def test_a_dsn_that_is_set_in_both_branches_is_not_taken(tmp_path):
    sets = [f"    {SET_URL.replace('url)', f'os.environ[{name!r}])')}" for name in ("TEST_URL", "DB_URL")]
    service(tmp_path, **{"alembic/env.py": env(before="\n".join(["if TESTING:", sets[0], "else:", sets[1]]))})
    assert only(tmp_path).dsn.dsn_key is None


SET_ONE_AFTER_THE_OTHER = {
    "two": (["A_URL"], ["DB_URL"], "DB_URL"),
    "a condition behind it": (["DB_URL"], ["if TESTING", "A_URL"], None),
    "a condition before it": (["if TESTING", "A_URL"], ["DB_URL"], "DB_URL"),
    "a condition that asks for it": (["A_URL"], ["if os.getenv('DB_URL')", "DB_URL"], "DB_URL"),
    "both branches before it": (["if TESTING", "A_URL", "else", "B_URL"], ["DB_URL"], "DB_URL"),
    "with": (["A_URL"], ["with lock", "DB_URL"], "DB_URL"),
    "two conditions": (["DB_URL"], ["if ONE", "A_URL", "if TWO", "DB_URL"], None),
}


@pytest.mark.parametrize(("first", "second", "key"), SET_ONE_AFTER_THE_OTHER.values(), ids=SET_ONE_AFTER_THE_OTHER)
def test_of_dsns_that_are_set_one_after_the_other_the_last_is_taken(tmp_path, first, second, key):
    lines = ["import os"]
    for part in (*first, *second):
        inside = lines[-1].endswith(":")
        line = SET_URL.replace("url)", f"os.environ[{part!r}])") if part.endswith("_URL") else f"{part}:"
        lines.append(f"    {line}" if inside else line)
    service(tmp_path, **{"alembic/env.py": env(before="\n".join(lines))})
    assert only(tmp_path).dsn.dsn_key == key


ASKED = {
    "expression": 'url = os.environ["DB_URL"] if "DB_URL" in os.environ else "postgresql://localhost/x"',
    "not": 'given = os.getenv("DB_URL")\nurl = "postgresql://localhost/x" if not given else given',
    "branches": 'if "DB_URL" in os.environ:\n    url = os.environ["DB_URL"]\nelse:\n    url = "postgresql://localhost/x"',
    "returns": """
def get_url():
    url = os.getenv("DB_URL")
    if url:
        return url
    return f"postgresql://{os.environ['HOST']}/x"
url = get_url()
""",
    "no other branch": 'url = "postgresql://localhost/x"\nif os.getenv("DB_URL"):\n    url = os.environ["DB_URL"]',
    "what is missing": 'url = os.getenv("DB_URL")\nif not url:\n    url = "postgresql://localhost/x"',
    "another scheme": """
url = os.environ["DB_URL"]
if url.startswith("postgres://"):
    url = url.replace("postgres://", "postgresql://", 1)
""",
    "an error": 'url = os.getenv("DB_URL")\nif url is None:\n    raise SystemExit("DB_URL")',
    "another name": 'url = os.environ["DB_URL"]\nif os.getenv("TESTING"):\n    echo = True',
    "the same": 'if os.getenv("TESTING"):\n    url = os.environ["DB_URL"]\nelse:\n    url = os.environ["DB_URL"]',
}


@pytest.mark.parametrize("text", ASKED.values(), ids=ASKED)
def test_a_condition_that_asks_for_a_variable_gives_its_default(tmp_path, text):
    service(tmp_path, **{"alembic/env.py": env(before=f"{text}\n{SET_URL}")})
    assert only(tmp_path).dsn.dsn_key == "DB_URL"


@pytest.mark.parametrize(
    ("before", "option"),
    [
        ("", "'shop_test' if os.getenv('TESTING') else 'shop_versions'"),
        ("if TESTING:\n    name = 'shop_test'\nelse:\n    name = 'shop_versions'", "name"),
        ("context.configure(version_table='shop_test')", "'shop_versions'"),
    ],
)
def test_a_version_table_that_may_be_another_is_not_taken(tmp_path, before, option):
    service(tmp_path, **{"alembic/env.py": env(before=before, options=f", version_table={option}")})
    assert "version_table can't be read from it" in "".join(notes(only(tmp_path), "to do"))


def test_a_link_to_what_is_gone_is_no_file_of_a_service(tmp_path):
    """As editors leave them: a lock of Emacs is such a link."""
    files = {"alembic/env.py": env("from flask import current_app\nfrom shop.models import Base"), "app.py": "x = 1\n"}
    service(tmp_path, **files, **{"alembic.ini": INI.replace("sqlalchemy.url = %(DATABASE_URL)s\n", "")})
    (tmp_path / "apps/versions").mkdir()
    for name in ("env.py", "shop/.#app.py", "shop/shop/.#models.py", "shop/alembic/versions/.#0001_first.py"):
        (tmp_path / "apps" / name).symlink_to("nowhere")
    assert only(tmp_path).state == "new"


@pytest.mark.parametrize("name", ["shop/generated.py", "alembic/versions/0002_second.py"])
def test_a_file_that_is_too_deep_for_the_parser_is_told(tmp_path, name):
    imports = "from shop.models import Base\nimport shop.generated"
    service(tmp_path, **{"alembic/env.py": env(imports), name: f"x = {'-' * 20_000}1\n"})
    found = only(tmp_path)
    assert found.models
    assert [note.path for note in found.notes if note.kind == "blocked"] == (
        [f"apps/shop/{name}"] if "versions" in name else []
    )

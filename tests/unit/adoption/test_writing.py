"""What ``db.adopt --write`` writes, and what it leaves as it is."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from service_migrations.adoption.survey import survey
from service_migrations.adoption.writing import write as write_files
from service_migrations.errors import ConfigurationError
from service_migrations.history.files.head_file import problem
from service_migrations.history.revisions import read
from service_migrations.monorepo import Monorepo
from tests.support.monorepo import MODELS as OWN_MODELS
from tests.support.plain_alembic import INI, MODELS, env, revision, service, write


def texts(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def adopt(root: Path) -> list[str]:
    return [file.path for file in write_files(root, survey(root)) if file.created or file.tables]


def table(root: Path) -> dict[str, object]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["service-migrations"]


def shop(root: Path, name: str, folder: str | None = None, **files: str | None) -> None:
    files = {"alembic/env.py": env(f"from {name}.models import Base"), "shop/models.py": None} | files
    service(root, f"apps/{name}" if folder is None else folder, **{f"src/{name}/models.py": MODELS, **files})


@pytest.mark.parametrize("word", ["db.adopt", "db.init"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_repository_of_one_service_may_have_its_environment_at_the_top(tmp_path, word, inside):
    """As Flask-Migrate and Advanced Alchemy make it: migrations/env.py beside a pyproject.toml without a table."""
    write(tmp_path, {"pyproject.toml": '[project]\nname = "shop"\n', "shop/models.py": MODELS})
    write(tmp_path, {"migrations/env.py": env("from shop.models import Base")})
    write(tmp_path, {"migrations/versions/a1.py": revision("a1", None)})
    call = [sys.executable, "-m", "service_migrations", word, *(["--write"] if word == "db.adopt" else [])]
    ran = subprocess.run(
        call, cwd=tmp_path / "shop" if inside else tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (0, f"The monorepo is {tmp_path}"), ran.stderr
    assert "[tool.service-migrations]" in (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    assert (tmp_path / "migrations/env.py").read_text(encoding="utf-8") == env("from shop.models import Base")


def test_what_services_have_in_common_is_written_once(tmp_path):
    write(tmp_path, {"pyproject.toml": '[project]\nname = "shop"  # ours\n'})
    for name in ("orders", "billing", "stock"):
        options = ", version_table='stock_versions'" if name == "stock" else ""
        shop(tmp_path, name, **{"alembic/env.py": env(f"from {name}.models import Base", options=options)})
    before = texts(tmp_path)
    written = adopt(tmp_path)
    heads = [f"apps/{name}/alembic/versions/head.txt" for name in ("billing", "orders", "stock")]
    assert written == [
        *("pyproject.toml", "pyproject.toml", "migrations/env.py", "migrations/script.py.mako"),
        *("tasks.py", "noxfile.py", ".env.example", *heads),
    ]
    text = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    assert text.partition("[tool.alembic]")[0] == (
        '[project]\nname = "shop"  # ours\n\n'
        "[tool.service-migrations]\n"
        "# Written by `inv db.adopt --write`: where everything is that plain Alembic had already.\n"
        'services = ["apps/*"]\n'
        'source = "{path}/src"\n'
        'models = "{name}.models"\n'
        'versions = "{path}/alembic/versions"\n'
        'version_table = "alembic_version"\n'
        'dsn_key = "DATABASE_URL"\n\n'
        "[tool.service-migrations.service.stock]\n"
        'version_table = "stock_versions"\n\n'
    )
    after = texts(tmp_path)
    assert {name for name, content in before.items() if after[name] != content} == {"pyproject.toml"}
    services = Monorepo.at(tmp_path).services()
    assert [each.name for each in services] == ["billing", "orders", "stock"]
    assert [problem(read(each)) for each in services] == [None, None, None]


def test_a_second_run_changes_nothing(tmp_path):
    for name in ("orders", "billing"):
        shop(tmp_path, name)
    adopt(tmp_path)
    before = texts(tmp_path)
    assert adopt(tmp_path) == []
    assert texts(tmp_path) == before
    assert [(each.name, each.state) for each in survey(tmp_path)] == [("billing", "adopted"), ("orders", "adopted")]
    lost = ["apps/orders/alembic/versions/head.txt", "tasks.py"]
    for path in lost:
        (tmp_path / path).unlink()
    assert sorted(adopt(tmp_path)) == lost
    assert texts(tmp_path) == before


def test_where_there_is_nothing_to_adopt_nothing_is_written(tmp_path):
    write(tmp_path, {"pyproject.toml": '[project]\nname = "shop"\n', "apps/orders/models.py": MODELS})
    before = texts(tmp_path)
    assert write_files(tmp_path, survey(tmp_path)) == ()
    assert texts(tmp_path) == before


def test_a_service_that_comes_later_gets_a_table_of_its_own_below_the_one_that_is_there(tmp_path):
    for name in ("orders", "billing"):
        shop(tmp_path, name)
    adopt(tmp_path)
    before = (tmp_path / "pyproject.toml").read_bytes()
    shop(
        tmp_path,
        "stock",
        "libs/stock",
        **{"alembic.ini": f"{INI}version_locations = history\n", "history/a.py": revision("a", None)},
    )
    assert adopt(tmp_path) == ["pyproject.toml", "libs/stock/history/head.txt"]
    text = (tmp_path / "pyproject.toml").read_bytes()
    assert text.startswith(before)
    assert text[len(before) :].decode() == (
        '\n[tool.service-migrations.service.stock]\npath = "libs/stock"\nversions = "libs/stock/history"\n'
    )


def test_a_table_of_this_library_that_is_there_keeps_its_services(tmp_path):
    write(
        tmp_path,
        {"pyproject.toml": "[tool.service-migrations]\n", "services/own/models.py": OWN_MODELS.format(table="own")},
    )
    shop(tmp_path, "orders")
    adopt(tmp_path)
    assert [each.name for each in Monorepo.at(tmp_path).services()] == ["orders", "own"]
    assert table(tmp_path) == {
        "service": {
            "orders": {
                "path": "apps/orders",
                "source": "apps/orders/src",
                "models": "orders.models",
                "versions": "apps/orders/alembic/versions",
                "version_table": "alembic_version",
                "dsn_key": "DATABASE_URL",
            }
        }
    }


def test_what_a_table_says_of_all_services_and_a_found_one_cant_have_is_refused(tmp_path):
    write(tmp_path, {"pyproject.toml": '[tool.service-migrations]\ndsn_key = "DB"\n'})
    shop(tmp_path, "orders", **{".env": "DATABASE_DSN=postgresql://u@h/d\n"})
    before = texts(tmp_path)
    with pytest.raises(ConfigurationError, match="dsn_key is 'DB' for all services, and orders has none"):
        adopt(tmp_path)
    assert texts(tmp_path) == before


def test_line_ends_and_a_missing_last_one_are_kept(tmp_path):
    shop(tmp_path, "orders")
    (tmp_path / "pyproject.toml").write_bytes(b"[project]\r\nname = 'shop'")
    adopt(tmp_path)
    text = (tmp_path / "pyproject.toml").read_bytes()
    assert text.startswith(b"[project]\r\nname = 'shop'\r\n\r\n[tool.service-migrations]\r\n")
    assert text.count(b"\n") == text.count(b"\r\n")


def test_a_blocked_service_and_one_of_another_database_are_no_services(tmp_path):
    for name in ("orders", "billing"):
        shop(tmp_path, name)
    shop(tmp_path, "broken", **{"alembic/versions/b.py": revision("b", "gone")})
    shop(tmp_path, "lite", **{"alembic.ini": INI.replace("%(DATABASE_URL)s", "sqlite:///x.db")})
    adopt(tmp_path)
    assert table(tmp_path)["services"] == ["apps/billing", "apps/orders"]
    assert [each.name for each in Monorepo.at(tmp_path).services()] == ["billing", "orders"]
    assert not (tmp_path / "apps/broken/alembic/versions/head.txt").exists()


@pytest.mark.parametrize("folder", ["apps/billing-api", "apps/orders/backend", "2fast"])
def test_a_folder_whose_name_cant_be_the_services_gets_a_path(tmp_path, folder):
    shop(tmp_path, "orders", folder)
    (name,) = [plain_service.name for plain_service in survey(tmp_path)]
    adopt(tmp_path)
    assert [(each.name, each.relative(each.path)) for each in Monorepo.at(tmp_path).services()] == [(name, folder)]


def test_a_squashed_history_is_read_without_its_old_files(tmp_path):
    old = {f"alembic/versions/legacy/{number}.py": revision(number, None) for number in ("0001", "0009")}
    for name in ("orders", "billing"):
        shop(tmp_path, name, **(old if name == "orders" else {}))
    adopt(tmp_path)
    orders, billing = (Monorepo.at(tmp_path).find(name) for name in ("orders", "billing"))
    assert [sorted(read(service).heads) for service in (orders, billing)] == [["0001"], ["0001"]]
    assert table(tmp_path)["service"] == {"orders": {"recursive_version_locations": False}}
    assert [
        note for plain_service in survey(tmp_path) for note in plain_service.notes if "folders below" in note.text
    ] == []
    assert adopt(tmp_path) == []


def test_every_key_that_was_found_is_written(tmp_path):
    before = (
        "import os\nconfig.set_main_option('sqlalchemy.url', f\"postgresql://{os.environ['U']}@{os.environ['H']}/d\")"
    )
    files = {
        "alembic.ini": f"{INI}version_locations = alembic/versions alembic/more\nrecursive_version_locations = true\n",
        "alembic/env.py": env(
            "from orders.models import Base", before, ", version_table='vt', version_table_schema='sales'"
        ),
        "alembic/more/2024/b.py": revision("b", "0001", "op.execute('SELECT 1; SELECT 2')"),
    }
    write(tmp_path, {"apps/.env": "U=u\nH=h\n"})
    shop(tmp_path, "orders", "apps/orders", **files)
    adopt(tmp_path)
    assert table(tmp_path) == {
        "services": ["apps/*"],
        "service": {
            "orders": {
                "source": "apps/orders/src",
                "models": "orders.models",
                "versions": ["apps/orders/alembic/versions", "apps/orders/alembic/more"],
                "recursive_version_locations": True,
                "version_table": "vt",
                "version_table_schema": "sales",
                "driver": "psycopg",
                "env_file": "apps/.env",
                "dsn": "postgresql://{U}@{H}/d",
            }
        },
    }


def test_a_repository_of_one_service_at_its_top_keeps_its_ini_and_its_folder(tmp_path):
    files = {
        "alembic.ini": INI.replace("= alembic", "= migrations"),
        "alembic/env.py": None,
        "src/orders/models.py": None,
    }
    files |= {"alembic/versions/0001_first.py": None, "orders/models.py": MODELS}
    files |= {
        "migrations/env.py": env("from orders.models import Base"),
        "migrations/versions/a.py": revision("a", None),
    }
    shop(tmp_path, "orders", "", **files)
    write(tmp_path, {"pyproject.toml": '[project]\nname = "my-orders"\n'})
    before = texts(tmp_path)
    adopt(tmp_path)
    after = texts(tmp_path)
    assert {name for name, content in before.items() if after[name] != content} == {"pyproject.toml"}
    assert tomllib.loads(after["pyproject.toml"].decode())["tool"]["alembic"] == {
        "script_location": "%(here)s/migrations_environment"
    }
    (plain_service,) = Monorepo.at(tmp_path).services()
    assert (plain_service.name, plain_service.relative(plain_service.versions)) == ("my_orders", "migrations/versions")
    assert [each.revision for each in read(plain_service).revisions] == ["a"]
    assert adopt(tmp_path) == []


def test_alembics_table_at_the_top_that_is_a_services_own_is_refused(tmp_path):
    write(tmp_path, {"pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/alembic"\n'})
    shop(tmp_path, "orders", "", **{"alembic.ini": None, "src/orders/models.py": None, "orders/models.py": MODELS})
    before = texts(tmp_path)
    with pytest.raises(ConfigurationError, match=r"pyproject.toml: \[tool.alembic\] is that of .* Move its options"):
        adopt(tmp_path)
    assert texts(tmp_path) == before


def test_the_shared_env_py_names_every_hook_of_before_with_its_file_and_line(tmp_path):
    options = ", include_object=include_object, profile='eu'"
    shop(
        tmp_path,
        "orders",
        **{"alembic/env.py": env("from orders.models import Base", "def include_object(*a): return True", options)},
    )
    shop(tmp_path, "billing")
    adopt(tmp_path)
    text = (tmp_path / "migrations/env.py").read_text(encoding="utf-8")
    ast.parse(text)
    comment = text.partition("# From the env.py of before; give each its place in OPTIONS, or in do_run_migrations:\n")[
        2
    ]
    lines = comment.splitlines()[:2]
    assert lines[0].startswith("#   apps/orders/alembic/env.py:")
    assert [line.rpartition(": ")[2] for line in lines] == ["include_object=include_object", "profile='eu'"]
    assert comment.splitlines()[2] == ""


def test_several_environments_of_one_ini_become_services_and_the_ini_is_still_alembics(tmp_path):
    files = {"alembic.ini": "".join(f"[{name}]\nscript_location = db/{name}\n" for name in ("orders", "billing"))}
    for name in ("orders", "billing"):
        files |= {f"db/{name}/env.py": env(f"from {name}.models import Base"), f"{name}/models.py": MODELS}
        files |= {f"db/{name}/versions/a.py": revision("a", None)}
    write(tmp_path, files)
    adopt(tmp_path)
    assert "alembic" not in tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]
    assert [each.name for each in Monorepo.at(tmp_path).services()] == ["billing", "orders"]
    for name in ("orders", "billing"):
        words = [sys.executable, "-m", "alembic", "-n", name, "heads"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.split()[0]) == (0, "a"), done.stderr


@pytest.mark.parametrize("own_table", ["", "[tool.service-migrations.service.shop]\nmodels = 'services.shop.models'\n"])
def test_a_name_of_the_table_is_not_given_to_another_service(tmp_path, own_table):
    before = f"[tool.service-migrations]\nservices = ['services/*']\n{own_table}"
    write(tmp_path, {"pyproject.toml": before, "services/shop/models.py": OWN_MODELS})
    write(tmp_path, {"migrations/env.py": "import service_migrations\n"})
    service(tmp_path, "legacy/shop")
    adopt(tmp_path)
    assert {item.name: item.path.relative_to(tmp_path).as_posix() for item in Monorepo.at(tmp_path).services()} == {
        "shop": "services/shop",
        "legacy_shop": "legacy/shop",
    }


def test_a_table_that_is_there_is_named_by_its_file(tmp_path):
    own = "[tool.service-migrations.service.shop]\nmodels = 'shop.models'\nsource = '{path}'\n"
    before = f"[tool.service-migrations]\nservices = ['apps/*']\n{own}"
    write(tmp_path, {"pyproject.toml": before})
    service(tmp_path, "apps/shop")
    with pytest.raises(ConfigurationError, match=r"^pyproject.toml: the table for shop can't be appended: .*twice"):
        write_files(tmp_path, survey(tmp_path))
    assert (tmp_path / "pyproject.toml").read_text(encoding="utf-8") == before


def test_what_is_written_is_said_beside_json_too(tmp_path):
    shop(tmp_path, "orders")
    write(tmp_path, {"pyproject.toml": "[project]\nname = 'x'\n", "tasks.py": "# of the team\n"})
    call = [sys.executable, "-m", "service_migrations", "db.adopt", "--write"]
    ran = subprocess.run([*call, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "tasks.py: was there already\ntasks.py is left as it is. `Collection" in ran.stderr
    assert ran.stdout.startswith("[\n")

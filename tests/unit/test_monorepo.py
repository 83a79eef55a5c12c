"""Services on disk: what is one, what it is called, and what its name decides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.monorepo import discover, discovering_once, find, select
from tests.support.database import wait
from tests.support.monorepo import ROOT, Monorepo


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("billing", "catalog", "order_items"):
        make(tmp_path / "repo", name)
    return tmp_path / "repo"  # a test may write beside it


def make(root: Path, name: str, *, package: bool = False) -> Path:
    folder = root / "services" / name
    (folder / "models" if package else folder).mkdir(parents=True)
    path = folder / "models" / "__init__.py" if package else folder / "models.py"
    path.write_text(f"raise AssertionError({name!r}, 'was imported')\n", encoding="utf-8")
    return folder


def names(root: Path) -> list[str]:
    return [service.name for service in discover(root)]


def test_a_service_is_a_directory_with_a_models_module_or_package(root: Path) -> None:
    make(root, "identity", package=True)
    assert names(root) == ["billing", "catalog", "identity", "order_items"]


def test_what_has_no_models_is_no_service(root: Path) -> None:
    (root / "services" / "empty").mkdir()
    (root / "services" / "half" / "models").mkdir(parents=True)
    (root / "services" / "README.md").write_text("", encoding="utf-8")
    assert names(root) == ["billing", "catalog", "order_items"]


@pytest.mark.parametrize("name", ["_template", ".hidden", "__pycache__"])
def test_names_with_an_underscore_or_a_dot_in_front_are_no_services(root: Path, name: str) -> None:
    make(root, name)
    assert names(root) == ["billing", "catalog", "order_items"]


def test_a_root_without_services_has_none(tmp_path: Path) -> None:
    assert discover(tmp_path) == ()
    with pytest.raises(UsageError, match=r"^services/\* holds no service\. .* services/<name>/models\.py or a package"):
        select([], tmp_path)


def test_the_services_of_this_repository_are_found_from_its_folders() -> None:
    assert Path(__file__).resolve().parents[2] == ROOT
    folders = {path.name for path in (ROOT / "services").iterdir() if path.is_dir() and path.name[0] not in "_."}
    assert {service.name for service in discover()} == folders >= {"billing", "catalog"}


def test_every_other_name_follows_from_the_services_name(tmp_path: Path) -> None:
    make(tmp_path, "order_items")
    service = find("order_items", tmp_path)
    assert service.models == "services.order_items.models"
    assert service.env_file == tmp_path / "services/order_items/.env"
    assert service.env_prefix == "ORDER_ITEMS_"
    assert service.versions == tmp_path / "migrations/versions/order_items"
    assert service.version_table == "alembic_version_order_items"


def test_the_services_own_example_wins_over_the_shared_one(root: Path) -> None:
    service = find("billing", root)
    assert service.env_example == root / ".env.example"
    (service.path / ".env.example").write_text("", encoding="utf-8")
    assert service.env_example == service.path / ".env.example"


@pytest.mark.parametrize("name", ["order-items", "order_items"])
def test_a_dash_and_an_underscore_name_the_same_service(root: Path, name: str) -> None:
    assert find(name, root).name == "order_items"


@pytest.mark.parametrize(
    ("name", "nearest"), [("biling", "billing"), ("order-item", "order_items"), ("katalog", "catalog")]
)
def test_an_unknown_name_gets_the_nearest_one(root: Path, name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=rf"there is no such service in services/\*\. Did you mean {nearest}\?"):
        find(name, root)


def test_a_name_near_to_none_gets_the_list(root: Path) -> None:
    with pytest.raises(UsageError, match=r"Known: billing, catalog, order_items\."):
        find("zzz", root)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "../billing", "/etc", "a;b", "billing/", "billing\n", "A%(here)s", "Billing", "%s"]
)
def test_a_name_that_is_no_name_is_refused_before_anything_is_imported(root: Path, name: str) -> None:
    make(root.parent / f"{root.name}-x", "evil")
    with pytest.raises(UsageError) as caught:
        find(name, root)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_service_that_is_named_twice_is_meant_once(root: Path) -> None:
    assert [service.name for service in select(["order-items", "billing", "order_items"], root)] == [
        "order_items",
        "billing",
    ]
    assert [service.name for service in select([], root)] == ["billing", "catalog", "order_items"]


@pytest.mark.parametrize(
    ("folder", "mend"),
    [
        ("billing-api", "services/billing_api"),
        ("2fa", "services/service_2fa"),
        ("Users", "services/users"),
        ("class", "services/service_class"),
    ],
)
def test_a_folder_that_python_cant_import_is_told_with_its_mend(root: Path, folder: str, mend: str) -> None:
    make(root, folder)
    with pytest.raises(ConfigurationError, match=rf"^services/{folder}: Python can't import.*Rename it to {mend}\.$"):
        find(folder, root)


def test_a_folder_that_cant_be_a_service_is_noted_once_and_doesnt_stop_the_others(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(root, "billing-api")
    assert names(root) == names(root) == ["billing", "catalog", "order_items"]
    (note,) = [record.getMessage() for record in caplog.records]
    assert note.startswith("services/billing-api: Python can't import")
    assert note.endswith("Rename it to services/billing_api. It is skipped.")


@pytest.mark.parametrize("versions", ["{path}/alembic", "migrations/versions/{name}"])
def test_a_history_whose_models_are_gone_is_noted_and_doesnt_stop_the_others(
    root: Path, caplog: pytest.LogCaptureFixture, versions: str
) -> None:
    (root / "pyproject.toml").write_text(f'[tool.service-migrations]\nversions = "{versions}"\n')
    (root / "services/renamed").mkdir()
    (root / "services/nothing").mkdir()
    folder = root / versions.format(path="services/renamed", name="renamed")
    folder.mkdir(parents=True)
    (folder / "a1.py").touch()
    assert names(root) == ["billing", "catalog", "order_items"]
    (note,) = [record.getMessage() for record in caplog.records]
    assert note.startswith("services/renamed has revisions in ")
    assert note.endswith("It is skipped.")
    with pytest.raises(ConfigurationError, match=r"there is no module services\.renamed\.models at the top level"):
        find("renamed", root)


def test_a_name_too_long_for_postgresql_is_refused_with_the_length_that_fits(root: Path) -> None:
    make(root, "a" * 43)
    assert len(f"{find('a' * 43, root).version_table}_pkc") == 63
    make(root, "b" * 44)
    with pytest.raises(ConfigurationError, match=r"1 characters too long.*Rename it to 43 characters or fewer"):
        find("b" * 44, root)
    assert "b" * 44 not in names(root)


def test_where_no_name_is_short_enough_it_is_the_version_table_that_is_too_long(root: Path) -> None:
    table = f'[tool.service-migrations]\nversion_table = "{"v" * 60}_{{name}}"\n'
    (root / "pyproject.toml").write_text(table, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"too long for v+_billing in .*\. Shorten version_table in pyproject"):
        find("billing", root)


def test_a_link_out_of_the_repository_is_refused(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = make(tmp_path_factory.mktemp("outside"), "evil")
    (root / "services" / "evil").symlink_to(outside)
    with pytest.raises(UsageError, match=r"^services/evil: the link leads out of the repository\."):
        find("evil", root)
    assert "evil" not in names(root)


def test_a_link_inside_the_repository_is_a_service(root: Path) -> None:
    (root / "services" / "alias").symlink_to(root / "services" / "billing")
    assert "alias" in names(root)


def test_services_are_values_that_sort_by_name(root: Path) -> None:
    assert find("billing", root) == find("billing", root)
    assert min(find("catalog", root), find("billing", root)).name == "billing"
    assert str(find("billing", root)) == "billing"


def test_a_path_is_told_as_it_is_typed_at_the_top(root: Path) -> None:
    service = find("billing", root)
    assert service.relative(service.env_file) == "services/billing/.env"
    assert service.relative(Path("/etc/passwd")) == "/etc/passwd"


def test_a_command_reads_the_folders_of_all_services_once(monorepo: Monorepo) -> None:
    monorepo.service("billing")
    path = monorepo.root / "pyproject.toml"
    with discovering_once():
        assert [service.name for service in discover(monorepo.root)] == ["billing"]
        make(monorepo.root, "orders")
        assert [service.name for service in discover(monorepo.root)] == ["billing"]
        text = path.read_text(encoding="utf-8").replace("postgres = [", 'version_table = "v_{name}"\npostgres = [')
        path.write_text(text, encoding="utf-8")
        assert [service.version_table for service in discover(monorepo.root)] == ["v_billing", "v_orders"]
    assert [service.name for service in discover(monorepo.root)] == ["billing", "orders"]


@pytest.mark.parametrize("name", ["billing", ""])
def test_each_function_of_several_services_takes_a_lone_one(monorepo: Monorepo, name: str) -> None:
    """A string is a sequence of letters: the name of a variable that isn't set would be no service at all."""
    service = monorepo.service("billing", dsn="postgresql://a:b@127.0.0.1:1/nowhere")
    functions = (service_migrations.status, service_migrations.owners)
    if name:
        for services in ("billing", service, ["billing"]):
            states, owners = (wait(function(services)) for function in functions)
            assert [states[0].service, *owners[0].services] == ["billing", "billing"]
    else:
        for function in functions:
            with pytest.raises(UsageError, match=r"^'': there is no such service"):
                wait(function(""))
        with pytest.raises(UsageError, match=r"^'': there is no such service"):
            service_migrations.upgrade_all("")


@pytest.mark.parametrize("words", ["db.status", "db.init", "db.env --env-file x", "up"])
@pytest.mark.parametrize("is_named", [False, True])
def test_a_working_directory_that_was_removed_is_one_line(
    words: str, is_named: bool, tmp_path: Path, root: Path
) -> None:
    (root / "pyproject.toml").write_text("[tool.service-migrations]\n", encoding="utf-8")
    ran = in_removed_folder(tmp_path, words, {"MIGRATIONS_ROOT": str(root)} if is_named else {})
    assert (ran.returncode, ran.stderr) == (
        2,
        "The working directory doesn't exist any more. Change to one that does.\n",
    )


def in_removed_folder(parent: Path, words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run tasks in a folder that is removed before they begin."""
    folder = parent / "removed"
    folder.mkdir()
    script = f'rmdir "$PWD" && exec "{sys.executable}" -P -m service_migrations {words}'
    return subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

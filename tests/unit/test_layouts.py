"""Where a monorepo is, and the services of one whose pyproject.toml says otherwise than convention."""

from pathlib import Path

import pytest

from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.models.importing import import_models
from service_migrations.monorepo import Monorepo, Service, discover, find
from service_migrations.top_level import locate


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def layout(root: Path, *models: str, table: str = "", **services: str) -> Path:
    """Write a pyproject.toml, and modules of models; a keyword is the table of one service."""
    text = f"[tool.service-migrations]\n{table}\n"
    text += "".join(f"[tool.service-migrations.service.{name}]\n{lines}\n" for name, lines in services.items())
    write(root / "pyproject.toml", text)
    for path in models:
        write(root / path, "__all__ = []\n")
    return root


def refused(root: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        discover(root)
    return str(caught.value)


# Where it is


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder that no monorepo is around."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MIGRATIONS_ROOT", raising=False)
    return folder


@pytest.mark.parametrize(
    "table", ["[tool.service-migrations]", "[tool.alembic]", "[tool.service-migrations.service.x]"]
)
def test_the_nearest_folder_whose_pyproject_has_a_table_is_the_top_level(outside: Path, table: str) -> None:
    write(outside.parents[1] / "pyproject.toml", "[tool.alembic]\n")
    write(outside.parent / "pyproject.toml", f"{table}\n")
    assert Monorepo.locate().root == outside.parent


def test_a_pyproject_without_either_table_is_passed_over(outside: Path) -> None:
    write(outside.parent / "pyproject.toml", "[tool.alembic]\n")
    write(outside / "pyproject.toml", '[project]\nname = "a-service"\n[tool.ruff]\n')
    assert Monorepo.locate().root == outside.parent


@pytest.mark.parametrize("name", ["service_migrations", "service-migration", "Service-Migrations", "servce-migrations"])
@pytest.mark.parametrize("beside", ["", "[tool.alembic]\n"])
def test_a_misspelled_table_is_refused_and_no_convention_holds_instead(outside: Path, name: str, beside: str) -> None:
    """With ``[tool.alembic]`` beside it, every key was silently passed over."""
    write(outside / "pyproject.toml", f"[tool.{name}]\nservices = ['apps/*']\n{beside}")
    assert locate() == outside
    end = f"[tool.{name}] is no table that is read. Did you mean [tool.service-migrations]?"
    assert refused(outside) == f"pyproject.toml: {end}"


def test_a_table_of_another_tool_with_a_name_like_ours_is_none_of_ours(outside: Path) -> None:
    names = ("services", "migrations", "db-migrations", "device-migrations", "my-service-migrations")
    others = "".join(f"[tool.{name}]\n" for name in (*names, "service_migrations_nox"))
    write(outside / "pyproject.toml", f"[tool.alembic]\n{others}")
    assert not discover(Monorepo.locate().root)


def test_the_folder_that_was_given_comes_before_the_variable_and_that_before_the_working_directory(
    outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, named = (layout(outside / name) for name in ("given", "named"))
    write(outside / "pyproject.toml", "[tool.alembic]\n")
    assert Monorepo.locate().root == outside
    monkeypatch.setenv("MIGRATIONS_ROOT", str(named))
    assert Monorepo.locate().root == named
    monkeypatch.setenv("MIGRATIONS_ROOT", "named")
    assert Monorepo.locate().root == named
    assert Monorepo.locate(given).root == given
    assert Monorepo.locate(Path("given")).root == given
    monkeypatch.setenv("MIGRATIONS_ROOT", "")
    assert Monorepo.locate().root == outside


@pytest.mark.parametrize("given", ["nowhere", "empty", "part"])
def test_a_variable_that_names_no_monorepo_is_refused(
    outside: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    write(outside / "pyproject.toml", "[tool.alembic]\n")
    (outside / "empty").mkdir()
    write(outside / "part" / "pyproject.toml", "[project]\n")
    monkeypatch.setenv("MIGRATIONS_ROOT", given)
    with pytest.raises(ConfigurationError) as caught:
        Monorepo.locate()
    assert str(caught.value) == (
        f"environment MIGRATIONS_ROOT: {given} has no pyproject.toml with [tool.service-migrations] or [tool.alembic]. "
        f"Name a monorepo's top level, or unset it."
    )


def test_where_there_is_none_the_error_has_the_fix(outside: Path) -> None:
    write(outside / "pyproject.toml", "[project]\n")
    with pytest.raises(UsageError) as caught:
        discover()
    assert str(caught.value) == (
        f"There is no monorepo here: neither {outside} nor a folder above it has a pyproject.toml with "
        f"[tool.service-migrations] or [tool.alembic]. Change to one, set MIGRATIONS_ROOT, or run "
        f"`service-migrations db.init` to begin one."
    )


# Globs


def test_a_glob_names_services_by_its_last_part_with_a_wildcard(tmp_path: Path) -> None:
    layout(
        tmp_path,
        *("apps/billing/backend/models.py", "apps/catalog/backend/models.py", "teams/a/orders/db/models.py"),
        table='services = ["apps/*/backend", "teams/*/*/db", "core/audit"]\nmodels = "{name}_models"\n',
    )
    for name in ("billing", "catalog", "orders", "audit"):
        write(tmp_path / f"{name}_models.py")
    (tmp_path / "core" / "audit").mkdir(parents=True)
    places = {service.name: service.path.relative_to(tmp_path).as_posix() for service in discover(tmp_path)}
    assert places == {
        "audit": "core/audit",
        "billing": "apps/billing/backend",
        "catalog": "apps/catalog/backend",
        "orders": "teams/a/orders/db",
    }


def test_a_folder_that_two_globs_match_is_one_service(tmp_path: Path) -> None:
    layout(tmp_path, "services/billing/models.py", table='services = ["services/*", "services/b*", "services/billing"]')
    assert [service.name for service in discover(tmp_path)] == ["billing"]


def test_a_glob_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    layout(tmp_path, "services/billing/models.py", table='services = ["services/*", "apps/*"]')
    assert refused(tmp_path) == "pyproject.toml: [tool.service-migrations] services: 'apps/*' matches no directory."
    write(tmp_path / "apps" / "README.md")
    assert "'apps/*' matches no directory." in refused(tmp_path)


def test_the_glob_of_convention_may_match_nothing(tmp_path: Path) -> None:
    assert discover(layout(tmp_path)) == ()


def test_two_directories_of_one_name_are_refused(tmp_path: Path) -> None:
    table = 'services = ["apps/*", "libs/*"]\nmodels = "models_of_{name}"'
    layout(tmp_path, "apps/billing/x.py", "libs/billing/x.py", "models_of_billing.py", table=table)
    assert refused(tmp_path) == (
        "apps/billing and libs/billing are both the service billing. "
        "Rename one, or give one a table with a path in pyproject.toml."
    )


def test_a_directory_beside_the_one_of_the_table_is_refused(tmp_path: Path) -> None:
    layout(tmp_path, "services/billing/models.py", "apps/pay/x.py", billing='path = "apps/pay"')
    assert refused(tmp_path).startswith("apps/pay and services/billing are both the service billing.")


# One service's table


def test_a_service_with_sources_in_a_folder_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    lines = 'path = "apps/pay"\nsource = "apps/pay/src"\nmodels = "pay_of_layouts.db.models"\n'
    lines += 'versions = "apps/pay/alembic/versions"\nversion_table = "alembic_version"'
    layout(tmp_path, "services/billing/models.py", "apps/pay/src/pay_of_layouts/db/models.py", payments=lines)
    billing, payments = discover(tmp_path)
    assert payments == Service(
        name="payments",
        root=tmp_path,
        path=tmp_path / "apps/pay",
        source=tmp_path / "apps/pay/src",
        models="pay_of_layouts.db.models",
        version_locations=(tmp_path / "apps/pay/alembic/versions",),
        version_table="alembic_version",
        env_file=tmp_path / "apps/pay/.env",
    )
    assert payments.configured == {"path", "source", "models", "versions", "version_table"}
    assert payments.models_file == tmp_path / "apps/pay/src/pay_of_layouts/db/models.py"
    assert payments.package == "pay_of_layouts"
    assert (payments.env_file, payments.env_prefix) == (tmp_path / "apps/pay/.env", "PAYMENTS_")
    assert (payments.head_file, payments.ledger_table) == (payments.versions / "head.txt", "migration_log_payments")
    assert (billing.configured, billing.package) == (frozenset(), "services.billing")
    assert find("payments", tmp_path) == payments
    assert import_models(payments).__name__ == "pay_of_layouts.db.models"


def test_templates_hold_for_every_service_and_a_table_for_one(tmp_path: Path) -> None:
    layout(
        tmp_path,
        *("apps/billing/src/billing/models.py", "apps/catalog/lib/catalog/models.py"),
        table='services = ["apps/*"]\nsource = "apps/{name}/src"\nmodels = "{name}.models"',
        catalog='source = "apps/{name}/lib"',
    )
    billing, catalog = discover(tmp_path)
    assert billing.source == tmp_path / "apps/billing/src"
    assert (catalog.source, catalog.models) == (tmp_path / "apps/catalog/lib", "catalog.models")
    assert billing.configured == catalog.configured == {"path", "source", "models"}


def test_a_template_has_the_directory_of_the_service(tmp_path: Path) -> None:
    layout(
        tmp_path,
        "apps/billing/backend/src/billing/models.py",
        table='services = ["apps/*/backend"]\nsource = "{path}/src"\nmodels = "{name}.models"\n'
        'versions = ["{path}/alembic/versions", "{path}/alembic/old"]\nenv_file = "{path}/config/.env"\n'
        'version_table = "alembic_version"\nversion_table_schema = "{name}"',
    )
    (billing,) = discover(tmp_path)
    backend = tmp_path / "apps/billing/backend"
    assert (billing.name, billing.source, billing.env_file) == ("billing", backend / "src", backend / "config/.env")
    assert billing.version_locations == (backend / "alembic/versions", backend / "alembic/old")
    assert (billing.versions, billing.version_table_schema) == (backend / "alembic/versions", "billing")


def test_a_name_with_dashes_has_underscores_in_python_and_its_directory_keeps_them(tmp_path: Path) -> None:
    layout(
        tmp_path,
        *("apps/billing-api/src/billing_api/models.py", "apps/payments/src/payments/models.py"),
        table='services = ["apps/*"]\nsource = "{path}/src"\nmodels = "{name}.models"\n'
        'versions = "{path}/alembic/versions"',
    )
    billing_api, payments = discover(tmp_path)
    assert (billing_api.name, billing_api.models) == ("billing_api", "billing_api.models")
    assert billing_api.source == tmp_path / "apps/billing-api/src"
    assert billing_api.versions == tmp_path / "apps/billing-api/alembic/versions"
    assert (billing_api.version_table, billing_api.env_prefix) == ("alembic_version_billing_api", "BILLING_API_")
    assert find("billing-api", tmp_path) == find("billing_api", tmp_path) == billing_api
    assert payments.name == "payments"


def test_a_package_beside_the_files_of_its_service_needs_no_src(tmp_path: Path) -> None:
    layout(
        tmp_path,
        "apps/billing-api/billing_api/models.py",
        table='services = ["apps/*"]\nsource = "{path}"\nmodels = "{name}.models"',
    )
    (service,) = discover(tmp_path)
    assert service.models_file == tmp_path / "apps/billing-api/billing_api/models.py"


def test_two_directories_that_differ_by_their_dashes_are_refused(tmp_path: Path) -> None:
    table = 'services = ["apps/*"]\nsource = "{path}"\nmodels = "{name}.models"'
    layout(tmp_path, "apps/a-b/a_b/models.py", "apps/a_b/a_b/models.py", table=table)
    assert refused(tmp_path).startswith("apps/a-b and apps/a_b are both the service a_b.")


def test_a_directory_with_dashes_that_python_would_have_to_import_keeps_its_error(tmp_path: Path) -> None:
    layout(tmp_path, "services/billing-api/models.py")
    assert discover(tmp_path) == ()
    for name in ("billing-api", "billing_api"):
        with pytest.raises(ConfigurationError, match=r"^services/billing-api: .* Rename it to services/billing_api\.$"):
            find(name, tmp_path)


def test_models_may_have_one_name_in_sources_of_their_own(tmp_path: Path) -> None:
    table = 'services = ["apps/*"]\nsource = "apps/{name}/src"\nmodels = "app.models"'
    layout(tmp_path, "apps/billing/src/app/models.py", "apps/catalog/src/app/models.py", table=table)
    assert [service.name for service in discover(tmp_path)] == ["billing", "catalog"]


def test_two_services_of_the_same_models_are_refused(tmp_path: Path) -> None:
    table = 'services = ["apps/*"]\nmodels = "app.models"'
    layout(tmp_path, "apps/billing/x.py", "apps/catalog/x.py", "app/models.py", table=table)
    assert refused(tmp_path) == (
        "pyproject.toml: billing and catalog have the same models, app.models in the same source. "
        "Correct the models or the source of one."
    )


def test_two_services_of_the_same_versions_are_refused(tmp_path: Path) -> None:
    models = [f"services/{name}/models.py" for name in ("billing", "catalog")]
    layout(tmp_path, *models, billing='versions = "migrations/versions/catalog"')
    assert refused(tmp_path) == (
        "pyproject.toml: billing and catalog have the same versions, migrations/versions/catalog. "
        "A folder holds the revisions of one service."
    )


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('path = "apps/pay"\nmodels = "pay.models"', "there is no module pay.models at the top level."),
        (
            'path = "apps/pay"\nsource = "apps/pay/src"\nmodels = "pay.model"',
            "there is no module pay.model in apps/pay/src.",
        ),
        (
            'path = "apps/pay"\nsource = "apps/pay"\nmodels = "src.pay"',
            "there is no module src.pay in apps/pay.",
        ),
        ('path = "apps/pay"', "there is no module services.payments.models at the top level."),
    ],
)
def test_models_that_arent_below_the_source_are_refused(tmp_path: Path, lines: str, problem: str) -> None:
    layout(tmp_path, "apps/pay/src/pay/models.py", payments=lines)
    message = refused(tmp_path)
    table = "pyproject.toml: [tool.service-migrations.service.payments]"
    assert message == f"{table}: {problem} Correct source or models."


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    layout(tmp_path, "pay/models.py", payments='path = "apps/pay"\nmodels = "pay.models"')
    message = "pyproject.toml: [tool.service-migrations.service.payments] path: 'apps/pay' is no directory."
    assert refused(tmp_path) == message
    write(tmp_path / "apps" / "pay")
    assert refused(tmp_path) == message


def test_a_table_without_a_directory_is_refused(tmp_path: Path) -> None:
    layout(tmp_path, "services/billing/models.py", payments='version_table = "alembic_version"')
    assert refused(tmp_path) == (
        "pyproject.toml: [tool.service-migrations.service.payments] has no path, and no directory of that name with "
        "models matches services/*. Add the path, or remove the table."
    )


def test_a_table_of_a_name_with_a_dash_is_of_the_service_with_an_underscore(tmp_path: Path) -> None:
    layout(
        tmp_path,
        *("services/order_items/models.py", "apps/billing-api/src/billing_api/models.py"),
        **{
            "order-items": 'version_table = "v"',
            "billing-api": 'path = "apps/billing-api"\nsource = "apps/{name}/src"\nmodels = "{name}.models"',
        },
    )
    assert "there is no module billing_api.models in apps/billing_api/src." in refused(tmp_path)
    text = (tmp_path / "pyproject.toml").read_text(encoding="utf-8").replace("apps/{name}/src", "apps/billing-api/src")
    write(tmp_path / "pyproject.toml", text)
    billing_api, order_items = discover(tmp_path)
    assert (billing_api.name, billing_api.path.name) == ("billing_api", "billing-api")
    assert order_items.version_table == "v"


def test_a_link_of_a_table_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = layout(tmp_path / "repo", "pay/models.py", pay='path = "linked"\nmodels = "pay.models"')
    (tmp_path / "elsewhere").mkdir()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        UsageError, match=r"^linked: the link leads out of the repository\. Move the service into it\.$"
    ):
        find("pay", root)

"""Code of a service that configures logging, and the lines of the library that have to be printed all the same."""

from collections.abc import Callable

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.monorepo import MODELS, Monorepo

CONFIGURES = {
    "disables what exists": "import logging.config\nlogging.config.dictConfig({'version': 1})",
    "has handlers": (
        "import logging.config\n"
        "logging.config.dictConfig({'version': 1, 'root': {'level': 'DEBUG', 'handlers': ['a']}, "
        "'handlers': {'a': {'class': 'logging.StreamHandler'}}})"
    ),
    "disables all": "import logging\nlogging.disable(logging.CRITICAL)",
    "is quiet": "import logging\nlogging.getLogger('service_migrations').setLevel(logging.CRITICAL)",
    "is basic": "import logging\nlogging.basicConfig(level=logging.DEBUG, force=True, format='basic %(message)s')",
}


@pytest.fixture
def pair(monorepo: Monorepo, database: Callable[..., Dsn]) -> dict[str, Dsn]:
    dsns = {name: database() for name in ("alpha", "beta")}
    for name, dsn in dsns.items():
        monorepo.service(name, dsn=dsn)
        monorepo.table_revision(name, f"{name}1", None)
    return dsns


def expect_lines(monorepo: Monorepo, pair: dict[str, Dsn]) -> None:
    for words in (("--service", "alpha"), ()):
        ran = monorepo.inv("db.upgrade", "--jobs", "1", *words)
        assert ran.code == 0, ran.text
        assert "basic" not in ran.text
        for name in ["alpha"] if words else ["beta"]:
            lines = [line for line in ran.err.splitlines() if line.endswith(f"{name} -> {pair[name].target}")]
            assert len(lines) == 1, ran.text


@pytest.mark.parametrize("text", CONFIGURES.values(), ids=CONFIGURES)
def test_models_that_configure_logging_silence_nothing(monorepo: Monorepo, pair: dict[str, Dsn], text: str) -> None:
    models = monorepo.root / "services" / "alpha" / "models.py"
    models.write_text(f"{text}\n{MODELS.format(table='alpha')}", encoding="utf-8")
    expect_lines(monorepo, pair)


@pytest.mark.parametrize("text", CONFIGURES.values(), ids=CONFIGURES)
def test_nor_does_a_revision_file(monorepo: Monorepo, pair: dict[str, Dsn], text: str) -> None:
    path = monorepo.root / "migrations" / "versions" / "alpha" / "alpha1.py"
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{text}\n", encoding="utf-8")
    expect_lines(monorepo, pair)


@pytest.mark.parametrize("text", CONFIGURES.values(), ids=CONFIGURES)
def test_nor_does_an_env_py(monorepo: Monorepo, pair: dict[str, Dsn], text: str) -> None:
    path = monorepo.root / "migrations" / "env.py"
    path.write_text(f"{text}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    expect_lines(monorepo, pair)
    ran = monorepo.inv("db.downgrade", "--service", "alpha", "--revision", "base", "--yes")
    assert ran.code == 0, ran.text
    assert "Running downgrade alpha1 -> " in ran.err

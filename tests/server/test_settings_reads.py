"""Settings are read once for a command: a second read could find another database than the one that was confirmed."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.monorepo import Monorepo

NAMES = ("billing", "catalog", "orders")

HOOK = """
import os, sys

def note(event, arguments):
    if event == "open" and "/.env" in str(arguments[0]) and "example" not in str(arguments[0]):
        os.write(log, f"{arguments[0]}\\n".encode())

log = os.open(os.environ["ENV_READS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sys.addaudithook(note)
"""
"""The start of a tasks.py that writes down which settings are read."""


@pytest.mark.parametrize("environment", ["", ".staging"])
@pytest.mark.parametrize(
    "words",
    [
        ("db.upgrade", "--service", "billing"),
        ("db.upgrade",),
        ("db.upgrade", "--shard", "1/2"),
        ("db.status",),
        ("db.current",),
        ("db.check",),
        ("db.plan",),
        ("db.drift",),
        ("db.owners",),
        ("db.doctor",),
        ("db.log",),
        ("db.locks",),
        ("db.env",),
        ("db.services",),
        ("db.downgrade", "--service", "billing", "--revision", "base", "--yes"),
        ("db.stamp", "--service", "billing", "--revision", "head", "--yes"),
        ("db.revision", "--service", "billing", "-m", "x"),
        ("db.create",),
    ],
    ids=" ".join,
)
def test_each_env_file_is_read_once_for_a_command(
    words: tuple[str, ...], environment: str, monorepo: Monorepo, database: Callable[..., Dsn], tmp_path: Path
) -> None:
    dsn = database(creates=True)
    for name in NAMES:
        monorepo.service(name, dsn=dsn)
        monorepo.table_revision(name, f"{name}1", None)
    (monorepo.root / ".env").write_text("MIGRATIONS_LOCK_WAIT=30s\n", encoding="utf-8")
    assert monorepo.inv("db.upgrade").code == 0
    log = tmp_path / "reads"
    tasks = monorepo.root / "tasks.py"
    tasks.write_text(HOOK + tasks.read_text(encoding="utf-8"), encoding="utf-8")
    files = [monorepo.root / ".env", *(monorepo.root / "services" / name / ".env" for name in NAMES)]
    if environment:
        for path in files:
            path.rename(f"{path}{environment}")
        words = (*words, "--env", environment[1:])
    ran = monorepo.inv(*words, env={"ENV_READS": str(log)})
    assert ran.code == 0, ran.text
    reads = Counter(Path(line) for line in log.read_text(encoding="utf-8").splitlines())
    assert reads.keys() <= {Path(f"{path}{environment}") for path in files}
    assert monorepo.root / "services" / "billing" / f".env{environment}" in reads
    assert max(reads.values()) == 1, reads

"""Revision files in each encoding that Python reads: every command reads them as Python does."""

from collections.abc import Callable
from pathlib import Path

import pytest

import service_migrations
from service_migrations.settings.dsn import Dsn
from tests.support.database import wait
from tests.support.monorepo import Monorepo

BOM = b"\xef\xbb\xbf"
LATIN = "# -*- coding: latin-1 -*-\n# Größe\n".encode("latin-1")


@pytest.mark.parametrize("head", [LATIN, BOM, BOM + b"# -*- coding: utf-8 -*-\r\n"])
def test_every_command_reads_a_revision_as_python_does(
    monorepo: Monorepo, database: Callable[..., Dsn], head: bytes
) -> None:
    service = monorepo.service("billing", dsn=database())
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "b2", "a1", "op.execute('CREATE EXTENSION IF NOT EXISTS plpgsql')")
    path = service.root / wait(service_migrations.history(service)).revisions[0].path
    path.write_bytes(head + path.read_bytes())
    for words in (("db.doctor",), ("db.show", "--service", "billing"), ("db.plan",), ("db.upgrade",), ("db.status",)):
        ran = monorepo.inv(*words)
        assert (ran.code, "Traceback" in ran.text) == (0, False), ran.text
    edit(path)
    for words in (("db.doctor",), ("db.check",), ("db.status",), ("db.baseline", "--service", "billing")):
        ran = monorepo.inv(*words)
        assert "Traceback" not in ran.text, ran.text
        assert ran.code in (0, 1, 3), ran.text


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"IF NOT EXISTS plpgsql", b"IF NOT EXISTS  plpgsql"))

"""Runs of pytest as a person of another team would start them, apart from the run that a test belongs to."""

import os
import subprocess
import sys
from pathlib import Path

from service_migrations.postgres import Server
from tests.support.monorepo import Ran


def pytest_in(folder: Path, *words: str, cache: bool = False, **env: str) -> Ran:
    """Run pytest in a folder without its cache, with variables beside those of this process that aren't its own."""
    outside = {
        key: value for key, value in os.environ.items() if not key.startswith("PYTEST_") and key != "POSTGRES_VERSION"
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *(() if cache else ("-p", "no:cacheprovider")),
            f"--basetemp={folder.parent / 'basetemp'}",
            *words,
        ],
        cwd=folder,
        env={**outside, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def given(server: Server) -> dict[str, str]:
    """Return what makes a run use a server that is there already."""
    return {f"POSTGRES_{server.version}_DSN": server.admin.uri(), "POSTGRES_VERSION": server.version}

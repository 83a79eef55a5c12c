"""Programs that a person starts beside Invoke."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.monorepo import Monorepo, Ran

ALEMBIC = Path(sys.executable).with_name("alembic")


def alembic(monorepo: Monorepo, *words: str, **environment: str) -> Ran:
    """Run the program in a monorepo, as a person would."""
    done = subprocess.run(
        [ALEMBIC, *words],
        cwd=monorepo.root,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)

"""A person at the keyboard, who answers a question."""

import os
import pty
import subprocess
import sys

from tests.support.monorepo import PATIENCE, Monorepo, Ran

__all__ = ["answered"]


def answered(monorepo: Monorepo, answer: str, *words: str) -> Ran:
    """Run Invoke in a monorepo with a terminal as its standard input, on which an answer is typed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        ran = subprocess.run(
            [sys.executable, "-m", "invoke", *words],
            cwd=monorepo.root,
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return Ran(ran.returncode, ran.stdout, ran.stderr)

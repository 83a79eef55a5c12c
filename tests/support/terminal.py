"""A terminal: a person at its keyboard who answers a question, and what it is sent."""

import os
import pty
import subprocess
import sys
from contextlib import suppress

from tests.support.monorepo import PATIENCE, Monorepo, Ran

__all__ = ["answered", "sent"]


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


def sent(monorepo: Monorepo, *words: str, columns: int = 200) -> str:
    """Run Invoke in a monorepo with a terminal as both of its outputs, and return all that the terminal was sent."""
    ours, theirs = pty.openpty()
    try:
        running = subprocess.Popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=monorepo.root,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
    finally:
        os.close(theirs)
    received = b""
    with running, suppress(OSError):  # EIO, where nobody has the other end open any more
        while piece := os.read(ours, 65536):
            received += piece
    os.close(ours)
    return received.decode()

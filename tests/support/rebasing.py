"""Runs of ``db.rebase``, and what they change in a history."""

from pathlib import Path

import service_migrations
from tests.support.database import wait
from tests.support.monorepo import Monorepo, Ran

__all__ = ["FOLDER", "REBASE", "parents", "refused", "texts"]

FOLDER = "migrations/versions/billing"
REBASE = ("db.rebase", "--service", "billing")


def parents(repo: Monorepo) -> dict[str, tuple[str, ...]]:
    """Return the parents of each revision."""
    history = wait(service_migrations.history(repo.find("billing")))
    return {revision.revision: revision.down_revision for revision in history.revisions}


def texts(repo: Monorepo) -> dict[Path, bytes]:
    """Return the files of the history."""
    return {path: path.read_bytes() for path in (repo.root / FOLDER).glob("*.*")}


def refused(repo: Monorepo, *words: str) -> str:
    """Return what a rebase says that changes nothing."""
    before = texts(repo)
    ran: Ran = repo.inv(*REBASE, *words)
    assert (ran.code, len(ran.text.splitlines())) == (2, 1), ran.text
    assert texts(repo) == before
    return ran.err

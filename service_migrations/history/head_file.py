"""The file that names the head of a service's revisions.

It makes git report a conflict when two branches both add a revision. Without it, git merges the two revision files, and
the second head is noticed only when somebody upgrades.
"""

import shutil
from importlib.util import cache_from_source
from pathlib import Path

from service_migrations.history.revisions import History
from service_migrations.monorepo import Service

__all__ = ["problem", "replace_file", "write"]

_MARKERS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


def write(service: Service, head: str | None) -> None:
    """Write the head of a service's revisions into its file, or remove the file where there is no head."""
    if head is None:
        service.head_file.unlink(missing_ok=True)
    elif _text(service) != f"{head}\n":
        replace_file(service.head_file, f"{head}\n".encode())


def problem(history: History) -> str | None:
    """Return a line that describes what is wrong with a head and ends with the fix; None where it is right."""
    service, heads = history.service, history.heads
    path = service.relative(service.head_file)
    if len(heads) > 1:
        return (
            f"{service.relative(service.versions)} has {len(heads)} heads: {', '.join(heads)}. "
            f"Run: inv db.rebase --service {service}"
        )
    text, expected = _text(service), heads[0] if heads else None
    if (text or "").strip() == (expected or ""):
        return None
    fix = f"Run: inv db.heads --write --service {service}"
    if text is None:
        return f"{path} is missing. {fix}"
    if any(line.startswith(_MARKERS) for line in text.splitlines()):
        return f"{path} has conflict markers, and the files end at {expected or 'nothing'}. {fix}"
    named = " ".join(text.split())[:40]
    return f"{path} names {named or 'nothing'}, and the files end at {expected or 'nothing'}. {fix}"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step, so that a reader sees either the old text or the new one."""
    # its name doesn't end with .py: Alembic would take it for a revision
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_bytes(content)
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if path.suffix == ".py":
        # Python compares time in seconds and size, and another id has the same size
        Path(cache_from_source(str(path))).unlink(missing_ok=True)


def _text(service: Service) -> str | None:
    try:
        return service.head_file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None

"""The file that names a service's head: of two branches that both add a revision, git merges one only by hand.

Without it the two files lie side by side in peace, and the second head is noticed when somebody upgrades.
"""

import shutil
from importlib.util import cache_from_source
from pathlib import Path

from service_migrations.history.revisions import History
from service_migrations.monorepo import Service

__all__ = ["problem", "replace_file", "write"]

_MARKERS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


def write(service: Service, head: str | None) -> None:
    """Name the head of a service's files; where there is none, remove the file."""
    if head is None:
        service.head_file.unlink(missing_ok=True)
    elif _text(service) != f"{head}\n":
        replace_file(service.head_file, f"{head}\n".encode())


def problem(history: History) -> str | None:
    """Return what is wrong with a service's head, in a line that ends with what mends it; None where it is right."""
    service, heads = history.service, history.heads
    where = service.relative(service.head_file)
    if len(heads) > 1:
        return (
            f"{service.relative(service.versions)} has {len(heads)} heads: {', '.join(heads)}. "
            f"Run: inv db.rebase --service {service}"
        )
    text, expected = _text(service), heads[0] if heads else None
    if (text or "").strip() == (expected or ""):
        return None
    mend = f"Run: inv db.heads --write --service {service}"
    if text is None:
        return f"{where} is missing. {mend}"
    if any(line.startswith(_MARKERS) for line in text.splitlines()):
        return f"{where} has conflict markers, and the files end at {expected or 'nothing'}. {mend}"
    named = " ".join(text.split())[:40]
    return f"{where} names {named or 'nothing'}, and the files end at {expected or 'nothing'}. {mend}"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step: whoever reads it sees all of the old text or all of the new one."""
    # not .py: Alembic would take it for a revision
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(content)
        if path.exists():
            shutil.copymode(path, new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    if path.suffix == ".py":
        # it is recognised by second and length, and another id has the same length
        Path(cache_from_source(str(path))).unlink(missing_ok=True)


def _text(service: Service) -> str | None:
    try:
        return service.head_file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None

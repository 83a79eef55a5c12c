"""What broke when the running code was tried on a revision: a committed file, which a review and the guard read."""

import json
from collections.abc import Sequence
from pathlib import Path

from service_migrations.files import replace
from service_migrations.history.files.fingerprint import hashes, is_fingerprint
from service_migrations.history.revisions import script_location
from service_migrations.monorepo import Service

__all__ = ["read_breaks", "write_breaks"]

_FOLDER = "evidence"


def read_breaks(service: Service, revision: str, path: str) -> tuple[str, ...]:
    """Return what broke when a revision was tried; nothing where it wasn't, or its file was edited since.

    Args:
        service: the service.
        revision: its id.
        path: the file of the revision, from the top level.

    """
    try:
        content = json.loads(_file(service, revision).read_text(encoding="utf-8"))
        is_current = is_fingerprint(content["fingerprint"], (service.root / path).read_bytes())
        tried = f"(tried with {content['commit'][:12]})."
        return tuple(f"{broken.removesuffix('.')} {tried}" for broken in content["breaks"]) if is_current else ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError):
        return ()


def write_breaks(service: Service, revision: str, path: str, commit: str, breaks: Sequence[str]) -> Path | None:
    """Write what broke, or remove the file where nothing does, and return the file where that changed it.

    Args:
        service: the service.
        revision: its id.
        path: the file of the revision, from the top level.
        commit: that of the running code.
        breaks: each as one sentence.

    Raises:
        OSError: the file can't be written.

    """
    file = _file(service, revision)
    if not breaks:
        was_there = file.is_file()
        file.unlink(missing_ok=True)
        return file if was_there else None
    fingerprint = hashes(service.root / path).fingerprint
    content = {"breaks": list(breaks), "commit": commit, "fingerprint": fingerprint, "path": path, "revision": revision}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8", errors="replace") == text:
        return None
    file.parent.mkdir(parents=True, exist_ok=True)
    replace(file, text.encode())
    return file


def _file(service: Service, revision: str) -> Path:
    return script_location(service.root) / _FOLDER / service.name / f"{revision}.compat.json"

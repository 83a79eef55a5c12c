"""The revision files of a service by their headers alone: read, and neither imported nor handed to Alembic.

Importing Alembic takes longer than asking a hundred databases where they are. What can't be read with
certainty counts as unknown here, and is Alembic's to decide.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from migrations.discovery import Service
from migrations.fingerprint import checksum

__all__ = ["Chain", "read_chain"]

_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")
_OPTIONS = (b"sourceless", b"recursive_version_locations", b"version_locations")
"""Options of Alembic's that change which files are revisions."""
_REVISION_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Chain:
    """A history without branches, oldest first: its revisions, each with the checksum of its file."""

    revisions: tuple[str, ...]
    checksums: dict[str, str]

    @property
    def head(self) -> str | None:
        """The newest revision; None where there is none."""
        return self.revisions[-1] if self.revisions else None


def read_chain(service: Service) -> Chain | None:
    """Return a service's history, or None where only Alembic can tell what it is."""
    if not _is_plain(service.root):
        return None
    headers: dict[str, str | None] = {}
    checksums: dict[str, str] = {}
    try:
        paths = sorted(service.versions.iterdir()) if service.versions.is_dir() else []
        for path in paths:
            if path.suffix != ".py" or path.name.startswith((".#", "__init__")):
                continue
            text = path.read_bytes()
            header = _header(text)
            if header is None or header[0] in headers:
                return None
            headers[header[0]] = header[1]
            checksums[header[0]] = checksum(text)
    except OSError:
        return None
    revisions = _linked(headers)
    return None if revisions is None else Chain(revisions, checksums)


def _is_plain(root: Path) -> bool:
    try:
        text = (root / "pyproject.toml").read_bytes()
    except OSError:
        return False
    return not any(option in text for option in _OPTIONS)


def _header(text: bytes) -> tuple[str, str | None] | None:
    """Return a file's revision and the one before it; None where more than plain assignments could make them."""
    found = _constants(text)
    revision, down = found.get("revision"), found.get("down_revision", 0)
    if not isinstance(revision, str) or not (down is None or isinstance(down, str)):
        return None
    if found.get("branch_labels") is not None or found.get("depends_on") is not None:
        return None
    letters = revision.replace("_", "").replace("-", "").replace(".", "")
    return (revision, down) if letters.isalnum() and len(revision) <= _REVISION_CHARACTERS else None


def _constants(text: bytes) -> dict[str, object]:
    """Return what a file binds the names to that make a header; nothing where that can't be seen."""
    if b"globals" in text or b"exec(" in text:
        return {}
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, object] = {}
    for node in body:
        names = _bound(node)
        if names is None:
            return {}
        for name in names:
            if name in _NAMES:
                value = getattr(node, "value", None)
                if name in found or not isinstance(value, ast.Constant):
                    return {}
                found[name] = value.value
    return found


def _bound(node: ast.stmt) -> list[str] | None:
    """Return the names that a statement binds; None where that can't be seen."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return []
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        return None if "*" in names else names
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else None
    if isinstance(node, ast.Assign):
        targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return targets if len(targets) == len(node.targets) else None
    return None


def _linked(headers: dict[str, str | None]) -> tuple[str, ...] | None:
    """Return the revisions oldest first; None where they are no single chain."""
    after: dict[str | None, str] = {}
    for revision, down in headers.items():
        if down in after:
            return None
        after[down] = revision
    chain: list[str] = []
    while (following := after.get(chain[-1] if chain else None)) is not None and len(chain) < len(headers):
        chain.append(following)
    return tuple(chain) if len(chain) == len(headers) else None

"""The revision files of a service by their headers alone: read, and neither imported nor handed to Alembic.

Importing Alembic takes longer than asking a hundred databases where they are. What can't be read with
certainty counts as unknown here, and is Alembic's to decide.
"""

import ast
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from service_migrations.history.bindings import bindings
from service_migrations.history.fingerprint import checksum
from service_migrations.monorepo import Service

__all__ = ["Chain", "Header", "read_chain"]

_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")
_OPTIONS = (b"sourceless", b"recursive_version_locations", b"version_locations")
"""Options of Alembic's that change which files are revisions."""
_REVISION_CHARACTERS = 32
_NAME = rb"\b(?:" + "|".join(_NAMES).encode() + rb")\b"
_TOO_CLEVER = re.compile(rb"globals|exec\(|__getattr__|\bglobal\b(?:[^\r\n]*\\|[^\r\n]*" + _NAME + rb")")
_FUNCTION = re.compile(rb"^def ", re.MULTILINE)
_NO_FUNCTION = re.compile(rb"^(?!def \w+\(\)(?: -> None)?:)[^ \t\n#)\]}]|\r|" + _NAME, re.MULTILINE)
"""What may be more than a function of no arguments: a line at the margin, and wherever one of the names stands."""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands at the top of one revision file; the same fields as those of ``revisions.Revision``."""

    revision: str
    down_revision: tuple[str, ...]
    message: str
    path: str
    is_head: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """A history without branches, oldest first: its revisions, each with the checksum of its file."""

    headers: tuple[Header, ...]
    checksums: dict[str, str]

    @property
    def revisions(self) -> tuple[str, ...]:
        """The ids, oldest first."""
        return tuple(header.revision for header in self.headers)

    @property
    def head(self) -> str | None:
        """The newest revision; None where there is none."""
        return self.headers[-1].revision if self.headers else None


def read_chain(service: Service) -> Chain | None:
    """Return a service's history, or None where only Alembic can tell what it is."""
    if not _is_plain(service.root):
        return None
    headers: dict[str, Header] = {}
    checksums: dict[str, str] = {}
    try:
        paths = sorted(service.versions.iterdir()) if service.versions.is_dir() else []
        for path in paths:
            if path.suffix != ".py" or path.name.startswith((".#", "__init__")):
                continue
            text = path.read_bytes()
            header = _header(text, service.relative(path))
            if header is None or header.revision in headers:
                return None
            headers[header.revision] = header
            checksums[header.revision] = checksum(text)
    except OSError:
        return None
    linked = _linked(headers)
    return None if linked is None else Chain(linked, checksums)


def _is_plain(root: Path) -> bool:
    try:
        text = (root / "pyproject.toml").read_bytes()
    except OSError:
        return False
    return not any(option in text for option in _OPTIONS)


def _header(text: bytes, path: str) -> Header | None:
    """Return a file's header; None where more than plain assignments could make it."""
    found = _constants(text)
    revision, down = found.get("revision"), found.get("down_revision", 0)
    if not isinstance(revision, str) or not (down is None or isinstance(down, str)):
        return None
    if found.get("branch_labels") is not None or found.get("depends_on") is not None:
        return None
    letters = revision.replace("_", "").replace("-", "").replace(".", "")
    if not letters.isalnum() or len(revision) > _REVISION_CHARACTERS:
        return None
    message = str(found.get("__doc__") or "").strip().split("\n\n")[0]
    return Header(revision, (down,) if down else (), message, path, is_head=False)


def _constants(text: bytes) -> dict[str, object]:
    """Return what a file binds the names to that make a header; nothing where that can't be seen."""
    if _TOO_CLEVER.search(text):
        return {}
    tree = _parsed(text)
    if tree is None:
        return {}
    # from 3.13 on the compiler takes the indentation away
    found: dict[str, object] = {"__doc__": ast.get_docstring(tree, clean=sys.version_info >= (3, 13))}
    bound = bindings(tree)
    if bound is None:
        return {}
    for name, value in bound:
        if name in _NAMES:
            if name in found or not isinstance(value, ast.Constant):
                return {}
            found[name] = value.value
    return found


def _parsed(text: bytes) -> ast.Module | None:
    """Return what a file does when it is imported; of functions at its end, which are most of it, nothing is read."""
    first = _FUNCTION.search(text)
    ends = [first.start()] if first and not _NO_FUNCTION.search(text, first.start()) else []
    for end in (*ends, len(text)):
        with suppress(SyntaxError, ValueError):  # "def" was in the middle of something
            return ast.parse(text[:end])
    return None


def _linked(headers: dict[str, Header]) -> tuple[Header, ...] | None:
    """Return the headers oldest first; None where they are no single chain."""
    after: dict[str | None, Header] = {}
    for header in headers.values():
        down = header.down_revision[0] if header.down_revision else None
        if down in after:
            return None
        after[down] = header
    chain: list[Header] = []
    while (following := after.get(chain[-1].revision if chain else None)) and len(chain) < len(headers):
        chain.append(following)
    if len(chain) < len(headers):
        return None
    return (*chain[:-1], replace(chain[-1], is_head=True)) if chain else ()

"""The DEFAULT partitions of a history: PostgreSQL scans one under its lock when another partition is added."""

import re

from service_migrations.history.revisions import History

__all__ = ["default_partitions"]

_NAME = r'((?:[\w$]+|\\?"[^"]+")(?:\.(?:[\w$]+|\\?"[^"]+"))?)'
_CREATED = re.compile(
    rf"\bTABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}\s+PARTITION\s+OF\s+{_NAME}\s+DEFAULT\b", re.IGNORECASE
)
_ATTACHED = re.compile(
    rf"\bTABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{_NAME}\s+ATTACH\s+PARTITION\s+{_NAME}\s+DEFAULT\b", re.IGNORECASE
)
_JOINT = re.compile(r"""(["'])\s*\n\s*\1""")
"""Between two pieces of one constant of Python."""


def default_partitions(history: History) -> dict[str, str]:
    """Return the DEFAULT partition of each table that has one, as the texts of the revisions show them."""
    defaults: dict[str, str] = {}
    for revision in history.revisions:
        path = history.service.root / revision.path
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if "DEFAULT" not in text.upper() or "PARTITION" not in text.upper():
            continue
        text = _JOINT.sub("", text)
        defaults |= {_plain(parent): _plain(child) for child, parent in _CREATED.findall(text)}
        defaults |= {_plain(parent): _plain(child) for parent, child in _ATTACHED.findall(text)}
    return defaults


def _plain(name: str) -> str:
    """Return a name as the plan has it, where it needs no quotes."""
    parts = name.replace("\\", "").split(".")
    return ".".join(part[1:-1] if part.startswith('"') else part.lower() for part in parts).removeprefix("public.")

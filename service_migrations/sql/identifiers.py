"""Names as PostgreSQL has them (documentation, 4.1.1 Identifiers and Key Words)."""

__all__ = ["LONGEST", "cut", "folded"]

LONGEST = 63
"""Bytes of a name in UTF-8, behind which PostgreSQL cuts it: NAMEDATALEN - 1."""

_SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
"""The letters that PostgreSQL folds in a database in UTF-8; an Ä stays."""


def folded(word: str) -> str:
    """Return a name that isn't quoted in small letters."""
    return word.translate(_SMALL)


def cut(name: str, room: int = LONGEST) -> str:
    """Return as much of a name as fits into a number of bytes, in whole characters."""
    return name if len(name) * 4 <= room else name.encode(errors="replace")[:room].decode(errors="ignore")

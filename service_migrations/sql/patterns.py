"""Texts that regular expressions of CHECKs match.

The probe of ``compat`` imports this file by its path, in an interpreter that may not have this library.
"""

import re

__all__ = ["matching"]


def matching(pattern: str) -> str:
    """Return a text that a simple regular expression matches: classes, groups, alternatives and repetitions."""
    text, rest = "", pattern.removeprefix("^").removesuffix("$")
    while rest:
        if rest[0] == "(" and ")" in rest:
            inner, rest = rest[1:].split(")", 1)
            piece = matching(inner.removeprefix("?:").split("|")[0])
        elif rest[0] == "[" and "]" in rest[2:]:
            inner, rest = rest[1 : rest.index("]", 2)], rest[rest.index("]", 2) + 1 :]
            piece = "x" if inner[0] == "^" else "a" if inner.startswith("[:alnum") else inner[0]
        elif rest[0] == "\\" and len(rest) > 1:
            piece, rest = {"d": "1", "w": "a", "s": " "}.get(rest[1], rest[1]), rest[2:]
        else:
            piece, rest = "a" if rest[0] == "." else rest[0], rest[1:]
        count = re.match(r"\{(\d+)[^}]*\}|[+*?]", rest)
        text += piece * (int(count[1]) if count and count[1] else 1)
        rest = rest[count.end() :] if count else rest
    return text.split("|")[0]

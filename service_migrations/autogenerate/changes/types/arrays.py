"""Conversions between an array and a type that is none: JSON, or that of its elements."""

__all__ = ["of_elements", "of_json", "warning"]

_JSON = ("json", "jsonb")
_TEXTS = ("text", "character varying", "character", "citext")


def of_json(name: str, before: str, after: str, kind: str) -> str | None:
    """Return an expression for USING between an array and JSON; None where it is another conversion.

    JSON differs from the text of an array in its brackets. Where the array is no longer the same JSON, as with brackets
    or escapes in a text, or with a value that is cut, it fails.

    Args:
        name: the column's name, quoted.
        before: its type, that under a domain.
        after: its new type, that under a domain.
        kind: its new type as it is named.

    """
    if before.endswith("[]") and after in _JSON:
        return f"to_{after}({name})" + ("" if kind == after else f"::{kind}")
    if before in _JSON and after.endswith("[]"):
        array = f"translate({name}::text, '[]', '{{}}')::{kind}"
        json = name if before == "jsonb" else f"{name}::jsonb"
        changed = f"concat({name}, ' would change')::{kind}"
        kept = f"WHEN to_jsonb({array}) IS NOT DISTINCT FROM {json} THEN {array}"
        return f"CASE WHEN {before}_typeof({name}) <> 'array' THEN {changed} {kept} ELSE {changed} END"
    return None


def of_elements(name: str, before: str, after: str, kind: str) -> str | None:
    """Return an expression for USING between a type and the array of it; None where it is another conversion.

    A value becomes an array of one. On the way back it fails on an array that hasn't just one element, which isn't
    NULL. Texts are left to their casts: a text may be that of an array. The arguments are those of ``of_json``.
    """
    if before == f"{after}[]" and not _is_text(after):
        # to the number first: any text may be a value of the type
        changed = f"concat({name}, ' would change')::integer::text::{kind}"
        kept = f"{name}[1] IS NOT NULL AND {name}::text = ARRAY[{name}[1]]::text"
        return f"CASE WHEN {name} IS NULL OR {kept} THEN {name}[1]::{kind} ELSE {changed} END"
    if after == f"{before}[]" and not _is_text(before):
        return f"CASE WHEN {name} IS NOT NULL THEN ARRAY[{name}]::{kind} END"
    return None


def warning(name: str, before: str, after: str) -> str | None:
    """Return what a person has to know of a conversion of a text or an array; None of another one."""
    if _is_text(before) and after.endswith("[]"):
        return (
            "WARNING: this fails on a text that isn't that of an array, such as {a,b}.\n"
            f"To make each value an array of one, write: USING ARRAY[{name}]"
        )
    if before == f"{after}[]" and not _is_text(after):
        return "WARNING: this fails on an array that hasn't just one element."
    return None


def _is_text(kind: str) -> bool:
    is_array = kind.endswith("[]")
    return not is_array and (kind.partition("(")[0] in _TEXTS or kind.rpartition(".")[2] == "citext")

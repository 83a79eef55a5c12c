"""The changes of entities as a diagram of Mermaid, which GitHub draws.

Its grammar takes few characters outside of quotes, and has no escape in them: what isn't safe is replaced.
"""

import re

from service_migrations.report.changes import TableChange, TableChanges
from service_migrations.report.diagram import short_type

__all__ = ["entity_changes"]

_MOST = 30
"""The columns of one table that are shown."""
_LONGEST = 80
"""The characters of a text in quotes."""
_KEYS = ("PK", "FK", "UK")
"""Words that mark a key, and so can't be the name of a column."""
_UNSAFE_IN_QUOTES = re.compile(r"[^\w .,:()/+=-]")
_UNSAFE_IN_WORDS = re.compile(r"[^A-Za-z0-9_()\[\]-]")


def entity_changes(changes: TableChanges) -> str:
    """Return the diagram of what has changed; empty where no table has.

    Tables that keys refer to, and that are as before, are there by their name only.
    """
    tables = {name: table for name, table in changes.tables.items() if _is_shown(table)}
    if not tables:
        return ""
    names = list(tables)
    names += [each.target for table in tables.values() for each in table.references]
    numbers = {name: f"t{number}" for number, name in enumerate(dict.fromkeys(names))}
    lines = ["erDiagram"]
    for name, number in numbers.items():
        table = tables.get(name)
        lines.append(f'  {number}["{_quoted(_title(name, table))}"]{" {" if table and table.columns else ""}')
        if table and table.columns:
            for column, change in list(table.columns.items())[:_MOST]:
                text = change.change if _word(column) == column else f"{column} {change.change}".strip()
                key = " PK" if change.is_key else " FK" if _is_reference(table, column) else ""
                comment = f' "{_quoted(text)}"' if text else ""
                lines.append(f"    {_word(_plain_type(change.type))} {_word(column)}{key}{comment}")
            if len(table.columns) > _MOST:
                lines.append(f'    and more "{len(table.columns) - _MOST} more columns"')
            lines.append("  }")
    for name, table in tables.items():
        lines += [
            f'  {numbers[each.target]} ||--o{{ {numbers[name]} : "{_quoted(", ".join(each.columns))}"'
            for each in table.references
        ]
    return "\n".join(lines)


def _is_shown(table: TableChange) -> bool:
    return bool(table.change != "changed" or table.columns or table.references or table.former)


def _is_reference(table: TableChange, column: str) -> bool:
    return any(column in each.columns for each in table.references)


def _title(name: str, table: TableChange | None) -> str:
    if table is None:
        return name
    former = f", renamed from {table.former}" if table.former else ""
    return f"{name} ({table.change}{former})" if table.change != "changed" or former else name


def _quoted(text: str) -> str:
    """Return a text that can stand between double quotes."""
    safe = _UNSAFE_IN_QUOTES.sub("_", " ".join(text.split()))
    return safe if len(safe) <= _LONGEST else f"{safe[: _LONGEST - 1]}…"


def _word(text: str) -> str:
    """Return a text as a word of the grammar, which begins with a letter."""
    safe = _UNSAFE_IN_WORDS.sub("_", text)
    return safe if re.match(r"[A-Za-z_]", safe) and safe.upper() not in _KEYS else f"_{safe}"


def _plain_type(text: str) -> str:
    """Return a type without arguments that a word can't have."""
    short = short_type(text.lower()) or "column"
    return short.partition("(")[0] if "," in short else short

"""What stands inside a CREATE or an ALTER: the definition of a column, the options of a sequence."""

from collections.abc import Mapping

from service_migrations.catalog.objects import Catalog, Object

__all__ = ["column_definition", "sequence_options"]


def column_definition(one: Object, catalog: Catalog) -> str:
    """Return a column as CREATE TABLE and ADD COLUMN take it."""
    facts, words = one.facts, [one.address, one.facts["type"]]
    if "collation" in facts:
        words.append(f"COLLATE {facts['collation']}")
    if "default" in facts:
        words.append(f"DEFAULT {facts['default']}")
    if "generated" in facts:
        expression, _, stored = facts["generated"].rpartition(" ")
        words.append(f"GENERATED ALWAYS AS ({expression}) {stored}")
    if "identity" in facts:
        words.append(f"GENERATED {facts['identity']} AS IDENTITY{_identity_options(one, catalog)}")
    if facts["not_null"]:
        words.append("NOT NULL")
    return " ".join(words)


def _identity_options(column: Object, catalog: Catalog) -> str:
    table = catalog.parent(column)
    for sequence in catalog.parts(table, "sequence") if table else ():
        if sequence.facts.get("identity") == column.name:
            return f" (SEQUENCE NAME {sequence.address} {sequence_options(sequence.facts)})"
    return ""


def sequence_options(facts: Mapping[str, object], *names: str) -> str:
    """Return the options of a sequence, or those of these names."""
    said = {
        "increment": f"INCREMENT BY {facts.get('increment')}",
        "minimum": f"MINVALUE {facts.get('minimum')}",
        "maximum": f"MAXVALUE {facts.get('maximum')}",
        "start": f"START WITH {facts.get('start')}",
        "cache": f"CACHE {facts.get('cache')}",
        "cycle": "CYCLE" if facts.get("cycle") else "NO CYCLE",
    }
    return " ".join(text for name, text in said.items() if not names or name in names)

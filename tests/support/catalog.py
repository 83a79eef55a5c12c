"""A database's own objects, read from pg_catalog: two equal lists are two equal schemas."""

from typing import Any

import asyncpg

from service_migrations.settings.dsn import Dsn
from tests.support.database import query

_OBJECTS = """
WITH own AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relation AS (
    SELECT c.*, n.nspname || '.' || c.relname AS name FROM pg_class c JOIN own n ON n.oid = c.relnamespace
)
SELECT 'relation', name,
    concat_ws(' ', relkind::text, CASE WHEN relpersistence = 'u' AND relkind <> 'S' THEN 'unlogged' END)
FROM relation
UNION ALL
SELECT 'column', r.name || '.' || a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attcollation > 0 THEN a.attcollation::regcollation END,
    CASE WHEN a.attnotnull THEN 'not null' END, a.attidentity::text, a.attgenerated::text,
    pg_get_expr(d.adbin, d.adrelid))
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'v', 'm')
UNION ALL
SELECT 'sequence', r.name, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
    s.seqcache, s.seqcycle)
FROM pg_sequence s JOIN relation r ON r.oid = s.seqrelid
UNION ALL
SELECT 'constraint', r.name || '.' || k.conname,
    pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' (not validated)' END
FROM pg_constraint k JOIN relation r ON r.oid = k.conrelid WHERE k.contype <> 'n'
UNION ALL
SELECT 'comment', r.name || '.' || k.conname, d.description
FROM pg_description d JOIN pg_constraint k ON k.oid = d.objoid AND d.classoid = 'pg_constraint'::regclass
JOIN relation r ON r.oid = k.conrelid
UNION ALL
SELECT 'index', r.name, pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' (invalid)' END
FROM pg_index i JOIN relation r ON r.oid = i.indexrelid
UNION ALL
SELECT 'type', n.nspname || '.' || t.typname, (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder)
    FROM pg_enum WHERE enumtypid = t.oid)
FROM pg_type t JOIN own n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r')
UNION ALL
SELECT 'function', n.nspname || '.' || p.proname, pg_get_functiondef(p.oid)
FROM pg_proc p JOIN own n ON n.oid = p.pronamespace WHERE p.prokind IN ('f', 'p')
UNION ALL
SELECT 'trigger', r.name || '.' || t.tgname, pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'comment', concat_ws('.', r.name, a.attname), d.description
FROM pg_description d JOIN relation r ON r.oid = d.objoid AND d.classoid = 'pg_class'::regclass
LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
"""


def catalog(dsn: Dsn) -> list[str]:
    """Return one line for each object of a database, sorted; without the ledgers, which no history knows."""
    return _lines(query(dsn, _OBJECTS))


async def seen(connection: asyncpg.Connection) -> list[str]:
    """Return the same over a connection that is there already."""
    return _lines(await connection.fetch(_OBJECTS))


def _lines(rows: list[Any]) -> list[str]:
    lines = sorted(" ".join(str(part) for part in row if part is not None) for row in rows)
    return [line for line in lines if ".migration_log_" not in line.split(" ")[1]]


def only_version_tables(dsn: Dsn) -> bool:
    """Whether a database holds nothing but version tables and ledgers, with their columns, keys and indexes."""
    return all(".alembic_version_" in line for line in catalog(dsn))


def statements(script: str) -> list[str]:
    """Split an offline script as psql would: by statements, leaving the bodies of functions whole."""
    lines: list[str] = []
    for piece in script.split(";\n"):
        if lines and lines[-1].count("$$") % 2:
            lines[-1] += f";\n{piece}"
        else:
            lines.append(piece)
    return [piece.strip() for piece in lines if piece.strip()]

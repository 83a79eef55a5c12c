-- The indexes, keys and foreign keys that partitions have with a table, and the names that PostgreSQL would choose.
--
-- :schemas, :tables and :names are the parts of tables that those come from. The chosen name is NULL where it would have
-- to be shortened, and for the copies of a foreign key that lead to the partitions of what it refers to.
WITH RECURSIVE roots (relid, schema, "table", name) AS (
    SELECT r.oid, t.schema, t."table", t.name
    FROM unnest(CAST(:schemas AS text[]), CAST(:tables AS text[]), CAST(:names AS text[])) AS t (schema, "table", name)
    JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = t."table"
), indexes (schema, "table", root, oid, depth) AS (
    SELECT r.schema, r."table", r.name, x.oid, 0
    FROM roots r JOIN pg_index i ON i.indrelid = r.relid JOIN pg_class x ON x.oid = i.indexrelid AND x.relname = r.name
    UNION ALL
    SELECT p.schema, p."table", p.root, h.inhrelid, p.depth + 1 FROM indexes p JOIN pg_inherits h ON h.inhparent = p.oid
), keys (schema, "table", root, oid, confrelid, depth) AS (
    SELECT r.schema, r."table", r.name, c.oid, c.confrelid, 0
    FROM roots r JOIN pg_constraint c ON c.conrelid = r.relid AND c.contype = 'f' AND c.conname = r.name
    UNION ALL
    SELECT p.schema, p."table", p.root, c.oid, p.confrelid, p.depth + 1
    FROM keys p JOIN pg_constraint c ON c.conparentid = p.oid
), parts (schema, "table", root, relid, name, chosen, confrelid) AS (
    SELECT p.schema, p."table", p.root, i.indrelid, x.relname, concat_ws('_', r.relname,
        CASE WHEN c.contype IS DISTINCT FROM 'p' THEN (
            SELECT string_agg(a.attname, '_' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = x.oid) END,
        CASE c.contype WHEN 'p' THEN 'pkey' WHEN 'u' THEN 'key' WHEN 'x' THEN 'excl' ELSE 'idx' END), NULL::oid
    FROM indexes p JOIN pg_index i ON i.indexrelid = p.oid JOIN pg_class x ON x.oid = p.oid
    JOIN pg_class r ON r.oid = i.indrelid
    LEFT JOIN pg_constraint c ON c.conindid = p.oid AND c.conrelid = i.indrelid AND c.contype IN ('p', 'u', 'x')
    WHERE p.depth > 0
    UNION ALL
    SELECT p.schema, p."table", p.root, c.conrelid, c.conname,
        CASE WHEN c.confrelid = p.confrelid THEN p.root END, c.confrelid
    FROM keys p JOIN pg_constraint c ON c.oid = p.oid
    WHERE p.depth > 0
)
SELECT p.schema AS root_schema, p."table" AS root_table, p.root::text AS root,
    n.nspname::text AS schema, r.relname::text AS partition, p.name::text AS name,
    CASE WHEN octet_length(p.chosen) < 64 THEN p.chosen END AS chosen,
    m.nspname::text AS referenced_schema, f.relname::text AS referenced
FROM parts p JOIN pg_class r ON r.oid = p.relid JOIN pg_namespace n ON n.oid = r.relnamespace
LEFT JOIN pg_class f ON f.oid = p.confrelid LEFT JOIN pg_namespace m ON m.oid = f.relnamespace
WHERE r.relkind IN ('r', 'p')
ORDER BY 4, 5, 9 NULLS FIRST, 8, 3, 1, 2

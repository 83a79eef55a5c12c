-- The indexes, keys and foreign keys that partitions have with their table, and the names that PostgreSQL would choose.
--
-- :oid is the table, :names are those of its own parts. The chosen name is NULL where it would have to be shortened.
WITH RECURSIVE indexes (root, oid) AS (
    SELECT x.relname, x.oid FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = :oid AND x.relname = ANY(CAST(:names AS text[]))
    UNION ALL
    SELECT p.root, h.inhrelid FROM indexes p JOIN pg_inherits h ON h.inhparent = p.oid
), keys (root, oid, confrelid) AS (
    SELECT c.conname, c.oid, c.confrelid FROM pg_constraint c
    WHERE c.conrelid = :oid AND c.contype = 'f' AND c.conname = ANY(CAST(:names AS text[]))
    UNION ALL
    -- a key to a partitioned table also has one of its own to each partition of that
    SELECT p.root, c.oid, c.confrelid FROM keys p
    JOIN pg_constraint c ON c.conparentid = p.oid AND c.confrelid = p.confrelid
), parts (root, relid, name, chosen, foreign_key) AS (
    SELECT p.root, i.indrelid, x.relname, concat_ws('_', r.relname,
        CASE WHEN c.contype IS DISTINCT FROM 'p' THEN (
            SELECT string_agg(a.attname, '_' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = x.oid) END,
        CASE c.contype WHEN 'p' THEN 'pkey' WHEN 'u' THEN 'key' WHEN 'x' THEN 'excl' ELSE 'idx' END), false
    FROM indexes p JOIN pg_index i ON i.indexrelid = p.oid JOIN pg_class x ON x.oid = p.oid
    JOIN pg_class r ON r.oid = i.indrelid
    LEFT JOIN pg_constraint c ON c.conindid = p.oid AND c.conrelid = i.indrelid AND c.contype IN ('p', 'u', 'x')
    UNION ALL
    SELECT p.root, c.conrelid, c.conname, p.root, true FROM keys p JOIN pg_constraint c ON c.oid = p.oid
)
SELECT n.nspname::text AS schema, r.relname::text AS partition, p.root::text AS root, p.name::text AS name,
    CASE WHEN octet_length(p.chosen) < 64 THEN p.chosen END AS chosen, p.foreign_key
FROM parts p JOIN pg_class r ON r.oid = p.relid JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE p.relid <> :oid AND r.relkind IN ('r', 'p')
ORDER BY 1, 2, 6, 3

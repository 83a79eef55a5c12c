-- What keeps PostgreSQL from dropping, changing or creating parts: one row for each part and object in its way.
--
-- :parts is JSON, each with a number, a kind, the oid of its table or type, and perhaps a name:
-- table, column, constraint, index, sequence (of a column) and type are dropped, the type of a "changed" column changes,
-- a "nullable" column loses its NOT NULL, a "plain" one its expression, and a "default" one its default. An "extended"
-- table gets a column, an "unlogged" one ceases to be logged. It is "filled" where a column gets a value in every row;
-- where a type is named, only if that is a domain with constraints. A "new table", "new relation" or "new type" needs a
-- name in a schema.
-- :tables are the oids of all tables that the comparison has.
WITH RECURSIVE parts AS (
    SELECT p.number, p.kind, p.oid::oid AS oid, p.name, coalesce(p.schema, CAST(:default AS text)) AS schema
    FROM json_to_recordset(:parts) AS p (number int, kind text, oid bigint, name text, schema text, type bigint)
    WHERE p.type IS NULL OR EXISTS (
        WITH RECURSIVE domains (oid) AS (
            SELECT p.type::oid UNION SELECT t.typbasetype FROM domains d JOIN pg_type t ON t.oid = d.oid
        )
        SELECT FROM domains d JOIN pg_type t ON t.oid = d.oid
        WHERE t.typnotnull OR EXISTS (SELECT FROM pg_constraint c WHERE c.contypid = d.oid))
), tree (root, relid) AS (
    -- a table and its partitions and children
    SELECT oid, oid FROM unnest(CAST(:tables AS oid[])) AS t (oid)
    UNION
    SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.relid
), columns (number, kind, relid, attnum, own) AS (
    SELECT p.number, p.kind, a.attrelid, a.attnum, t.relid = t.root
    FROM parts p JOIN tree t ON t.root = p.oid JOIN pg_attribute a ON a.attrelid = t.relid AND a.attname = p.name
    WHERE p.kind IN ('column', 'changed', 'nullable') AND NOT a.attisdropped
        AND (t.relid = t.root OR (a.attinhcount > 0 AND NOT (p.kind = 'column' AND a.attislocal)))
), start (number, classid, objid, objsubid) AS (
    SELECT number, 'pg_class'::regclass::oid, oid, 0 FROM parts WHERE kind = 'table'
    UNION ALL
    -- an array type goes with that of its elements
    SELECT p.number, 'pg_type'::regclass, coalesce(nullif(t.typelem, 0), t.oid), 0
    FROM parts p JOIN pg_type t ON t.oid = p.oid WHERE p.kind = 'type'
    UNION ALL
    SELECT number, 'pg_class'::regclass, relid, attnum::int FROM columns WHERE kind = 'column'
    UNION ALL
    SELECT p.number, 'pg_constraint'::regclass, c.oid, 0
    FROM parts p JOIN pg_constraint c ON c.conrelid = p.oid AND c.conname = p.name WHERE p.kind = 'constraint'
    UNION ALL
    SELECT p.number, 'pg_class'::regclass, i.indexrelid, 0
    FROM parts p JOIN pg_index i ON i.indrelid = p.oid JOIN pg_class x ON x.oid = i.indexrelid AND x.relname = p.name
    WHERE p.kind = 'index'
    UNION ALL
    SELECT p.number, 'pg_class'::regclass, s.objid, 0
    FROM parts p JOIN pg_attribute a ON a.attrelid = p.oid AND a.attname = p.name
    JOIN pg_depend s ON s.refclassid = 'pg_class'::regclass AND s.refobjid = p.oid AND s.refobjsubid = a.attnum
        AND s.classid = 'pg_class'::regclass AND s.deptype IN ('a', 'i')
    JOIN pg_class q ON q.oid = s.objid AND q.relkind = 'S'
    WHERE p.kind = 'sequence'
), dropped (number, classid, objid, objsubid) AS (
    -- what PostgreSQL drops with them by itself
    SELECT * FROM start
    UNION
    SELECT s.number, d.classid, d.objid, d.objsubid
    FROM dropped s JOIN pg_depend d ON d.refclassid = s.classid AND d.refobjid = s.objid
        AND (s.objsubid = 0 OR d.refobjsubid = s.objsubid)
    WHERE d.deptype IN ('a', 'i', 'P', 'S')
), holders (part, oid) AS MATERIALIZED (
    -- the types that hold values of another one
    SELECT t.typbasetype, t.oid FROM pg_type t WHERE t.typbasetype <> 0
    UNION ALL
    SELECT t.typelem, t.oid FROM pg_type t WHERE t.typelem <> 0 AND t.typcategory = 'A'
    UNION ALL
    SELECT g.rngsubtype, g.rngtypid FROM pg_range g
    UNION ALL
    SELECT a.atttypid, c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relkind = 'c' AND NOT a.attisdropped
), row_types (number, oid) AS (
    -- a table whose row type is stored anywhere can't be rewritten
    SELECT DISTINCT c.number, r.reltype FROM columns c JOIN pg_class r ON r.oid = c.relid
    WHERE c.kind = 'changed' AND r.reltype <> 0
    UNION
    SELECT p.number, r.reltype FROM parts p JOIN tree t ON t.root = p.oid JOIN pg_class r ON r.oid = t.relid
    WHERE p.kind = 'filled' AND r.reltype <> 0
    UNION
    SELECT r.number, h.oid FROM row_types r JOIN holders h ON h.part = r.oid
), used (number, classid, objid, objsubid, label) AS (
    SELECT s.number, d.classid, d.objid, d.objsubid, NULL
    FROM dropped s JOIN parts p USING (number) JOIN pg_depend d ON d.refclassid = s.classid AND d.refobjid = s.objid
        AND (s.objsubid = 0 OR d.refobjsubid = s.objsubid)
    LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
    LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
    LEFT JOIN pg_index i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid
    WHERE d.deptype = 'n' AND c.contype IS DISTINCT FROM 'f'
        -- the default of a serial column, and the expression of one that isn't generated any more, go before, with those
        -- of partitions and children; a child that has a model may keep its own, unless it is a "default" one
        AND NOT EXISTS (SELECT FROM parts l JOIN tree t ON t.root = l.oid
            JOIN pg_attribute a ON a.attrelid = t.relid AND a.attname = l.name
            WHERE l.kind IN ('sequence', 'plain', 'default') AND f.adrelid = t.relid AND f.adnum = a.attnum
                AND (t.relid = t.root OR t.relid <> ALL(CAST(:tables AS oid[]))))
        AND NOT EXISTS (SELECT FROM dropped o WHERE o.classid = d.classid AND o.objid = d.objid
            AND o.objsubid IN (0, d.objsubid))
        -- the parts of our own tables that use a type are converted or recreated; of a partition, those of its parent
        AND (p.kind = 'type' AND (
            (d.classid = 'pg_class'::regclass AND d.objsubid > 0 AND d.objid IN (SELECT relid FROM tree))
            OR f.adrelid = ANY(CAST(:tables AS oid[])) OR c.conrelid = ANY(CAST(:tables AS oid[]))
            OR i.indrelid = ANY(CAST(:tables AS oid[]))
            OR (c.conrelid IN (SELECT relid FROM tree) AND c.coninhcount > 0)
            OR (i.indrelid IN (SELECT relid FROM tree) AND EXISTS (SELECT FROM pg_inherits WHERE inhrelid = d.objid))
            OR EXISTS (SELECT FROM tree t JOIN pg_attribute o ON o.attrelid = t.relid
                JOIN pg_attribute a ON a.attrelid = t.root AND a.attname = o.attname AND a.atthasdef
                WHERE t.relid = f.adrelid AND o.attnum = f.adnum))) IS NOT TRUE
    UNION
    SELECT c.number, d.classid, d.objid, d.objsubid, NULL
    FROM columns c JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.relid
        AND d.refobjsubid = c.attnum
    LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
    WHERE c.kind = 'changed' AND (
        d.classid IN ('pg_proc'::regclass, 'pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass,
            'pg_publication_rel'::regclass)
        -- a generated column; before 15 the dependency is at the column
        OR (f.adnum <> c.attnum) OR (d.classid = 'pg_class'::regclass AND d.objid = c.relid AND d.objsubid > 0))
        AND NOT EXISTS (SELECT FROM start o WHERE o.classid = 'pg_class'::regclass
            AND o.objid = coalesce(f.adrelid, d.objid) AND o.objsubid = coalesce(f.adnum, d.objsubid))
        -- nor one whose expression goes before
        AND NOT EXISTS (SELECT FROM parts l JOIN pg_attribute a ON a.attrelid = l.oid AND a.attname = l.name
            WHERE l.kind = 'plain' AND l.oid = coalesce(f.adrelid, d.objid) AND a.attnum = coalesce(f.adnum, d.objsubid))
    UNION
    SELECT c.number, 'pg_class'::regclass, c.relid, 0, 'partition key'
    FROM columns c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.relid AND d.objsubid = c.attnum
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.relid AND d.refobjsubid = 0 AND d.deptype = 'i'
    WHERE c.kind IN ('column', 'changed')
    UNION
    SELECT c.number, 'pg_class'::regclass, i.inhparent, 0, 'parent table'
    FROM columns c JOIN pg_attribute a ON a.attrelid = c.relid AND a.attnum = c.attnum AND a.attinhcount > 0
    JOIN pg_inherits i ON i.inhrelid = c.relid
    JOIN pg_attribute o ON o.attrelid = i.inhparent AND o.attname = a.attname AND NOT o.attisdropped
    WHERE c.own AND c.kind IN ('column', 'changed')
        AND NOT EXISTS (SELECT FROM columns p WHERE p.relid = i.inhparent AND p.attnum = o.attnum AND p.kind = c.kind)
    UNION
    SELECT c.number, 'pg_type'::regclass, t.reloftype, 0, 'type of the table'
    FROM columns c JOIN pg_class t ON t.oid = c.relid AND t.reloftype <> 0 WHERE c.kind IN ('column', 'changed')
    UNION
    SELECT p.number, 'pg_type'::regclass, t.reloftype, 0, 'type of the table'
    FROM parts p JOIN pg_class t ON t.oid = p.oid AND t.reloftype <> 0 WHERE p.kind = 'extended'
    UNION
    SELECT r.number, 'pg_class'::regclass, c.oid, a.attnum::int, NULL
    FROM row_types r JOIN pg_attribute a ON a.atttypid = r.oid AND NOT a.attisdropped
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'm', 'p', 'i')
    WHERE NOT EXISTS (SELECT FROM dropped o WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid
        AND o.objsubid IN (0, a.attnum))
    UNION
    SELECT c.number, 'pg_class'::regclass, i.indexrelid, 0, 'replica identity'
    FROM columns c JOIN pg_index i ON i.indrelid = c.relid AND i.indisreplident AND c.attnum = ANY(i.indkey)
    WHERE c.kind = 'nullable' AND NOT EXISTS (
        SELECT FROM dropped o WHERE o.classid = 'pg_class'::regclass AND o.objid = i.indexrelid)
    UNION
    SELECT p.number, 'pg_publication'::regclass, r.prpubid, 0, NULL
    FROM parts p JOIN pg_publication_rel r ON r.prrelid = p.oid WHERE p.kind = 'unlogged'
    UNION
    -- a name of a relation is one of a type too, apart from indexes and sequences; the type of an array makes way
    SELECT p.number, h.classid, h.objid, 0, NULL
    FROM parts p JOIN pg_namespace n ON n.nspname = p.schema CROSS JOIN LATERAL (
        SELECT 'pg_class'::regclass::oid, c.oid FROM pg_class c
        WHERE c.relnamespace = n.oid AND c.relname = p.name AND p.kind IN ('new table', 'new relation')
        UNION
        SELECT CASE t.typrelid WHEN 0 THEN 'pg_type'::regclass ELSE 'pg_class'::regclass END,
            coalesce(nullif(t.typrelid, 0), t.oid)
        FROM pg_type t WHERE t.typnamespace = n.oid AND t.typname = p.name AND p.kind IN ('new table', 'new type')
            AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
    ) h (classid, objid)
    WHERE NOT EXISTS (SELECT FROM dropped o WHERE o.classid = h.classid AND o.objid = h.objid AND o.objsubid = 0)
)
SELECT u.number, coalesce(u.label, o.type) AS kind, o.identity AS name, min(u.objsubid)
FROM used u
-- a view appears by its rule and its columns
LEFT JOIN pg_rewrite r ON u.classid = 'pg_rewrite'::regclass AND r.oid = u.objid
LEFT JOIN pg_class v ON v.oid = CASE WHEN u.classid = 'pg_class'::regclass THEN u.objid ELSE r.ev_class END
    AND v.relkind IN ('v', 'm')
CROSS JOIN pg_identify_object(CASE WHEN v.oid IS NULL THEN u.classid ELSE 'pg_class'::regclass END,
    coalesce(v.oid, u.objid), CASE WHEN v.oid IS NULL THEN u.objsubid ELSE 0 END) o
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3

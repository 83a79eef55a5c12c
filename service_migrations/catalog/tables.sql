-- One row for each table: its oid, and its state as JSON. The dependencies of a part are looked up by the part,
-- which has an index, so that the time grows with the number of tables and not with its square.
SELECT c.oid::bigint, json_build_object('schema', n.nspname, 'name', c.relname,
    'place', format('%I.%I', n.nspname, c.relname),
    'comment', obj_description(c.oid, 'pg_class'),
    'unlogged', c.relpersistence = 'u', 'partition_key', pg_get_partkeydef(c.oid),
    'columns', (
        SELECT coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
            'stored', CASE t.typtype WHEN 'd' THEN (
                WITH RECURSIVE under (type, modifier, depth) AS (
                    SELECT t.typbasetype, t.typtypmod, 1
                    UNION ALL
                    SELECT u.typbasetype, u.typtypmod, b.depth + 1 FROM under b JOIN pg_type u ON u.oid = b.type
                    WHERE u.typtype = 'd')
                SELECT format_type(type, modifier) FROM under ORDER BY depth DESC LIMIT 1)
                ELSE format_type(a.atttypid, a.atttypmod) END,
            'base', coalesce(CASE WHEN t.typcategory = 'A' THEN nullif(t.typelem, 0) END, t.oid)::bigint,
            'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
            'not_null', a.attnotnull AND v.name IS NULL, 'unvalidated', v.name, 'default', pg_get_expr(d.adbin, d.adrelid),
            'generated', a.attgenerated::text, 'identity', a.attidentity::text,
            'sequence', CASE WHEN a.atthasdef OR a.attidentity <> '' THEN (SELECT json_build_object('start', s.seqstart, 'increment', s.seqincrement,
                    'minvalue', s.seqmin, 'maxvalue', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle,
                    'type', format_type(s.seqtypid, NULL),
                    'name', (SELECT q.relname FROM pg_class q WHERE q.oid = s.seqrelid), 'serial', o.deptype = 'a')
                FROM pg_depend o JOIN pg_sequence s ON s.seqrelid = o.objid
                WHERE o.classid = 'pg_class'::regclass AND o.refclassid = 'pg_class'::regclass
                    AND o.refobjid = c.oid AND o.refobjsubid = a.attnum AND o.deptype IN ('a', 'i')
                ORDER BY o.deptype DESC LIMIT 1) END,
            -- before 15 what a generated column uses is noted at the column, not at its expression
            'uses', CASE WHEN a.atthasdef THEN (SELECT coalesce(json_agg(u.attname), '[]') FROM pg_depend o
                JOIN pg_attribute u ON u.attrelid = c.oid AND u.attnum = o.refobjsubid
                WHERE o.refclassid = 'pg_class'::regclass AND o.refobjid = c.oid AND o.refobjsubid NOT IN (0, a.attnum)
                    AND ((o.classid = 'pg_attrdef'::regclass AND o.objid = d.oid)
                        OR (o.classid = 'pg_class'::regclass AND o.objid = c.oid AND o.objsubid = a.attnum))) ELSE '[]' END,
            'types', CASE WHEN a.atthasdef THEN (SELECT coalesce(json_agg(o.refobjid::bigint), '[]') FROM pg_depend o
                WHERE o.refclassid = 'pg_type'::regclass AND ((o.classid = 'pg_attrdef'::regclass AND o.objid = d.oid)
                    OR (a.attgenerated <> '' AND o.classid = 'pg_class'::regclass AND o.objid = c.oid
                        AND o.objsubid = a.attnum))) ELSE '[]' END,
            'comment', col_description(c.oid, a.attnum)) ORDER BY a.attnum), '[]')
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        -- from 18 on a NOT NULL may be NOT VALID
        LEFT JOIN LATERAL (SELECT k.conname AS name FROM pg_constraint k WHERE a.attnotnull AND k.conrelid = c.oid
            AND k.contype = 'n' AND NOT k.convalidated AND k.conkey[1] = a.attnum) v ON true
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'constraints', (
        SELECT coalesce(json_agg(json_build_object('name', k.conname, 'kind', k.contype::text,
            'definition', pg_get_constraintdef(k.oid), 'foreign_schema', fn.nspname, 'foreign_table', f.relname,
            'foreign_columns', CASE WHEN k.contype = 'f' THEN (SELECT coalesce(json_agg(fa.attname ORDER BY at.place), '[]')
                FROM unnest(k.confkey) WITH ORDINALITY AS at (number, place)
                JOIN pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = at.number) ELSE '[]' END,
            'local_columns', (SELECT coalesce(json_agg(la.attname ORDER BY at.place), '[]')
                FROM unnest(k.conkey) WITH ORDINALITY AS at (number, place)
                JOIN pg_attribute la ON la.attrelid = k.conrelid AND la.attnum = at.number),
            -- before 15 there is no confdelsetcols
            'rules', concat(k.confupdtype, k.confdeltype, k.confmatchtype, k.condeferrable, k.condeferred,
                CASE WHEN k.confdeltype IN ('n', 'd') THEN (SELECT jsonb_agg(da.attname ORDER BY da.attname)
                    FROM jsonb_array_elements_text(nullif(to_jsonb(k) -> 'confdelsetcols', 'null')) AS at (number)
                    JOIN pg_attribute da ON da.attrelid = k.conrelid AND da.attnum = at.number::smallint) END),
            'valid', k.convalidated,
            'index', (SELECT relname FROM pg_class i WHERE i.oid = k.conindid),
            'uses', (SELECT coalesce(json_agg(DISTINCT u.attname), '[]') FROM pg_depend o
                JOIN pg_attribute u ON u.attrelid = c.oid AND u.attnum = o.refobjsubid
                WHERE o.refclassid = 'pg_class'::regclass AND o.refobjid = c.oid AND o.refobjsubid > 0 AND (
                    (o.classid = 'pg_constraint'::regclass AND o.objid = k.oid)
                    OR (o.classid = 'pg_class'::regclass AND o.objid = k.conindid AND k.contype <> 'f'))),
            'types', (SELECT coalesce(json_agg(DISTINCT o.refobjid::bigint), '[]') FROM pg_depend o
                WHERE o.refclassid = 'pg_type'::regclass AND (
                    (o.classid = 'pg_constraint'::regclass AND o.objid = k.oid)
                    OR (o.classid = 'pg_class'::regclass AND o.objid = k.conindid AND k.contype <> 'f')))
        ) ORDER BY k.conname), '[]')
        FROM pg_constraint k LEFT JOIN pg_class f ON f.oid = k.confrelid
        LEFT JOIN pg_namespace fn ON fn.oid = f.relnamespace
        WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x')
            -- what PostgreSQL makes of a foreign key for each partition of its target is nobody's
            AND (k.conparentid = 0 OR c.relispartition)),
    'indexes', (
        SELECT coalesce(json_agg(json_build_object('name', x.relname, 'definition', pg_get_indexdef(x.oid),
            'valid', i.indisvalid, 'plain', i.indexprs IS NULL AND i.indpred IS NULL,
            'uses', (SELECT coalesce(json_agg(DISTINCT u.attname), '[]') FROM pg_depend o
                JOIN pg_attribute u ON u.attrelid = c.oid AND u.attnum = o.refobjsubid
                WHERE o.classid = 'pg_class'::regclass AND o.objid = x.oid
                    AND o.refclassid = 'pg_class'::regclass AND o.refobjid = c.oid AND o.refobjsubid > 0),
            'types', (SELECT coalesce(json_agg(DISTINCT o.refobjid::bigint), '[]') FROM pg_depend o
                WHERE o.classid = 'pg_class'::regclass AND o.objid = x.oid AND o.refclassid = 'pg_type'::regclass)
            ) ORDER BY x.relname), '[]')
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND NOT EXISTS (
            SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.conindid = x.oid AND k.contype IN ('p', 'u', 'x')))
)::text
-- the path by which the texts are shown is set when the names of this query are resolved already
FROM {SHOWN} JOIN pg_class c ON shown.path IS NOT NULL JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(:oids)

-- One row for each table: its oid, and all that PostgreSQL says of it, as JSON.
WITH uses AS (
    SELECT d.classid, d.objid, d.objsubid, d.refobjid AS relation, a.attname AS column
    FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(:oids) AND d.refobjsubid > 0
), types AS (
    SELECT d.classid, d.objid, d.objsubid, d.refobjid::bigint AS type
    FROM pg_depend d WHERE d.refclassid = 'pg_type'::regclass
)
SELECT c.oid::bigint, json_build_object('schema', n.nspname, 'name', c.relname,
    'place', format('%I.%I', n.nspname, c.relname),
    'comment', obj_description(c.oid, 'pg_class'),
    'columns', (
        SELECT coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
            'base', coalesce(CASE WHEN t.typcategory = 'A' THEN nullif(t.typelem, 0) END, t.oid)::bigint,
            'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
            'not_null', a.attnotnull, 'default', pg_get_expr(d.adbin, d.adrelid),
            'generated', a.attgenerated::text, 'identity', a.attidentity::text,
            'sequence', (SELECT json_build_object('start', s.seqstart, 'increment', s.seqincrement,
                    'minvalue', s.seqmin, 'maxvalue', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle,
                    'name', s.seqrelid::regclass::text, 'serial', o.deptype = 'a')
                FROM pg_depend o JOIN pg_sequence s ON s.seqrelid = o.objid
                WHERE o.classid = 'pg_class'::regclass AND o.refclassid = 'pg_class'::regclass
                    AND o.refobjid = c.oid AND o.refobjsubid = a.attnum AND o.deptype IN ('a', 'i')
                ORDER BY o.deptype DESC LIMIT 1),
            'uses', (SELECT coalesce(json_agg(u.column), '[]') FROM uses u
                WHERE u.relation = c.oid AND u.column <> a.attname AND (
                    (u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid)
                    -- before 15 what a generated column uses is noted at the column, not at its expression
                    OR (u.classid = 'pg_class'::regclass AND u.objid = c.oid AND u.objsubid = a.attnum))),
            'types', (SELECT coalesce(json_agg(y.type), '[]') FROM types y
                WHERE (y.classid = 'pg_attrdef'::regclass AND y.objid = d.oid) OR (a.attgenerated <> ''
                    AND y.classid = 'pg_class'::regclass AND y.objid = c.oid AND y.objsubid = a.attnum)),
            'comment', col_description(c.oid, a.attnum)) ORDER BY a.attnum), '[]')
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'constraints', (
        SELECT coalesce(json_agg(json_build_object('name', k.conname, 'kind', k.contype::text,
            'definition', pg_get_constraintdef(k.oid), 'foreign_schema', fn.nspname, 'foreign_table', f.relname,
            'foreign_columns', (SELECT coalesce(json_agg(fa.attname ORDER BY at.place), '[]')
                FROM unnest(k.confkey) WITH ORDINALITY AS at (number, place)
                JOIN pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = at.number),
            'local_columns', (SELECT coalesce(json_agg(la.attname ORDER BY at.place), '[]')
                FROM unnest(k.conkey) WITH ORDINALITY AS at (number, place)
                JOIN pg_attribute la ON la.attrelid = k.conrelid AND la.attnum = at.number),
            'rules', concat(k.confupdtype, k.confdeltype, k.confmatchtype, k.condeferrable, k.condeferred,
                k.convalidated),
            'index', (SELECT relname FROM pg_class i WHERE i.oid = k.conindid),
            'uses', (SELECT coalesce(json_agg(DISTINCT u.column), '[]') FROM uses u WHERE u.relation = c.oid AND (
                (u.classid = 'pg_constraint'::regclass AND u.objid = k.oid)
                OR (u.classid = 'pg_class'::regclass AND u.objid = k.conindid AND k.contype <> 'f'))),
            'types', (SELECT coalesce(json_agg(DISTINCT y.type), '[]') FROM types y WHERE
                (y.classid = 'pg_constraint'::regclass AND y.objid = k.oid)
                OR (y.classid = 'pg_class'::regclass AND y.objid = k.conindid AND k.contype <> 'f'))
        ) ORDER BY k.conname), '[]')
        FROM pg_constraint k LEFT JOIN pg_class f ON f.oid = k.confrelid
        LEFT JOIN pg_namespace fn ON fn.oid = f.relnamespace
        WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x')),
    'indexes', (
        SELECT coalesce(json_agg(json_build_object('name', x.relname, 'definition', pg_get_indexdef(x.oid),
            'valid', i.indisvalid, 'plain', i.indexprs IS NULL AND i.indpred IS NULL,
            'uses', (SELECT coalesce(json_agg(DISTINCT u.column), '[]') FROM uses u
                WHERE u.classid = 'pg_class'::regclass AND u.objid = x.oid AND u.relation = c.oid),
            'types', (SELECT coalesce(json_agg(DISTINCT y.type), '[]') FROM types y
                WHERE y.classid = 'pg_class'::regclass AND y.objid = x.oid)) ORDER BY x.relname), '[]')
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND NOT EXISTS (
            SELECT FROM pg_constraint k WHERE k.conindid = x.oid AND k.contype IN ('p', 'u', 'x')))
)::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(:oids)

-- The objects of a database: a row for each outside the system's schemas, under the settings that objects.py sets.
-- A row: kind, schema, tbl, name, address (quoted for SQL; of a part its own name only), place, facts,
-- parent_kind and parent, extension, owner, comment, grants. A fact that is null is left out.
-- Columns that only a newer server has are read through to_jsonb(row), so that one text serves every version.
-- An address has no schema where that is current_schema(), which there is none of with an empty search_path. The path
-- by which names are shown is the parameter; it is set when the names of this query are resolved already.

WITH shown AS MATERIALIZED (
    SELECT set_config('search_path', {search_path}, true) AS path
), own AS MATERIALIZED (
    SELECT n.* FROM shown JOIN pg_namespace n ON shown.path IS NOT NULL
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), relation AS (
    SELECT c.*, n.nspname, concat(quote_ident(nullif(n.nspname, current_schema())) || '.', quote_ident(c.relname)) AS address,
        CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'f' THEN 'foreign table' WHEN 'v' THEN 'view'
            WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'composite type' END AS kind
    FROM pg_class c JOIN own n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't'
), type AS (
    SELECT t.*, n.nspname, concat(quote_ident(nullif(n.nspname, current_schema())) || '.', quote_ident(t.typname)) AS address,
        CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range type'
            WHEN 'c' THEN 'composite type' WHEN 'b' THEN 'base type' END AS kind
    FROM pg_type t JOIN own n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'd', 'r', 'b')
        -- no array of another type; a domain over an array has its category
        AND NOT (t.typtype = 'b' AND EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid))
        OR t.typtype = 'c' AND EXISTS (SELECT FROM relation r WHERE r.oid = t.typrelid AND r.relkind = 'c')
), owned_by AS (
    SELECT d.objid, d.refobjid, d.deptype, a.attname FROM pg_depend d
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
        AND d.deptype IN ('a', 'i')
), switched_off AS MATERIALIZED (
    -- the constraints of which a trigger is disabled, and those that they are the partitions' part of
    WITH RECURSIVE off AS (
        SELECT t.tgconstraint AS oid FROM pg_trigger t WHERE t.tgconstraint <> 0 AND t.tgenabled <> 'O'
        UNION
        SELECT k.conparentid FROM off JOIN pg_constraint k ON k.oid = off.oid WHERE k.conparentid <> 0
    ) SELECT oid FROM off
), object AS (

-- schemas and extensions
SELECT 'schema' AS kind, 'pg_namespace'::regclass AS classid, n.oid, 0 AS subid,
    n.nspname::text AS schema, NULL::text AS tbl, n.nspname::text AS name, format('%I', n.nspname) AS address,
    n.oid::bigint AS place, '{}'::jsonb AS facts, NULL::text AS parent_kind, NULL::text AS parent_schema, NULL::text AS parent,
    'pg_namespace'::regclass AS root_class, n.oid AS root, n.nspowner AS owner,
    coalesce(n.nspacl, acldefault('n', n.nspowner)) AS acl
FROM own n
UNION ALL
SELECT 'extension', 'pg_extension'::regclass, e.oid, 0, n.nspname, NULL, e.extname, format('%I', e.extname), e.oid::bigint,
    jsonb_build_object('schema', n.nspname, 'version', e.extversion), NULL, NULL, NULL,
    'pg_extension'::regclass, e.oid, e.extowner, NULL
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql'
UNION ALL

-- tables, partitions, foreign tables, views
SELECT r.kind, 'pg_class'::regclass, r.oid, 0, r.nspname, NULL, r.relname, r.address, r.oid::bigint, jsonb_build_object(
        'definition', CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
        'persistence', CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END,
        'options', (SELECT jsonb_object_agg(o.prefix || o.option_name, o.option_value) FROM (
            SELECT '' AS prefix, own.* FROM pg_options_to_table(r.reloptions) own
            UNION ALL SELECT 'toast.', its.* FROM pg_class s, pg_options_to_table(s.reloptions) its
            WHERE s.oid = r.reltoastrelid) o),
        'access_method', (SELECT quote_ident(m.amname) FROM pg_am m
            WHERE m.oid = r.relam AND r.relkind IN ('r', 'p', 'm') AND m.amname <> 'heap'),
        'row_security', CASE WHEN r.relkind IN ('r', 'p') THEN r.relrowsecurity END,
        'force_row_security', CASE WHEN r.relkind IN ('r', 'p') THEN r.relforcerowsecurity END,
        'partition_key', pg_get_partkeydef(r.oid),
        'bound', pg_get_expr(r.relpartbound, r.oid),
        'inherits', (SELECT jsonb_agg(p.address ORDER BY i.inhseqno) FROM pg_inherits i
            JOIN relation p ON p.oid = i.inhparent WHERE i.inhrelid = r.oid),
        'detach_pending', CASE WHEN EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = r.oid AND i.inhdetachpending)
            THEN true END,
        'of_type', CASE WHEN r.reloftype <> 0 THEN format_type(r.reloftype, NULL) END,
        'replica_identity', CASE WHEN r.relkind IN ('r', 'p') THEN CASE r.relreplident
            WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE 'USING INDEX ' ||
            (SELECT quote_ident(c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             WHERE i.indrelid = r.oid AND i.indisreplident) END END,
        'server', (SELECT jsonb_build_object('name', s.srvname, 'options',
                (SELECT jsonb_object_agg(o.option_name, o.option_value) FROM pg_options_to_table(f.ftoptions) o)) FROM pg_foreign_table f
            JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = r.oid),
        -- what is no part of a history: others decide it for each database
        'outside', (SELECT jsonb_agg(o.text ORDER BY o.text) FROM (
            SELECT format('tablespace %I', t.spcname) FROM pg_tablespace t WHERE t.oid = r.reltablespace
            UNION ALL SELECT format('publication %I', u.pubname)
            FROM pg_publication_rel e JOIN pg_publication u ON u.oid = e.prpubid WHERE e.prrelid = r.oid
            UNION ALL SELECT format('security label by %s', l.provider) FROM pg_seclabel l
            WHERE l.classoid = 'pg_class'::regclass AND l.objoid = r.oid) o (text))),
    p.kind, p.nspname, p.relname, 'pg_class'::regclass, r.oid, r.relowner,
    coalesce(r.relacl, acldefault('r', r.relowner))
FROM relation r
LEFT JOIN pg_inherits i ON r.relispartition AND i.inhrelid = r.oid LEFT JOIN relation p ON p.oid = i.inhparent
WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm')
UNION ALL

-- columns, also those of views. From 18 on NOT NULL is a constraint too: what counts is the column, as before, except
-- where it is NOT VALID (see constraints), is not inherited by children, or has a name that somebody chose
SELECT 'column', 'pg_class'::regclass, r.oid, a.attnum, r.nspname, r.relname, a.attname, format('%I', a.attname),
    a.attnum, CASE WHEN r.relkind = 'v' THEN jsonb_build_object(
        'type', format_type(a.atttypid, a.atttypmod), 'default', pg_get_expr(d.adbin, d.adrelid),
        'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END
    ) ELSE jsonb_build_object(
        'type', format_type(a.atttypid, a.atttypmod),
        'collation', CASE WHEN r.relkind <> 'm' AND a.attcollation <> t.typcollation THEN concat(quote_ident(nullif(cn.nspname, current_schema())) || '.', quote_ident(co.collname)) END,
        'not_null', CASE WHEN r.relkind <> 'm' THEN a.attnotnull AND nn.convalidated IS NOT FALSE END,
        -- of one that no parent has; the name isn't compared where the server chose it
        'not_null_constraint', CASE WHEN nn.convalidated AND nn.coninhcount = 0 THEN quote_ident(nn.conname) END,
        'not_null_name', CASE WHEN nn.convalidated AND nn.coninhcount = 0 AND nn.conname !~ '_not_null[0-9]*$'
            THEN quote_ident(nn.conname) END,
        'not_null_no_inherit', CASE WHEN nn.convalidated AND nn.connoinherit THEN true END,
        'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
        'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) ||
            CASE a.attgenerated WHEN 's' THEN ' STORED' ELSE ' VIRTUAL' END END,
        'identity', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END,
        'storage', CASE WHEN a.attstorage <> t.typstorage THEN CASE a.attstorage
            WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
        'storage_of_type', CASE WHEN a.attstorage <> t.typstorage THEN CASE t.typstorage
            WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
        'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
        'statistics', CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
        'options', (SELECT jsonb_object_agg(o.option_name, o.option_value) FROM pg_options_to_table(a.attoptions) o),
        'foreign_options', (SELECT jsonb_object_agg(o.option_name, o.option_value)
            FROM pg_options_to_table(a.attfdwoptions) o),
        'inherited', CASE WHEN a.attinhcount > 0 THEN true END) END,
    r.kind, r.nspname, r.relname, 'pg_class'::regclass, r.oid, r.relowner,
    coalesce(a.attacl, acldefault('c', r.relowner))
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_constraint nn ON nn.conrelid = r.oid AND nn.contype = 'n' AND nn.conkey[1] = a.attnum
LEFT JOIN pg_collation co ON co.oid = a.attcollation LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm')
UNION ALL

-- constraints of tables and of domains; those of constraint triggers are left out: they are listed as triggers
SELECT CASE WHEN k.conrelid = 0 THEN 'domain constraint' ELSE 'constraint' END, 'pg_constraint'::regclass, k.oid, 0,
    coalesce(r.nspname, y.nspname), coalesce(r.relname, y.typname), k.conname, format('%I', k.conname),
    CASE k.contype WHEN 'p' THEN 1 WHEN 'u' THEN 2 WHEN 'x' THEN 3 WHEN 'c' THEN 4 WHEN 'n' THEN 5 ELSE 9 END,
    jsonb_build_object(
        'definition', pg_get_constraintdef(k.oid),
        'foreign_key', f.address,
        -- ALTER TABLE … DISABLE TRIGGER ALL disables the triggers that enforce a foreign key
        'enforced', CASE WHEN k.oid IN (SELECT s.oid FROM switched_off s) THEN false END,
        -- that of a partitioned table, as long as a partition has no such key
        'valid_index', (SELECT false FROM pg_index i WHERE i.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
            AND NOT i.indisvalid),
        'inherited', CASE WHEN k.coninhcount > 0 OR k.conparentid <> 0 THEN true END),
    coalesce(r.kind, y.kind), coalesce(r.nspname, y.nspname), coalesce(r.relname, y.typname),
    CASE WHEN k.conrelid = 0 THEN 'pg_type'::regclass ELSE 'pg_class'::regclass END, coalesce(r.oid, y.oid),
    coalesce(r.relowner, y.typowner), NULL
FROM pg_constraint k LEFT JOIN relation r ON r.oid = k.conrelid LEFT JOIN type y ON y.oid = k.contypid
LEFT JOIN relation f ON f.oid = k.confrelid AND k.contype = 'f'
WHERE coalesce(r.oid, y.oid) IS NOT NULL AND k.contype <> 't'
    AND (k.contype <> 'n' OR k.conrelid <> 0 AND NOT k.convalidated)
UNION ALL

-- indexes; that of a constraint has its name
SELECT 'index', 'pg_class'::regclass, x.oid, 0, x.nspname, r.relname, x.relname, x.address, 0, jsonb_build_object(
        'definition', regexp_replace(pg_get_indexdef(x.oid), format('( ON (?:ONLY )?)%s( USING )',
            regexp_replace(format('%I.%I', r.nspname, r.relname), E'(\\W)', E'\\\\\\1', 'g')),
            format(E'\\1%s\\2', replace(r.address, E'\\', E'\\\\'))),
        'valid', i.indisvalid,
        'replica_identity', CASE WHEN i.indisreplident THEN true END,
        'clustered', CASE WHEN i.indisclustered THEN true END,
        'statistics', (SELECT jsonb_object_agg(a.attnum, a.attstattarget) FROM pg_attribute a
            WHERE a.attrelid = x.oid AND a.attstattarget >= 0),
        -- the definition of a constraint doesn't have those of its index
        'options', (SELECT jsonb_object_agg(o.option_name, o.option_value) FROM pg_options_to_table(x.reloptions) o),
        'outside', (SELECT jsonb_build_array(format('tablespace %I', t.spcname)) FROM pg_tablespace t
            WHERE t.oid = x.reltablespace),
        'constraint', (SELECT k.conname FROM pg_constraint k
            WHERE k.conindid = x.oid AND k.conrelid = r.oid AND k.contype IN ('p', 'u', 'x')),
        'inherited', CASE WHEN x.relispartition THEN true END),
    r.kind, r.nspname, r.relname, 'pg_class'::regclass, r.oid, x.relowner, NULL
FROM pg_index i JOIN relation x ON x.oid = i.indexrelid JOIN relation r ON r.oid = i.indrelid
UNION ALL

-- sequences: never their value
SELECT 'sequence', 'pg_class'::regclass, r.oid, 0, r.nspname, NULL, r.relname, r.address, r.oid::bigint, jsonb_build_object(
        'type', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement,
        'minimum', s.seqmin, 'maximum', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle,
        -- the persistence of one that a column owns is its table's
        'persistence', CASE WHEN o.objid IS NULL THEN
            CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END END,
        'owned_by', t.address || '.' || quote_ident(o.attname),
        'identity', CASE WHEN o.deptype = 'i' THEN o.attname END),
    t.kind, t.nspname, t.relname, 'pg_class'::regclass, r.oid, r.relowner,
    coalesce(r.relacl, acldefault('s', r.relowner))
FROM pg_sequence s JOIN relation r ON r.oid = s.seqrelid
LEFT JOIN owned_by o ON o.objid = r.oid LEFT JOIN relation t ON t.oid = o.refobjid
UNION ALL

-- types; a range's multirange and every type's array are created and dropped with it
SELECT y.kind, 'pg_type'::regclass, y.oid, 0, y.nspname, NULL, y.typname, y.address, y.oid::bigint, jsonb_build_object(
        'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = y.oid),
        'type', CASE WHEN y.typtype = 'd' THEN format_type(y.typbasetype, y.typtypmod) END,
        'collation', (SELECT format('%I.%I', n.nspname, c.collname) FROM pg_collation c
            JOIN pg_namespace n ON n.oid = c.collnamespace JOIN pg_type b ON b.oid = y.typbasetype
            WHERE y.typtype = 'd' AND c.oid = y.typcollation AND y.typcollation <> b.typcollation),
        'not_null', CASE WHEN y.typtype = 'd' THEN y.typnotnull END,
        'default', CASE WHEN y.typtype = 'd' THEN y.typdefault END,
        'attributes', (SELECT jsonb_agg(jsonb_build_array(quote_ident(a.attname), format_type(a.atttypid, a.atttypmod)
            || CASE WHEN a.attcollation <> t.typcollation THEN format(' COLLATE %I.%I', n.nspname, c.collname)
               ELSE '' END) ORDER BY a.attnum)
            FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation c ON c.oid = a.attcollation
            LEFT JOIN pg_namespace n ON n.oid = c.collnamespace
            WHERE y.typtype = 'c' AND a.attrelid = y.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
        'comments', (SELECT jsonb_object_agg(quote_ident(a.attname), c.description)
            FROM pg_attribute a JOIN pg_description c ON c.classoid = 'pg_class'::regclass AND c.objoid = a.attrelid
                AND c.objsubid = a.attnum
            WHERE y.typtype = 'c' AND a.attrelid = y.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
        'base', CASE WHEN y.typtype = 'b' THEN jsonb_build_object('INPUT', y.typinput::text, 'OUTPUT', y.typoutput::text,
            'RECEIVE', nullif(y.typreceive::text, '-'), 'SEND', nullif(y.typsend::text, '-'),
            'TYPMOD_IN', nullif(y.typmodin::text, '-'), 'TYPMOD_OUT', nullif(y.typmodout::text, '-'),
            'ANALYZE', nullif(y.typanalyze::text, '-'), 'SUBSCRIPT', nullif(y.typsubscript::text, '-'),
            'INTERNALLENGTH', y.typlen, 'PASSEDBYVALUE', y.typbyval, 'ALIGNMENT', y.typalign,
            'STORAGE', y.typstorage, 'CATEGORY', y.typcategory, 'PREFERRED', y.typispreferred,
            'DEFAULT', y.typdefault, 'ELEMENT', CASE WHEN y.typelem <> 0 THEN format_type(y.typelem, NULL) END,
            'DELIMITER', y.typdelim, 'COLLATABLE', y.typcollation <> 0) END,
        'range', (SELECT jsonb_build_object('subtype', format_type(g.rngsubtype, NULL),
                'subtype_opclass', format('%I.%I', n.nspname, o.opcname),
                'collation', (SELECT format('%I.%I', m.nspname, c.collname) FROM pg_collation c
                    JOIN pg_namespace m ON m.oid = c.collnamespace WHERE c.oid = g.rngcollation),
                'canonical', nullif(g.rngcanonical::text, '-'), 'subtype_diff', nullif(g.rngsubdiff::text, '-'),
                'multirange_type_name', g.rngmultitypid::regtype::text)
            FROM pg_range g JOIN pg_opclass o ON o.oid = g.rngsubopc JOIN pg_namespace n ON n.oid = o.opcnamespace
            WHERE g.rngtypid = y.oid)),
    NULL, NULL, NULL, 'pg_type'::regclass, y.oid, y.typowner, coalesce(y.typacl, acldefault('T', y.typowner))
FROM type y
UNION ALL

-- functions, procedures, aggregates: the name has the arguments, which are part of the identity; a range type creates
-- functions of its own, which are created and dropped with it
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
    'pg_proc'::regclass, p.oid, 0, n.nspname, NULL,
    format('%s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)),
    concat(quote_ident(nullif(n.nspname, current_schema())) || '.', quote_ident(p.proname),
        '(', pg_get_function_identity_arguments(p.oid), ')'), p.oid::bigint, jsonb_build_object(
        'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
        'result', CASE WHEN p.prokind IN ('f', 'a') THEN pg_get_function_result(p.oid) END,
        'defaults', nullif(p.pronargdefaults, 0),
        'aggregate', (SELECT jsonb_build_object('SFUNC', g.aggtransfn::text, 'STYPE', format_type(g.aggtranstype, NULL),
                'FINALFUNC', nullif(g.aggfinalfn::text, '-'), 'COMBINEFUNC', nullif(g.aggcombinefn::text, '-'),
                'SERIALFUNC', nullif(g.aggserialfn::text, '-'), 'DESERIALFUNC', nullif(g.aggdeserialfn::text, '-'),
                'INITCOND', quote_literal(g.agginitval), 'MSFUNC', nullif(g.aggmtransfn::text, '-'),
                'MINVFUNC', nullif(g.aggminvtransfn::text, '-'), 'MFINALFUNC', nullif(g.aggmfinalfn::text, '-'),
                'MSTYPE', CASE WHEN g.aggmtranstype <> 0 THEN format_type(g.aggmtranstype, NULL) END,
                'MINITCOND', quote_literal(g.aggminitval), 'PARALLEL', CASE p.proparallel
                    WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END,
                'SSPACE', nullif(g.aggtransspace, 0), 'MSSPACE', nullif(g.aggmtransspace, 0),
                'FINALFUNC_EXTRA', nullif(g.aggfinalextra, false), 'MFINALFUNC_EXTRA', nullif(g.aggmfinalextra, false),
                'FINALFUNC_MODIFY', CASE WHEN g.aggfinalmodify <> CASE g.aggkind WHEN 'n' THEN 'r'::"char" ELSE 'w' END
                    THEN CASE g.aggfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END,
                'MFINALFUNC_MODIFY', CASE WHEN g.aggmfinalmodify <> CASE g.aggkind WHEN 'n' THEN 'r'::"char" ELSE 'w' END
                    THEN CASE g.aggmfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END,
                'SORTOP', (SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
                    FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid = g.aggsortop),
                'HYPOTHETICAL', CASE WHEN g.aggkind = 'h' THEN true END)
            FROM pg_aggregate g WHERE g.aggfnoid = p.oid AND p.prokind = 'a')),
    NULL, NULL, NULL, 'pg_proc'::regclass, p.oid, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
FROM pg_proc p JOIN own n ON n.oid = p.pronamespace
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
UNION ALL

-- triggers, rules, policies, extended statistics
SELECT 'trigger', 'pg_trigger'::regclass, t.oid, 0, r.nspname, r.relname, t.tgname, format('%I', t.tgname), 0,
    jsonb_build_object('definition', replace(pg_get_triggerdef(t.oid), format(' ON %I.%I ', r.nspname, r.relname),
            format(' ON %s ', r.address)), 'enabled', t.tgenabled,
        'inherited', CASE WHEN t.tgparentid <> 0 THEN true END),
    r.kind, r.nspname, r.relname, 'pg_class'::regclass, r.oid, r.relowner, NULL
FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid
-- before 15 that which a partition has of its parent is internal
WHERE NOT t.tgisinternal OR (t.tgparentid <> 0 AND t.tgconstraint = 0)
UNION ALL
SELECT 'rule', 'pg_rewrite'::regclass, w.oid, 0, r.nspname, r.relname, w.rulename, format('%I', w.rulename), 0,
    jsonb_build_object('definition', replace(pg_get_ruledef(w.oid), format(' TO %I.%I ', r.nspname, r.relname),
        format(' TO %s ', r.address)), 'enabled', w.ev_enabled),
    r.kind, r.nspname, r.relname, 'pg_class'::regclass, r.oid, r.relowner, NULL
FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT 'policy', 'pg_policy'::regclass, l.oid, 0, r.nspname, r.relname, l.polname, format('%I', l.polname), 0,
    jsonb_build_object(
        'definition', concat_ws(' ', 'AS', CASE WHEN l.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, 'FOR',
            CASE l.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                ELSE 'ALL' END,
            'TO', (SELECT string_agg(CASE WHEN o = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(o)) END, ', '
                ORDER BY pg_get_userbyid(o)) FROM unnest(l.polroles) o),
            'USING (' || pg_get_expr(l.polqual, l.polrelid) || ')',
            'WITH CHECK (' || pg_get_expr(l.polwithcheck, l.polrelid) || ')')),
    r.kind, r.nspname, r.relname, 'pg_class'::regclass, r.oid, r.relowner, NULL
FROM pg_policy l JOIN relation r ON r.oid = l.polrelid
UNION ALL
SELECT 'statistics', 'pg_statistic_ext'::regclass, s.oid, 0, n.nspname, r.relname, s.stxname,
    concat(quote_ident(nullif(n.nspname, current_schema())) || '.', quote_ident(s.stxname)), 0, jsonb_build_object(
        'definition', replace(pg_get_statisticsobjdef(s.oid), format('CREATE STATISTICS %I.%I ', n.nspname, s.stxname),
            format('CREATE STATISTICS %s ', concat(quote_ident(nullif(n.nspname, current_schema())) || '.',
                quote_ident(s.stxname)))),
        'statistics', CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget END,
        'columns', (SELECT jsonb_agg(DISTINCT a.attname) FROM pg_depend d
            JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_statistic_ext'::regclass AND d.objid = s.oid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid AND d.refobjsubid > 0)),
    r.kind, r.nspname, r.relname, 'pg_class'::regclass, r.oid, s.stxowner, NULL
FROM pg_statistic_ext s JOIN own n ON n.oid = s.stxnamespace JOIN relation r ON r.oid = s.stxrelid
)

SELECT o.classid::bigint AS classid, o.oid::bigint AS oid, o.subid,
    o.kind, o.schema, o.tbl, o.name, o.address, o.place, jsonb_strip_nulls(o.facts)::text AS facts,
    o.parent_kind, o.parent_schema, o.parent, e.extname AS extension, pg_get_userbyid(o.owner) AS owner,
    d.description AS comment,
    (SELECT jsonb_agg(jsonb_build_array(CASE a.grantee WHEN 0 THEN 'PUBLIC' WHEN o.owner THEN NULL
            ELSE quote_ident(pg_get_userbyid(a.grantee)) END, a.privilege_type, a.is_grantable)
        ORDER BY a.grantee, a.privilege_type) FROM aclexplode(o.acl) a)::text AS grants,
    -- the grants of a new object of this kind, owner and schema
    (SELECT jsonb_agg(jsonb_build_array(CASE a.grantee WHEN 0 THEN 'PUBLIC' WHEN o.owner THEN NULL
            ELSE quote_ident(pg_get_userbyid(a.grantee)) END, a.privilege_type, a.is_grantable)
        ORDER BY a.grantee, a.privilege_type)
        FROM (VALUES (CASE WHEN o.kind IN ('table', 'foreign table', 'view', 'materialized view') THEN 'r'
                WHEN o.kind = 'sequence' THEN 'S' WHEN o.kind IN ('function', 'procedure', 'aggregate') THEN 'f'
                WHEN o.classid = 'pg_type'::regclass OR o.kind = 'composite type' THEN 'T'
                WHEN o.kind = 'schema' THEN 'n' END::"char")) AS k (letter),
        aclexplode(coalesce((SELECT g.defaclacl FROM pg_default_acl g WHERE g.defaclrole = o.owner
                AND g.defaclnamespace = 0 AND g.defaclobjtype = k.letter), acldefault(
                    CASE k.letter WHEN 'S' THEN 's' ELSE k.letter END, o.owner)) || coalesce(
            (SELECT g.defaclacl FROM pg_default_acl g JOIN pg_namespace n ON n.oid = g.defaclnamespace
             WHERE g.defaclrole = o.owner AND n.nspname = o.schema AND g.defaclobjtype = k.letter), '{}')) a
        WHERE k.letter IS NOT NULL)::text AS defaults
FROM object o
LEFT JOIN pg_description d ON d.classoid = o.classid AND d.objoid = o.oid AND d.objsubid = o.subid
LEFT JOIN pg_depend m ON m.classid = o.root_class AND m.objid = o.root AND m.deptype = 'e'
    AND m.refclassid = 'pg_extension'::regclass
LEFT JOIN pg_extension e ON e.oid = m.refobjid
ORDER BY o.kind, o.schema, o.tbl NULLS FIRST, o.place, o.name

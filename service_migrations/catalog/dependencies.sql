-- What depends on what, outside the system's schemas: a row for each dependency, with the ids of both objects as in
-- objects.sql. That of a view's rule is the view's, that of an expression its generated column's or, where it is a
-- default, the default's. A column that is inherited depends on the parent's, and a routine that takes or returns rows on
-- the table or view whose rows they are. "automatic" is what goes with the other without CASCADE.

SELECT coalesce(v.classid, c.classid, d.classid)::bigint AS classid, coalesce(v.oid, c.oid, d.objid)::bigint AS oid,
    coalesce(c.subid, CASE WHEN v.oid IS NULL THEN d.objsubid END, 0)::int AS subid, c.is_default IS TRUE AS is_default,
    CASE WHEN y.oid IS NULL THEN d.refclassid ELSE 'pg_class'::regclass END::bigint AS used_classid,
    coalesce(y.oid, d.refobjid)::bigint AS used_oid, d.refobjsubid AS used_subid,
    bool_or(d.deptype <> 'n') AS automatic
FROM pg_depend d
LEFT JOIN LATERAL (SELECT 'pg_class'::regclass::oid AS classid, w.ev_class AS oid FROM pg_rewrite w
    WHERE d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid AND w.rulename = '_RETURN') AS v ON true
LEFT JOIN LATERAL (SELECT 'pg_class'::regclass::oid AS classid, e.adrelid AS oid, e.adnum AS subid,
        a.attgenerated = '' AS is_default
    FROM pg_attrdef e JOIN pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum
    WHERE d.classid = 'pg_attrdef'::regclass AND e.oid = d.objid) AS c ON true
LEFT JOIN LATERAL (SELECT r.oid FROM pg_type u JOIN pg_type t ON t.oid = ANY (ARRAY[u.oid, u.typelem])
        AND u.oid IN (t.oid, t.typarray) JOIN pg_class r ON r.oid = t.typrelid AND r.relkind <> 'c'
    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_type'::regclass AND u.oid = d.refobjid) AS y ON true
WHERE d.objid >= 16384 AND d.refobjid >= 16384 AND d.deptype IN ('n', 'a', 'i', 'P', 'S')
GROUP BY 1, 2, 3, 4, 5, 6, 7
UNION ALL
SELECT 'pg_class'::regclass::bigint, a.attrelid::bigint, a.attnum, false, 'pg_class'::regclass::bigint, i.inhparent::bigint,
    p.attnum, true
FROM pg_inherits i JOIN pg_attribute a ON a.attrelid = i.inhrelid AND a.attinhcount > 0 AND NOT a.attislocal
JOIN pg_attribute p ON p.attrelid = i.inhparent AND p.attname = a.attname AND p.attnum > 0
WHERE NOT a.attisdropped AND i.inhrelid >= 16384

-- The enum types of some schemas, without members of extensions, with what a new type of that name has to get.
SELECT t.oid::bigint AS oid, t.typarray::bigint AS array, n.nspname AS schema, t.typname AS name,
    (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels,
    obj_description(t.oid, 'pg_type') AS comment,
    CASE WHEN pg_get_userbyid(t.typowner) <> current_user THEN pg_get_userbyid(t.typowner) END AS owner,
    (SELECT jsonb_object_agg(g.role, g.grantable) FROM (
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' WHEN t.typowner THEN ''
            ELSE quote_ident(pg_get_userbyid(a.grantee)) END, bool_or(a.is_grantable)
        FROM aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a GROUP BY 1) g (role, grantable))::text AS grants,
    (SELECT jsonb_object_agg(g.role, g.grantable) FROM (
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' WHEN me.oid THEN ''
            ELSE quote_ident(pg_get_userbyid(a.grantee)) END, bool_or(a.is_grantable)
        FROM (SELECT coalesce(
                (SELECT defaclacl FROM pg_default_acl WHERE defaclrole = me.oid AND defaclnamespace = 0
                    AND defaclobjtype = 'T'), acldefault('T', me.oid))
            UNION ALL SELECT defaclacl FROM pg_default_acl
                WHERE defaclrole = me.oid AND defaclnamespace = n.oid AND defaclobjtype = 'T') acls (acl)
        CROSS JOIN aclexplode(acls.acl) a GROUP BY 1) g (role, grantable))::text AS default_grants,
    ARRAY(SELECT f.typname::text FROM pg_type f WHERE f.typnamespace = n.oid AND f.typname LIKE E'%\\_\\_former%') AS former_names,
    (SELECT jsonb_agg(DISTINCT jsonb_build_array(c.relkind, cn.nspname, c.relname, a.attname,
            CASE a.atttypid WHEN t.typarray THEN 'array' ELSE '' END))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
        WHERE a.atttypid IN (t.oid, t.typarray) AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            AND NOT c.relispartition)::text AS users,
    -- not the parts of tables, which come and go with the models
    EXISTS (SELECT FROM pg_depend d LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
        LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
        WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype = 'n'
            AND d.classid <> 'pg_attrdef'::regclass AND coalesce(c.relkind IN ('c', 'v', 'm'), true)
            AND coalesce(k.conrelid = 0, true)) AS needed
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_roles me ON me.rolname = current_user
WHERE t.typtype = 'e' AND n.nspname = ANY(CAST(CAST(:schemas AS text[]) AS name[])) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')

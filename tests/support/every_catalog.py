"""Every column of PostgreSQL's catalogs: what changes it by hand, or why ``db.drift`` needn't compare it."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["DECISIONS", "IDENTITIES", "WORLD", "ByHand", "Decision", "Listed", "Reason"]


class Reason(StrEnum):
    """Why nobody changes a column by hand, or why another one tells of it."""

    INTERNAL = "an oid, or what no statement changes"
    COUNTED = "a counter, statistics or data"
    DECIDED = "decided by another column"
    SERVER = "of the whole server, not of a database"


@dataclass(frozen=True)
class Listed:
    """What drift doesn't compare: the list in docs/operations.md has this word."""

    word: str


@dataclass(frozen=True)
class ByHand:
    """Statements that change a column; ``{role}`` is another role. No SQL can fix what is ``for_a_person``."""

    statements: tuple[str, ...]
    oldest: int = 14
    for_a_person: bool = False
    one_way: bool = False
    """Whether no history can do that."""
    role: str = ""


Decision = Reason | Listed | tuple[ByHand, ...]


def by_hand(*statements: str, oldest: int = 14) -> tuple[ByHand, ...]:
    return (ByHand(statements, oldest),)


def for_a_person(*statements: str, oldest: int = 14) -> tuple[ByHand, ...]:
    return (ByHand(statements, oldest, for_a_person=True),)


INTERNAL, COUNTED, DECIDED, SERVER = Reason.INTERNAL, Reason.COUNTED, Reason.DECIDED, Reason.SERVER

BASE = {
    "input": "app.base_in",
    "output": "app.base_out",
    "internallength": "4",
    "passedbyvalue": "true",
    "alignment": "int4",
}


def base_type(**settings: str) -> list[str]:
    """Return the statements that create the base type, with other settings than it has."""
    setting = ", ".join(f"{name} = {value}" for name, value in (BASE | settings).items() if value)
    return [
        "CREATE TYPE app.base",
        "CREATE FUNCTION app.base_in(cstring) RETURNS app.base LANGUAGE internal IMMUTABLE STRICT AS 'int4in'",
        "CREATE FUNCTION app.base_out(app.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out'",
        "CREATE FUNCTION app.base_put(app.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out'",
        "CREATE FUNCTION app.base_get(cstring) RETURNS app.base LANGUAGE internal IMMUTABLE STRICT AS 'int4in'",
        "CREATE FUNCTION app.base_recv(internal) RETURNS app.base LANGUAGE internal IMMUTABLE STRICT AS 'int4recv'",
        "CREATE FUNCTION app.base_send(app.base) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'int4send'",
        f"CREATE TYPE app.base ({setting})",
    ]


def other_base_type(**settings: str) -> tuple[ByHand, ...]:
    return for_a_person("DROP TYPE app.base CASCADE", *base_type(**settings))


AVERAGE = {
    "SFUNC": "numeric_avg_accum",
    "STYPE": "internal",
    "FINALFUNC": "numeric_avg",
    "COMBINEFUNC": "numeric_avg_combine",
    "SERIALFUNC": "numeric_avg_serialize",
    "DESERIALFUNC": "numeric_avg_deserialize",
    "MSFUNC": "numeric_avg_accum",
    "MINVFUNC": "numeric_accum_inv",
    "MSTYPE": "internal",
    "MFINALFUNC": "numeric_avg",
}
TOTAL = {"SFUNC": "int4pl", "STYPE": "int4"}
MOVING = {**TOTAL, "MSFUNC": "int4pl", "MINVFUNC": "int4mi", "MSTYPE": "int4"}


def aggregate(name: str, settings: dict[str, str], /, **others: str) -> str:
    setting = ", ".join(f"{key} = {value}" for key, value in (settings | others).items() if value)
    return f"CREATE OR REPLACE AGGREGATE app.{name} ({setting})"


def average(**others: str) -> tuple[ByHand, ...]:
    return by_hand(aggregate("average(numeric)", AVERAGE, **others))


def total(**others: str) -> tuple[ByHand, ...]:
    return by_hand(aggregate("total(int4)", TOTAL, **others))


def moving(**others: str) -> tuple[ByHand, ...]:
    return by_hand(aggregate("moving(int4)", MOVING, **others))


def function(text: str) -> tuple[ByHand, ...]:
    return by_hand("DROP FUNCTION app.f(int)", f"CREATE FUNCTION app.f{text}")


def constraint(name: str, definition: str, table: str = "app.child", oldest: int = 14) -> tuple[ByHand, ...]:
    return by_hand(
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}",
        oldest=oldest,
    )


def index(text: str, oldest: int = 14) -> tuple[ByHand, ...]:
    return by_hand("DROP INDEX app.ix", text, oldest=oldest)


def domain(text: str) -> tuple[ByHand, ...]:
    return for_a_person("DROP DOMAIN app.mail", f"CREATE DOMAIN app.mail AS {text}")


def span(text: str, *before: str) -> tuple[ByHand, ...]:
    return for_a_person("DROP TYPE app.span", *before, f"CREATE TYPE app.span AS RANGE ({text})")


def trigger(text: str) -> tuple[ByHand, ...]:
    return by_hand("DROP TRIGGER tg ON app.plain", f"CREATE TRIGGER tg {text} EXECUTE FUNCTION app.touch()")


def watch(text: str) -> tuple[ByHand, ...]:
    return by_hand(
        "DROP TRIGGER watch ON app.plain",
        f"CREATE CONSTRAINT TRIGGER watch AFTER UPDATE ON app.plain {text} FOR EACH ROW EXECUTE FUNCTION app.touch()",
    )


def rule(text: str) -> tuple[ByHand, ...]:
    return by_hand(f"CREATE OR REPLACE RULE keep AS {text}")


def policy(text: str) -> tuple[ByHand, ...]:
    return by_hand("DROP POLICY visible ON app.plain", f"CREATE POLICY visible ON app.plain {text}")


def parts(by: str) -> tuple[ByHand, ...]:
    return for_a_person("DROP TABLE app.sliced", f"CREATE TABLE app.sliced (at date, what text) PARTITION BY {by}")


WORLD = [
    "CREATE SCHEMA app",
    "CREATE SCHEMA other",
    "CREATE SCHEMA vacant",
    "CREATE EXTENSION hstore SCHEMA app",
    "CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler",
    (
        "CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), "
        "TO SQL WITH FUNCTION int4recv(internal))"
    ),
    "CREATE FOREIGN DATA WRAPPER nowhere",
    "CREATE SERVER far FOREIGN DATA WRAPPER nowhere",
    "CREATE SERVER farther FOREIGN DATA WRAPPER nowhere",
    *base_type(),
    "CREATE TYPE app.state AS ENUM ('open', 'paid')",
    "CREATE DOMAIN app.mail AS varchar(100)",
    "CREATE DOMAIN app.tags AS text[]",
    "CREATE TYPE app.shape AS (a integer, b text)",
    "CREATE TYPE app.span AS RANGE (subtype = text)",
    "CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE FUNCTION app.touch2() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE FUNCTION app.f(n int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION app.rows(n int) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION app.handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'",
    "CREATE FUNCTION app.finish(int4, int4) RETURNS int4 LANGUAGE sql AS 'SELECT $1'",
    "CREATE PROCEDURE app.sweep() LANGUAGE sql AS 'SELECT 1'",
    aggregate("average(numeric)", AVERAGE),
    aggregate("total(int4)", TOTAL),
    aggregate("moving(int4)", MOVING),
    (
        "CREATE TABLE app.plain (id integer CONSTRAINT pk PRIMARY KEY, name text NOT NULL, n integer DEFAULT 1, "
        "doubled integer GENERATED ALWAYS AS (n * 2) STORED, mail varchar(100), "
        "number integer GENERATED BY DEFAULT AS IDENTITY, CONSTRAINT uq UNIQUE (name))"
    ),
    (
        "CREATE TABLE app.target (id integer PRIMARY KEY, one integer, two integer, UNIQUE (one), UNIQUE (two), "
        "UNIQUE (one, two))"
    ),
    "CREATE TABLE app.target2 (id integer PRIMARY KEY, one integer UNIQUE)",
    (
        "CREATE TABLE app.child (one integer, two integer, spans int4range, during daterange, "
        "CONSTRAINT ck CHECK (one > 0), CONSTRAINT fk FOREIGN KEY (one) REFERENCES app.target (one), "
        "CONSTRAINT fk2 FOREIGN KEY (one, two) REFERENCES app.target (one, two) ON DELETE SET NULL, "
        "CONSTRAINT ux UNIQUE (two), CONSTRAINT ov UNIQUE (spans, during), "
        "CONSTRAINT ex EXCLUDE USING gist (spans WITH &&))"
    ),
    "CREATE TABLE app.lone (id integer CONSTRAINT key PRIMARY KEY, k integer NOT NULL, name text)",
    "CREATE TABLE app.shaped (a integer, b text)",
    "CREATE TABLE app.parent (a integer, b text)",
    "CREATE TABLE app.parent2 (a integer, b text)",
    "CREATE TABLE app.heir () INHERITS (app.parent)",
    "CREATE TABLE app.heir2 () INHERITS (app.parent, app.parent2)",
    (
        "CREATE TABLE app.parts (at date NOT NULL, what text, one integer REFERENCES app.target, "
        "CONSTRAINT uq_parts UNIQUE (at)) PARTITION BY RANGE (at)"
    ),
    "CREATE TABLE app.part PARTITION OF app.parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
    "CREATE TABLE app.sliced (at date, what text) PARTITION BY RANGE (at)",
    "CREATE FOREIGN TABLE app.remote (id integer, name text) SERVER far OPTIONS (a '1')",
    "CREATE INDEX ix ON app.lone (k)",
    "CREATE UNIQUE INDEX ux_lone ON app.lone (k)",
    "CREATE INDEX ix_expression ON app.plain (lower(name))",
    "CREATE SEQUENCE app.numbers",
    "CREATE VIEW app.v AS SELECT id, name FROM app.plain",
    "CREATE MATERIALIZED VIEW app.m AS SELECT id, name FROM app.plain",
    "CREATE UNIQUE INDEX ix_m ON app.m (id)",
    "CREATE TRIGGER tg BEFORE UPDATE ON app.plain FOR EACH ROW EXECUTE FUNCTION app.touch()",
    "CREATE CONSTRAINT TRIGGER watch AFTER UPDATE ON app.plain FOR EACH ROW EXECUTE FUNCTION app.touch()",
    "CREATE RULE keep AS ON DELETE TO app.plain DO INSTEAD NOTHING",
    "CREATE POLICY visible ON app.plain USING (id > 0)",
    "CREATE STATISTICS app.related ON id, n FROM app.plain",
]
"""One of everything, as a superuser creates it."""

IDENTITIES = {
    "pg_class": "relnamespace::regnamespace || ' ' || relname",
    "pg_attribute": "attrelid::regclass || ' ' || attnum",
    "pg_attrdef": "adrelid::regclass || ' ' || adnum",
    "pg_constraint": "conrelid::regclass || ' ' || contypid::regtype || ' ' || conname",
    "pg_index": "indexrelid::regclass",
    "pg_type": "typnamespace::regnamespace || ' ' || typname",
    "pg_enum": "enumtypid::regtype || ' ' || enumlabel",
    "pg_range": "rngtypid::regtype",
    "pg_proc": "pronamespace::regnamespace || ' ' || proname",
    "pg_aggregate": "aggfnoid::regproc",
    "pg_trigger": "tgrelid::regclass || ' ' || tgname",
    "pg_rewrite": "ev_class::regclass || ' ' || rulename",
    "pg_policy": "polrelid::regclass || ' ' || polname",
    "pg_sequence": "seqrelid::regclass",
    "pg_inherits": "inhrelid::regclass || ' ' || inhparent::regclass",
    "pg_partitioned_table": "partrelid::regclass",
    "pg_statistic_ext": "stxname",
    "pg_namespace": "nspname",
    "pg_extension": "extname",
    "pg_foreign_table": "ftrelid::regclass",
    "pg_description": "classoid || ' ' || objoid || ' ' || objsubid",
    "pg_depend": "classid || ' ' || objid || ' ' || refclassid || ' ' || refobjid || ' ' || refobjsubid",
}
"""What names a row of a catalog, also after its object was dropped and created."""

COMMENTS = [
    "SCHEMA app",
    "TABLE app.plain",
    "TABLE app.part",
    "COLUMN app.plain.name",
    "COLUMN app.v.name",
    "COLUMN app.m.name",
    "COLUMN app.shape.a",
    "COLUMN app.remote.name",
    "FOREIGN TABLE app.remote",
    "VIEW app.v",
    "MATERIALIZED VIEW app.m",
    "SEQUENCE app.numbers",
    "SEQUENCE app.plain_number_seq",
    "INDEX app.ix",
    "INDEX app.uq",
    "CONSTRAINT ck ON app.child",
    "CONSTRAINT fk ON app.child",
    "CONSTRAINT uq ON app.plain",
    "TYPE app.state",
    "TYPE app.shape",
    "TYPE app.span",
    "TYPE app.base",
    "DOMAIN app.mail",
    "DOMAIN app.tags",
    "FUNCTION app.f(int)",
    "PROCEDURE app.sweep()",
    "AGGREGATE app.total(int4)",
    "TRIGGER tg ON app.plain",
    "TRIGGER watch ON app.plain",
    "RULE keep ON app.plain",
    "POLICY visible ON app.plain",
    "STATISTICS app.related",
]
"""What COMMENT ON is compared for."""


DECISIONS: dict[str, Decision | dict[str, Decision]] = {
    "pg_class": {
        "oid": INTERNAL,
        "relname": (
            *by_hand("ALTER TABLE app.shaped RENAME TO formed"),
            *by_hand("ALTER INDEX app.ix RENAME TO iy"),
            *by_hand("ALTER VIEW app.v RENAME TO w"),
            *by_hand("ALTER SEQUENCE app.numbers RENAME TO n"),
            *by_hand("ALTER TABLE app.part RENAME TO piece"),
        ),
        "relnamespace": (
            *by_hand("ALTER TABLE app.child SET SCHEMA other"),
            *by_hand("ALTER TABLE app.plain SET SCHEMA other"),
            *by_hand("ALTER TABLE app.target SET SCHEMA other"),
            *by_hand("ALTER TABLE app.parts SET SCHEMA other"),
            *by_hand("ALTER TABLE app.part SET SCHEMA other"),
            *by_hand("ALTER TABLE app.part RENAME TO piece", "ALTER TABLE app.piece SET SCHEMA other"),
            *by_hand("ALTER FOREIGN TABLE app.remote SET SCHEMA other"),
            *by_hand("ALTER VIEW app.v SET SCHEMA other"),
            *by_hand("ALTER MATERIALIZED VIEW app.m SET SCHEMA other"),
            *by_hand("ALTER SEQUENCE app.numbers SET SCHEMA other"),
        ),
        "reltype": INTERNAL,
        "reloftype": by_hand("ALTER TABLE app.shaped OF app.shape"),
        "relowner": (
            *by_hand("ALTER TABLE app.lone OWNER TO {role}"),
            *by_hand("ALTER TABLE app.part OWNER TO {role}"),
            *by_hand("ALTER VIEW app.v OWNER TO {role}"),
            *by_hand("ALTER SEQUENCE app.numbers OWNER TO {role}"),
            *by_hand("ALTER FOREIGN TABLE app.remote OWNER TO {role}"),
        ),
        "relam": (
            *by_hand(
                "DROP MATERIALIZED VIEW app.m",
                "CREATE MATERIALIZED VIEW app.m USING heap2 AS SELECT id, name FROM app.plain",
                "CREATE UNIQUE INDEX ix_m ON app.m (id)",
            ),
            *for_a_person("DROP TABLE app.shaped", "CREATE TABLE app.shaped (a integer, b text) USING heap2"),
        ),
        "relfilenode": INTERNAL,
        "reltablespace": Listed("tablespaces"),
        "relpages": COUNTED,
        "reltuples": COUNTED,
        "relallvisible": COUNTED,
        "relallfrozen": COUNTED,
        "reltoastrelid": INTERNAL,
        "relhasindex": DECIDED,
        "relisshared": INTERNAL,
        "relpersistence": (
            *by_hand("ALTER TABLE app.lone SET UNLOGGED"),
            *by_hand("ALTER SEQUENCE app.numbers SET UNLOGGED", oldest=15),
        ),
        "relkind": by_hand("DROP VIEW app.v", "CREATE MATERIALIZED VIEW app.v AS SELECT id, name FROM app.plain"),
        "relnatts": DECIDED,
        "relchecks": DECIDED,
        "relhasrules": DECIDED,
        "relhastriggers": DECIDED,
        "relhassubclass": DECIDED,
        "relrowsecurity": by_hand("ALTER TABLE app.plain ENABLE ROW LEVEL SECURITY"),
        "relforcerowsecurity": by_hand("ALTER TABLE app.plain FORCE ROW LEVEL SECURITY"),
        "relispopulated": Listed("is populated"),
        "relreplident": by_hand("ALTER TABLE app.plain REPLICA IDENTITY FULL"),
        "relispartition": by_hand("ALTER TABLE app.parts DETACH PARTITION app.part"),
        "relrewrite": INTERNAL,
        "relfrozenxid": COUNTED,
        "relminmxid": COUNTED,
        "relacl": (
            *by_hand("GRANT SELECT ON app.plain TO {role}"),
            *by_hand("GRANT SELECT ON app.v TO PUBLIC"),
            *by_hand("GRANT USAGE ON SEQUENCE app.numbers TO {role}"),
            *by_hand("GRANT SELECT ON app.remote TO {role}"),
        ),
        "reloptions": (
            *by_hand("ALTER TABLE app.plain SET (fillfactor = 50)"),
            *by_hand("ALTER VIEW app.v SET (security_barrier = true)"),
            *by_hand("ALTER MATERIALIZED VIEW app.m SET (fillfactor = 50, toast.autovacuum_enabled = false)"),
            *by_hand("ALTER INDEX app.ix SET (fillfactor = 50)"),
            *by_hand("ALTER INDEX app.uq SET (fillfactor = 50)"),
            *by_hand("ALTER TABLE app.part SET (fillfactor = 50)"),
        ),
        "relpartbound": by_hand(
            "ALTER TABLE app.parts DETACH PARTITION app.part",
            "ALTER TABLE app.parts ATTACH PARTITION app.part DEFAULT",
        ),
    },
    "pg_attribute": {
        "attrelid": INTERNAL,
        "attname": by_hand("ALTER TABLE app.shaped RENAME b TO c"),
        "atttypid": (
            *by_hand("ALTER TABLE app.shaped ALTER b TYPE varchar"),
            *by_hand("ALTER FOREIGN TABLE app.remote ALTER name TYPE varchar"),
            *by_hand("ALTER TYPE app.shape ALTER ATTRIBUTE b TYPE varchar"),
            *by_hand("DROP VIEW app.v", "CREATE VIEW app.v AS SELECT id, name::varchar AS name FROM app.plain"),
        ),
        "attlen": DECIDED,
        "attnum": Listed("the order of columns"),
        "attcacheoff": INTERNAL,
        "atttypmod": by_hand("ALTER TABLE app.plain ALTER mail TYPE varchar(50)"),
        "attndims": INTERNAL,
        "attbyval": DECIDED,
        "attalign": DECIDED,
        "attstorage": (
            *by_hand("ALTER TABLE app.plain ALTER name SET STORAGE EXTERNAL"),
            *by_hand("ALTER MATERIALIZED VIEW app.m ALTER name SET STORAGE EXTERNAL"),
        ),
        "attcompression": (
            *by_hand("ALTER TABLE app.plain ALTER name SET COMPRESSION pglz"),
            *by_hand("ALTER MATERIALIZED VIEW app.m ALTER name SET COMPRESSION pglz"),
        ),
        "attnotnull": (
            *by_hand("ALTER TABLE app.plain ALTER name DROP NOT NULL"),
            *by_hand("ALTER FOREIGN TABLE app.remote ALTER name SET NOT NULL"),
        ),
        "atthasdef": DECIDED,
        "atthasmissing": INTERNAL,
        "attidentity": by_hand("ALTER TABLE app.plain ALTER number SET GENERATED ALWAYS"),
        "attgenerated": by_hand("ALTER TABLE app.plain ALTER doubled DROP EXPRESSION"),
        "attisdropped": by_hand("ALTER TABLE app.plain DROP COLUMN mail"),
        "attislocal": Listed("only of its parent or its own too"),
        "attinhcount": DECIDED,
        "attcollation": (
            *by_hand('ALTER TABLE app.shaped ALTER b TYPE text COLLATE "C"'),
            *by_hand('ALTER TYPE app.shape ALTER ATTRIBUTE b TYPE text COLLATE "C"'),
        ),
        "attstattarget": (
            *by_hand("ALTER TABLE app.plain ALTER name SET STATISTICS 7"),
            *by_hand("ALTER MATERIALIZED VIEW app.m ALTER name SET STATISTICS 7"),
            *by_hand("ALTER INDEX app.ix_expression ALTER 1 SET STATISTICS 7"),
        ),
        "attacl": (
            *by_hand("GRANT SELECT (name) ON app.plain TO {role}"),
            *by_hand("GRANT SELECT (name) ON app.v TO {role}"),
        ),
        "attoptions": (
            *by_hand("ALTER TABLE app.plain ALTER name SET (n_distinct = 5)"),
            *by_hand("ALTER MATERIALIZED VIEW app.m ALTER name SET (n_distinct = 5)"),
        ),
        "attfdwoptions": by_hand("ALTER FOREIGN TABLE app.remote ALTER name OPTIONS (ADD x 'it''s')"),
        "attmissingval": INTERNAL,
    },
    "pg_attrdef": {
        "oid": INTERNAL,
        "adrelid": INTERNAL,
        "adnum": INTERNAL,
        "adbin": (
            *by_hand("ALTER TABLE app.plain ALTER n SET DEFAULT 2"),
            *by_hand(
                "ALTER TABLE app.plain DROP doubled",
                "ALTER TABLE app.plain ADD doubled integer GENERATED ALWAYS AS (n * 3) STORED",
            ),
            *by_hand("ALTER VIEW app.v ALTER name SET DEFAULT 'a'"),
            *by_hand("ALTER FOREIGN TABLE app.remote ALTER name SET DEFAULT 'a'"),
        ),
    },
    "pg_constraint": {
        "oid": INTERNAL,
        "conname": (
            *by_hand("ALTER TABLE app.child RENAME CONSTRAINT ck TO ck2"),
            *by_hand("ALTER TABLE app.plain RENAME CONSTRAINT plain_name_not_null TO filled", oldest=18),
            *by_hand("ALTER TABLE app.plain RENAME CONSTRAINT plain_id_not_null TO filled", oldest=18),
        ),
        "connamespace": DECIDED,
        "contype": constraint("ck", "UNIQUE (one)"),
        "condeferrable": by_hand("ALTER TABLE app.child ALTER CONSTRAINT fk DEFERRABLE"),
        "condeferred": by_hand("ALTER TABLE app.child ALTER CONSTRAINT fk INITIALLY DEFERRED"),
        "conenforced": by_hand("ALTER TABLE app.child ALTER CONSTRAINT fk NOT ENFORCED", oldest=18),
        "convalidated": (
            *constraint("fk", "FOREIGN KEY (one) REFERENCES app.target (one) NOT VALID"),
            *constraint("plain_name_not_null", "NOT NULL name NOT VALID", "app.plain", oldest=18),
        ),
        "conrelid": INTERNAL,
        "contypid": INTERNAL,
        "conindid": INTERNAL,
        "conparentid": INTERNAL,
        "confrelid": constraint("fk", "FOREIGN KEY (one) REFERENCES app.target2 (one)"),
        "confupdtype": constraint("fk", "FOREIGN KEY (one) REFERENCES app.target (one) ON UPDATE CASCADE"),
        "confdeltype": constraint("fk", "FOREIGN KEY (one) REFERENCES app.target (one) ON DELETE CASCADE"),
        "confmatchtype": constraint("fk", "FOREIGN KEY (one) REFERENCES app.target (one) MATCH FULL"),
        "conislocal": Listed("only of its parent or its own too"),
        "coninhcount": DECIDED,
        "connoinherit": (
            *constraint("ck", "CHECK (one > 0) NO INHERIT"),
            *by_hand("ALTER TABLE app.plain ALTER CONSTRAINT plain_name_not_null NO INHERIT", oldest=18),
        ),
        "conperiod": constraint("ov", "UNIQUE (spans, during WITHOUT OVERLAPS)", oldest=18),
        "conkey": constraint("fk", "FOREIGN KEY (two) REFERENCES app.target (one)"),
        "confkey": constraint("fk", "FOREIGN KEY (one) REFERENCES app.target (two)"),
        "conpfeqop": DECIDED,
        "conppeqop": DECIDED,
        "conffeqop": DECIDED,
        "confdelsetcols": constraint(
            "fk2",
            "FOREIGN KEY (one, two) REFERENCES app.target (one, two) ON DELETE SET NULL (two)",
            oldest=15,
        ),
        "conexclop": constraint("ex", "EXCLUDE USING gist (spans WITH =)"),
        "conbin": constraint("ck", "CHECK (one > 1)"),
    },
    "pg_index": {
        "indexrelid": INTERNAL,
        "indrelid": INTERNAL,
        "indnatts": index("CREATE INDEX ix ON app.lone (k) INCLUDE (name)"),
        "indnkeyatts": index("CREATE INDEX ix ON app.lone (k, name)"),
        "indisunique": index("CREATE UNIQUE INDEX ix ON app.lone (k)"),
        "indnullsnotdistinct": constraint("ux", "UNIQUE NULLS NOT DISTINCT (two)", oldest=15),
        "indisprimary": constraint("key", "UNIQUE (id)", "app.lone"),
        "indisexclusion": DECIDED,
        "indimmediate": constraint("ux", "UNIQUE (two) DEFERRABLE"),
        "indisclustered": (
            *by_hand("ALTER TABLE app.lone CLUSTER ON ix"),
            *by_hand("ALTER MATERIALIZED VIEW app.m CLUSTER ON ix_m"),
        ),
        "indisvalid": (
            *by_hand("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.ix'::regclass"),
            *by_hand(
                "ALTER TABLE app.parts DROP CONSTRAINT uq_parts",
                "ALTER TABLE ONLY app.parts ADD CONSTRAINT uq_parts UNIQUE (at)",
            ),
        ),
        "indcheckxmin": INTERNAL,
        "indisready": INTERNAL,
        "indislive": INTERNAL,
        "indisreplident": by_hand("ALTER TABLE app.lone REPLICA IDENTITY USING INDEX ux_lone"),
        "indkey": index("CREATE INDEX ix ON app.lone (name)"),
        "indcollation": index('CREATE INDEX ix ON app.lone (name COLLATE "C")'),
        "indclass": index("CREATE INDEX ix ON app.lone USING hash (k)"),
        "indoption": index("CREATE INDEX ix ON app.lone (k DESC)"),
        "indexprs": index("CREATE INDEX ix ON app.lone ((k + 1))"),
        "indpred": index("CREATE INDEX ix ON app.lone (k) WHERE k > 0"),
    },
    "pg_type": {
        "oid": INTERNAL,
        "typname": (
            *by_hand("ALTER TYPE app.state RENAME TO condition"),
            *by_hand("ALTER DOMAIN app.tags RENAME TO words"),
        ),
        "typnamespace": (
            *by_hand("ALTER TYPE app.state SET SCHEMA other"),
            *by_hand("ALTER DOMAIN app.mail SET SCHEMA other"),
            *by_hand("ALTER TYPE app.shape SET SCHEMA other"),
            *by_hand("ALTER TYPE app.span SET SCHEMA other"),
            *by_hand("ALTER TYPE app.base SET SCHEMA other"),
        ),
        "typowner": (
            *by_hand("ALTER TYPE app.state OWNER TO {role}"),
            *by_hand("ALTER DOMAIN app.mail OWNER TO {role}"),
        ),
        "typlen": other_base_type(internallength="8", passedbyvalue="", alignment=""),
        "typbyval": other_base_type(passedbyvalue=""),
        "typtype": by_hand("DROP TYPE app.state", "CREATE DOMAIN app.state AS text"),
        "typcategory": other_base_type(category="'A'"),
        "typispreferred": other_base_type(preferred="true"),
        "typisdefined": Listed("shell types"),
        "typdelim": other_base_type(delimiter="';'"),
        "typrelid": INTERNAL,
        "typsubscript": for_a_person("ALTER TYPE app.base SET (SUBSCRIPT = raw_array_subscript_handler)"),
        "typelem": other_base_type(element="int4", internallength="8", passedbyvalue=""),
        "typarray": INTERNAL,
        "typinput": other_base_type(input="app.base_get"),
        "typoutput": other_base_type(output="app.base_put"),
        "typreceive": for_a_person("ALTER TYPE app.base SET (RECEIVE = app.base_recv)"),
        "typsend": for_a_person("ALTER TYPE app.base SET (SEND = app.base_send)"),
        "typmodin": for_a_person("ALTER TYPE app.base SET (TYPMOD_IN = varchartypmodin)"),
        "typmodout": for_a_person("ALTER TYPE app.base SET (TYPMOD_OUT = varchartypmodout)"),
        "typanalyze": for_a_person("ALTER TYPE app.base SET (ANALYZE = array_typanalyze)"),
        "typalign": other_base_type(alignment="char", internallength="1"),
        "typstorage": other_base_type(internallength="VARIABLE", passedbyvalue="", storage="extended"),
        "typnotnull": by_hand("ALTER DOMAIN app.mail SET NOT NULL"),
        "typbasetype": domain("text"),
        "typtypmod": domain("varchar(50)"),
        "typndims": INTERNAL,
        "typcollation": domain('varchar(100) COLLATE "C"'),
        "typdefaultbin": DECIDED,
        "typdefault": (
            *by_hand("ALTER DOMAIN app.mail SET DEFAULT 'a'"),
            *by_hand("ALTER DOMAIN app.tags SET DEFAULT '{{}}'"),
        ),
        "typacl": (
            *by_hand("GRANT USAGE ON TYPE app.state TO {role}"),
            *by_hand("REVOKE USAGE ON DOMAIN app.mail FROM PUBLIC"),
        ),
    },
    "pg_enum": {
        "oid": INTERNAL,
        "enumtypid": INTERNAL,
        "enumsortorder": for_a_person("DROP TYPE app.state", "CREATE TYPE app.state AS ENUM ('paid', 'open')"),
        "enumlabel": by_hand("ALTER TYPE app.state RENAME VALUE 'paid' TO 'settled'"),
    },
    "pg_range": {
        "rngtypid": INTERNAL,
        "rngsubtype": span("subtype = numeric"),
        "rngmultitypid": span("subtype = text, multirange_type_name = app.spans"),
        "rngcollation": span('subtype = text, collation = "C"'),
        "rngsubopc": span("subtype = text, subtype_opclass = text_pattern_ops"),
        "rngcanonical": span(
            "subtype = int4, canonical = app.canonical",
            "CREATE TYPE app.span",
            "CREATE FUNCTION app.canonical(app.span) RETURNS app.span LANGUAGE internal IMMUTABLE "
            "AS 'int4range_canonical'",
        ),
        "rngsubdiff": span("subtype = float8, subtype_diff = float8mi"),
    },
    "pg_proc": {
        "oid": INTERNAL,
        "proname": by_hand("ALTER FUNCTION app.f(int) RENAME TO g"),
        "pronamespace": (
            *by_hand("ALTER FUNCTION app.f(int) SET SCHEMA other"),
            *by_hand("ALTER FUNCTION app.touch() SET SCHEMA other"),
            *by_hand("ALTER PROCEDURE app.sweep() SET SCHEMA other"),
            *by_hand("ALTER AGGREGATE app.total(int4) SET SCHEMA other"),
        ),
        "proowner": (
            *by_hand("ALTER FUNCTION app.f(int) OWNER TO {role}"),
            *by_hand("ALTER PROCEDURE app.sweep() OWNER TO {role}"),
            *by_hand("ALTER AGGREGATE app.total(int4) OWNER TO {role}"),
        ),
        "prolang": by_hand(
            "CREATE OR REPLACE FUNCTION app.f(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'"
        ),
        "procost": by_hand("ALTER FUNCTION app.f(int) COST 7"),
        "prorows": by_hand("ALTER FUNCTION app.rows(int) ROWS 7"),
        "provariadic": function("(VARIADIC n int[]) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
        "prosupport": by_hand("ALTER FUNCTION app.rows(int) SUPPORT generate_series_int4_support"),
        "prokind": by_hand("DROP FUNCTION app.f(int)", "CREATE PROCEDURE app.f(n int) LANGUAGE sql AS 'SELECT 1'"),
        "prosecdef": by_hand("ALTER FUNCTION app.f(int) SECURITY DEFINER"),
        "proleakproof": by_hand("ALTER FUNCTION app.f(int) LEAKPROOF"),
        "proisstrict": by_hand("ALTER FUNCTION app.f(int) STRICT"),
        "proretset": function("(n int) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1'"),
        "provolatile": by_hand("ALTER FUNCTION app.f(int) STABLE"),
        "proparallel": by_hand("ALTER FUNCTION app.f(int) PARALLEL SAFE"),
        "pronargs": DECIDED,
        "pronargdefaults": DECIDED,
        "prorettype": function("(n int) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"),
        "proargtypes": function("(n bigint) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
        "proallargtypes": function("(n int, OUT a int, OUT b int) LANGUAGE sql AS 'SELECT 1, 1'"),
        "proargmodes": function("(n int, OUT a int) LANGUAGE sql AS 'SELECT 1'"),
        "proargnames": function("(m int) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
        "proargdefaults": by_hand(
            "CREATE OR REPLACE FUNCTION app.f(n int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 1'"
        ),
        "protrftypes": by_hand(
            "CREATE OR REPLACE FUNCTION app.f(n int) RETURNS int TRANSFORM FOR TYPE int LANGUAGE sql AS 'SELECT 1'"
        ),
        "prosrc": by_hand("CREATE OR REPLACE FUNCTION app.f(n int) RETURNS int LANGUAGE sql AS 'SELECT 2'"),
        "probin": by_hand(
            "CREATE OR REPLACE FUNCTION app.handler() RETURNS language_handler LANGUAGE c "
            "AS 'plpgsql', 'plpgsql_call_handler'"
        ),
        "prosqlbody": by_hand("CREATE OR REPLACE FUNCTION app.f(n int) RETURNS int RETURN 1"),
        "proconfig": by_hand("ALTER FUNCTION app.f(int) SET search_path = app"),
        "proacl": (
            *by_hand("REVOKE EXECUTE ON FUNCTION app.f(int) FROM PUBLIC"),
            *by_hand("GRANT EXECUTE ON PROCEDURE app.sweep() TO {role}"),
            *by_hand("GRANT EXECUTE ON FUNCTION app.total(int4) TO {role}"),
        ),
    },
    "pg_aggregate": {
        "aggfnoid": INTERNAL,
        "aggkind": by_hand(
            "DROP AGGREGATE app.total(int4)",
            "CREATE AGGREGATE app.total(ORDER BY int4) (SFUNC = int4pl, STYPE = int4)",
        ),
        "aggnumdirectargs": DECIDED,
        "aggtransfn": total(SFUNC="int4mul"),
        "aggfinalfn": total(FINALFUNC="int4abs"),
        "aggcombinefn": average(COMBINEFUNC="numeric_combine"),
        "aggserialfn": average(SERIALFUNC="numeric_serialize"),
        "aggdeserialfn": average(DESERIALFUNC="numeric_deserialize"),
        "aggmtransfn": moving(MSFUNC="int4mul"),
        "aggminvtransfn": moving(MINVFUNC="int4mul"),
        "aggmfinalfn": moving(MFINALFUNC="int4abs"),
        "aggfinalextra": total(FINALFUNC="app.finish", FINALFUNC_EXTRA="true"),
        "aggmfinalextra": moving(MFINALFUNC="app.finish", MFINALFUNC_EXTRA="true"),
        "aggfinalmodify": average(FINALFUNC_MODIFY="READ_WRITE"),
        "aggmfinalmodify": average(MFINALFUNC_MODIFY="SHAREABLE"),
        "aggsortop": total(SORTOP="<"),
        "aggtranstype": by_hand(
            "DROP AGGREGATE app.total(int4)",
            "CREATE AGGREGATE app.total(int4) (SFUNC = int84pl, STYPE = int8, INITCOND = '0')",
        ),
        "aggtransspace": total(SSPACE="64"),
        "aggmtranstype": moving(
            MSFUNC="int84pl", MINVFUNC="int84mi", MSTYPE="int8", MINITCOND="'0'", MFINALFUNC="pg_catalog.int4"
        ),
        "aggmtransspace": moving(MSSPACE="64"),
        "agginitval": total(INITCOND="'5'"),
        "aggminitval": moving(MINITCOND="'5'"),
    },
    "pg_trigger": {
        "oid": INTERNAL,
        "tgrelid": INTERNAL,
        "tgparentid": INTERNAL,
        "tgname": by_hand("ALTER TRIGGER tg ON app.plain RENAME TO th"),
        "tgfoid": by_hand(
            "DROP TRIGGER tg ON app.plain",
            "CREATE TRIGGER tg BEFORE UPDATE ON app.plain FOR EACH ROW EXECUTE FUNCTION app.touch2()",
        ),
        "tgtype": trigger("BEFORE INSERT ON app.plain FOR EACH ROW"),
        "tgenabled": (
            *by_hand("ALTER TABLE app.plain DISABLE TRIGGER tg"),
            *by_hand("ALTER TABLE app.plain ENABLE ALWAYS TRIGGER tg"),
            *by_hand("ALTER TABLE app.child DISABLE TRIGGER ALL"),
            *by_hand("ALTER TABLE app.target DISABLE TRIGGER ALL"),
            *by_hand("ALTER TABLE app.part DISABLE TRIGGER ALL"),
        ),
        "tgisinternal": INTERNAL,
        "tgconstrrelid": watch("FROM app.child"),
        "tgconstrindid": INTERNAL,
        "tgconstraint": INTERNAL,
        "tgdeferrable": watch("DEFERRABLE"),
        "tginitdeferred": watch("INITIALLY DEFERRED"),
        "tgnargs": DECIDED,
        "tgattr": trigger("BEFORE UPDATE OF name ON app.plain FOR EACH ROW"),
        "tgargs": by_hand(
            "DROP TRIGGER tg ON app.plain",
            "CREATE TRIGGER tg BEFORE UPDATE ON app.plain FOR EACH ROW EXECUTE FUNCTION app.touch('a')",
        ),
        "tgqual": trigger("BEFORE UPDATE ON app.plain FOR EACH ROW WHEN (NEW.id > 0)"),
        "tgoldtable": trigger("AFTER UPDATE ON app.plain REFERENCING OLD TABLE AS a"),
        "tgnewtable": trigger("AFTER UPDATE ON app.plain REFERENCING NEW TABLE AS a"),
    },
    "pg_rewrite": {
        "oid": INTERNAL,
        "rulename": by_hand("ALTER RULE keep ON app.plain RENAME TO hold"),
        "ev_class": INTERNAL,
        "ev_type": rule("ON UPDATE TO app.plain DO INSTEAD NOTHING"),
        "ev_enabled": by_hand("ALTER TABLE app.plain DISABLE RULE keep"),
        "is_instead": rule("ON DELETE TO app.plain DO ALSO NOTHING"),
        "ev_qual": rule("ON DELETE TO app.plain WHERE OLD.id > 0 DO INSTEAD NOTHING"),
        "ev_action": (
            *rule("ON DELETE TO app.plain DO INSTEAD DELETE FROM app.lone"),
            *by_hand("CREATE OR REPLACE VIEW app.v AS SELECT id, name FROM app.plain WHERE id > 0"),
        ),
    },
    "pg_policy": {
        "oid": INTERNAL,
        "polname": by_hand("ALTER POLICY visible ON app.plain RENAME TO seen"),
        "polrelid": INTERNAL,
        "polcmd": policy("FOR SELECT USING (id > 0)"),
        "polpermissive": policy("AS RESTRICTIVE USING (id > 0)"),
        "polroles": by_hand("ALTER POLICY visible ON app.plain TO {role}"),
        "polqual": by_hand("ALTER POLICY visible ON app.plain USING (id > 1)"),
        "polwithcheck": by_hand("ALTER POLICY visible ON app.plain WITH CHECK (id > 1)"),
    },
    "pg_sequence": {
        "seqrelid": INTERNAL,
        "seqtypid": by_hand("ALTER SEQUENCE app.numbers AS integer"),
        "seqstart": by_hand("ALTER SEQUENCE app.numbers START 7"),
        "seqincrement": by_hand("ALTER SEQUENCE app.numbers INCREMENT 7"),
        "seqmax": (
            *by_hand("ALTER SEQUENCE app.numbers MAXVALUE 777"),
            *by_hand("ALTER TABLE app.plain ALTER number SET MAXVALUE 777"),
        ),
        "seqmin": by_hand("ALTER SEQUENCE app.numbers MINVALUE 0"),
        "seqcache": by_hand("ALTER SEQUENCE app.numbers CACHE 7"),
        "seqcycle": by_hand("ALTER SEQUENCE app.numbers CYCLE"),
    },
    "pg_inherits": {
        "inhrelid": INTERNAL,
        "inhparent": (
            *by_hand("ALTER TABLE app.shaped INHERIT app.parent"),
            *by_hand("ALTER TABLE app.heir NO INHERIT app.parent"),
        ),
        "inhseqno": for_a_person(
            "ALTER TABLE app.heir2 NO INHERIT app.parent",
            "ALTER TABLE app.heir2 NO INHERIT app.parent2",
            "ALTER TABLE app.heir2 INHERIT app.parent2",
            "ALTER TABLE app.heir2 INHERIT app.parent",
        ),
        "inhdetachpending": (
            ByHand(
                ("UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'app.part'::regclass",),
                one_way=True,
            ),
        ),
    },
    "pg_partitioned_table": {
        "partrelid": INTERNAL,
        "partstrat": parts("LIST (at)"),
        "partnatts": DECIDED,
        "partdefid": DECIDED,
        "partattrs": parts("RANGE (what)"),
        "partclass": parts("RANGE (what text_pattern_ops)"),
        "partcollation": parts('RANGE (what COLLATE "C")'),
        "partexprs": parts("RANGE ((at + 1))"),
    },
    "pg_statistic_ext": {
        "oid": INTERNAL,
        "stxrelid": INTERNAL,
        "stxname": by_hand("ALTER STATISTICS app.related RENAME TO kin"),
        "stxnamespace": by_hand("ALTER STATISTICS app.related SET SCHEMA other"),
        "stxowner": by_hand("ALTER STATISTICS app.related OWNER TO {role}"),
        "stxkeys": by_hand("DROP STATISTICS app.related", "CREATE STATISTICS app.related ON name, n FROM app.plain"),
        "stxstattarget": by_hand("ALTER STATISTICS app.related SET STATISTICS 7"),
        "stxkind": by_hand(
            "DROP STATISTICS app.related", "CREATE STATISTICS app.related (mcv) ON id, n FROM app.plain"
        ),
        "stxexprs": by_hand(
            "DROP STATISTICS app.related", "CREATE STATISTICS app.related ON id, n, (id + n) FROM app.plain"
        ),
    },
    "pg_namespace": {
        "oid": INTERNAL,
        "nspname": by_hand("ALTER SCHEMA vacant RENAME TO empty"),
        "nspowner": by_hand("ALTER SCHEMA app OWNER TO {role}"),
        "nspacl": by_hand("GRANT USAGE ON SCHEMA app TO {role}"),
    },
    "pg_extension": {
        "oid": INTERNAL,
        "extname": by_hand("DROP EXTENSION hstore"),
        "extowner": INTERNAL,
        "extnamespace": by_hand("ALTER EXTENSION hstore SET SCHEMA other"),
        "extrelocatable": INTERNAL,
        "extversion": Listed("its version"),
        "extconfig": INTERNAL,
        "extcondition": INTERNAL,
    },
    "pg_foreign_table": {
        "ftrelid": INTERNAL,
        "ftserver": for_a_person(
            "DROP FOREIGN TABLE app.remote",
            "CREATE FOREIGN TABLE app.remote (id integer, name text) SERVER farther OPTIONS (a '1')",
        ),
        "ftoptions": by_hand("ALTER FOREIGN TABLE app.remote OPTIONS (SET a 'it''s', ADD b '2')"),
    },
    "pg_description": {
        "objoid": INTERNAL,
        "classoid": INTERNAL,
        "objsubid": INTERNAL,
        "description": tuple(each for target in COMMENTS for each in by_hand(f"COMMENT ON {target} IS 'it''s'")),
    },
    "pg_depend": {
        "classid": INTERNAL,
        "objid": INTERNAL,
        "objsubid": INTERNAL,
        "refclassid": INTERNAL,
        "refobjid": DECIDED,
        "refobjsubid": by_hand("ALTER SEQUENCE app.numbers OWNED BY app.lone.k"),
        "deptype": Listed("DEPENDS ON EXTENSION"),
    },
    "pg_am": Listed("access methods"),
    "pg_amop": Listed("operators and their classes"),
    "pg_amproc": Listed("operators and their classes"),
    "pg_auth_members": SERVER,
    "pg_authid": SERVER,
    "pg_cast": Listed("casts"),
    "pg_collation": Listed("collations"),
    "pg_conversion": Listed("conversions"),
    "pg_database": Listed("the database itself"),
    "pg_db_role_setting": Listed("settings of a role or database"),
    "pg_default_acl": Listed("default privileges"),
    "pg_event_trigger": Listed("event triggers"),
    "pg_foreign_data_wrapper": Listed("foreign-data wrappers"),
    "pg_foreign_server": Listed("foreign servers"),
    "pg_init_privs": INTERNAL,
    "pg_language": Listed("languages"),
    "pg_largeobject": Listed("large objects"),
    "pg_largeobject_metadata": Listed("large objects"),
    "pg_opclass": Listed("operators and their classes"),
    "pg_operator": Listed("operators and their classes"),
    "pg_opfamily": Listed("operators and their classes"),
    "pg_parameter_acl": SERVER,
    "pg_publication": Listed("publications"),
    "pg_publication_namespace": Listed("publications"),
    "pg_publication_rel": Listed("publications"),
    "pg_replication_origin": SERVER,
    "pg_seclabel": Listed("security labels"),
    "pg_shdepend": INTERNAL,
    "pg_shdescription": Listed("comments on an extension or the database"),
    "pg_shseclabel": Listed("security labels"),
    "pg_statistic": COUNTED,
    "pg_statistic_ext_data": COUNTED,
    "pg_subscription": Listed("subscriptions"),
    "pg_subscription_rel": Listed("subscriptions"),
    "pg_tablespace": SERVER,
    "pg_transform": Listed("transforms"),
    "pg_ts_config": Listed("text search"),
    "pg_ts_config_map": Listed("text search"),
    "pg_ts_dict": Listed("text search"),
    "pg_ts_parser": Listed("text search"),
    "pg_ts_template": Listed("text search"),
    "pg_user_mapping": Listed("user mappings"),
}
"""The decision about each column, or about all of a catalog. What a server lacks is left out there."""

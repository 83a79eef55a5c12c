"""The right that a role lacks, by the server's message and the statement that it refused, and what would give it."""

import re
from collections.abc import Callable, Iterable

from service_migrations.failures.driver_errors import error_chain, field, original_of
from service_migrations.sql.quoting import quoted

__all__ = ["grant"]

_ANY = "Grant it, or run as the owner."
_NOT_OWNED = re.compile(r"must be owner of (materialized view|[a-z]+) \S.* \[42501\]")
_DENIED = re.compile(r"permission denied for ((?:foreign |materialized )?[a-z]+|foreign-data wrapper) (.+) \[42501\]")
_INNER = re.compile(r'\A(?:SQL statement|SQL expression|PL/pgSQL assignment) "(.*?)"(?:\n|\Z)', re.DOTALL)
"""What a function or a DO block ran, in the context of the server's message."""
_COMMENTS = re.compile(r"\A(?:\s|\(|--[^\n]*(?:\n|\Z)|/\*.*?\*/)+", re.DOTALL)
_ALWAYS = {
    "database": "CREATE",
    "foreign server": "USAGE",
    "foreign-data wrapper": "USAGE",
    "function": "EXECUTE",
    "language": "USAGE",
    "procedure": "EXECUTE",
    "tablespace": "CREATE",
    "type": "USAGE",
}
"""The kinds of objects with one privilege."""
_RELATIONS = ("table", "view", "materialized view", "foreign table")
_TARGETS = {
    # of an UPDATE or a DELETE with a WHERE, the columns are read
    r"(?<!DO )(?<!FOR )(?<!KEY )(?<!ON )\bUPDATE\s+(?:ONLY\s+)?NAME": ("SELECT", "UPDATE"),
    r"\bDELETE\s+FROM\s+(?:ONLY\s+)?NAME": ("SELECT", "DELETE"),
    r"\bREFERENCES\s+NAME": ("REFERENCES",),
    r"\A\s*CREATE\b[^;]*?\bTRIGGER\b[^;]*?\bON\s+NAME": ("TRIGGER",),
}
"""What a statement does with a relation, and the privileges that it needs for that."""
_READING = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "TABLE", "VALUES")
_ORDER = ("SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES", "TRIGGER")
_PLACES = re.compile(r"\b(?:CREATE|RENAME|SET\s+SCHEMA)\b", re.IGNORECASE)
_ROW_LOCK = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?(?:KEY\s+)?(?:UPDATE|SHARE)\b", re.IGNORECASE)
_RETURNS = re.compile(r"\bRETURNING\b", re.IGNORECASE)
_ARBITER = re.compile(r"\bON\s+CONFLICT\s*(?:\(|ON\s+CONSTRAINT\b)", re.IGNORECASE)
_UPSERT = re.compile(r"\bDO\s+UPDATE\b", re.IGNORECASE)
_MERGED = re.compile(r"\bTHEN\s+(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


def grant(error: BaseException, text: str, user: str) -> str:
    """Return what would give a role the right that it lacks.

    Args:
        error: the error whose SQLSTATE is 42501.
        text: the server's message, with the SQLSTATE.
        user: the role.

    """
    if owned := _NOT_OWNED.match(text):
        return f'Migrate as its owner, or let an administrator run: ALTER {owned[1].upper()} … OWNER TO "{user}";'
    denied = _DENIED.match(text)
    if denied is None:
        return _ANY
    kind, name = denied.groups()
    statement = _COMMENTS.sub("", _refused(error))
    privileges = ", ".join(dict.fromkeys(_privileges(kind, name, statement)))
    if not privileges:
        return _ANY
    sql_kind = "" if kind in _RELATIONS else f"{kind.replace('-', ' ').upper()} "
    written = name if kind == "type" else quoted(name)  # a type's name is written as SQL in the message
    qualified = re.search(rf'(?:"[^"]+"|\w+)\."?{re.escape(name)}\b"?', statement)
    return f'Its owner can run: GRANT {privileges} ON {sql_kind}{qualified[0] if qualified else written} TO "{user}";'


def _refused(error: BaseException) -> str:
    """Return the statement that the server refused: that inside of a function or a DO block, where it is one."""
    original = original_of(error)
    inner = _INNER.match(field(original.__cause__ or original, "context", "context") or "")
    return (
        inner[1] if inner else next(filter(None, (getattr(link, "statement", "") for link in error_chain(error))), "")
    )


def _privileges(kind: str, name: str, statement: str) -> Iterable[str]:
    """Return the privileges that a statement needs on an object; none where they aren't known."""
    if kind in _ALWAYS:
        return (_ALWAYS[kind],)

    def has(pattern: str) -> re.Match[str] | None:
        return re.search(pattern.replace("NAME", rf'(?:\S+\.)?"?\b{re.escape(name)}\b'), statement, re.IGNORECASE)

    verb = next(iter(statement.split()), "CREATE").upper()
    if kind == "schema":
        return _of_schema(verb, name, statement)
    if kind == "sequence":
        if has(r"\bsetval\s*\("):
            return ("USAGE", "UPDATE") if has(r"\b(?:nextval|currval)\s*\(") else ("UPDATE",)
        return ("SELECT",) if has(r"\b(?:FROM|JOIN)\s+NAME") else ("USAGE",)
    return _of_relation(verb, statement, has) if kind in _RELATIONS else ()


def _of_schema(verb: str, name: str, statement: str) -> Iterable[str]:
    """Return CREATE where something gets its place in a schema, and USAGE where something in it is named."""
    if verb != "CREATE":
        # of what a DO block creates, the server doesn't name the statement
        places = _PLACES.search(statement) and verb in ("ALTER", "DO")
        return ("USAGE", "CREATE") if places else ("USAGE",)
    qualified = rf'"?\b{re.escape(name)}\b"?\s*\.'
    if not re.search(qualified, statement):  # the first schema of the search path, which has only those with USAGE
        return ("CREATE",)
    created = re.match(rf"((?:[\w\"]+\s+)+){qualified}", statement)
    words = created[1].upper().split() if created else ["AS"]
    is_named = "AS" in words or ("ON" in words and "INDEX" not in words)
    return ("USAGE",) if is_named else ("USAGE", "CREATE")


def _of_relation(verb: str, statement: str, has: Callable[[str], re.Match[str] | None]) -> Iterable[str]:
    """Return the privileges that a statement needs on a table or a view, the most usual first."""
    if verb in ("TRUNCATE", "LOCK"):  # also of a table that CASCADE adds
        return ("TRUNCATE",)
    if not has("NAME"):  # it is named by a view or a function, and may be read with the rights of another role
        return ()
    needed = {privilege for target, privileges in _TARGETS.items() if has(target) for privilege in privileges}
    if insert := has(r"\bINSERT\s+INTO\s+NAME"):
        rest = statement[insert.end() :]
        upserted = {"SELECT", "UPDATE"} if _UPSERT.search(rest) else set()
        needed |= {"INSERT", *upserted, *(("SELECT",) if _RETURNS.search(rest) or _ARBITER.search(rest) else ())}
    if has(r"\bMERGE\s+INTO\s+(?:ONLY\s+)?NAME"):
        needed |= {"SELECT", *(changed.upper() for changed in _MERGED.findall(statement))}
    if has(r"\b(?:FROM|JOIN|USING|TABLE|LIKE)\s+(?:ONLY\s+)?NAME") or (verb in _READING and not needed):
        needed |= {"SELECT", "UPDATE"} if _ROW_LOCK.search(statement) else {"SELECT"}
    return filter(needed.__contains__, _ORDER)

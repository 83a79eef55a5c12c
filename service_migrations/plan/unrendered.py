"""What a revision does that can't be rendered, read from its syntax tree: its SQL, also in pieces, and its calls.

Such a revision reads rows and then decides, so it is often one that loops over tables and drops columns of each.
"""

import ast
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter

from service_migrations.history.sql.texts import constants, text_of
from service_migrations.plan.classes import Class, Reason
from service_migrations.plan.revision_text import keyword, widens
from service_migrations.plan.statements.classify import classify
from service_migrations.plan.statements.novelty import Scope
from service_migrations.sql.lexer import Token, statements

__all__ = ["reasons", "unrendered_statements"]

_DROPS = {
    *("drop_table", "drop_column", "DropTableOp", "DropColumnOp", "DropTable", "DropColumn", "DropSchema"),
    "drop_all",
}
"""Names of Alembic and SQLAlchemy that mean a loss wherever they stand: called, imported, or given another name."""

_CONDITIONS = {"where", "filter", "filter_by"}
_RUNS = ("execute", "scalar", "scalars")
_CHANGES = ("insert", "update", "delete")
_SQLALCHEMY = ("sa", "sqlalchemy", "sql")


def reasons(
    tree: ast.Module, skipped: str, rendered: Collection[int], failed: int | None, scope: Scope
) -> Iterator[tuple[Reason, int | None]]:
    """Yield the classes of SQL strings and of some operations, with their lines.

    Args:
        tree: the revision file.
        skipped: the function that isn't run.
        rendered: the lines whose SQL is known.
        failed: the line that raised the error, of which more may be unknown than what was rendered.
        scope: what was created before.

    """
    deletions = {id(call) for call in _deletions(tree)}
    for node, text in _unknown(tree, skipped, rendered, failed):
        own = [] if text is None else [r for part in statements(text) for r in classify(part.tokens, scope)]
        own += _of_names(node)
        own += _of_call(node)
        if id(node) in deletions:
            own.append((Class.DESTRUCTIVE, "delete() without where() empties the table."))
        for reason in dict.fromkeys(own):
            yield reason, getattr(node, "lineno", None)


def unrendered_statements(
    tree: ast.Module, skipped: str, rendered: Collection[int], failed: int | None
) -> Iterator[tuple[Sequence[Token], int]]:
    """Yield the statements of SQL strings, by their lines, not as they run; the arguments are those of ``reasons``."""
    nodes = _unknown(tree, skipped, rendered, failed)
    texts = [(node.lineno, text) for node, text in nodes if isinstance(node, ast.expr) and text is not None]
    for line, text in sorted(texts, key=itemgetter(0)):
        yield from ((statement.tokens, line) for statement in statements(text))


def _unknown(
    tree: ast.Module, skipped: str, rendered: Collection[int], failed: int | None
) -> Iterator[tuple[ast.AST, str | None]]:
    """Yield each part of a file that wasn't rendered, with its text if it is one."""
    known, names = _whole(tree, rendered, failed), constants(tree)
    for definition in _run(tree, skipped):
        parts: set[int] = set()  # of texts that were read already
        for node in ast.walk(definition):  # a whole comes before its parts
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                parts.add(id(node.value))  # a docstring
            if getattr(node, "lineno", None) in known or id(node) in parts:
                continue
            yield node, text_of(node, parts, names)


def _run(tree: ast.Module, skipped: str) -> list[ast.stmt]:
    """Return the parts of a file without a function, and without the definitions that only this one uses."""
    mentioned = {id(part): _mentioned(part) for part in tree.body}
    unused = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == skipped]
    of_skipped = _reached(tree.body, unused, mentioned)
    used = _reached(tree.body, [part for part in tree.body if id(part) not in of_skipped], mentioned)
    skipped_ids = {id(part) for part in unused}
    return [part for part in tree.body if id(part) in used - skipped_ids]


def _reached(body: Sequence[ast.stmt], start: Sequence[ast.stmt], mentioned: dict[int, set[str]]) -> set[int]:
    """Return the ids of some parts of a file and of the definitions that they use, also by other ones."""
    reached = {id(part) for part in start}
    waiting = [id(part) for part in start]
    while waiting:
        names = mentioned[waiting.pop()]
        more = [id(part) for part in body if id(part) not in reached and names & _defined(part)]
        reached.update(more)
        waiting += more
    return reached


def _defined(part: ast.stmt) -> set[str]:
    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {part.name}
    targets = part.targets if isinstance(part, ast.Assign) else [part.target] if isinstance(part, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _mentioned(part: ast.stmt) -> set[str]:
    """Return the names in a part of a file that may be those of definitions, also as texts, as for globals()."""
    texts = {node.value for node in ast.walk(part) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts | {_name(node) for node in ast.walk(part) if isinstance(node, ast.Name | ast.Attribute)}


def _whole(tree: ast.Module, rendered: Collection[int], failed: int | None) -> set[int]:
    """Return all lines of the statements that were rendered: their text may begin on another line than their call."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            own = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if failed not in own and any(line in own for line in rendered):
                lines.update(own)
    return lines


def _of_names(node: ast.AST) -> Iterator[Reason]:
    """Yield the classes of an operation that is named: called or not, also as the argument of getattr()."""
    if isinstance(node, ast.ImportFrom):
        for name in node.names:
            yield from _of_name(name.name)
    elif isinstance(node, ast.Attribute | ast.Name):
        yield from _of_name(_name(node))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from _of_name(node.value)


def _of_name(name: str) -> Iterator[Reason]:
    if name in _DROPS:
        yield Class.BREAKING, f"Statements that use what {name}() drops fail."
        yield Class.DESTRUCTIVE, f"{name}() loses what is in it."


def _name(node: ast.AST) -> str:
    """Return the last part of a name; empty for what is none."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _of_call(node: ast.AST) -> Iterator[Reason]:
    """Yield the classes of an operation of Alembic or SQLAlchemy that wasn't rendered."""
    if not isinstance(node, ast.Call):
        return
    name = _name(node.func)
    if name == "rename_table" or (name == "alter_column" and keyword(node, "new_column_name")):
        yield Class.BREAKING, f"Statements with the former name fail after {name}()."
    elif name == "alter_column":
        nullable, default = keyword(node, "nullable"), keyword(node, "server_default")
        if isinstance(nullable, ast.Constant) and nullable.value is False:
            yield Class.BREAKING, "Statements that write NULL to the column fail."
        if isinstance(default, ast.Constant) and default.value is None:
            yield Class.BREAKING, "An INSERT that leaves the column to its default writes NULL, or fails."
        if keyword(node, "type_") and not widens(node):
            yield Class.BREAKING, "A value that fits the column now may not fit its new type."
    elif name == "drop" and (node.args or keyword(node, "bind")) and "Index" not in _chain(node):
        yield Class.BREAKING, "Statements that use what drop() drops fail."
        yield Class.DESTRUCTIVE, "drop() loses what is in it."
    elif name == "bulk_insert" or (name in _CHANGES and _is_sqlalchemy(node)):
        yield Class.DATA, f"{name}() changes rows."


def _deletions(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield each DELETE of SQLAlchemy that is run and has no condition."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        run = node.args[0] if _name(node.func) in _RUNS and node.args else node
        chain = _chain(run)
        if "delete" in chain and not chain.keys() & _CONDITIONS and (run is not node or "query" in chain):
            deletion = chain["delete"]
            if deletion is not None and (_is_sqlalchemy(deletion) or "query" in chain):
                yield deletion


def _chain(node: ast.AST) -> dict[str, ast.Call | None]:
    """Return the names of a chain, such as ``t.delete().where()``, each with its call."""
    chain: dict[str, ast.Call | None] = {}
    call: ast.Call | None = None
    while True:
        if isinstance(node, ast.Call):
            call, node = node, node.func
        elif isinstance(node, ast.Attribute):
            chain[node.attr], call, node = call, None, node.value
        elif isinstance(node, ast.Name):
            return {**chain, node.id: call}
        else:
            return chain


def _is_sqlalchemy(call: ast.Call) -> bool:
    """Whether an insert(), update() or delete() is SQLAlchemy's: ``t.delete()`` or ``sa.delete(t)``; not of a dict."""
    if isinstance(call.func, ast.Attribute) and _name(call.func.value) not in _SQLALCHEMY:
        return not call.args
    return len(call.args) == 1

"""A revision under review: what each of its statements does, and what of squawk's warnings holds for it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service_migrations.history.offline import Piece, Rendered
from service_migrations.history.revisions import History
from service_migrations.monorepo import Service
from service_migrations.plan.classify import Class, classify
from service_migrations.plan.novelty import Scope
from service_migrations.plan.squawk import Warned
from service_migrations.sql.lexer import Token, statements

__all__ = ["Finding", "PlannedRevision", "Review", "for_squawk", "judge", "planned", "reviews"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know of a revision.

    ``rule`` is squawk's, or the class. ``line`` is that of the revision file, ``sql_line`` that of its SQL; both
    count from 1.
    """

    rule: str
    message: str
    kind: str | None = None
    path: str | None = None
    line: int | None = None
    sql_line: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedRevision:
    """A pending revision: its SQL without transactions and version table, its classes, and what was found."""

    revision: str
    message: str
    path: str
    sql: str
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One statement, with where it is, what it does by itself, and what of squawk's doesn't hold for it."""

    sql_line: int
    sql_end: int
    source: int
    found: tuple[tuple[Class, str], ...]
    is_new: bool
    is_proved: bool
    is_virtual: bool


@dataclass(slots=True)
class Review:
    """One revision while it is being judged."""

    rendered: Rendered
    judged: list[_Judged] = field(default_factory=list)
    read: list[Finding] = field(default_factory=list)


def judge(history: History, rendered: list[Rendered]) -> list[PlannedRevision]:
    """Return rendered revisions with the classes that can be told without squawk."""
    return [planned(review, []) for review in reviews(history, rendered)]


def reviews(history: History, rendered: list[Rendered]) -> Iterator[Review]:
    """Yield one review for each revision; each knows what those before it have made."""
    scope = Scope()
    for one in rendered:
        review = Review(one)
        offset = 0
        for piece in one.pieces:
            if piece.is_transaction:
                continue
            for statement in statements(piece.sql):
                found = statement.tokens
                judged = _Judged(
                    offset + statement.line,
                    offset + statement.end,
                    piece.source,
                    tuple(dict.fromkeys(classify(found, scope))),
                    scope.is_new(found),
                    scope.is_proved(found),
                    any(part == "virtual" for part in found),
                )
                review.judged.append(judged)
                scope.learn(found)
            offset += _lines(piece) + 1
        if one.error is not None:
            review.read = list(_read(history.service, one, scope))
        yield review


def _lines(piece: Piece) -> int:
    return piece.sql.count("\n") + 1


def for_squawk(rendered: Rendered, version: str) -> tuple[str, str]:
    """Return what squawk reads: the SQL in its transactions, on the lines that it has in the plan.

    What opens and closes a transaction stands on the blank line before a statement, so that no line moves.
    """
    lines = ["BEGIN; "]
    for index, piece in enumerate(rendered.pieces):
        if piece.is_transaction:
            lines[-1] += f"{piece.sql} "
            continue
        later = any(not one.is_transaction for one in rendered.pieces[index + 1 :])
        first, *rest = piece.sql.split("\n")
        lines[-1] += first
        lines += [*rest, *(["", ""] if later else [""])]
    return "\n".join([*lines[:-1], lines[-1] + "COMMIT;"]), version


def planned(review: Review, warned: list[Warned]) -> PlannedRevision:
    """Return the value of a reviewed revision, with what of squawk's warnings holds for it."""
    rendered = review.rendered
    path = rendered.revision.path
    findings: list[Finding] = []
    for judged in review.judged:
        here = [one for one in warned if judged.sql_line <= one.line <= judged.sql_end and _holds(one, judged)]
        kinds = {one.kind for one in here}
        findings += [Finding(w.rule, w.message, w.kind, path, judged.source, w.line) for w in here]
        findings += [
            Finding(kind, why, kind, path, judged.source, judged.sql_line)
            for kind, why in judged.found
            if kind not in kinds
        ]
    lines = {number for judged in review.judged for number in range(judged.sql_line, judged.sql_end + 1)}
    findings += [Finding(w.rule, w.message, w.kind, path, None, w.line) for w in warned if w.line not in lines]
    if rendered.error is not None:
        why = f"It can't be rendered without a connection ({rendered.error}); what follows is read from its text."
        findings.append(Finding("offline", why, None, path, rendered.error_line))
    findings += review.read
    if rendered.irreversible is not None:
        why, line = rendered.irreversible
        findings.append(Finding(Class.IRREVERSIBLE, why, Class.IRREVERSIBLE, path, line))
    found = {finding.kind for finding in findings}
    return PlannedRevision(
        revision=rendered.revision.revision,
        message=rendered.revision.message,
        path=path,
        sql=rendered.sql,
        classes=_ordered(found, additive=rendered.error is None),
        findings=tuple(dict.fromkeys(findings)),
    )


def _ordered(found: set[str | None], *, additive: bool) -> tuple[str, ...]:
    """Return the classes from harmless to final; what can't be taken back may still only add."""
    named = [one.value for one in Class if one.value in found]
    if additive and not set(named) - {Class.IRREVERSIBLE}:
        return (Class.ADDITIVE.value, *named)
    return tuple(named)


def _holds(warned: Warned, judged: _Judged) -> bool:
    """Whether a finding of squawk's holds, which sees neither the revisions before nor who uses a table."""
    if warned.kind is not None and judged.is_new:
        return False
    if warned.rule == "adding-not-nullable-field" and judged.is_proved:
        return False
    return not (warned.rule == "adding-field-with-default" and judged.is_virtual)


def _read(service: Service, rendered: Rendered, scope: Scope) -> Iterator[Finding]:
    """Yield what the text of a revision says that can't be rendered: its SQL strings, and Alembic's drops."""
    path = rendered.revision.path
    seen = {piece.source for piece in rendered.pieces}
    module = ast.parse((service.root / Path(path)).read_text(encoding="utf-8"))
    for part in module.body:
        if isinstance(part, ast.FunctionDef) and part.name == "downgrade":
            continue
        for node in ast.walk(part):
            kinds: list[tuple[Class, str]] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("drop_table", "drop_column") and node.lineno not in seen:
                    kinds = [(Class.DESTRUCTIVE, f"{node.func.attr}() loses what is in it.")]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno not in seen:
                kinds = [one for found in _tokens(node.value) for one in classify(found, scope)]
            for kind, why in dict.fromkeys(kinds):
                yield Finding(kind, why, kind, path, getattr(node, "lineno", None))


def _tokens(sql: str) -> list[tuple[Token, ...]]:
    return [statement.tokens for statement in statements(sql)]

"""The review of a revision: the classes of its statements, and the warnings of squawk that apply to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from service_migrations.history.revisions import History
from service_migrations.history.sql.offline import Piece, Rendered
from service_migrations.plan.classes import Class, Reason
from service_migrations.plan.committed_breaks import read_breaks
from service_migrations.plan.default_partitions import default_partitions
from service_migrations.plan.earlier_statements import earlier_statements
from service_migrations.plan.revision_text import RevisionText, revision_text
from service_migrations.plan.squawk import SquawkWarning
from service_migrations.plan.squawk_text import SquawkLine, block_statements, sql_of
from service_migrations.plan.statements.classify import classify
from service_migrations.plan.statements.nested import Unseen, nested_statements, statements_of_block
from service_migrations.plan.statements.novelty import Scope
from service_migrations.plan.unfounded import unfounded
from service_migrations.plan.unrendered import reasons
from service_migrations.sql.clauses import actions, has_own, name_at
from service_migrations.sql.lexer import Statement, Token, statements

__all__ = ["DatabaseFindings", "PlanFinding", "PlannedRevision", "Review", "judge", "planned", "reviews"]


@dataclass(frozen=True, slots=True)
class PlanFinding:
    """A finding of a plan, mostly about one statement of a revision.

    Attributes:
        rule: squawk's rule, or the class.
        message: what it is, as a sentence.
        kind: the class; None for a finding that has none.
        path: the revision file.
        line: the line of the revision file, from 1.
        sql_line: the line of the revision's SQL, from 1.

    """

    rule: str
    message: str
    kind: str | None = None
    path: str | None = None
    line: int | None = None
    sql_line: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedRevision:
    """A revision that would be run, or reverted.

    Attributes:
        revision: its id.
        message: its message.
        path: its file.
        sql: its SQL, without transactions and version table.
        classes: what it does, in the order of its danger.
        findings: what was found in it.
        drops: its statements that drop something or empty a table, each on one line.
        allowed: why its file allows it to break running code; empty where it doesn't.

    """

    revision: str
    message: str
    path: str
    sql: str
    classes: tuple[str, ...]
    findings: tuple[PlanFinding, ...]
    drops: tuple[str, ...] = ()
    allowed: str = ""


@dataclass(frozen=True, slots=True)
class _ReviewedStatement:
    """One statement, or one of a DO block, whose classes are those of the block.

    Its line, its classes, and what limits the warnings of squawk for it.
    """

    sql_line: int
    source: int
    reasons: tuple[Reason, ...]
    is_new: bool
    is_proved: bool
    unfounded: frozenset[str]
    drop: str
    is_nested: bool = False


@dataclass(slots=True)
class Review:
    """One revision during its review: its file, its statements, the findings from its text, and what was tried or read.

    ``lines`` are those of its text for squawk.
    """

    rendered: Rendered
    text: RevisionText | None = None
    statements: list[_ReviewedStatement] = field(default_factory=list)
    lines: list[SquawkLine] = field(default_factory=list)
    text_findings: list[PlanFinding] = field(default_factory=list)
    breaks: tuple[str, ...] = ()
    in_database: tuple[PlanFinding, ...] = ()


DatabaseFindings = Mapping[str, tuple[PlanFinding, ...]]
"""What each revision, by its id, takes from what a database has; see ``database_findings``."""


def judge(
    history: History, rendered: list[Rendered], in_database: DatabaseFindings | None = None
) -> list[PlannedRevision]:
    """Return rendered revisions with the classes that don't depend on squawk."""
    return [planned(review, []) for review in reviews(history, rendered, in_database)]


def reviews(
    history: History, rendered: list[Rendered], in_database: DatabaseFindings | None = None
) -> Iterator[Review]:
    """Yield a review of each revision, which knows what the revisions before it have created."""
    scope = Scope()
    if history and any("partition" in piece.sql.lower() for revision in rendered for piece in revision.pieces):
        scope.defaults = default_partitions(history)
    if history and rendered:
        for tokens in earlier_statements(history, rendered):
            scope.record_earlier(tokens)
    for revision in rendered:
        review = Review(revision, _read(history, revision))
        review.in_database = (in_database or {}).get(revision.revision.revision, ())
        pieces = [(piece, list(statements(piece.sql))) for piece in revision.pieces]
        scope.start_revision()
        scope.look_ahead(_next_transaction(pieces))
        offset, is_autocommit = 0, False
        for at, (piece, part) in enumerate(pieces, 1):
            if piece.is_transaction:
                review.lines.append(SquawkLine(piece.sql))
                is_autocommit = piece.sql == "COMMIT;"
                scope.look_ahead(_next_transaction(pieces[at:]))
                continue
            if is_autocommit:  # a transaction of its own
                scope.look_ahead(statement.tokens for statement in part)
            scope.is_widening = review.text is not None and piece.source in review.text.widenings
            scope.is_unrewritten = review.text is not None and piece.source in review.text.unrewritten
            _review_piece(review, piece, part, offset, scope)
            offset += _lines(piece) + 1
        if review.text is not None and not revision.down:
            review.breaks = read_breaks(history.service, revision.revision.revision, revision.revision.path)
        if not revision.is_whole and review.text is not None:
            review.text_findings = list(_text_findings(review.text, revision, scope))
        yield review


def _next_transaction(pieces: Sequence[tuple[Piece, list[Statement]]]) -> Iterator[Sequence[Token]]:
    """Yield the statements before the next BEGIN or COMMIT, as those of an autocommit block."""
    for _, part in takewhile(lambda each: not each[0].is_transaction, pieces):
        yield from (statement.tokens for statement in part)


def _review_piece(review: Review, piece: Piece, part: list[Statement], offset: int, scope: Scope) -> None:
    """Review the statements of a piece, before which the plan's SQL has *offset* lines."""
    start = 0
    for statement in part:
        tokens, sql_line = statement.tokens, offset + statement.line
        first = offset + 1 + piece.sql.count("\n", 0, start)
        texts = enumerate(piece.sql[start : statement.stop].split("\n"), first)
        review.lines += [SquawkLine(text, len(review.statements), number) for number, text in texts]
        start = statement.stop
        kinds = tuple(dict.fromkeys(classify(tokens, scope)))
        is_drop = _is_drop(tokens) or any(kind is Class.DESTRUCTIVE for kind, _ in kinds)
        drop = _text(piece, statement) if is_drop else ""
        review.statements.append(_reviewed(tokens, sql_line, piece.source, scope, kinds, drop))
        for each in block_statements(tokens, scope.bodies):
            review.lines.append(SquawkLine(sql_of(each), len(review.statements), sql_line, is_nested=True))
            nested = _reviewed(each, sql_line, piece.source, scope)
            review.statements.append(replace(nested, is_nested=True))
        scope.record(tokens)


def _reviewed(
    tokens: Sequence[Token], sql_line: int, source: int, scope: Scope, kinds: tuple[Reason, ...] = (), drop: str = ""
) -> _ReviewedStatement:
    limits = scope.is_new(tokens), scope.is_proved(tokens), unfounded(tokens, scope)
    return _ReviewedStatement(sql_line, source, kinds, *limits, drop)


def _read(history: History, rendered: Rendered) -> RevisionText | None:
    """Return the file of a revision; None where a database has it, and no file."""
    path = rendered.revision.path
    file = history.service.root / path if history and path else None
    return revision_text(file) if file is not None and file.is_file() else None


def _is_drop(statement: Sequence[Token]) -> bool:
    """Whether a statement drops something or empties a table, itself or what is in a block or a CTE of it."""
    first = statement[0].value if statement[0].kind == "word" else ""
    if first in ("do", "with"):
        inside = statements_of_block(statement) if first == "do" else nested_statements(statement)
        return any(not isinstance(each, Unseen) and _is_drop(each) for each in inside)
    if first == "alter" and len(statement) > 2:  # noqa: PLR2004 - ALTER, kind, name
        start = 3 if statement[1] in ("foreign", "materialized") else 2
        return any(action and action[0] == "drop" for action in actions(statement[name_at(statement, start)[1] :]))
    return first in ("drop", "truncate") or (first == "delete" and not has_own(statement, "where"))


def _text(piece: Piece, statement: Statement) -> str:
    lines = piece.sql.split("\n")[statement.line - 1 : statement.end]
    text = " ".join(" ".join(lines).split())
    return f"{text.rstrip('; ')};" if text.endswith(";") else text  # Alembic adds one to that of the revision


def _lines(piece: Piece) -> int:
    return piece.sql.count("\n") + 1


def planned(review: Review, warnings: list[SquawkWarning]) -> PlannedRevision:
    """Return a reviewed revision with the warnings of squawk that apply to it."""
    rendered = review.rendered
    path = rendered.revision.path
    findings: list[PlanFinding] = []
    placed = [(warning, *_place(review, warning)) for warning in warnings]
    for index, statement in enumerate(review.statements):
        own_warnings = [(each, line) for each, place, line in placed if place == index and _applies(each, statement)]
        kinds = {warning.kind for warning, _ in own_warnings}
        findings += [
            PlanFinding(warning.rule, warning.message, warning.kind, path, statement.source, line)
            for warning, line in own_warnings
        ]
        findings += [
            PlanFinding(kind, message, kind, path, statement.source, statement.sql_line)
            for kind, message in statement.reasons
            if kind not in kinds
        ]
    findings += [
        PlanFinding(warning.rule, warning.message, warning.kind, path, None, line)
        for warning, place, line in placed
        if place is None
    ]
    if rendered.error is not None:
        message = f"It can't be rendered offline ({rendered.error}); what follows is read from its text."
        findings.append(PlanFinding("offline", message, None, path, rendered.error_line))
    elif rendered.online_part is not None:
        message = "It may do more with a connection than can be rendered offline; that is read from its text."
        findings.append(PlanFinding("offline", message, None, path, rendered.online_part))
    findings += review.text_findings
    findings += review.in_database
    findings += [PlanFinding(Class.BREAKING, broken, Class.BREAKING, path) for broken in review.breaks]
    if rendered.irreversible is not None:
        message, line = rendered.irreversible
        findings.append(PlanFinding(Class.IRREVERSIBLE, message, Class.IRREVERSIBLE, path, line))
    kinds_found = {finding.kind for finding in findings}
    return PlannedRevision(
        revision=rendered.revision.revision,
        message=rendered.revision.message,
        path=path,
        sql=rendered.sql,
        classes=_ordered(kinds_found, additive=rendered.is_whole and not (rendered.down and rendered.irreversible)),
        findings=tuple(dict.fromkeys(findings)),
        drops=tuple(statement.drop for statement in review.statements if statement.drop),
        allowed=review.text.allowed if review.text and not rendered.down else "",
    )


def _ordered(kinds: set[str | None], *, additive: bool) -> tuple[str, ...]:
    """Return the names of the classes in the order of their danger; an irreversible revision may still be additive."""
    ordered = [known_class.value for known_class in Class if known_class.value in kinds]
    if additive and not set(ordered) - {Class.IRREVERSIBLE}:
        return (Class.ADDITIVE.value, *ordered)
    return tuple(ordered)


def _place(review: Review, warning: SquawkWarning) -> tuple[int | None, int | None]:
    """Return the index of the statement of a warning, and its line in the plan's SQL."""
    line = review.lines[warning.line] if warning.line >= 0 else SquawkLine("")
    return line.statement, line.sql_line


def _applies(warning: SquawkWarning, statement: _ReviewedStatement) -> bool:
    """Whether a warning of squawk applies: squawk knows neither earlier revisions nor which tables are new."""
    if statement.is_nested and warning.kind is not Class.LOCKS:
        return False  # the block has the other classes itself
    if warning.kind is Class.BREAKING and all(kind is not Class.BREAKING for kind, _ in statement.reasons):
        return False
    if warning.kind is not None and statement.is_new:
        return False
    if warning.rule == "adding-not-nullable-field" and statement.is_proved:
        return False
    return warning.rule not in statement.unfounded


def _text_findings(text: RevisionText, rendered: Rendered, scope: Scope) -> Iterator[PlanFinding]:
    """Yield findings from the text of a revision that can't be rendered: its SQL strings and its operations."""
    skipped = "upgrade" if rendered.down else "downgrade"
    lines = {piece.source for piece in rendered.pieces}
    for (kind, message), line in reasons(text.tree, skipped, lines, rendered.error_line, scope):
        yield PlanFinding(kind, message, kind, rendered.revision.path, line)

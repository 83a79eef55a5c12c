"""The statements of pending revisions, read as what they change, and the revisions of which not all is known.

Such a revision may take more than is seen, and may set again what it takes. So what is found in it isn't said. What its
text sets again counts for the others; what it takes doesn't, since nobody knows whether that runs, and when.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from service_migrations.history.sql.offline import Rendered
from service_migrations.plan.database.changes import Changes
from service_migrations.plan.database.names import Names, StatementPlace
from service_migrations.plan.revision_text import revision_text
from service_migrations.plan.statements.nested import Unseen, statements_of_block
from service_migrations.plan.unrendered import unrendered_statements
from service_migrations.sql.dynamic import UNKNOWN
from service_migrations.sql.lexer import Token, statements

__all__ = ["changes_of"]

_OF_OBJECTS = ("alter", "comment", "create", "drop", "grant", "revoke")
"""The commands of a block that take something or set it again."""


def changes_of(revisions: Iterable[Rendered], default: str, root: Path | None = None) -> Changes:
    """Return the changes of rendered revisions.

    Args:
        revisions: in the order in which they run.
        default: the schema of names without one.
        root: the top level, below which the files of the revisions are; None where there are none.

    """
    relations = Names(default)
    changes = Changes(relations, Names(default, made=relations.made))
    for rendered in revisions:
        revision = rendered.revision
        if not rendered.is_whole:
            line = rendered.error_line or rendered.online_part or 0
            changes.unseen[revision.revision] = StatementPlace(revision.revision, revision.path, line, 0)
        for tokens, place in _rendered(rendered):
            _record(changes, tokens, place, changes.record)
        for tokens, place in _written(rendered, root):
            _record(changes, tokens, place, changes.record_text)
    return changes


def _record(
    changes: Changes,
    statement: Sequence[Token],
    place: StatementPlace,
    record: Callable[[Sequence[Token], StatementPlace], None],
) -> None:
    """Record a statement, and those of a block."""
    record(statement, place)
    if statement[:1] and statement[0] == "do":
        _record_block(changes, statement, place, record)


def _record_block(
    changes: Changes,
    block: Sequence[Token],
    place: StatementPlace,
    record: Callable[[Sequence[Token], StatementPlace], None],
) -> None:
    for each in statements_of_block(block):
        if isinstance(each, Unseen):
            changes.unseen.setdefault(place.revision, place)
        elif any(UNKNOWN in token.value for token in each):
            if each[0] in _OF_OBJECTS:
                changes.unseen.setdefault(place.revision, place)
            changes.record_text(each, place)
        elif each:
            record(each, place)


def _rendered(rendered: Rendered) -> Iterator[tuple[Sequence[Token], StatementPlace]]:
    """Yield the statements of the SQL of a revision."""
    offset = 0
    for piece in rendered.pieces:
        if piece.is_transaction:
            continue
        for statement in statements(piece.sql):
            revision = rendered.revision
            place = StatementPlace(revision.revision, revision.path, piece.source, offset + statement.line)
            yield statement.tokens, place
        offset += piece.sql.count("\n") + 2


def _written(rendered: Rendered, root: Path | None) -> Iterator[tuple[Sequence[Token], StatementPlace]]:
    """Yield the statements of the text of a revision that can't be rendered."""
    revision = rendered.revision
    file = root / revision.path if root and revision.path else None
    if rendered.is_whole or file is None or not file.is_file():
        return
    skipped = "upgrade" if rendered.down else "downgrade"
    lines = {piece.source for piece in rendered.pieces}
    tree = revision_text(file).tree
    for tokens, line in unrendered_statements(tree, skipped, lines, rendered.error_line):
        yield tokens, StatementPlace(revision.revision, revision.path, line, 0)

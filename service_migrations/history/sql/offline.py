"""The revisions of a service as SQL, rendered in offline mode, statement by statement.

Alembic's bookkeeping is left out: the version table, and BEGIN and COMMIT, which stay known as transactions.
"""

import ast
import sys
import warnings
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from alembic.util import load_python_file
from sqlalchemy import MetaData

from service_migrations.errors import MigrationError, UsageError, text_of
from service_migrations.failures.driver_errors import unmasked
from service_migrations.failures.revisions import revision_failure
from service_migrations.history.files.parsing import has_state, tree_of
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, config
from service_migrations.history.sql.literals import StatementError
from service_migrations.history.sql.online_parts import online_part, questions_seen
from service_migrations.history.targets import as_usage_error, refuse_ambiguous, resolve_target
from service_migrations.models.attachments import tables_kept
from service_migrations.models.metadata import assemble
from service_migrations.models.service_code import code_of
from service_migrations.monorepo import Service
from service_migrations.revision_call import call_revision
from service_migrations.side_effects import SideEffectError, guards_kept, side_effects_refused

__all__ = ["Piece", "Rendered", "pending", "render"]

_TRANSACTIONS = ("BEGIN;", "COMMIT;")


@dataclass(frozen=True, slots=True)
class Piece:
    """The SQL of one operation of a revision, with the line of the revision file that emitted it."""

    sql: str
    source: int

    @property
    def is_transaction(self) -> bool:
        """Whether the SQL opens or closes a transaction, as an autocommit block does."""
        return self.sql in _TRANSACTIONS


@dataclass(slots=True)
class Rendered:
    """One revision as SQL.

    Attributes:
        revision: the revision.
        pieces: the SQL that it emitted.
        error: why its rendering ended early, such as that it needs a connection.
        error_line: the line of its file that raised the error.
        online_part: the line on which it asks whether it has a connection, where it ended without an error: with one it
            may do more.
        irreversible: why it can't be downgraded, with the line of its file.
        down: whether it is the downgrade that is rendered.

    """

    revision: Revision
    pieces: list[Piece] = field(default_factory=list)
    error: str | None = None
    error_line: int | None = None
    online_part: int | None = None
    irreversible: tuple[str, int | None] | None = None
    down: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether its SQL is all that it does with a connection."""
        return self.error is None and self.online_part is None

    @property
    def function(self) -> str:
        """The name of the function that is rendered."""
        return "downgrade" if self.down else "upgrade"

    @property
    def sql(self) -> str:
        """The SQL, without transactions."""
        return "\n\n".join(piece.sql for piece in self.pieces if not piece.is_transaction)


class _Recorder(StringIO):
    """The stream that Alembic writes its SQL to; it keeps what the current revision's own code emits."""

    def __init__(self) -> None:
        super().__init__()
        self.path: str | None = None
        self.rendered: Rendered | None = None

    def write(self, text: str) -> int:
        """Keep a piece of SQL that a line of the current revision emitted; all other text is Alembic's bookkeeping."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to a caller's line
        while frame is not None and frame.f_code.co_filename != self.path:
            frame = frame.f_back
        if frame is not None and self.rendered is not None and text.strip():
            self.rendered.pieces.append(Piece(text.strip(), frame.f_lineno))
        return len(text)


def pending(history: History, current: tuple[str, ...], revision: str = "head") -> tuple[Revision, ...]:
    """Return the revisions that an upgrade to a target would run, oldest first.

    Raises:
        UsageError: the target doesn't exist, or isn't ahead of the database.

    """
    revision = resolve_target(history, revision)
    if not history.revisions and revision in ("head", "heads"):
        return ()
    by_id = {known.revision: known for known in history.revisions}
    with as_usage_error(history, revision):
        scripts = list(history.directory.iterate_revisions(revision, current or None, implicit_base=True))
    return tuple(by_id[script.revision] for script in reversed(scripts))


def require_functions(history: History, revisions: tuple[Revision, ...], *, down: bool = False) -> None:
    """Refuse to run over a revision that has nothing to run: Alembic's error names no file.

    Raises:
        UsageError: one has no function ``upgrade``, or with *down* no ``downgrade``.

    """
    name = "downgrade" if down else "upgrade"
    for revision in revisions:
        script = history.directory.get_revision(revision.revision)
        if script is not None and not callable(getattr(script.module, name, None)):
            raise UsageError(
                f"it has no function {name}(). Nothing was run.",
                service=history.service,
                path=revision.path,
                hint="Write one; where there is nothing to do, with `pass`.",
            )


def reverted(history: History, current: tuple[str, ...], revision: str) -> tuple[Revision, ...]:
    """Return the revisions that a downgrade to a target would revert, newest first.

    Raises:
        UsageError: the target doesn't exist, or isn't behind the database.

    """
    by_id = {known.revision: known for known in history.revisions}
    refuse_ambiguous(history, revision, current)
    with as_usage_error(history, revision):
        scripts = list(history.directory.iterate_revisions(current, revision, select_for_downgrade=True))
    return tuple(by_id[script.revision] for script in scripts)


def render(
    history: History,
    revisions: tuple[Revision, ...],
    *,
    down: bool = False,
    strict: bool = True,
    metadata: MetaData | None = None,
) -> list[Rendered]:
    """Render revisions, or with *down* their downgrades, in offline mode. The caller holds the process lock.

    A revision that can't be rendered has an ``error``; where it would surely fail with a database too, an error is
    raised, unless *strict* is false. The *metadata* is that of the models, where the caller has it.

    Raises:
        MigrationError: the models can't be imported.

    """
    service = history.service
    recorder = _Recorder()
    results = [Rendered(revision, down=down) for revision in revisions]

    def run(_: Any, context: MigrationContext) -> list[Any]:
        with guards_kept():
            for result in results:
                script = history.directory.get_revision(result.revision.revision)
                if script is not None:
                    with questions_seen(context, script.path, partial(_note, result)):
                        _render(script, result, recorder, service if strict else None)
        return []  # without a step, Alembic logs no upgrade and writes no version table

    if not results:
        return []
    alembic = config(service, {"version_table": service.version_table}, recorder)
    try:
        with code_of(service), EnvironmentContext(alembic, history.directory, fn=run, as_sql=True):
            # before env.py, as with a connection
            alembic.attributes["metadata"] = metadata or assemble(service)
            history.directory.run_env()
    except MigrationError:
        raise
    except (Exception, SystemExit) as error:
        raise revision_failure(error, service, "", partly_committed=None, offline=True) from error
    return results


def _note(rendered: Rendered, line: int) -> None:
    if rendered.online_part is None:
        rendered.online_part = line


def _render(script: Script, rendered: Rendered, recorder: _Recorder, service: Service | None) -> None:
    if rendered.down and not hasattr(script.module, "downgrade"):
        rendered.irreversible = _irreversible(script)
        return
    recorder.path, recorder.rendered = script.path, rendered
    try:
        function = getattr(_module(script), rendered.function)
        with side_effects_refused():
            call_revision(function)
    except (Exception, SystemExit) as error:
        # an author's code may raise anything without a database, but some errors it would raise with one too
        if service and _is_certain(error):
            raise revision_failure(error, service, "", partly_committed=None, offline=True) from error
        first = unmasked(error)
        is_plain = isinstance(first, SideEffectError)
        rendered.error = text_of(first) if is_plain else f"{type(first).__name__}: {text_of(first)}"
        rendered.error_line = _line(first, script.path) or _line(error, script.path)
    finally:
        recorder.path = recorder.rendered = None
    file = Path(script.path)
    if rendered.error is not None:
        rendered.online_part = None
    elif rendered.online_part is None and file.is_file():  # not one of the ledger
        rendered.online_part = online_part(file.read_bytes(), rendered.function)
    if rendered.down:
        _judge_downgrade(script, rendered)
    elif not rendered.is_whole or any(not piece.is_transaction for piece in rendered.pieces):
        rendered.irreversible = _irreversible(script)


def _line(error: BaseException, path: str) -> int | None:
    """Return the innermost line of a file that an error came through."""
    line, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == path:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _module(script: Script) -> ModuleType:
    """Return the module of a revision, imported again: an upgrade needs what this run uses up, such as an iterator.

    It is the one that Alembic has imported where it has nothing of the kind, or where that can't be done twice, as with
    a table of a MetaData elsewhere.
    """
    file = Path(script.path)
    if getattr(script.module, "__file__", None) != script.path:  # it is from the ledger
        return script.module
    try:
        if not has_state(tree_of(file.read_bytes())):
            return script.module
        with warnings.catch_warnings(), tables_kept([str(file.parent)]), side_effects_refused():
            warnings.simplefilter("ignore")  # they were shown by the first import
            return load_python_file(str(file.parent), file.name)
    except Exception:  # noqa: BLE001 - an author's code may raise anything
        return script.module


def _is_certain(error: BaseException) -> bool:
    """Whether a revision would fail with a database too.

    What returns None without one is not to blame, nor what stands for the connection. A variable may have no value only
    because there are no rows, or since another error came before; what is done about that isn't done with a database.
    """
    if isinstance(error, StatementError):
        return True
    if error.__context__ is not None and not error.__suppress_context__ and not _is_certain(error.__context__):
        return False
    if isinstance(error, TypeError):
        return not any(name in text_of(error) for name in ("NoneType", "MockConnection"))
    return isinstance(error, NameError | ImportError) and not isinstance(error, UnboundLocalError)


def _judge_downgrade(script: Script, rendered: Rendered) -> None:
    """Note that a downgrade does nothing although the upgrade does something, or that it always raises an error."""
    if any(not piece.is_transaction for piece in rendered.pieces) or not any(_bodies(script, "upgrade").values()):
        return
    rendered.irreversible = _irreversible(script)
    if rendered.irreversible and rendered.irreversible[1] == rendered.error_line:
        rendered.error = None  # a connection wouldn't help


def _irreversible(script: Script) -> tuple[str, int | None] | None:
    """Return why a revision can't be downgraded, and the line of its file."""
    if not hasattr(script.module, "downgrade"):
        return "It has no downgrade().", None
    for line, body in _bodies(script, "downgrade").items():
        if not body:
            return "Its downgrade() is empty.", line
        if isinstance(body[-1], ast.Raise):
            return "Its downgrade() raises an error.", body[-1].lineno
    return None


def _bodies(script: Script, name: str) -> dict[int, list[ast.stmt]]:
    """Return the statements of a function that do something, by its line; a name may be defined twice."""
    tree = tree_of(Path(script.path).read_bytes())
    return {
        node.lineno: [
            statement for statement in node.body if not isinstance(statement, ast.Pass) and not _is_constant(statement)
        ]
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == name
    }


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

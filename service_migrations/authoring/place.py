"""The place of a new revision: the branch that it continues or begins, and the folder of its file."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from service_migrations.errors import UsageError
from service_migrations.history.revisions import History
from service_migrations.history.targets import as_usage_error

__all__ = ["Place"]

_LABEL = re.compile(r"(?!.*-\d)\w[\w.-]*")
"""A label that a target can have: behind a hyphen, a number is a count of steps."""
_WORDS = ("head", "heads", "base", "current")
"""What Alembic takes for a target of its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a new revision; the names are those of ``alembic revision``.

    Attributes:
        head: what it follows: a branch label, ``label@head``, an id, or ``base`` for a new branch; None for the head.
        splice: whether that may be followed by another revision already, which begins a branch.
        branch_label: the label that it gives to its branch.
        depends_on: ids or branch labels that have to be applied before it.
        version_path: the folder of the file, one of the service's, relative to the top level; None for the one of the
            branch that it continues, or else the first.

    """

    head: str | None = None
    splice: bool = False
    branch_label: str | None = None
    depends_on: tuple[str, ...] = ()
    version_path: str | None = None

    def head_of(self, history: History) -> str:
        """Return what the revision follows, as Alembic takes it.

        Raises:
            UsageError: there is no such revision; the history has branches, and none is named; it has two heads
                that aren't meant; or the label can't name a branch.

        """
        history.accepted_heads()
        self._refuse_label(history)
        if self.head is None:
            if history.has_branches:
                raise UsageError(
                    f"the history has several branches: {', '.join(history.branch_heads)}.",
                    service=history.service,
                    hint=f"Name the one that the revision continues, such as --head {history.branch_heads[0]}.",
                )
            self._refuse_unknown(history, self.depends_on)
            return "head"
        labels = {label for revision in history.revisions for label in revision.branch_labels}
        head = f"{self.head}@head" if self.head in labels else self.head
        self._refuse_unknown(history, (head, *self.depends_on))
        return head

    def _refuse_label(self, history: History) -> None:
        """Refuse a label by which nobody could name the branch: Alembic would take it for something else.

        Raises:
            UsageError: it is a word of Alembic's, or has a character of its syntax of targets.

        """
        label = self.branch_label
        if label is None or (_LABEL.fullmatch(label) and label not in _WORDS):
            return
        raise UsageError(
            f"--branch-label {label!r} can't name a branch in a target.",
            service=history.service,
            hint="Write letters, digits, underscores, dots and hyphens, with no number behind a hyphen, such as "
            f"expand; and none of {', '.join(_WORDS)}.",
        )

    @staticmethod
    def _refuse_unknown(history: History, names: Iterable[str]) -> None:
        """Refuse names of which one is no revision or branch."""
        for name in names:
            with as_usage_error(history, name):
                history.directory.get_revisions(name)

    def folder_of(self, history: History, head: str) -> Path:
        """Return the folder of the new file.

        Raises:
            UsageError: *version_path* is none of the service's.

        """
        service = history.service
        if self.version_path is not None:
            folder = service.root / self.version_path
            if folder not in service.version_locations:
                raise UsageError(
                    f"--version-path {self.version_path!r} is none of the folders of its revisions.",
                    service=service,
                    hint=f"These are {service.shown_locations}.",
                )
            return folder
        if history.has_branches:
            followed = {Path(script.path).parent for script in history.directory.get_revisions(head) if script}
            for location in service.version_locations:
                if location.resolve() in followed:
                    return location
        return service.versions

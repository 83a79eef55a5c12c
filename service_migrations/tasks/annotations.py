"""What GitHub shows beside the file it is about: a line on stdout for each thing that a check found.

Source: GitHub Docs, Workflow commands for GitHub Actions, "Setting an error message".
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from service_migrations.errors import DifferenceError, MigrationError
from service_migrations.monorepo import find
from service_migrations.tasks import console

if TYPE_CHECKING:
    from service_migrations.authoring.check import Check

__all__ = ["annotate"]


def annotate(found: "Iterable[Check]", errors: Iterable[MigrationError]) -> None:
    """Print an annotation for each difference, finding and error, where this runs in a workflow of GitHub's.

    It stands at the file and the line that the error is about; a difference, which has none, at the models.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for one in found:
        service = find(one.service)
        models = service.relative(service.models_file or service.path)
        for line in one.differences:
            _print(DifferenceError(line, service=one.service, path=models))
        for problem in one.problems:
            _print(problem)
    for error in errors:
        _print(error)


def _print(error: MigrationError) -> None:
    place = {"file": error.path, "line": error.line}
    properties = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in place.items() if value)
    text = " ".join(part for part in (f"{error.service}:" if error.service else "", error.message, error.hint) if part)
    console.result(f"::error{f' {properties}' if properties else ''}::{_escaped(text)}")


def _escaped(text: str, also: str = "") -> str:
    return "".join(f"%{ord(one):02X}" if one in f"%\r\n{also}" else one for one in text)

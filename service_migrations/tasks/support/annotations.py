"""Annotations of GitHub: a line on stdout for each problem, which GitHub shows beside its file.

Source: GitHub Docs, Workflow commands for GitHub Actions, "Setting an error message".
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from service_migrations.errors import DifferenceError, MigrationError
from service_migrations.monorepo import find
from service_migrations.tasks.support import console

if TYPE_CHECKING:
    from service_migrations.authoring.check import Check

__all__ = ["annotate"]


def annotate(checks: "Iterable[Check]", errors: Iterable[MigrationError]) -> None:
    """Print an annotation for each difference, problem and error, in a workflow of GitHub only.

    It is at the file and the line of the error; a difference has none, so its annotation is at the models.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for checked in checks:
        service = find(checked.service)
        models = service.relative(service.models_file or service.path)
        for difference in checked.differences:
            _print(DifferenceError(difference, service=checked.service, path=models))
        for problem in (*checked.problems, *checked.uncompared):
            _print(problem)
    for error in errors:
        _print(error)


def _print(error: MigrationError) -> None:
    position = {"file": error.path, "line": error.line}
    properties = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in position.items() if value)
    text = " ".join(part for part in (f"{error.service}:" if error.service else "", error.message, error.hint) if part)
    console.result(f"::error{f' {properties}' if properties else ''}::{_escaped(text)}")


def _escaped(text: str, further_characters: str = "") -> str:
    return "".join(
        f"%{ord(character):02X}" if character in f"%\r\n{further_characters}" else character for character in text
    )

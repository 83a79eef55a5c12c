"""What GitHub shows beside the file it is about: a line on stdout for each thing that a check found.

Source: GitHub Docs, Workflow commands for GitHub Actions, "Setting an error message".
"""

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from service_migrations.errors import MigrationError
from service_migrations.monorepo import find
from service_migrations.tasks import console

if TYPE_CHECKING:
    from service_migrations.authoring.check import Check

__all__ = ["annotate"]

_PLACE = re.compile(r"(?:[\w.-]+(?: can.t be imported)?: )?(?P<file>[\w./-]+\.py)(?::(?P<line>\d+))?\b")
"""Where a message begins with a file, maybe behind the service's name."""


def annotate(found: "Iterable[Check]", errors: Iterable[MigrationError]) -> None:
    """Print an annotation for each difference, finding and error, where this runs in a workflow of GitHub's.

    It stands at the file and the line that the text begins with; a difference, which names none, at the models.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for one in found:
        service = find(one.service)
        models = service.relative(service.models_file or service.path)
        for line in one.differences:
            _print(f"{one.service}: {line}", models)
        for line in one.findings:
            _print(line)
    for error in errors:
        _print(str(error))


def _print(message: str, file: str = "") -> None:
    place = _PLACE.match(message)
    found = {"file": place["file"], "line": place["line"]} if place else {"file": file}
    properties = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in found.items() if value)
    console.result(f"::error{f' {properties}' if properties else ''}::{_escaped(message)}")


def _escaped(text: str, also: str = "") -> str:
    return "".join(f"%{ord(one):02X}" if one in f"%\r\n{also}" else one for one in text)

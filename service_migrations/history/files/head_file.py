"""The file that names the heads of a service's revisions, one a line: more than one where branches are meant.

It makes git report a conflict when two branches both add a revision. Without it, git merges the two revision files, and
the second head is noticed only when somebody upgrades.
"""

from collections.abc import Iterable

from service_migrations.errors import ConfigurationError
from service_migrations.files import read_text, replace
from service_migrations.history import graph
from service_migrations.history.history import History
from service_migrations.monorepo import Service

__all__ = ["problem", "write", "write_heads"]

_MARKERS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


def write(history: History) -> None:
    """Write the heads of a history into its file, or remove the file where there is none.

    Raises:
        UsageError: as of ``History.accepted_heads``.
        ConfigurationError: as of ``write_heads``.

    """
    history.accepted_heads()
    write_heads(history.service, _ordered_heads(history))


def write_heads(service: Service, heads: Iterable[str]) -> None:
    """Write heads into the file of a service, or remove the file where there is none.

    Raises:
        ConfigurationError: the file that is there can't be read.

    """
    text = "".join(f"{head}\n" for head in heads)
    if not text:
        service.head_file.unlink(missing_ok=True)
    elif _text(service) != text:
        replace(service.head_file, text.encode())


def problem(history: History) -> str | None:
    """Return a line that describes what is wrong with a head and ends with the fix; None where it is right."""
    service, clashing = history.service, graph.clashing_heads(history.revisions)
    path = service.relative(service.head_file)
    if clashing:
        return (
            f"{service.shown_locations} has {len(clashing)} heads: {', '.join(clashing)}. "
            f"Run: inv db.rebase --service {service}"
        )
    text, heads = _text(service), _ordered_heads(history)
    expected = ", ".join(heads) or "nothing"
    lines = [line.strip() for line in (text or "").splitlines()]
    if sorted(filter(None, lines)) == sorted(heads):
        return None
    fix = f"Run: inv db.heads --write --service {service}"
    if text is None:
        return f"{path} is missing. {fix}"
    if any(line.startswith(_MARKERS) for line in lines):
        return f"{path} has conflict markers, and the files end at {expected}. {fix}"
    named = " ".join(filter(None, lines))[:40]
    return f"{path} names {named or 'nothing'}, and the files end at {expected}. {fix}"


def _ordered_heads(history: History) -> list[str]:
    """Return the heads in the order of their branch labels, so that each branch keeps its line."""
    labels = graph.own_labels(history.revisions)
    return sorted(history.heads, key=lambda head: (labels[head], head))


def _text(service: Service) -> str | None:
    try:
        return read_text(service.head_file, errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        path = service.relative(service.head_file)
        raise ConfigurationError(f"{path} can't be read: {error.strerror}.", service=service, path=path) from None

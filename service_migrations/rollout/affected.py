"""Which services a change affects: by their histories, settings and models, and by what the models import."""

import os
from collections.abc import Sequence
from pathlib import Path

from service_migrations.errors import UsageError
from service_migrations.git import GitError, git
from service_migrations.monorepo import Service, discover
from service_migrations.rollout.imports import Imports

__all__ = ["affected", "changed"]

_ALL = ("pyproject.toml", "uv.lock", ".env.example")
"""Files that every upgrade runs with."""
_SHARED = ("migrations", "service_migrations")
"""Folders that every upgrade runs with, but for the histories in them."""
_LINK = "120000"
"""The mode of a symbolic link in git's index."""
_LINKS = 4
"""How many links one after the other are followed; they may lead in a circle."""


def affected(services: Sequence[Service], base: str) -> tuple[Service, ...]:
    """Return the services that differ from where this branch left *base*, in their order.

    A service is affected by a change to anything below its own directory, to its history, or to a file of this
    repository that its models import, however indirectly; also where a link leads to it. The migrations library, pins
    and the shared ``.env.example`` affect all, and so does a shared module that is gone: in doubt too many.

    Args:
        services: among which.
        base: a commit, branch or tag; what counts is the merge base of it and HEAD.

    Raises:
        UsageError: git isn't there, this is no checkout, or git doesn't know the base.

    """
    if not services:
        return ()
    root = services[0].root
    paths = changed(root, base)
    known = discover(root)
    if any(_is_of_all(path, root, known) for path in paths):
        return tuple(services)
    paths = _through_links(paths, root)
    imports, names = Imports(root, paths), {path.as_posix() for path in paths}
    found = []
    for service in services:
        folders = (service.path.relative_to(root), service.versions.relative_to(root))
        own = any(path.is_relative_to(folder) for path in paths for folder in folders)
        if own or not names.isdisjoint(imports.of(service)):
            found.append(service)
    return tuple(found)


def changed(root: Path, base: str) -> frozenset[Path]:
    """Return the paths that differ from the merge base, with what isn't committed or not even added.

    A file that was moved counts at both places.

    Raises:
        UsageError: as of ``affected``.

    """
    if not base or base.startswith("-"):
        raise UsageError(f"--base {base!r} is no commit, branch or tag.")
    _git(root, "rev-parse", "--show-toplevel", problem="this is no checkout of git")
    unknown = f"git doesn't know --base {base!r}. Fetch it first"
    _git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}", problem=unknown)
    apart = f"--base {base!r} and HEAD have no commit in common here. Fetch the whole history"
    start = _git(root, "merge-base", base, "HEAD", problem=apart)
    how = ("--name-only", "--no-renames", "--relative", "--ignore-submodules=none", "-z")
    lines = _git(root, "diff", *how, start.strip(), "--")
    lines += _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    return frozenset(Path(line) for line in lines.split("\0") if line)


def _git(root: Path, *words: str, problem: str = "git failed") -> str:
    try:
        return git(root, *words)
    except GitError as error:
        raise UsageError(f"{problem}{f' ({error})' if str(error) else ''}.") from None


def _through_links(paths: frozenset[Path], root: Path) -> frozenset[Path]:
    """Return paths with the others that lead to the same files, by the symbolic links that git knows."""
    links: dict[Path, Path] = {}
    for line in _git(root, "ls-files", "--stage", "-z").split("\0"):
        link = Path(line.partition("\t")[2])
        if line.startswith(_LINK) and (root / link).is_symlink():
            links[link] = Path(os.path.normpath(link.parent / (root / link).readlink()))
    found = set(paths)
    for _ in range(_LINKS):
        found |= {
            link / path.relative_to(target)
            for link, target in links.items()
            for path in found
            if path.is_relative_to(target)
        }
    return frozenset(found)


def _is_of_all(path: Path, root: Path, known: Sequence[Service]) -> bool:
    if path.as_posix() in _ALL or path.name.startswith("requirements"):
        return True
    if any((root / path).is_relative_to(folder) for service in known for folder in (service.path, service.versions)):
        return False
    if path.parts[0] in _SHARED:
        return True
    return path.parts[0] != "services" and path.suffix == ".py" and not (root / path).exists()

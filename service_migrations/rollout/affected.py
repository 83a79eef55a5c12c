"""The services that a change affects, by their histories, settings and models and by what the models import."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from service_migrations.errors import UsageError
from service_migrations.git import (
    TEAM_BRANCHES,
    commit_id,
    merge_base,
    refuse_no_checkout,
    require_git,
    team_branch,
    try_git,
)
from service_migrations.imports import Imports
from service_migrations.monorepo import Service, discover

__all__ = ["affected", "changed", "default_base"]

log = logging.getLogger(__name__)

_ALL = ("pyproject.toml", ".env.example")
"""Files that every upgrade runs with."""
_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml")
"""Files with the versions of packages, of whatever part of the repository."""
_PINS = ("requirements", "constraints")
"""The beginnings of the names of pip's files, or of the folder that they are in."""
_PROJECTS = ("pyproject.toml", "setup.py", "setup.cfg")
"""Files that say what a package is made of."""
_NO_MODULES = frozenset({"docs", "test", "tests"})
"""Folders whose Python no models import, unless by name."""
_SHARED = ("migrations", "service_migrations")
"""Folders that every upgrade runs with, as that of env.py, except for the histories in them."""
_MEASURED = "evidence"
"""The folder beside env.py of the files that db.evidence and db.compat write: nothing is run from them."""
_LINK = "120000"
"""The mode of a symbolic link in git's index."""
_LINKS = 4
"""How many links are followed one after the other; links may form a circle."""


def affected(services: Sequence[Service], base: str) -> tuple[Service, ...]:
    """Return the services that differ from where this branch left *base*, in their order.

    A service is affected by a change to anything below its own directory, to its history, or to a file of this
    repository that its models import, directly or indirectly; also through a link, and also from a package of the
    workspace, whose pyproject.toml counts too. The migrations library, pins and the shared ``.env.example`` affect all
    services, and so does a shared module that was removed. Where what models import shows only when they run, every
    Python file may be imported: in doubt too many.

    Args:
        services: the services to choose from.
        base: a commit, branch or tag; the comparison is with the merge base of it and HEAD.

    Raises:
        UsageError: git isn't installed, the folder is no checkout, or git doesn't know the base.

    """
    if not services:
        return ()
    root = services[0].root
    paths = changed(root, base)
    all_services, environment = discover(root), _environment(root) if paths else root
    for path in sorted(paths):
        if _affects_all(path, root, environment, all_services):
            log.info("all services are affected, by %s", path.as_posix())
            return tuple(services)
    paths = _through_links(paths, root)
    files = map(Path, filter(None, require_git(root, "ls-files", "-z").split("\0")))
    imports, names = Imports(root, paths, files), {path.as_posix() for path in paths}
    projects = [f"{path.parent.as_posix()}/" for path in paths if path.name in _PROJECTS]
    possible = [path for path in paths if _may_be_imported(path, root, all_services)]
    affected_services = []
    for service in services:
        folders = [folder.relative_to(root) for folder in (service.path, *service.version_locations)]
        if any(path.is_relative_to(folder) for path in paths for folder in folders):
            affected_services.append(service)
            continue
        imported = imports.of(service)
        if not names.isdisjoint(imported) or any(name.startswith(tuple(projects)) for name in imported):
            affected_services.append(service)
        elif possible and imports.is_doubtful(imported):
            log.info("%s is affected, in doubt: its models may import %s", service, possible[0].as_posix())
            affected_services.append(service)
    return tuple(affected_services)


def default_base(root: Path) -> str:
    """Return the team's branch, which a branch of one's own is compared with.

    Raises:
        UsageError: there is none, or HEAD is in it already: nothing would seem to be affected. Or as of ``affected``.

    """
    base = team_branch(root)
    if base is None:
        refuse_no_checkout(root)
        problem = f"git knows none of {', '.join(TEAM_BRANCHES)}"
    elif try_git(root, "merge-base", "--is-ancestor", "HEAD", base) is not None:
        problem = f"HEAD is in {base} already"
    else:
        return base
    raise UsageError(
        f"--base is missing, and {problem}.",
        hint="Name what to compare with: HEAD for what isn't committed, HEAD~1 for the last commit.",
    )


def changed(root: Path, base: str) -> frozenset[Path]:
    """Return the paths that differ from the merge base, committed or not.

    A file that was moved has both its paths.

    Raises:
        UsageError: as of ``affected``.

    """
    commit_id(root, base, "--base")  # refuses one that git doesn't know
    parted_at = merge_base(root, base)
    options = ("--name-only", "--no-renames", "--relative", "--ignore-submodules=none", "-z")
    paths = require_git(root, "diff", *options, parted_at, "--")
    paths += require_git(root, "ls-files", "--others", "--exclude-standard", "-z")
    return frozenset(Path(path) for path in paths.split("\0") if path)


def _through_links(paths: frozenset[Path], root: Path) -> frozenset[Path]:
    """Return paths with those that lead to the same files through symbolic links that git knows."""
    links: dict[Path, Path] = {}
    for line in require_git(root, "ls-files", "--stage", "-z").split("\0"):
        link = Path(line.partition("\t")[2])
        if line.startswith(_LINK) and (root / link).is_symlink():
            links[link] = Path(os.path.normpath(link.parent / (root / link).readlink()))
    all_paths = set(paths)
    for _ in range(_LINKS):
        all_paths |= {
            link / path.relative_to(target)
            for link, target in links.items()
            for path in all_paths
            if path.is_relative_to(target)
        }
    return frozenset(all_paths)


def _environment(root: Path) -> Path:
    """Return the folder of env.py."""
    from service_migrations.history.revisions import script_location  # noqa: PLC0415 - it imports Alembic

    return Path(os.path.normpath(script_location(root)))


def _affects_all(path: Path, root: Path, environment: Path, all_services: Sequence[Service]) -> bool:
    if path.as_posix() in _ALL or path.name in _LOCKS or _has_pins(path):
        return True
    place = root / path
    if place.is_relative_to(environment / _MEASURED) or _is_of_a_service(path, root, all_services):
        return False
    is_beside = place.parent == environment or (environment != root and place.is_relative_to(environment))
    if is_beside or path.parts[0] in _SHARED:
        return True
    return path.parts[0] != "services" and path.suffix == ".py" and not (root / path).exists()


def _has_pins(path: Path) -> bool:
    """Whether a file has the versions of packages for pip, as ``requirements-dev.txt`` or ``requirements/base.in``."""
    is_text = path.suffix in (".txt", ".in", ".pip")
    return path.name.startswith(_PINS[:1]) or (is_text and any(part.startswith(_PINS) for part in path.parts[-2:]))


def _is_of_a_service(path: Path, root: Path, all_services: Sequence[Service]) -> bool:
    folders = (folder for service in all_services for folder in (service.path, *service.version_locations))
    return any((root / path).is_relative_to(folder) for folder in folders)


def _may_be_imported(path: Path, root: Path, all_services: Sequence[Service]) -> bool:
    """Whether models may import a file that isn't of a service."""
    is_module = path.suffix == ".py" and _NO_MODULES.isdisjoint(path.parts[:-1])
    return is_module and not _is_of_a_service(path, root, all_services)

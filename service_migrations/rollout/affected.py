"""The services that a change affects, by their histories, settings and models and by what the models import."""

import os
from collections.abc import Sequence
from pathlib import Path

from service_migrations.errors import UsageError
from service_migrations.git import TEAM_BRANCHES, GitError, git, is_commit, try_git
from service_migrations.monorepo import Service, discover
from service_migrations.rollout.imports import Imports

__all__ = ["affected", "changed", "default_base"]

_ALL = ("pyproject.toml", "uv.lock", ".env.example")
"""Files that every upgrade runs with."""
_SHARED = ("migrations", "service_migrations")
"""Folders that every upgrade runs with, except for the histories in them."""
_LINK = "120000"
"""The mode of a symbolic link in git's index."""
_LINKS = 4
"""How many links are followed one after the other; links may form a circle."""


def affected(services: Sequence[Service], base: str) -> tuple[Service, ...]:
    """Return the services that differ from where this branch left *base*, in their order.

    A service is affected by a change to anything below its own directory, to its history, or to a file of this
    repository that its models import, directly or indirectly; also through a link. The migrations library, pins and the
    shared ``.env.example`` affect all services, and so does a shared module that was removed: in doubt too many.

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
    all_services = discover(root)
    if any(_affects_all(path, root, all_services) for path in paths):
        return tuple(services)
    paths = _through_links(paths, root)
    imports, names = Imports(root, paths), {path.as_posix() for path in paths}
    affected_services = []
    for service in services:
        folders = (service.path.relative_to(root), service.versions.relative_to(root))
        has_own_change = any(path.is_relative_to(folder) for path in paths for folder in folders)
        if has_own_change or not names.isdisjoint(imports.of(service)):
            affected_services.append(service)
    return tuple(affected_services)


def default_base(root: Path) -> str:
    """Return the team's branch, which a branch of one's own is compared with.

    Raises:
        UsageError: there is none, or HEAD is in it already: nothing would seem to be affected.

    """
    base = next((name for name in TEAM_BRANCHES if is_commit(root, name)), None)
    if base is None:
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
    if not base or base.startswith("-"):
        raise UsageError(f"--base {base!r} is no commit, branch or tag.")
    _git(root, "rev-parse", "--show-toplevel", problem="this is no checkout of git")
    unknown = f"git doesn't know --base {base!r}. Fetch it first"
    _git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}", problem=unknown)
    unrelated = f"--base {base!r} and HEAD have no commit in common here. Fetch the whole history"
    merge_base = _git(root, "merge-base", base, "HEAD", problem=unrelated)
    options = ("--name-only", "--no-renames", "--relative", "--ignore-submodules=none", "-z")
    paths = _git(root, "diff", *options, merge_base.strip(), "--")
    paths += _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    return frozenset(Path(path) for path in paths.split("\0") if path)


def _git(root: Path, *words: str, problem: str = "git failed") -> str:
    try:
        return git(root, *words)
    except GitError as error:
        raise UsageError(f"{problem}{f' ({error})' if str(error) else ''}.") from None


def _through_links(paths: frozenset[Path], root: Path) -> frozenset[Path]:
    """Return paths with those that lead to the same files through symbolic links that git knows."""
    links: dict[Path, Path] = {}
    for line in _git(root, "ls-files", "--stage", "-z").split("\0"):
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


def _affects_all(path: Path, root: Path, all_services: Sequence[Service]) -> bool:
    if path.as_posix() in _ALL or path.name.startswith("requirements"):
        return True
    if any(
        (root / path).is_relative_to(folder) for service in all_services for folder in (service.path, service.versions)
    ):
        return False
    if path.parts[0] in _SHARED:
        return True
    return path.parts[0] != "services" and path.suffix == ".py" and not (root / path).exists()

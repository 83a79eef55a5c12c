"""The packages of the running code, where its uv.lock has others than today's: an environment in its checkout."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from service_migrations.compat.checkout import Checkout, other_packages
from service_migrations.monorepo import Service

__all__ = ["Environments"]

_LOCK = "uv.lock"
_SYNC = ("sync", "--frozen", "--all-packages", "--quiet")


class Environments:
    """The interpreters of a checkout's services; the environments are removed with the checkout."""

    def __init__(self, root: Path, code: Checkout, note: Callable[[str], None]) -> None:
        """Make no environment yet.

        Args:
            root: the top level of the monorepo.
            code: the running code's checkout.
            note: called with a line for a person.

        """
        self._root, self._note = root, note
        self._commit, self._code = code
        self._pythons: dict[str, str] = {}
        self._noted: set[str] = set()

    def python(self, service: Service) -> str:
        """Return the interpreter for a service's models; empty for this one.

        Where another file names the packages, or uv is missing or fails, it is this one too, and a line says so.
        """
        files = other_packages(self._root, self._code, service.path.relative_to(service.root))
        lock = next((name for name in files if Path(name).name == _LOCK and (self._code / name).is_file()), None)
        if lock is None:
            return self._this(files, "") if files else ""
        if lock not in self._pythons:
            self._pythons[lock] = self._synced(lock)
        return self._pythons[lock]

    def _synced(self, lock: str) -> str:
        folder = (self._code / lock).parent
        uv = shutil.which("uv")
        if uv is None:
            return self._this([lock], "uv isn't installed")
        self._note(f"Installing the packages of {lock} at {self._commit[:12]}")
        environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
        environment["UV_PROJECT_ENVIRONMENT"] = ".venv"
        command = [uv, *_SYNC, "--project", str(folder)]
        ran = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        python = folder / ".venv" / "bin" / "python"
        if ran.returncode or not python.exists():
            lines = [line.strip() for line in ran.stderr.splitlines() if line.strip()]
            return self._this([lock], f"uv sync failed: {' '.join(lines)[:300] or ran.returncode}")
        return str(python)

    def _this(self, files: list[str], why: str) -> str:
        verb = "differs" if len(files) == 1 else "differ"
        reason = f" ({why})" if why else ""
        line = (
            f"{', '.join(files)} of {self._commit[:12]} {verb} from today's; its models are imported with today's "
            f"packages{reason}. Name an interpreter that has its own with --python."
        )
        if line not in self._noted:
            self._noted.add(line)
            self._note(line)
        return ""

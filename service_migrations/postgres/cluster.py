"""A database cluster on disk, which can be created, started, stopped and removed."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from service_migrations.errors import ConfigurationError, UnreachableError
from service_migrations.files import FULL, append, replace as replace_file, writing
from service_migrations.postgres.account import give, identity, make_folder
from service_migrations.postgres.binaries import Binaries, provide
from service_migrations.postgres.ports import port_is_free
from service_migrations.postgres.postmaster import (
    START_TIMEOUT,
    last_line,
    postmaster_is_ready,
    postmaster_state,
    wait_until_ready,
)

__all__ = ["SUPERUSER", "Cluster"]

SUPERUSER = "postgres"

_REASON = re.compile(r"\b(?:could not|FATAL|error):?\s")
_PORTS = range(1, 65536)
_THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "4GB"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster in ``home``: its data, its log, and its ``cluster.json``."""

    home: Path
    version: str
    port: int
    password: str

    def __repr__(self) -> str:
        return f"Cluster({self.version}, port={self.port})"

    @property
    def data(self) -> Path:
        """The data folder, PGDATA."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.home / "log"

    @classmethod
    def read(cls, home: Path) -> "Cluster | None":
        """Return the cluster in a folder; None where the folder has no ``cluster.json``."""
        state = home / "cluster.json"
        if not state.is_file():
            return None
        try:
            values = json.loads(state.read_text(encoding="utf-8"))
            return cls(home, *_checked(values["version"], values["port"], values["password"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{state} is damaged ({error!r}). {_lost_state_hint(home)}") from error

    @classmethod
    def create(cls, home: Path, binaries: Binaries, port: int, *, throwaway: bool = False) -> "Cluster":
        """Create a cluster that listens on loopback only, with a random superuser password.

        It is created in a folder beside ``home`` and renamed, so that ``home`` is never incomplete, however this
        process ends. Files that are in ``home`` already are never changed: without a state their owner is unknown.

        Raises:
            ConfigurationError: ``home`` isn't empty.
            UnreachableError: initdb failed; nothing is left behind.

        """
        if home.exists() and any(home.iterdir()):
            raise ConfigurationError(f"{home} is not empty, and has no cluster.json. {_lost_state_hint(home)}")
        make_folder(home.parent)
        scratch = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=home.parent))
        cluster = cls(scratch, binaries.version, port, secrets.token_urlsafe(24))
        try:
            give(scratch)
            cluster._initdb(binaries, throwaway=throwaway)
            state = scratch / "cluster.json"
            state.touch(mode=0o600)
            values = {key: value for key, value in asdict(cluster).items() if key != "home"}
            replace_file(state, json.dumps(values).encode())
            scratch.rename(home)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return replace(cluster, home=home)

    def _initdb(self, binaries: Binaries, *, throwaway: bool) -> None:
        password_file = self.home / "password"
        password_file.touch(mode=0o600)
        with writing(password_file):
            password_file.write_text(self.password, encoding="utf-8")
        give(password_file)
        command = [str(binaries.bin / "initdb"), "-D", str(self.data), "-U", SUPERUSER, f"--pwfile={password_file}"]
        command += [
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            *(["--no-sync"] if throwaway else []),
        ]
        completed = self._run(command)
        password_file.unlink()
        if completed.returncode:
            lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
            # the last line says what initdb removes, and the first of these why
            reason = next((line for line in lines if _REASON.search(line)), "".join(lines[-1:]))
            text = f"initdb of PostgreSQL {self.version} failed: {reason}"
            if any(os.strerror(number) in reason for number in FULL):
                raise ConfigurationError(f"{self.home.parent} has no room for a server: {text}")
            raise UnreachableError(text)
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "port": str(self.port),
            "unix_socket_directories": "''",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            **(_THROWAWAY if throwaway else {}),
        }
        conf = "".join(f"{key} = {value}\n" for key, value in settings.items())
        append(self.data / "postgresql.conf", conf.encode())

    def start(self) -> None:
        """Start the server and wait until it accepts connections; do nothing where it runs.

        Raises:
            UnreachableError: the server didn't start; the message has the last line of its log.

        """
        state = postmaster_state(self.data)
        if state == "ready":
            return
        if state == "stopping":  # it may wait for its clients for ever, as when the machine has sent it SIGTERM
            self.stop()
        elif state:  # another command was stopped while it started
            wait_until_ready(self.data, lambda: bool(postmaster_state(self.data)), self.log)
            return
        if not port_is_free(self.port):
            raise UnreachableError(
                f"Port {self.port} of this machine is taken by another program, so PostgreSQL "
                f"{self.version} can't start.",
                hint="Stop that program, or let `inv up --port <another>` choose another port.",
            )
        # pg_ctl puts both into a command of a shell, which would read these characters; it runs in home
        home = Path() if set('"$`\\') & set(str(self.home)) else self.home
        options = ("-w", "-t", str(int(START_TIMEOUT)), "-l", str(home / self.log.name))
        self._ctl("start", *options, data=home / self.data.name)

    def moved(self, port: int) -> "Cluster":
        """Return the cluster with another port, which its files name from now on. It must not run."""
        state = self.home / "cluster.json"
        values = json.loads(state.read_text(encoding="utf-8"))
        append(self.data / "postgresql.conf", f"port = {port}\n".encode())  # the last line of a key counts
        replace_file(state, json.dumps({**values, "port": port}).encode())
        return replace(self, port=port)

    def stop(self) -> bool:
        """Stop the server without waiting for its clients, also one that starts or stops; return whether it ran."""
        if not postmaster_state(self.data):
            return False
        self._ctl("stop", "-w", "-m", "fast")
        return True

    def is_running(self) -> bool:
        """Whether the server runs and accepts connections."""
        return postmaster_is_ready(self.data)

    def remove(self) -> None:
        """Stop the server and remove its data.

        The folder is renamed first: of one that is half removed, nobody would know whether its data is needed.
        """
        self.stop()
        removed = self.home.with_name(f"{self.home.name}.removed")
        if removed.exists():  # its removal was interrupted
            shutil.rmtree(removed)
        self.home.rename(removed)
        shutil.rmtree(removed)

    def _ctl(self, action: str, *options: str, data: Path | None = None) -> None:
        binaries = provide(self.version)
        completed = self._run([str(binaries.bin / "pg_ctl"), action, "-D", str(data or self.data), *options])
        if completed.returncode:
            raise UnreachableError(
                f"PostgreSQL {self.version} did not {action}: {last_line(self.log)} (see {self.log})"
            )

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        # The output goes to a file: a pipe would be inherited by the server, and reading it would never end.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                command,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for the task only
                **identity(),
            )
            try:
                process.wait()
            except BaseException:
                # this includes the servers that initdb starts; the one that pg_ctl starts is in another session
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
            output.seek(0)
            return subprocess.CompletedProcess(command, process.returncode, output.read(), "")


def _checked(version: object, port: object, password: object) -> tuple[str, int, str]:
    """Return the values of a ``cluster.json``, which somebody may have edited."""
    if not isinstance(version, str) or not isinstance(port, int) or not isinstance(password, str):
        raise TypeError(f"a value of another type: {version!r}, {port!r}")
    if port not in _PORTS:
        raise ValueError(f"no port: {port}")
    return version, port, password


def _lost_state_hint(home: Path) -> str:
    """Return the hint for a folder without its state, whose data may be somebody's only copy."""
    return (
        "That file has the version, port and password of the server: restore it. Or move the folder "
        f"{home} away; then `inv up` makes a new, empty cluster."
    )


def clean_environment() -> dict[str, str]:
    """Return the environment for PostgreSQL's programs, without the user's PG* variables."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    return environment | {"LC_ALL": "C"}

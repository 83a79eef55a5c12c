"""How long `inv db.released` takes over many histories: `python -m benchmarks.released --services 300 --revisions 50`.

Nothing has changed at first; then every service has a new revision; then every released file was reformatted.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["main"]

_ROOT = Path(__file__).resolve().parent.parent
_REVISION = '''"""Revision {number}.

Revises: {down}
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "{revision}"
down_revision: str | None = {down!r}
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "things_{number}",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_things_{number}")),
    )
    op.create_index(op.f("ix_things_{number}_name"), "things_{number}", ["name"])


def downgrade() -> None:
    op.drop_index(op.f("ix_things_{number}_name"), table_name="things_{number}")
    op.drop_table("things_{number}")
'''


def main() -> None:
    """Make a repository in a temporary folder, measure, and print the medians in seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=300)
    parser.add_argument("--revisions", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("tasks.py", "pyproject.toml", ".env.example"):
            shutil.copy(_ROOT / name, root)
        names = [f"service_{number:03}" for number in range(options.services)]
        for name in names:
            (root / "services" / name).mkdir(parents=True)
            (root / "services" / name / "models.py").touch()
            for number in range(options.revisions):
                _write(root, name, number)
        git = ["git", "-C", folder, "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
        for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=v1"], ["tag", "v1"]):
            subprocess.run([*git, *words], check=True)
        _measure(root, "nothing has changed", options.rounds)
        for name in names:
            _write(root, name, options.revisions)
        _measure(root, "a new revision in each", options.rounds)
        for path in root.glob("migrations/versions/*/*.py"):
            path.write_text(path.read_text(encoding="utf-8").replace('"', "'"), encoding="utf-8")
        _measure(root, "every file reformatted", 1)


def _write(root: Path, name: str, number: int) -> None:
    path = root / "migrations" / "versions" / name / f"{number:04}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    down = f"{number - 1:04}{name}" if number else None
    path.write_text(_REVISION.format(number=number, revision=f"{number:04}{name}", down=down), encoding="utf-8")


def _measure(root: Path, title: str, rounds: int) -> None:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "invoke", "db.released", "--since", "v1"], cwd=root, check=True, capture_output=True
        )
        times.append(time.perf_counter() - started)
    print(f"{title}: {statistics.median(times):.2f} s")


if __name__ == "__main__":
    main()

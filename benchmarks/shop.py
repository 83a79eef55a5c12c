"""A copy of this repository without settings, in which a picture is taken."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

__all__ = ["ROOT", "shop"]


@contextmanager
def shop() -> Iterator[Path]:
    """Yield the folder of a copy, named ``shop``, and remove it at the end."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "shop"
        ignore = shutil.ignore_patterns(".*", "__pycache__", "tests", "benchmarks", "docs")
        shutil.copytree(ROOT, folder, ignore=ignore)
        shutil.copy(ROOT / ".env.example", folder)
        for example in (ROOT / "services").glob("*/.env.example"):
            shutil.copy(example, folder / example.relative_to(ROOT))
        yield folder

"""Draw docs/report.png: the page of db.report about a copy of this repository, from a real run, in a real Chromium.

``uv run python -m benchmarks.report_picture`` makes it anew, in some minutes: it measures each revision on two versions
of PostgreSQL. What was run within seconds is moved to the days of the revisions' files in the ledgers of the copy,
so that its time line has something to show; one table is changed by hand, and one revision reverted.
"""

import asyncio
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
from playwright.sync_api import sync_playwright

from benchmarks.shop import ROOT, shop
from tests.support.browser import ARGUMENTS, chromium

WIDTH, HEIGHT, SCALE = 1440, 900, 0.66
FILE = re.compile(r"(\d{8}_\d{4})_(\w{12})_")
SERVICES = ("billing", "catalog", "identity", "inventory")


def inv(folder: Path, *words: str, accepted: tuple[int, ...] = (0,)) -> None:
    """Run a task in the copy."""
    program = str(Path(sys.executable).parent / "inv")
    code = subprocess.run([program, *words], cwd=folder, check=False).returncode
    if code not in accepted:
        raise SystemExit(f"inv {' '.join(words)} ended with {code}")


def dsn(folder: Path, service: str) -> str:
    """Return the DSN in a service's .env."""
    text = (folder / "services" / service / ".env").read_text(encoding="utf-8")
    match = re.search(r"^DATABASE_DSN=(\S+)$", text, re.MULTILINE)
    assert match, text
    return match[1].replace("postgresql+asyncpg", "postgresql")


async def spread(folder: Path) -> None:
    """Move what was run to a day after that of each revision's file, and change a table by hand."""
    for number, service in enumerate(SERVICES):
        connection = await asyncpg.connect(dsn(folder, service))
        for path in (folder / "migrations" / "versions" / service).glob("*.py"):
            if match := FILE.match(path.name):
                moment = datetime.strptime(match[1], "%Y%m%d_%H%M").replace(tzinfo=UTC) + timedelta(days=1 + number)
                query = f"UPDATE migration_log_{service} SET started = $1 WHERE revision = $2"
                await connection.execute(query, moment, match[2])
        if service == "identity":
            await connection.execute("ALTER TABLE users ADD COLUMN nickname text")
        await connection.close()


def shoot(page: Path, target: Path) -> None:
    """Write the picture: the page with one database open."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        view = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE, color_scheme="light"
        )
        view.goto(page.as_uri())
        view.evaluate("for (const each of document.querySelectorAll('details.database')) "
                      "each.open = each.dataset.services.includes('catalog')")  # fmt: skip
        # a picture that is taken in parts has lines where they meet
        view.set_viewport_size({"width": WIDTH, "height": view.evaluate("document.documentElement.scrollHeight")})
        view.screenshot(path=str(target))
        browser.close()


def main() -> None:
    """Make the picture."""
    with shop() as folder:
        try:
            inv(folder, "up")
            inv(folder, "db.evidence", "--write", "--postgres", "14,18")
            asyncio.run(spread(folder))
            inv(folder, "db.downgrade", "--service", "billing", "--revision", "-1", "--yes")
            inv(folder, "db.report", "--html", "report.html", "--drift")
            shoot(folder / "report.html", ROOT / "docs" / "report.png")
        finally:
            inv(folder, "down", "--purge", "--yes")


if __name__ == "__main__":
    main()

"""A real Chromium: Debian's package, without a window."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.network import program

__all__ = ["ARGUMENTS", "Opened", "browser", "chromium", "opened"]

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def chromium() -> str:
    """Return the path of Chromium, or of Chrome; skip the test where neither is installed, and fail it in CI."""
    return shutil.which("chromium") or shutil.which("google-chrome") or program("chromium")


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium, and end it."""
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield started
        finally:
            started.close()


@dataclass
class Opened:
    """A page that is open, with what it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def opened(started: Browser, path: Path, width: int = 1440, height: int = 900, **options: Any) -> Iterator[Opened]:
    """Open a file in a context of its own, by ``file://``."""
    context = started.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    shown = Opened(page)
    page.on("request", lambda request: shown.requests.append(request.url))
    page.on("console", lambda message: shown.complaints.append(message.text))
    page.on("pageerror", lambda error: shown.complaints.append(str(error)))
    try:
        page.goto(path.as_uri())
        yield shown
    finally:
        context.close()

"""Measure how long the page of db.report about many services takes to write, and to open in a real Chromium.

``uv run python -m benchmarks.report --services 300 --revisions 200``
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from service_migrations.report.page import page
from tests.support.browser import browser
from tests.support.reports import fleet

_READY = """() => { const [entry] = performance.getEntriesByType("navigation"); return entry.loadEventEnd; }"""


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=300)
    parser.add_argument("--revisions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = fleet(options.services, options.revisions)
    start = time.perf_counter()
    text = page(report)
    written = time.perf_counter() - start
    print(f"{options.services} services of {options.revisions} revisions: {len(text.encode()) / 1e6:.1f} MB")
    print(f"written in {written:.2f} s")
    with tempfile.TemporaryDirectory() as folder, browser() as started:
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        loads: list[float] = []
        paints: list[float] = []
        clicks: list[float] = []
        for _ in range(options.rounds):
            shown = started.new_page()
            start = time.perf_counter()
            shown.goto(path.as_uri())
            # two frames later, what was laid out is on the screen
            shown.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            paints.append(time.perf_counter() - start)
            loads.append(shown.evaluate(_READY) / 1000)
            start = time.perf_counter()
            shown.locator("button.name").first.click()
            shown.locator("tr.detail table.history").wait_for()
            clicks.append(time.perf_counter() - start)
            shown.close()
    for label, seconds in (("loaded", loads), ("painted", paints), ("a service opened", clicks)):
        print(f"{label} after {statistics.median(seconds):.2f} s (at most {max(seconds):.2f} s)")


if __name__ == "__main__":
    main()

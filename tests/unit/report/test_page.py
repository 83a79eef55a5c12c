"""The text of the page: its colours, and what it says where a picture can't be drawn."""

import html
import re
import sys
from itertools import product

import pytest

from service_migrations.report import page as module
from service_migrations.report.layout import EXTRA
from service_migrations.report.model import Attribute, Entity, ReportedDatabase
from service_migrations.report.page import page
from tests.support.reports import report_of, reported, revision

STYLE = (module._FOLDER / "page.css").read_text(encoding="utf-8")
ENOUGH = 4.5
"""The least contrast of a text (WCAG 2.2, 1.4.3)."""
BEHIND = [
    *product(("text", "quiet", "accent"), ("page", "card")),
    *product(("text", "quiet"), ("shade",)),
    *((f"{name}-text", name) for name in ("good", "warn", "bad", *(f"owner-{number}" for number in range(8)))),
    *(("level-text", f"level-{number}") for number in range(4)),
    ("failed-text", "level-4"),
]
"""Each colour of a text, with one that may be behind it."""


def colours(scheme: str) -> dict[str, str]:
    light, _, dark = STYLE.partition("@media (prefers-color-scheme: dark)")
    matches = dict(re.findall(r"--([\w-]+): (#\w{6});", light))
    return matches if scheme == "light" else matches | dict(re.findall(r"--([\w-]+): (#\w{6});", dark))


def luminance(colour: str) -> float:
    parts = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "behind"), BEHIND)
def test_every_text_can_be_read_in_the_light_and_in_the_dark(scheme: str, text: str, behind: str) -> None:
    known = colours(scheme)
    one, other = sorted((luminance(known[text]), luminance(known[behind])))
    assert (other + 0.05) / (one + 0.05) >= ENOUGH


def test_the_dark_has_colours_of_its_own() -> None:
    light, dark = colours("light"), colours("dark")
    assert [name for name in light if light[name] == dark[name]] == []


def test_without_igraph_the_page_has_tables_and_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    branches = (revision("root"), revision("a", "root"), revision("b", "root"), revision("m", "a", "b", head=True))
    table = Entity("pets", "billing", (Attribute("age", "integer"),))
    database = ReportedDatabase("shop", "app@db/shop", ("billing",), (table,))
    report = report_of(reported("billing", revisions=branches), databases=(database,))
    drawn = page(report)
    assert (EXTRA in drawn, '<svg class="diagram"' in drawn, '"lanes":[' in drawn) == (False, True, True)
    monkeypatch.setitem(sys.modules, "igraph", None)
    text = page(report)
    assert (EXTRA in text, '<svg class="diagram"' in text, '"lanes":null' in text) == (True, False, True)
    assert '<details class="text" open>' in text
    assert "age integer" in text


def test_nothing_of_the_page_leads_elsewhere() -> None:
    text = html.unescape(page(report_of(reported())))
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", text)
    assert not re.findall(r"url\((?!#)", text)
    assert "default-src 'none'" in text
    assert "unsafe" not in text

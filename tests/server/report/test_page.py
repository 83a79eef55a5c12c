"""The page in a real Chromium: what it shows, by mouse and keyboard, and that it asks for nothing."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from service_migrations.errors import UnreachableError
from service_migrations.evidence.files import Committed
from service_migrations.postgres import Server
from service_migrations.report.model import Attribute, Entity, Reference, ReportedDatabase
from service_migrations.report.page import page
from service_migrations.rollout.status import Status
from service_migrations.settings.dsn import Dsn
from tests.support.browser import browser, opened
from tests.support.database import query
from tests.support.monorepo import ROOT, Monorepo, dsn_text
from tests.support.reports import entry, figures, report_of, reported, revision

SERVICES = ("billing", "catalog", "identity", "inventory")
BILLING = ("c4d09b7e52f1", "51359bf4c5ab")
"""The two newest revisions of the example's service."""
HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'>\"'&\u2028`${1}"
NONE = "\u2013"
SIZES = [(360, "light"), (360, "dark"), (1440, "light"), (1440, "dark")]

CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = rgb(getComputedStyle(each).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const box = element.getBoundingClientRect();
    if (!text || !box.width || element.closest("svg, .out, script, style, option")) continue;
    const [one, other] = [luminance(rgb(getComputedStyle(element).color)), luminance(behind(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found.push([element.outerHTML.slice(0, 90), contrast]);
  }
  return found;
}"""
"""The texts that have too little contrast with what is behind them (WCAG 2.2, 1.4.3)."""

ACCESSIBILITY = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const named = (element) => element.getAttribute("aria-label") || element.labels?.length || element.textContent.trim()
    || (element.getAttribute("aria-labelledby") || "").split(" ").every((id) => document.getElementById(id));
  const ids = all("[id]").map((element) => element.id);
  return {
    tables: all("table").filter((table) => !table.caption || !table.caption.textContent.trim()).length,
    heads: all("th").filter((cell) => !["col", "row"].includes(cell.getAttribute("scope"))).length,
    controls: all("input, select, button, a, summary").filter((element) => !named(element)).length,
    regions: all("[role=region], [role=img], section, nav, form").filter((element) => !named(element)).length,
    images: all("svg:not([aria-hidden])").filter((element) => element.getAttribute("role") !== "img").length,
    ids: ids.length - new Set(ids).size,
    references: all("[aria-labelledby], [aria-controls]").flatMap((element) =>
      (element.getAttribute("aria-labelledby") || element.getAttribute("aria-controls")).split(" "))
      .filter((id) => !document.getElementById(id)).length,
    landmarks: ["header", "main", "nav", "footer"].filter((name) => all(name).length !== 1).length,
    headings: document.querySelectorAll("h1").length - 1,
  };
}"""
"""How many elements lack what a screen reader needs."""


@pytest.fixture
def chrome() -> Iterator[Browser]:
    """Start a browser, whose event loop runs until the end of the test: no database can be asked meanwhile."""
    with browser() as started:
        yield started


@pytest.fixture
def example(monorepo: Monorepo, database: Callable[..., Dsn], server: Server) -> Monorepo:
    """The example's services and histories with databases of their own: one behind, one changed by hand."""
    shutil.rmtree(monorepo.root / "services")
    shutil.copytree(
        ROOT / "services", monorepo.root / "services", ignore=shutil.ignore_patterns(".env*", "__pycache__")
    )
    shutil.copytree(ROOT / "migrations" / "versions", monorepo.root / "migrations" / "versions")
    made = {name: database() for name in SERVICES}
    made["inventory"] = made["catalog"]
    for name, dsn in made.items():
        monorepo.env(name, DATABASE_DSN=dsn_text(dsn), DATABASE_ADMIN_DSN=dsn_text(server.admin))
    ran = monorepo.inv("db.upgrade")
    assert ran.code == 0, ran.text
    ran = monorepo.inv("db.downgrade", "--service", "billing", "--revision", "-1", "--yes")
    assert ran.code == 0, ran.text
    query(made["identity"], "ALTER TABLE users ADD COLUMN nickname text")
    return monorepo


def write(folder: Path, text: str) -> Path:
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


def cells(shown: Page, service: str) -> list[str]:
    return shown.locator(f"#service-{service} > *").all_inner_texts()


def visible(shown: Page) -> list[str]:
    return shown.locator("tr.service:visible button.name").all_inner_texts()


def many() -> str:
    """Return a page with one of everything."""
    branches = (
        *(revision("root"), revision("a", "root", branch_labels=("expand",)), revision("b", "root", depends_on=("a",))),
        revision("m", "a", "b", head=True),
    )
    measured = {"14": {"upgrade": figures(2.0), "downgrade": figures()}, "18": {"upgrade": figures(0.05, "broken")}}
    evidence = {
        "r000": Committed("", 10, measured, is_current=False),
        "r001": Committed("", 9, measured, is_current=True),
    }
    down = Status("down", None, (), None, None, "error", UnreachableError("nobody answers"))
    entities = tuple(
        Entity(f"{owner}_{number}", owner, (Attribute("id", "uuid", ("PK",), True), Attribute("up", "int", ("FK",))))
        for owner in ("billing", "orders", "") for number in range(2)
    )  # fmt: skip
    keys = (Reference("billing_1", ("up",), "billing_0", ("id",)), Reference("orders_0", ("up",), "orders_0", ("id",)))
    return page(
        report_of(
            reported("billing", 120, 2, evidence=evidence),
            reported("down", 0, 0, status=down, pending=None, runs=()),
            reported("orders", revisions=branches, behind=1, runs=(entry("a", direction="downgrade"),)),
            databases=(ReportedDatabase("shop", "app@localhost/shop", ("billing", "orders"), entities, keys),),
        )
    )


def test_the_example_is_shown_with_its_databases_and_ledgers(example: Monorepo) -> None:
    ran = example.inv("db.report", "--html", "report.html", "--drift")
    assert (ran.code, ran.out) == (0, ""), ran.text
    path = example.root / "report.html"
    with browser() as chrome, opened(chrome, path) as shown:
        assert shown.requests == [path.as_uri()]
        service, target, state, at, head, pending, drift, last, by = cells(shown.page, "billing")
        assert (service, state, at, head, pending, drift) == ("billing", "behind", BILLING[1], BILLING[0], "1", "none")
        assert "@" in target
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", last)
        assert "@" in by
        assert cells(shown.page, "identity")[6] == "1 difference"
        assert shown.page.locator("details.database").count() == 3
        shared = shown.page.locator('details.database[data-services="catalog inventory"]')
        assert shared.locator("svg .title").all_text_contents() == [
            *("categories", "outbox", "product_categories", "products"),
            *("reservations", "stock_levels", "stock_movements", "warehouses"),
        ]
        assert shared.locator("figcaption li").all_inner_texts() == ["catalog", "inventory"]
        assert shared.locator("svg path.key").count() == 6
        shown.page.get_by_role("button", name="billing", exact=True).click()
        history = shown.page.locator("#service-billing + tr table.history tbody tr")
        assert history.count() == 9
        assert [history.nth(row).locator(".tag").all_inner_texts() for row in range(3)] == [
            ["head", "pending"],
            ["database"],
            [],
        ]
        assert "ms, " in history.nth(1).inner_text()
        ledger = shown.page.get_by_role("table", name="What was run on the database of billing")
        assert ledger.locator("tbody tr").count() == 10
        assert ledger.locator("tbody tr").first.locator("td").all_inner_texts()[1:4] == ["downgrade", *BILLING]
        shown.page.get_by_role("button", name="identity", exact=True).click()
        assert "nickname" in shown.page.locator("#service-identity + tr").inner_text()
        assert shown.complaints == []


def test_a_database_that_is_down_is_a_row_with_the_reason(example: Monorepo) -> None:
    example.env("billing", DATABASE_DSN="postgresql://a:hunter2@127.0.0.1:1/billing", DATABASE_CONNECT_TIMEOUT="1s")
    (example.root / "services" / "identity" / ".env").unlink()
    ran, status = example.inv("db.report", "--html", "report.html"), example.inv("db.status")
    assert ran.code == status.code != 0
    text = (example.root / "report.html").read_text(encoding="utf-8")
    assert "hunter2" not in text + ran.text
    with browser() as chrome, opened(chrome, example.root / "report.html") as shown:
        assert "127.0.0.1:1" in cells(shown.page, "billing")[2]
        assert "DATABASE_DSN is missing" in cells(shown.page, "identity")[2]
        assert cells(shown.page, "catalog")[2] == "at head"
        named = shown.page.locator("details.database summary").all_inner_texts()
        assert [text for text in named if "from the models" in text] == [
            "billing from the models: the database wasn't read · 5 tables",
            "identity from the models: the database wasn't read · 4 tables",
        ]
        assert shown.complaints == []


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_it_fits_every_screen_and_can_be_read(tmp_path: Path, chrome: Browser, width: int, scheme: str) -> None:
    path = write(tmp_path, many())
    with opened(chrome, path, width, color_scheme=scheme) as shown:
        for button in shown.page.locator("button.name").all():
            button.click()
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
        heads = [head.bounding_box() for head in shown.page.locator("tr.detail thead").all()]
        assert all(head and (head["height"] > 1) is (width > 1000) for head in heads), "a narrow row names its cells"
        assert shown.page.evaluate(CONTRAST) == []
        assert set(shown.page.evaluate(ACCESSIBILITY).values()) == {0}, shown.page.evaluate(ACCESSIBILITY)
        dark = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", dark)[0]) < 128) is (scheme == "dark")
        assert (shown.requests, shown.complaints) == ([path.as_uri()], [])


def test_services_are_filtered_and_opened_by_keyboard(tmp_path: Path, chrome: Browser) -> None:
    with opened(chrome, write(tmp_path, many())) as shown:
        page = shown.page
        assert visible(page) == ["billing", "down", "orders"]
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        for _ in range(5):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "filter"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.type("BILL")
        assert visible(page) == ["billing"]
        assert page.locator("#shown").inner_text() == "1 of 3 services"
        assert page.locator(".tracks tbody tr:visible th").all_inner_texts() == ["billing"]
        assert page.locator("details.database:visible").count() == 1
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "billing"
        page.keyboard.press("Enter")
        assert page.locator("tr.detail:visible").count() == 1
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
        page.keyboard.press("Enter")
        assert page.locator("tr.detail:visible").count() == 0
        page.fill("#filter", "nothing")
        assert page.locator("details.database:visible").count() == 0
        assert page.locator(".none").is_visible()
        page.fill("#filter", "")
        page.select_option("#state", "error")
        assert visible(page) == ["down"]
        assert shown.complaints == []


def test_a_filtered_service_takes_its_details_along(tmp_path: Path, chrome: Browser) -> None:
    with opened(chrome, write(tmp_path, many())) as shown:
        shown.page.get_by_role("button", name="billing", exact=True).click()
        shown.page.fill("#filter", "orders")
        assert shown.page.locator("tr.detail:visible").count() == 0
        shown.page.fill("#filter", "")
        assert shown.page.locator("tr.detail:visible").count() == 1


def test_a_long_history_begins_with_its_newest_and_has_a_button_for_all(tmp_path: Path, chrome: Browser) -> None:
    with opened(chrome, write(tmp_path, many())) as shown:
        shown.page.get_by_role("button", name="billing", exact=True).click()
        rows = shown.page.locator("table.history tbody tr")
        assert (rows.count(), rows.first.locator("code").inner_text()) == (50, "r119")
        shown.page.get_by_role("button", name="Show all 120").first.click()
        assert rows.count() == 120
        assert rows.last.locator("line").count() == 1, "nothing is below the first revision"


def test_what_ran_is_not_claimed_where_the_database_is_not_known(tmp_path: Path, chrome: Browser) -> None:
    status = Status("lost", None, (), "r002", None, "error", UnreachableError("nobody answers"), heads=("r002",))
    text = page(report_of(reported("lost", 3, status=status, pending=None, runs=())))
    with opened(chrome, write(tmp_path, text)) as shown:
        rows = shown.page.locator("table.history tbody tr")
        assert [row.locator("td").last.inner_text() for row in rows.all()] == [NONE] * 3
        assert rows.locator("circle.applied").count() == 0
        assert shown.page.locator(".tag").all_inner_texts() == ["head"]


def test_a_history_with_branches_shows_what_follows_and_what_waits(tmp_path: Path, chrome: Browser) -> None:
    with opened(chrome, write(tmp_path, many())) as shown:
        shown.page.get_by_role("button", name="orders", exact=True).click()
        rows = shown.page.locator("table.history tbody tr")
        texts = {row.locator("code").first.inner_text(): row.locator("td code").all_inner_texts() for row in rows.all()}
        assert texts == {"m": ["a, b", NONE], "b": ["root", "a"], "a": ["root", NONE], "root": ["base", NONE]}
        assert rows.nth(0).locator(".tag").all_inner_texts() == ["head", "pending"]
        assert shown.page.locator("table.history line.waits").count() > 0
        places = {circle.get_attribute("cx") for circle in shown.page.locator("table.history circle").all()}
        assert len(places) > 1


def test_evidence_is_a_matrix_of_revisions_and_versions(tmp_path: Path, chrome: Browser) -> None:
    with opened(chrome, write(tmp_path, many())) as shown:
        row = shown.page.locator(".matrix tbody tr")
        assert row.count() == 1
        assert row.locator("td").all_inner_texts()[:2] == ["at most 2.0 s", "2 failed"]
        assert row.locator("svg").get_attribute("aria-label") == "120 revisions: 2 failed"
        shown.page.get_by_role("button", name="billing", exact=True).click()
        table = shown.page.get_by_role("table", name="Measured locks of billing")
        assert table.locator("thead th").all_inner_texts() == [
            "Revision",
            *("PostgreSQL 14, upgrade", "PostgreSQL 14, downgrade", "PostgreSQL 18, upgrade"),
        ]
        assert table.locator("tbody tr").count() == 2
        first, second = (table.locator("tbody tr").nth(number).inner_text() for number in range(2))
        assert "ACCESS EXCLUSIVE on invoices, 2 s" in first
        assert "outdated" not in first
        assert "outdated: edited since" in second


def test_without_a_script_the_page_has_all_tables(tmp_path: Path, chrome: Browser) -> None:
    with opened(chrome, write(tmp_path, many()), java_script_enabled=False) as shown:
        assert [cells(shown.page, name)[0] for name in ("billing", "down", "orders")] == ["billing", "down", "orders"]
        assert "nobody answers" in cells(shown.page, "down")[2]
        assert not shown.page.locator("form.filter").is_visible()
        assert shown.page.locator("svg.diagram .entity").count() == 6


def test_no_name_or_comment_becomes_a_part_of_the_page(tmp_path: Path, chrome: Browser) -> None:
    hostile = revision("r1", message=HOSTILE, path=f"v/{HOSTILE}", head=True, branch_labels=(HOSTILE,))
    status = Status(
        HOSTILE, HOSTILE, (HOSTILE,), HOSTILE, 1, "behind", UnreachableError(HOSTILE), (HOSTILE,), (HOSTILE,)
    )
    run = entry("r1", os_user=HOSTILE, host=HOSTILE, version=HOSTILE, git_commit=HOSTILE)
    measured = Committed("", 1, {HOSTILE: {"upgrade": {**figures(1.0), "strongest": None}}}, is_current=True)
    service = reported(
        status=status, revisions=(hostile,), runs=(run,), evidence={"r1": measured}, pending=frozenset({"r1"})
    )
    entities = (Entity(HOSTILE, HOSTILE, (Attribute(HOSTILE, HOSTILE),), HOSTILE), Entity("other", ""))
    database = ReportedDatabase(
        HOSTILE, HOSTILE, (HOSTILE,), entities, (Reference("other", (HOSTILE,), HOSTILE),), (HOSTILE,)
    )
    text = page(replace(report_of(service, databases=(database,)), title=HOSTILE, commit=HOSTILE))
    path = write(tmp_path, text)
    for data in re.findall(r'<script type="application/json" id="data-\d+">(.*?)</script>', text, re.DOTALL):
        assert json.loads(data)["revisions"][0][1] == HOSTILE
    with opened(chrome, path) as shown:
        shown.page.locator("button.name[aria-expanded=true]").wait_for()
        assert shown.page.locator("td.message").inner_text().startswith("</script><script>window.broken")
        assert shown.page.evaluate("window.broken") is None
        assert shown.page.locator("img").count() == 0
        assert (shown.requests, shown.complaints) == ([path.as_uri()], [])


def test_the_pictures_of_many_databases_are_drawn_when_they_are_opened(tmp_path: Path, chrome: Browser) -> None:
    table = Entity(HOSTILE, "billing", (Attribute("id", "uuid"),), HOSTILE)
    databases = tuple(ReportedDatabase(f"d{number}", "", ("billing",), (table,)) for number in range(9))
    path = write(tmp_path, page(report_of(reported(), databases=databases)))
    with opened(chrome, path) as shown:
        assert shown.page.locator("details.database[open], svg.diagram").count() == 0
        shown.page.locator("details.database > summary").nth(3).click()
        shown.page.locator("svg.diagram").wait_for()
        assert shown.page.locator("svg.diagram").count() == 1
        title = shown.page.locator("svg.diagram text.title").text_content()
        assert title
        assert title.startswith("</script><script>window.broken")
        assert shown.page.evaluate("window.broken") is None
        assert (shown.requests, shown.complaints) == ([path.as_uri()], [])


def test_the_page_may_run_its_own_script_only(tmp_path: Path, chrome: Browser) -> None:
    text = many().replace("</main>", "<script>window.broken = 1</script><img src='https://example.org/x.png'></main>")
    with opened(chrome, write(tmp_path, text)) as shown:
        assert shown.page.evaluate("window.broken") is None
        assert len([text for text in shown.complaints if "Content Security Policy" in text]) == 2

"""What is noted of a server's major version: that it has ended, or that no test has seen it."""

from datetime import date
from pathlib import Path

import pytest

from service_migrations.health.findings import version_findings

ALL = '["14", "15", "16", "17", "18"]'


@pytest.mark.parametrize(
    ("major", "today", "versions", "expected"),
    [
        (14, date(2026, 11, 12), ALL, []),
        (14, date(2026, 11, 13), ALL, ["which ended on 2026-11-12 and gets no more fixes. Upgrade the server to 18."]),
        (14, date(2026, 11, 13), '["14"]', ["which ended on 2026-11-12 and gets no more fixes. Upgrade the server."]),
        (13, date(2020, 1, 1), '["13"]', ["which ended before 14 and gets no more fixes. Upgrade the server."]),
        (18, date(2030, 11, 14), ALL, []),
        (18, date(2030, 11, 15), ALL, ["which ended on 2030-11-14 and gets no more fixes. Upgrade the server."]),
        (19, date(2026, 11, 26), ALL, ["and the newest that migrations are tested on is 18. Add it to postgres in"]),
        (19, date(2026, 11, 26), '["18", "19"]', []),
        (19, date(2040, 1, 1), '["19"]', []),
    ],
)
def test_a_version_is_noted_after_its_end_and_where_no_test_has_seen_it(
    tmp_path: Path, major: int, today: date, versions: str, expected: list[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.service-migrations]\npostgres = {versions}\n", encoding="utf-8")
    findings = list(version_findings("billing", major, tmp_path, today))
    assert [finding.error for finding in findings] == [None] * len(expected)
    for finding, text in zip(findings, expected, strict=True):
        assert text in finding.message

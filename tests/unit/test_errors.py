"""The text of an error shows no password of a URL that was given where something else is asked for."""

import subprocess
import sys

import pytest

from service_migrations.errors import ConfigurationError, MigrationError, UsageError
from tests.support.monorepo import Monorepo


@pytest.mark.parametrize("kind", [MigrationError, UsageError, ConfigurationError])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--service 'postgresql://app:hunter2@h/d': no.", "--service 'postgresql://app:***@h/d': no."),
        ("postgresql+asyncpg://app:hunter2@h,g:5/d?x=y", "postgresql+asyncpg://app:***@h,g:5/d?x=y"),
        ("postgresql:/app:hunter2@h/d does not exist.", "postgresql:/app:***@h/d does not exist."),
        ("x://:hunter2@h", "x://:***@h"),
        ("x://app:hunter2/3?4@h", "x://app:***@h"),
        ("postgresql:///d?user=app&password=hunter2&x=y", "postgresql:///d?user=app&password=***&x=y"),
        ("x://h/d?sslpassword=hunter2", "x://h/d?sslpassword=***"),
        ("x://a:hunter2@h and 'x://b:hunter2@h'", "x://a:***@h and 'x://b:***@h'"),
    ],
)
def test_a_password_is_masked(kind: type[MigrationError], text: str, shown: str) -> None:
    error = kind(text, hint=text)
    assert (error.message, error.hint) == (shown, shown)
    assert "hunter2" not in f"{error!r}{error.as_json()}{error.with_hint('More.')}"


@pytest.mark.parametrize(
    "text",
    [
        "Write it as postgresql://user:password@host:5432/database.",
        'dsn = "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{POSTGRES_HOST}/d"',
        "postgresql://$USER:$PASSWORD@h",
        "postgresql://<user>:<password>@h",
        "postgresql://app:***@h/d",
        "app@127.0.0.1:5432/d",
        "x://app@h:5432/d",
        "https://example.org:8080/a@b",
        "services/billing/models.py:7: KeyError: 'a@b'",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    assert MigrationError(text, hint=text).message == text


@pytest.mark.parametrize("option", ["--service", "--env", "--env-file"])
def test_a_dsn_in_a_wrong_option_is_shown_without_its_password(monorepo: Monorepo, option: str) -> None:
    monorepo.service("billing")
    ran = monorepo.inv("db.status", f"{option}=postgresql://app:hunter2@h/d")
    assert ran.code in (2, 78), ran.text
    assert "hunter2" not in ran.text
    assert "app:***@h/d" in ran.text


@pytest.mark.parametrize("word", ["postgresql://app:hunter2@h/d", "--nothing=postgresql://app:hunter2@h/d"])
def test_the_console_script_shows_no_password_of_a_word_that_it_does_not_know(word: str) -> None:
    words = [sys.executable, "-m", "service_migrations", "db.status", word]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("No idea what '")
    assert "hunter2" not in done.stdout + done.stderr

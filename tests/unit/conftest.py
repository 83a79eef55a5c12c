"""These tests need no server."""

import pytest


@pytest.fixture
def server() -> None:
    """Fail a test that asks for the server: it belongs into tests/server."""
    pytest.fail("tests/unit needs no server. Move this test to tests/server.")

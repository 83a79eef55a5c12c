"""Random faults to random fleets, for a minute; `nox -s soak` goes on for as long as one likes."""

from pathlib import Path

import pytest

from service_migrations.postgres import Server
from tests.support.soak import soak

SECONDS = 60.0


@pytest.mark.slow
def test_random_faults_leave_every_revision_whole_or_absent(server: Server, tmp_path: Path) -> None:
    assert soak(server, tmp_path, seed=1, seconds=SECONDS) > 3

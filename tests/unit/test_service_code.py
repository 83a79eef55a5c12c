"""The modules of a process are read while another thread imports: an application has several."""

import gc
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from service_migrations.models import service_code


@pytest.fixture
def imports() -> Iterator[None]:
    """Let another thread add modules and remove them again, with a switch of threads wherever there may be one."""
    ended, interval, threshold = threading.Event(), sys.getswitchinterval(), gc.get_threshold()

    def importing() -> None:
        names = [f"imported_{number}" for number in range(500)]
        while not ended.is_set():
            for name in names:
                sys.modules[name] = ModuleType(name)
            for name in names:
                del sys.modules[name]

    thread = threading.Thread(target=importing)
    sys.setswitchinterval(1e-6)
    gc.set_threshold(10)
    gc.callbacks.append(_wait)
    thread.start()
    yield
    ended.set()
    thread.join()
    gc.callbacks.remove(_wait)
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


def _wait(*_: object) -> None:
    time.sleep(0)


@pytest.mark.usefixtures("imports")
def test_modules_are_read_while_another_thread_imports(tmp_path: Path) -> None:
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        assert service_code._of({str(tmp_path)}) == set()
        assert sys in set(service_code.all_modules())
        assert service_code._taken("no_such_package") == {}

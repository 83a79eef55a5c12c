"""The private names of asyncpg that are used, checked on 0.32.0.

tests/upstream/test_private_names.py fails with the version where one of these names is gone.
"""

from typing import Any

__all__ = ["read_char_as_text"]

_CHAR = 18
"""The oid of ``"char"``, which ``set_type_codec`` can't name: its "char" is ``character``."""


def read_char_as_text(connection: Any) -> None:
    """Let a connection return values of the type ``"char"`` as text, as other drivers do, and not as bytes."""
    settings = connection._protocol.get_settings()  # noqa: SLF001
    settings.add_python_codec(_CHAR, "char", "pg_catalog", [], "scalar", str, str, "text")

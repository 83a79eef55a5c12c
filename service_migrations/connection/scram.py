r"""A password as PostgreSQL keeps it: so that ``CREATE ROLE`` sends a verifier, and no server log gets the password.

A statement stands in the server's log when it fails, or under ``log_statement``, and in ``pg_stat_activity``; its
arguments do too. ``psql``'s ``\password`` sends a verifier for the same reason (documentation, CREATE ROLE, Notes).
"""

import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from base64 import b64encode

__all__ = ["verifier"]

_ITERATIONS = 4096
"""As many as PostgreSQL takes by default (scram_iterations)."""

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def verifier(password: str) -> str:
    """Return what ``PASSWORD '…'`` takes in place of a password (RFC 5803; documentation, pg_authid)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password).encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    first, second, third = (b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{first}${second}:{third}"


def _prepared(password: str) -> str:
    """Return a password after SASLprep (RFC 4013), or as it is where that doesn't allow it, as PostgreSQL does."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(one) else one for one in password if not stringprep.in_table_b1(one)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared or any(prohibited(one) for one in prepared for prohibited in _PROHIBITED):
        return password
    right_to_left = [stringprep.in_table_d1(one) for one in prepared]
    if any(right_to_left) and (
        not (right_to_left[0] and right_to_left[-1]) or any(stringprep.in_table_d2(one) for one in prepared)
    ):
        return password
    return prepared

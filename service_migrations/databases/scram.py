r"""The verifier of a password, which ``CREATE ROLE`` sends instead of the password.

The server logs a statement that fails, or each one with ``log_statement``, and shows it in ``pg_stat_activity``, with
its arguments. ``psql``'s ``\password`` sends a verifier for the same reason (documentation, CREATE ROLE, Notes).
"""

import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from base64 import b64encode

__all__ = ["verifier"]

_ITERATIONS = 4096
"""The default of PostgreSQL (scram_iterations)."""

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
    """Return the verifier that ``PASSWORD '…'`` accepts instead of a password (RFC 5803; documentation, pg_authid)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password).encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_text}${stored_text}:{server_text}"


def _prepared(password: str) -> str:
    """Return a password after SASLprep (RFC 4013), or unchanged where that refuses it, as PostgreSQL does."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if not stringprep.in_table_b1(character)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared or any(is_prohibited(character) for character in prepared for is_prohibited in _PROHIBITED):
        return password
    right_to_left = [stringprep.in_table_d1(character) for character in prepared]
    if any(right_to_left) and (
        not (right_to_left[0] and right_to_left[-1]) or any(stringprep.in_table_d2(character) for character in prepared)
    ):
        return password
    return prepared

"""TLS as a DSN asks for it: what was asked for is TLS or nothing."""

from collections.abc import Mapping
from typing import Any

from service_migrations.errors import ConfigurationError

__all__ = ["SSLMODES", "check_tls", "tls_context"]

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""libpq's (documentation, 34.1.2 Parameter Key Words)."""

_SSLMODES_WITHOUT_PROOF = SSLMODES[:3]


def check_tls(query: Mapping[str, str], where: str) -> None:
    """Refuse certificates that would never be looked at: whoever names one believes that the line is safe."""
    mode = query.get("sslmode", "prefer")
    for key in ("sslrootcert", "sslcert", "sslkey"):
        if key in query and mode in _SSLMODES_WITHOUT_PROOF:
            raise ConfigurationError(f"{where}: {key} has no effect with sslmode={mode}. Set sslmode=verify-full.")
    if query.get("sslrootcert") == "system" and mode != "verify-full":
        # anybody gets a certificate of some authority: libpq refuses it too (documentation, 34.1.2)
        raise ConfigurationError(f"{where}: sslrootcert=system needs sslmode=verify-full.")


def tls_context(parameters: Mapping[str, str]) -> Any:
    """Return asyncpg's ``ssl``: TLS that was asked for is TLS or nothing.

    ``require`` encrypts without looking at the certificate, except where a root certificate is given
    (as libpq does: documentation, 34.19.1); without ``sslrootcert``, verification uses the system's.
    """
    mode = parameters.get("sslmode", "prefer")
    if mode == "disable":
        return False
    if mode in ("allow", "prefer"):
        return mode
    import ssl  # noqa: PLC0415 - most local databases never need it

    root = parameters.get("sslrootcert")
    verify = mode in ("verify-ca", "verify-full") or bool(root)
    try:
        found = ssl.create_default_context(cafile=None if root in (None, "system") else root)
        found.check_hostname = mode == "verify-full"
        found.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        # Python 3.13 asks more of an authority's certificate than libpq and older Pythons do
        found.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if "sslcert" in parameters:
            # without a password OpenSSL would ask the terminal for the one of an encrypted key
            found.load_cert_chain(parameters["sslcert"], parameters.get("sslkey"), password="")
    except OSError as error:
        names = ", ".join(
            f"{key}={parameters[key]}" for key in ("sslrootcert", "sslcert", "sslkey") if key in parameters
        )
        raise ConfigurationError(f"The certificate files of the DSN can't be read ({names}): {error}.") from error
    return found

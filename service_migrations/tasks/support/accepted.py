"""The line on what a baseline accepts: it is counted, and not hidden."""

from collections.abc import Sized

from service_migrations.tasks.support import console

__all__ = ["print_accepted"]


def print_accepted(service: str, accepted: Sized) -> None:
    """Print how many differences of a service the baseline accepts, where it accepts some."""
    if count := len(accepted):
        console.result(f"{service}: {count} accepted by its baseline; `inv db.baseline --service {service}` lists them")

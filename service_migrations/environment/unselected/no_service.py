"""The file that Alembic reads instead of revisions where it doesn't run env.py, which reads ``-x service=<name>``.

``version_locations`` in pyproject.toml names its folder. Without it, ``alembic heads`` would report success and no
revision.
"""

from alembic.util import CommandError

raise CommandError(
    "Alembic doesn't run env.py for this command, so it can't know which service -x service=<name> means. "
    "Run it as `inv db.alembic --service <name> -- …`."
)

"""``python -m service_migrations``, and the console script: the tasks where there is no tasks.py."""

import os
import sys

__all__ = ["main"]

_STOPPED = 130
"""The exit code after SIGINT, as that of a task."""


def main() -> None:
    """Run the tasks that the command line names, and exit as they do, also at Ctrl-C before there is one."""
    try:
        from service_migrations.tasks.support import program

        program.main()
    except KeyboardInterrupt:
        sys.exit(_STOPPED)
    except BrokenPipeError:  # of a list that `head` has read enough of; what a task prints is its own matter
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try again at its end


if __name__ == "__main__":
    main()

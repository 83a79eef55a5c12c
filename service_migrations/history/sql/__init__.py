"""The SQL of revisions: rendered offline, with its constants, and what a file shows of it."""

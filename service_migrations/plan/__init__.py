"""Plans of upgrades: the pending revisions, their dangers, and what is refused."""

"""The adoption of a monorepo that has histories of its own: what it has, what is written, and what is accepted.

Nothing of the team's code is imported: ini files, env.py, models and revisions are read as text and as syntax trees.
"""

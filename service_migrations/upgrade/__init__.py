"""Applying a history: one run, its retries, and what is said when it ends early."""

"""The files of a history: found, parsed, hashed and imported."""

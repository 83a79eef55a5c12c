"""Writing revisions, and checking whether one is needed."""

"""The writing of revisions, and the check whether one is needed."""

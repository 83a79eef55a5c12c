"""What a change does to what was released: the histories of a tag against those of this checkout."""

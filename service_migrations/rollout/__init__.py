"""Many services at once: in which order, in how many processes, and which of them at all."""

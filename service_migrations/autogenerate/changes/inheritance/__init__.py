"""What tables have that inherit from others or are partitions of them, where those change."""

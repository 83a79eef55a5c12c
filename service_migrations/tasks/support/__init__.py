"""What every task is made of: its call and options, the console, progress, signals and its end."""

"""What the errors of servers and drivers mean for the person who ran the command."""

"""The statements of a plan: their classes, what they break, and what the plan itself has created."""

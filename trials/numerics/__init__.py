"""What to watch, what to keep, what happened, and why."""

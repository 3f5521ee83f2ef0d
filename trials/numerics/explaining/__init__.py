"""After a divergence: run its step again, find the first bad operation, the cause and what would have prevented it."""

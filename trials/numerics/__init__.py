"""The instrument: what to watch in training, what to keep of a divergence, and why it happened."""

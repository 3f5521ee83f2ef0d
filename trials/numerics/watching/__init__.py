"""While training runs: detect a divergence, follow the layers' range, keep a copy of the state before the step."""

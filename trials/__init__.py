"""One training run: networks, data, the loop. Knows nothing of Ray, of studies, or of where results live."""

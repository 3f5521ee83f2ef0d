"""Files -> frames: reads a study's folder, states every gap, opens no pickle."""

"""Frames -> frames: pairs, effects and their intervals, rankings, survival, importances. Pure."""

"""Frames -> frames: pairs, effects and their intervals, rankings, survival, importances. Pure.

What these arguments are, everywhere in the analysis:

trials  a row a trial: columns TRIAL_COLUMNS (analysis/load/columns.py), and one for each of its settings
epochs  a row a trial and epoch: columns EPOCH_COLUMNS, and one for each measurement, NaN where it was not made
ranked  trials, the best first, with the columns rank, best_<metric> and best_epoch (ranking.py)
found   the comparisons, with the columns of comparisons.compare, where a docstring does not say otherwise
metric  a measurement by which trials are ranked; mode, "min" or "max", is the end of it that is best

Any other frame has its columns in the function's docstring. Dice, shares and probabilities are between 0 and 1.
"""

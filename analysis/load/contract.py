"""The names that trials writes and this package reads; tests/test_words.py compares them, in both directions."""

OWN = ".py:"  # in a setting's value that names a function or class of a user's: FILE.py:NAME
OLD_VALUES = {("augment", "report"): "lab2", ("preset", "report"): "lab2"}  # as older versions wrote them
CODE = "code"  # in params.json: the text of such files, which is no setting
BAD = ("diverged", "frozen")  # outcomes of a run that broke numerically
OUTCOMES = (  # in the order of the tables; the last two are what the reader makes of a record that is not there
    *("completed", "pruned", "diverged", "frozen", "out_of_memory", "failed", "interrupted"),
    *("running", "not started"),
)
REMEDIES = (
    *("float32", "bfloat16", "float32_head", "clipping", "guarded_statistics", "lower_scale"),
    "recalibrated_statistics",
)

"""The columns of a study's frames: ours, and those of the settings, which never bear the name of one of ours."""

import re

import pandas as pd

from analysis.load.labels import key_of, label

# Columns that are always there; the trials' settings and any further measurement follow them.
TRIAL_COLUMNS = (
    "folder",
    "trial",
    "outcome",
    "num_epochs",
    "outcome_epoch",
    "outcome_step",
    "outcome_where",
    "outcome_cause",
    "outcome_blame",
    "outcome_phase",
    "outcome_module",
    "outcome_op",
    "outcome_remedies",
    "outcome_untried",
    "outcome_first_epoch",  # of the first abnormal sign
    "outcome_event_epoch",  # of the divergence; a trial may have gone on
    "error_type",
    "error_text",
    "recorded_best_val_dice",
    "best_in_record",  # Ray's, of a trial whose lines are gone
    "images_per_s",
    "duration_s",
    "gaps",
)
EPOCH_COLUMNS = (
    "folder",
    "trial",
    "epoch",
    "train_loss",
    "val_loss",
    "val_dice",
    "images_per_s",
    "time_total_s",
    "timestamp",
    "diverged",
    "rolled_back",
    "diverged_step",
    "diverged_where",
)
# What the tables made of those frames add: a setting of such a name is renamed, too.
DERIVED_COLUMNS = ("rank", "best_epoch", "level", "settings", "study", "value")
OUR_BEGINNINGS = ("best_", "outcome_", "recorded_", "error_")
CONFIG = "config/"  # before a setting whose name is one of ours, as Ray's own tables have it
SEED = re.compile(r"(^|_)seed(_value)?$|^random_?state$|^seed_everything$|^rng$")
RUN_NAME = re.compile(  # is another one in each run
    r"(^|_)(uu)?id$|^name$|(^|_)(run|exp|experiment|trial|job|log|output|out|save|work|checkpoint|ckpt)_?"
    r"(name|dir|path|folder|file|tag|url)$"
)


def column_of(setting: str) -> str:
    """The column of a setting: its own name, or with CONFIG before it where a column of ours has that name."""
    ours = setting in (*TRIAL_COLUMNS, *EPOCH_COLUMNS, *DERIVED_COLUMNS)
    return CONFIG + setting if ours or setting.startswith((*OUR_BEGINNINGS, CONFIG)) else setting


def setting_of(column: str) -> str:
    """The name that the setting of a column has in the trials' own files."""
    return column.removeprefix(CONFIG)


def words_of(setting: str) -> str:
    """The last part of a path, small and with underscores: trainer/randomSeed -> random_seed."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", setting.rsplit("/", 1)[-1]).lower().replace("-", "_")


def is_seed(setting: str) -> bool:
    return bool(SEED.search(words_of(setting)))


def is_run_name(setting: str) -> bool:
    """Whether the name says that a setting identifies a run: run_name, myID, log_dir."""
    return bool(RUN_NAME.search(words_of(setting)))


def seed_of(trials: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The trials with a column `seed` made of the settings that are seeds, and a sentence where they bear other names.

    Of several seeds those that vary count together: "0/7" is seed 0 of one and seed 7 of the other.
    """
    names = [name for name in trials if is_seed(name)]
    varied = [name for name in names if trials[name].map(key_of, na_action=None).nunique() > 1] or names[:1]
    if varied in ([], ["seed"]):
        return trials, []
    seeds = trials[varied[0]]
    if len(varied) > 1:
        seeds = trials[varied].map(lambda value: str(label(value))).agg("/".join, axis=1)
    told = f"{varied[0]} is read as the seed" if len(varied) == 1 else f"{' and '.join(varied)} are read as the seed"
    return trials.assign(seed=seeds), [f"{told} of a trial."]

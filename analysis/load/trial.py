"""One trial's folder -> its row (settings and end) and its epochs, with the problems met on the way."""

import re
from collections.abc import Collection, Mapping
from itertools import chain
from pathlib import Path
from types import NoneType

import numpy as np

from analysis.load import contract
from analysis.load.columns import column_of
from analysis.load.json_files import (
    MISSING,
    current,
    is_finite,
    is_measurement,
    is_number,
    read_lines,
    read_object,
    scalar,
)
from analysis.load.measurements import number_of, unread

Columns = dict[str, np.ndarray]  # epoch int, FLAGS bool, TEXTS object, measurements float; as long as there are epochs

# What Ray adds to each line of result.json; every other scalar of a line is a measurement.
RAY_KEYS = {
    "trial_id",
    "training_iteration",
    "time_this_iter_s",
    "date",
    "done",
    "hostname",
    "node_ip",
    "pid",
    "config",
    "experiment_tag",
    "iterations_since_restore",
    "time_since_restore",
    "should_checkpoint",
    "checkpoint_dir_name",
    "experiment_id",
    "timesteps_total",
    "timesteps_since_restore",
    "episodes_total",
    "warmup_time",
}
FLAGS = ("diverged", "rolled_back")  # of an epoch: columns of truth values
NO_MEASUREMENTS = RAY_KEYS | {"epoch", *FLAGS}  # these have columns of their own kind
OUR_NUMBERS = ("objective", "best_epoch", "best_value")  # of our lines: they follow from the measurements
# A line that does not say whether it was rolled back is of the first version, or not ours. In one that diverged these
# held the worst values so far in place of what was not measured, for the search.
SUBSTITUTED = ("train_loss", "val_loss", "val_dice", "val_dice_soft", "val_iou", "val_bce")
TEXTS = (
    "diverged_where",
    "diverged_cause",
    "diverged_blame",
    "tightest_layer",
    "overflow_layer",
)  # measurements that are words

ITERATION = "training_iteration"  # of an experiment that was not made here
NO_RESULTS = "no results yet"
NO_OUTCOME = "no outcome.json (counted as running in an open study, else as interrupted)"
NO_EPOCH = "lines in result.json without a whole epoch number (left out)"
NOT_A_NUMBER = "values in result.json that are not numbers"
SUCH_AS = ", such as "  # before a sample, which is another one in each trial
NOT_FINITE = "NaN or infinite measurements (left out of curves and bests)"
REPEATED = "repeated epochs, as after a resume (the last of each is kept)"
LATE_DIVERGENCE = "a divergence in result.json that outcome.json does not know (counted as diverged)"


def read_trial(folder: Path, *, open_study: bool) -> tuple[dict, Columns]:
    """One row for the trial, whose `gaps` lists the problems, and a column (an array [epochs]) a measurement."""
    rows, problems = read_lines(folder / "result.json")
    config, problem = read_object(folder / "params.json")
    if problem:
        config = next((row["config"] for row in reversed(rows) if isinstance(row.get("config"), dict)), {})
        problems.append(f"a params.json that {problem} (settings {'taken from result.json' if config else 'unknown'})")
    config = current({key: value for key, value in config.items() if key != contract.CODE})
    outcome, outcome_problems = read_outcome(folder / "outcome.json")
    if outcome_problems == [NO_OUTCOME] and (found := outcome_without(folder, rows)):
        outcome, outcome_problems = found, []
    epochs, epoch_problems = epochs_of(rows)
    end, end_problems = end_of(outcome, epochs, open_study=open_study)
    account, account_problems = read_account(folder / "divergence.json")
    problems += outcome_problems + epoch_problems + end_problems + account_problems
    settings = {column_of(key): scalar(value) for key, value in flat(config, ()).items()}
    head = {"folder": folder.name, "trial": trial_name(folder, rows)}
    return settings | head | end | account | {"gaps": problems}, epochs


def trial_name(folder: Path, rows: list[dict]) -> str:
    """Ray's trial id: as result.json says, else as it stands in the folder's name."""
    said = next((row["trial_id"] for row in rows if isinstance(row.get("trial_id"), str)), None)
    found = re.search(r"_([0-9a-f]{5,8}(?:_\d{5})?)(?:_|$)", folder.name)
    return said or (found.group(1) if found else folder.name)


def read_outcome(path: Path) -> tuple[dict, list[str]]:
    """outcome.json, its numbers made sure of; {} where it says nothing."""
    outcome, problem = read_object(path)
    if problem:
        return {}, [NO_OUTCOME if problem == MISSING else f"an outcome.json that {problem}"]
    if "best_val_dice" in outcome:  # of the first version, which knew no other metric
        outcome |= {"metric": "val_dice", "best_value": outcome["best_val_dice"]}
    odd = [
        key
        for key in ("epoch", "step", "best_value", "duration_s")
        if outcome.get(key) is not None and not is_number(outcome[key])
    ]
    return outcome | dict.fromkeys(odd), [f"an outcome.json with no number in {', '.join(odd)}"] if odd else []


def outcome_without(folder: Path, rows: list[dict]) -> dict:
    """How a trial ended that wrote no outcome.json, by Ray's error.txt and its last line; {} where these do not say."""
    if error := error_of(read_text(folder / "error.txt")):
        return error
    return {"outcome": "completed"} if rows and rows[-1].get("done") is True else {}


def read_text(path: Path) -> str:
    """What a text file holds; nothing where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def error_of(text: str) -> dict:
    """The outcome that a traceback tells; {} for none."""
    if not text.strip():
        return {}
    kind, _, message = text.strip().splitlines()[-1].partition(":")
    return {"outcome": "failed", "error_type": kind.strip(), "error_text": message.strip()}


def untried(account: Mapping[str, object]) -> list[str]:
    """The remedies that the search had no time for: of them it is not known whether they work.

    The first version left them out of its list, so that there each one that is not in it was not tried.
    """
    remedies = account.get("remedies") if isinstance(account.get("remedies"), list) else []
    named = {str(each.get("name")): each for each in remedies if isinstance(each, dict)}
    if account.get("schema_version") == 1 and account.get("search_complete") is False:
        return [name for name in contract.REMEDIES if name not in named and name != "recalibrated_statistics"]
    return [name for name, each in named.items() if each.get("tried") is False]


def read_account(path: Path) -> tuple[dict, list[str]]:
    """Why a trial diverged, from divergence.json; None in every column where there is none."""
    account, problem = read_object(path)
    columns = {f"outcome_{key}": scalar(account.get(key)) for key in ("cause", "blame", "phase", "module", "op")}
    remedies = account.get("remedies") if isinstance(account.get("remedies"), list) else []
    worked = [str(each.get("name")) for each in remedies if isinstance(each, dict) and each.get("worked") is True]
    columns["outcome_remedies"] = ", ".join(worked) if account else None
    columns["outcome_untried"] = ", ".join(untried(account)) if account else None
    sign = account.get("first_sign")
    epoch = sign.get("epoch") if isinstance(sign, dict) else None
    columns["outcome_first_epoch"] = epoch if is_number(epoch) else None
    columns["outcome_event_epoch"] = account["epoch"] if is_number(account.get("epoch")) else None
    return columns, [] if problem in (None, MISSING) else [f"a divergence.json that {problem}"]


def epochs_of(rows: list[dict]) -> tuple[Columns, list[str]]:
    """The last line of each epoch, in order of epochs, as columns; Ray's own keys are left out."""
    by_epoch, problems = {}, []
    for row in map(flat, rows):
        epoch = row.get("epoch")
        if not is_number(epoch) or epoch != int(epoch):
            problems.append(NO_EPOCH)
            continue
        problems += [REPEATED] if int(epoch) in by_epoch else []
        by_epoch[int(epoch)] = row
    kept = [by_epoch[epoch] for epoch in sorted(by_epoch)]
    columns = {"epoch": np.array(sorted(by_epoch), int)}
    is_ours = any("rolled_back" in row for row in kept)
    for name in dict.fromkeys(chain.from_iterable(kept)):
        if name in NO_MEASUREMENTS or (is_ours and name in OUR_NUMBERS):
            continue
        values = [row.get(name) for row in kept]
        if name in TEXTS:
            columns[name] = np.array([scalar(each) for each in values], object)
        elif not set(map(type, values)) <= {dict, list}:
            columns[name], wrong = measurements(name, values)
            problems += wrong
    columns["diverged"] = np.array([row.get("diverged") is True for row in kept], bool)
    columns["rolled_back"] = np.array(rolled_back(kept), bool)
    first_version = np.array(["rolled_back" not in row for row in kept], bool)
    for name in SUBSTITUTED:
        if name in columns:
            columns[name][columns["diverged"] & first_version] = np.nan
    return columns, list(dict.fromkeys([*problems, *([] if kept else [NO_RESULTS])]))


def rolled_back(rows: list[dict]) -> list[bool]:
    """Whether each epoch's weights were thrown away; lines of the first version only count the rollbacks so far."""
    found, before = [], 0
    for row in rows:
        said, number = row.get("rolled_back"), row.get("num_rollbacks")
        number = number if is_number(number) else before
        found.append(said is True or (said is None and number > before))
        before = number
    return found


def flat(row: dict, whole: Collection[str] = RAY_KEYS) -> dict:
    """Measurements within measurements by their path, as Ray names them: {"eval": {"loss": 1}} -> {"eval/loss": 1}.

    whole: keys whose dictionaries stay as they are.
    """
    num_whole = "config" in whole and isinstance(row.get("config"), dict)
    if list(map(type, row.values())).count(dict) <= num_whole:  # of a million rows, so quick
        return row
    found = {}
    for key, value in row.items():
        inner = flat(value, whole) if isinstance(value, dict) and value and key not in whole else None
        found |= {key: value} if inner is None else {f"{key}/{name}": each for name, each in inner.items()}
    return found


def measurements(name: str, values: list) -> tuple[np.ndarray, list[str]]:
    """One measurement of a trial as float64 [epochs], NaN for what is missing or no number; and the problems.

    Text that says a number is that number.
    """
    problems = []
    if not set(map(type, values)) <= {float, bool, NoneType} and not all(map(is_measurement, values)):
        if sample := unread(values):
            problems.append(f"{NOT_A_NUMBER} under {name} (left out){SUCH_AS}{sample}")
        values = [number_of(each) for each in values]
    found = np.array(values, float)
    if not np.isfinite(found).all() and not all(map(is_finite, values)):
        problems.append(NOT_FINITE)
    return found, problems


def end_of(outcome: dict, epochs: Columns, *, open_study: bool) -> tuple[dict, list[str]]:
    """How a trial ended: by its outcome.json, by a diverged last line, or by nothing yet.

    A diverged line with others after it is an event that the run went on from (on_divergence).
    """
    broken = len(epochs["diverged"]) - 1 if epochs["diverged"][-1:].any() else None
    said = outcome.get("outcome")
    name = said or ("running" if open_study else "interrupted")
    if broken is not None:
        name = "diverged"
        if said != "diverged":
            outcome = outcome | {
                "epoch": int(epochs["epoch"][broken]),
                "step": at(epochs, "diverged_step", broken),
                "where": at(epochs, "diverged_where", broken),
            }
    elapsed = finite(epochs.get("time_total_s"))
    speeds = finite(epochs.get("images_per_s"))
    return {
        "outcome": str(name),
        "num_epochs": num_measured(epochs),
        "outcome_epoch": outcome.get("epoch"),
        "outcome_step": outcome.get("step"),
        "outcome_where": scalar(outcome.get("where")),
        "error_type": scalar(outcome.get("error_type")),
        "error_text": scalar(outcome.get("error_text")),
        "recorded_best_val_dice": outcome.get("best_value") if outcome.get("metric") == "val_dice" else None,
        "images_per_s": float(np.median(speeds)) if len(speeds) else None,
        "duration_s": outcome.get("duration_s") or (float(elapsed[-1]) if len(elapsed) else None),
    }, [LATE_DIVERGENCE] if broken is not None and said not in (None, "diverged") else []


def num_measured(epochs: Columns) -> int:
    """Epochs that count: not rolled back, and of those that diverged the ones that measured something all the same."""
    known = [np.isfinite(epochs[name]) for name in SUBSTITUTED if name in epochs]
    some = np.any(known, axis=0) if known else np.zeros(len(epochs["epoch"]), bool)
    return int((~epochs["rolled_back"] & (~epochs["diverged"] | some)).sum())


def at(epochs: Columns, name: str, place: int) -> object:
    """A cell as JSON had it: a whole number, a text, or None."""
    if name not in epochs:
        return None
    value = epochs[name][place]
    if not isinstance(value, float):
        return value
    return int(value) if np.isfinite(value) else None


def finite(values: np.ndarray | None) -> np.ndarray:
    """Those of the values [n] that are finite; none where there are no values."""
    return np.empty(0) if values is None else values[np.isfinite(values)]

"""A trial that was not made here -> its row and its lines, as trial.py reads ours; and how Ray says it ended."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.load.columns import TRIAL_COLUMNS, column_of
from analysis.load.json_files import is_number, read_first_line, read_lines, read_object, scalar
from analysis.load.labels import key_of
from analysis.load.measurements import broken_from, config_of, number_of, read_table
from analysis.load.ray_record import UNFINISHED, ExperimentRecord, TrialRecord
from analysis.load.trial import (
    ITERATION,
    NO_MEASUREMENTS,
    Columns,
    end_of,
    epochs_of,
    error_of,
    flat,
    read_text,
    trial_name,
)

REPORTED_EPOCH = "reported_epoch"  # what a trial itself calls its epoch
NO_RECORD = TrialRecord("")
BY_LINE = "no training_iteration in their lines (the order of the lines counts)"
NO_STATUS = "no end that Ray recorded (counted as interrupted)"
NO_CURVE = "no lines that can be read (settings, last and best values from Ray's experiment_state file; no curves)"
CONFIG_FROM = "no params.json that can be read (settings from {})"
EARLY = "an end before that of others, for a reason that Ray does not record (counted as pruned)"
RETRIED = "an error.txt of an attempt that Ray repeated"
BUDGET = re.compile(r"epoch|iter|step|round|budget|max_t|generation|updates")  # in a setting of how long a run is


def is_our_trial(folder: Path) -> bool:
    """By what it left: outcome.json, or lines that say whether the epoch diverged."""
    if (folder / "outcome.json").is_file():
        return True
    first = read_first_line(folder / "result.json")
    return isinstance(first.get("diverged"), bool) and "epoch" in first


def is_left_out(folder: Path, record: ExperimentRecord) -> bool:
    """Whether it holds settings alone, and those of no trial that Ray's record knows."""
    if any((folder / name).is_file() for name in ("result.json", "progress.csv", "error.txt")):
        return False
    params, _ = read_object(folder / "params.json")
    return own_record(folder, trial_name(folder, []), params, record) is NO_RECORD


def own_record(folder: Path, name: str, params: dict, record: ExperimentRecord) -> TrialRecord:
    """What Ray recorded of a trial: by its id, its folder's name or its settings; NO_RECORD where nothing fits."""
    return record.trials.get(name) or record.of_folder(folder.name) or record.of_config(params) or NO_RECORD


def read_foreign(folder: Path, *, root: Path, record: ExperimentRecord) -> tuple[dict, Columns]:
    """The row, whose `gaps` lists the problems, and a column a measurement of its lines. root: the experiment's."""
    rows, problems = read_lines(folder / "result.json")
    if not rows:
        rows, more = read_table(folder / "progress.csv")
        problems += more
    name = trial_name(folder, rows)
    params, problem = read_object(folder / "params.json")
    own = own_record(folder, name, params, record)
    config, source = settings_of(params, own, rows)
    problems += [CONFIG_FROM.format(source)] if problem and source else []
    problems += [f"a params.json that {problem} (settings unknown)"] if problem and not source else []
    config, changed = changes(config, rows)
    problems += [changed] if changed else []
    lines, more = numbered([flat(row) for row in rows])
    epochs, wrong = epochs_of(lines)
    outcome, ending = outcome_of(folder, rows, own, broken_place(lines))
    end, _ = end_of(outcome, epochs, open_study=False)
    head = {"folder": folder.relative_to(root).as_posix(), "trial": own.trial or name}
    head |= {"gaps": [*problems, *more, *wrong, *ending], "last_done": bool(rows) and rows[-1].get("done") is True}
    return settings_row(config) | head | end, epochs


def read_recorded(record: TrialRecord) -> tuple[dict, Columns]:
    """The same of a trial whose folder is gone: there are no lines."""
    epochs, _ = epochs_of([])
    outcome, ending = outcome_of(Path(), [], record, broken_record(record))
    end, _ = end_of(outcome, epochs, open_study=False)
    elapsed = number_of(record.last_result.get("time_total_s"))
    head = {"folder": record.folder or record.trial, "trial": record.trial, "gaps": [NO_CURVE, *ending]}
    head |= {"last_done": bool(record.extremes.get("done", {}).get("max"))}
    return settings_row(record.config) | head | end | {"duration_s": elapsed}, epochs


def settings_row(config: Mapping) -> dict:
    return {column_of(key): scalar(value) for key, value in flat(dict(config), ()).items()}


def settings_of(params: dict, record: TrialRecord, rows: list[dict]) -> tuple[dict, str]:
    """The settings, and where they are from if not from params.json; none and nothing where nobody recorded them."""
    if params:
        return params, ""
    in_rows = next((row["config"] for row in reversed(rows) if isinstance(row.get("config"), dict)), {})
    in_table = config_of(rows[-1]) if rows else {}
    found = ((record.config, "Ray's experiment_state file"), (in_rows, "result.json"), (in_table, "progress.csv"))
    return next((each for each in found if each[0]), ({}, ""))


def changes(config: dict, rows: list[dict]) -> tuple[dict, str]:
    """The settings with the last value of those that changed from line to line, and a problem that names these."""
    configs = [row["config"] for row in rows if isinstance(row.get("config"), dict)]
    different = [each for place, each in enumerate(configs) if place == 0 or each != configs[place - 1]]
    if len(different) < 2:
        return config, ""
    values = pd.DataFrame([flat(each, ()) for each in different], dtype=object).map(key_of, na_action=None)
    names = [name for name in values if values[name].nunique() > 1]
    if not names:
        return config, ""
    last = {name: value for name, value in flat(different[-1], ()).items() if name in names}
    told = f"settings that changed while they trained (population based training does that): {', '.join(names)}"
    return flat(config, ()) | last, f"{told}; the last value counts"


def numbered(rows: list[dict]) -> tuple[list[dict], list[str]]:
    """The lines with their training_iteration as `epoch`; what they call epoch themselves is REPORTED_EPOCH."""
    if any(is_number(row.get(ITERATION)) for row in rows):
        numbers, problems = [row.get(ITERATION) for row in rows], []
    elif rows and len({row.get("epoch") for row in rows}) == len(rows) and all(map(has_epoch, rows)):
        return rows, []
    else:
        numbers, problems = list(range(1, len(rows) + 1)), [BY_LINE] if rows else []
    found = []
    for row, number in zip(rows, numbers, strict=True):
        own = {REPORTED_EPOCH: row["epoch"]} if row.get("epoch", number) != number else {}
        rest = {key: value for key, value in row.items() if key != "diverged" and not key.startswith("config/")}
        found.append(rest | own | {"epoch": number})
    return found, problems


def has_epoch(row: dict) -> bool:
    return is_number(row.get("epoch")) and float(row["epoch"]).is_integer()


def broken_place(lines: list[dict]) -> tuple[object, str] | None:
    """From which epoch on which measurement is not finite to the end: the earliest; None where all are."""
    found = None
    for name in dict.fromkeys(key for row in lines for key in row):
        if name in NO_MEASUREMENTS or name == REPORTED_EPOCH:
            continue
        place = broken_from([number_of(row.get(name)) for row in lines])
        if place is not None and (found is None or place < found[0]):
            found = place, name
    return None if found is None else (lines[found[0]]["epoch"], found[1])


def broken_record(record: TrialRecord) -> tuple[object, str] | None:
    """The same by Ray's record of the last and the other values: somewhere until the last line."""
    for name, values in record.extremes.items():
        known = {key: number_of(value) for key, value in values.items()}
        last, others = known.get("last"), (known.get("min"), known.get("max"))
        if last is not None and not math.isfinite(last) and any(x is not None and math.isfinite(x) for x in others):
            return record.last_result.get(ITERATION), name
    return None


def outcome_of(
    folder: Path, rows: list[dict], record: TrialRecord, broken: tuple[object, str] | None
) -> tuple[dict, list[str]]:
    """How the trial ended, as outcome.json would say it: by its measurements, Ray's status, error.txt; and problems.

    broken: the epoch and the measurement that is not finite from then on, as broken_place gives them.
    """
    last = record.last_result if not rows else rows[-1]
    found = {"epoch": number_of(last.get(ITERATION))} | ended(rows, record)
    error = error_of(read_text(folder / "error.txt") or record.error or "")
    if error and record.status == "TERMINATED":
        problems, error = [RETRIED], {}
    else:
        problems = [] if found["outcome"] or error else [NO_STATUS]
    found |= error
    if broken is not None:
        found |= {"outcome": "diverged", "epoch": broken[0], "where": f"{broken[1]} is not finite"}
    return found | {"outcome": found["outcome"] or "interrupted"}, problems


def ended(rows: list[dict], record: TrialRecord) -> dict:
    """The outcome by Ray's status and the last line alone, as outcome.json would say it; None where neither says it."""
    if record.status == "ERROR":
        return {"outcome": "failed", "error_text": "not recorded: Ray's status is ERROR, there is no error.txt"}
    if record.status in UNFINISHED:
        return {"outcome": "running"}
    is_done = record.status == "TERMINATED" or (bool(rows) and rows[-1].get("done") is True)
    return {"outcome": "completed" if is_done else None}


def stopped_early(rows: list[dict], record: ExperimentRecord) -> None:
    """Calls pruned those of the trials that Ray calls TERMINATED which ended before others, for no reason of their own.

    Rows have `last_done`, whether their last line says done, which is taken away.
    """
    limits = [each.stopping[ITERATION] for each in record.trials.values() if ITERATION in each.stopping]
    longest = max([*limits, *(row["outcome_epoch"] for row in rows if is_number(row["outcome_epoch"]))], default=0)
    for row in rows:
        done, last = row.pop("last_done"), row["outcome_epoch"]
        is_short = row["outcome"] == "completed" and is_number(last) and last < longest
        if is_short and not has_own_end(row, record.trials.get(row["trial"], NO_RECORD), done):
            row["outcome"] = "pruned"
            row["gaps"].append(EARLY)


def has_own_end(row: dict, record: TrialRecord, last_done: bool) -> bool:
    """Whether a setting says as many iterations, what it was to stop at was met, or its function came to its end.

    Ray 2 writes `done` into the last line where it stopped a trial, and only into its record where a function ended.
    """
    settings = {name: value for name, value in row.items() if name not in TRIAL_COLUMNS and is_number(value)}
    is_setting = any(value == row["outcome_epoch"] and BUDGET.search(name) for name, value in settings.items())
    reached = {name: number_of(record.last_result.get(name)) for name in record.stopping}
    is_met = any(value is not None and value >= record.stopping[name] for name, value in reached.items())
    return is_setting or is_met or (record.last_result.get("done") is True and not last_done)

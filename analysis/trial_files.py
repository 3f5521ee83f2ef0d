"""One trial's folder -> its row (settings and end) and its epochs, with the problems met on the way."""

import re
from pathlib import Path

import numpy as np

from analysis.records import MISSING, is_finite, is_measurement, is_number, read_lines, read_object, scalar

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
}
TEXTS = ("diverged_where", "diverged_cause", "diverged_blame", "tightest_layer")  # measurements that are words

NO_RESULTS = "no results yet"
NO_OUTCOME = "no outcome.json (counted as running in an open study, else as interrupted)"
NO_EPOCH = "lines in result.json without a whole epoch number (left out)"
NOT_A_NUMBER = "values in result.json that are not numbers (left out)"
NOT_FINITE = "NaN or infinite measurements (left out of curves and bests)"
REPEATED = "repeated epochs, as after a resume (the last of each is kept)"
LATE_DIVERGENCE = "a divergence in result.json that outcome.json does not know (counted as diverged)"


def read_trial(folder: Path, *, open_study: bool) -> tuple[dict, list[dict]]:
    """One row for the trial, and one an epoch; the row's `gaps` lists the problems."""
    rows, problems = read_lines(folder / "result.json")
    config, problem = read_object(folder / "params.json")
    if problem:
        config = next((row["config"] for row in reversed(rows) if isinstance(row.get("config"), dict)), {})
        problems.append(f"a params.json that {problem} (settings {'taken from result.json' if config else 'unknown'})")
    outcome, outcome_problems = read_outcome(folder / "outcome.json")
    epochs, epoch_problems = epochs_of(rows)
    end, end_problems = end_of(outcome, epochs, open_study=open_study)
    account, account_problems = read_account(folder / "divergence.json")
    problems += outcome_problems + epoch_problems + end_problems + account_problems
    settings = {key: scalar(value) for key, value in config.items()}
    head = {"folder": folder.name, "trial": trial_name(folder, rows)}
    return settings | head | end | account | {"gaps": problems}, [head | row for row in epochs]


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
    odd = [
        key
        for key in ("epoch", "step", "best_val_dice", "duration_s")
        if outcome.get(key) is not None and not is_number(outcome[key])
    ]
    return outcome | dict.fromkeys(odd), [f"an outcome.json with no number in {', '.join(odd)}"] if odd else []


def read_account(path: Path) -> tuple[dict, list[str]]:
    """Why a trial diverged, from divergence.json; None in every column where there is none."""
    account, problem = read_object(path)
    columns = {f"outcome_{key}": scalar(account.get(key)) for key in ("cause", "blame", "phase", "module", "op")}
    remedies = account.get("remedies") if isinstance(account.get("remedies"), list) else []
    worked = [str(each.get("name")) for each in remedies if isinstance(each, dict) and each.get("worked") is True]
    columns["outcome_remedies"] = ", ".join(worked) if account else None
    sign = account.get("first_sign")
    epoch = sign.get("epoch") if isinstance(sign, dict) else None
    columns["outcome_first_epoch"] = epoch if is_number(epoch) else None
    return columns, [] if problem in (None, MISSING) else [f"a divergence.json that {problem}"]


def epochs_of(rows: list[dict]) -> tuple[list[dict], list[str]]:
    """The last line of each epoch, in order of epochs, with Ray's own keys left out."""
    by_epoch, problems = {}, []
    for row in rows:
        epoch = row.get("epoch")
        if not is_number(epoch) or epoch != int(epoch):
            problems.append(NO_EPOCH)
            continue
        measured = {
            key: value for key, value in row.items() if key not in RAY_KEYS and not isinstance(value, dict | list)
        }
        wrong = [key for key, value in measured.items() if key not in TEXTS and not is_measurement(value)]
        problems += [NOT_A_NUMBER] if wrong else []
        problems += [REPEATED] if int(epoch) in by_epoch else []
        sure = {"epoch": int(epoch), "diverged": row.get("diverged") is True}
        by_epoch[int(epoch)] = measured | dict.fromkeys(wrong) | sure
    epochs = [by_epoch[epoch] for epoch in sorted(by_epoch)]
    if not epochs:
        problems.append(NO_RESULTS)
    if any(not is_finite(value) for row in epochs for value in row.values()):
        problems.append(NOT_FINITE)
    return epochs, list(dict.fromkeys(problems))


def end_of(outcome: dict, epochs: list[dict], *, open_study: bool) -> tuple[dict, list[str]]:
    """How a trial ended: by its outcome.json, by a diverged line, or by nothing yet."""
    broken = next((row for row in epochs if row["diverged"]), None)
    said = outcome.get("outcome")
    name = "diverged" if broken else said or ("running" if open_study else "interrupted")
    if broken and said != "diverged":
        outcome = outcome | {
            "epoch": broken["epoch"],
            "step": broken.get("diverged_step"),
            "where": broken.get("diverged_where"),
        }
    elapsed = [row["time_total_s"] for row in epochs if is_number(row.get("time_total_s"))]
    return {
        "outcome": str(name),
        "num_epochs": sum(not row["diverged"] for row in epochs),
        "outcome_epoch": outcome.get("epoch"),
        "outcome_step": outcome.get("step"),
        "outcome_where": scalar(outcome.get("where")),
        "error_type": scalar(outcome.get("error_type")),
        "error_text": scalar(outcome.get("error_text")),
        "recorded_best_val_dice": outcome.get("best_val_dice"),
        "images_per_s": median([row.get("images_per_s") for row in epochs]),
        "duration_s": outcome.get("duration_s") or (elapsed[-1] if elapsed else None),
    }, [LATE_DIVERGENCE] if broken and said not in (None, "diverged") else []


def median(values: list) -> float | None:
    found = [value for value in values if is_number(value)]
    return float(np.median(found)) if found else None

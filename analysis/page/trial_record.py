"""Each trial's own part of the report, as data: what it was, how it went, why it diverged, how to run it again."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.load.columns import TRIAL_COLUMNS, setting_of
from analysis.load.contract import BROKEN, CODE, OWN
from analysis.load.json_files import current, is_number, read_object, scalar
from analysis.load.study import Study
from analysis.load.trial import untried
from analysis.page import words
from analysis.page.sparklines import Points
from analysis.page.wording import listed
from analysis.stats.scores import measured

MOST_MODULES = 6  # named in a trial's part
MOST_PARTS, BEST_PARTS = 200, 10  # on the page; of the best whatever the others are
LISTS = ("remedies", "float32_modules")  # of divergence.json
CURVES = ("train_loss", "val_loss")  # and the study's metric


@dataclass(frozen=True)
class TrialPart:
    """What the page tells of one trial."""

    name: str
    folder: str
    outcome: str
    row: dict  # of the ranking: rank, best_<metric>, outcome_epoch, error_text ...
    settings: dict  # params.json; empty where it cannot be read
    curves: Mapping[str, Points]  # a metric's finite values
    account: dict  # divergence.json; empty where there is none
    capsule: str | None  # its folder, in the trial's
    is_ours: bool = True  # made by this project, which can run it again
    is_here: bool = True  # its folder is there
    own_files: Path = Path()  # where the study keeps copies of a user's own code

    @property
    def command(self) -> str | None:
        """What re-runs it alone; None where its settings are not known, and for trials that were not made here."""
        if not self.settings or not self.is_ours:
            return None
        named = {key: f"{self.own_files.as_posix()}/{value}" for key, value in self.settings.items() if is_own(value)}
        return run_again({**self.settings, **named}, self.name)


def is_own(value: object) -> bool:
    """Whether a setting's value is FILE.py:NAME, of a user's own code."""
    return isinstance(value, str) and OWN in value


def part_record(part: TrialPart) -> dict:
    """What report.json says of it."""
    told = {"trial": part.name, "outcome": part.outcome, "settings": part.settings, "command": part.command}
    return told | {"capsule": part.capsule, "diagnosis": diagnosis(part.account), "evidence": evidence(part.account)}


def trial_parts(study: Study, ranked: pd.DataFrame) -> list[TrialPart]:
    """The parts of at most MOST_PARTS trials, in the order of the ranking."""
    chosen = chosen_trials(ranked)
    curves = curves_of(study.epochs[study.epochs["folder"].isin(chosen["folder"])], [study.metric, *CURVES])
    return [trial_part(study, row, curves.get(row["folder"], {})) for row in chosen.to_dict("records")]


def chosen_trials(ranked: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_PARTS rows of ranked, in its order.

    The best, then those that diverged or froze, then the others by rank.
    """
    bad = ranked["outcome"].isin(BROKEN).to_numpy()
    place = np.arange(len(ranked))
    first = np.lexsort((place, ~(bad | (place < BEST_PARTS)), place >= BEST_PARTS))
    return ranked.iloc[np.sort(first[:MOST_PARTS])]


def trial_part(study: Study, row: dict, curves: Mapping[str, Points]) -> TrialPart:
    """A trial's part, from its row of the ranking and the files in its folder."""
    path = study.folder / str(row["folder"])
    settings, _ = read_object(path / "params.json") if study.is_ours else (recorded_settings(study, row), None)
    account, _ = read_object(path / "divergence.json")
    return TrialPart(
        name=str(row["trial"]),
        folder=str(row["folder"]),
        outcome=str(row["outcome"]),
        row=row,
        settings={key: scalar(value) for key, value in current(settings).items() if key != CODE or not study.is_ours},
        curves=curves,
        account=account,
        capsule=capsule_of(path),
        is_ours=study.is_ours,
        is_here=path.is_dir(),
        own_files=study.folder / "own",
    )


def recorded_settings(study: Study, row: dict) -> dict:
    """What any of Ray's files has of a trial's settings, by their own names."""
    names = [name for name in study.trials if name not in TRIAL_COLUMNS]
    return {setting_of(name): row[name] for name in names if not isinstance(row[name], float) or row[name] == row[name]}


def capsule_of(path: Path) -> str | None:
    """Where in the trial's folder its capsule lies, of several the last; by name alone, it is not opened."""
    found = sorted(each for each in [*path.glob("capsule"), *path.glob("*/capsule")] if each.is_dir())
    return found[-1].relative_to(path).as_posix() if found else None


def curves_of(epochs: pd.DataFrame, metrics: list[str]) -> dict[str, dict[str, Points]]:
    """folder -> metric -> its values by epoch, of the epochs that count."""
    found: dict[str, dict[str, Points]] = {}
    for metric in dict.fromkeys(metrics):
        for folder, own in measured(epochs, metric).groupby("folder"):
            points = zip(own["epoch"].tolist(), own[metric].astype(float).tolist(), strict=True)
            found.setdefault(str(folder), {})[metric] = list(points)
    return found


def run_again(settings: Mapping[str, object], name: str) -> str:
    """A command for the shell. It says every setting: a default that changes later does not change it."""
    said = [word for key, value in settings.items() for word in ("--set", f"{key}={setting_text(value)}")]
    return shlex.join(["python", "-m", "trials.train", *said, "--out", f"runs/{name}-again"])


def setting_text(value: object) -> str:
    """As trials.train reads it: true, 0.001, adam."""
    return value if isinstance(value, str) else json.dumps(value)


def shared_settings(parts: list[TrialPart]) -> dict:
    """What is the same in each trial that has settings; nothing where there are not two to compare."""
    known = [part.settings for part in parts if part.settings]
    if len(known) < 2:
        return {}
    return {key: value for key, value in known[0].items() if all(key in each and each[key] == value for each in known)}


def diagnosis(account: Mapping[str, object]) -> dict[str, object]:
    """The account in short, as names and values; what it leaves open is left out."""
    sign = account.get("first_sign")
    known = isinstance(sign, dict) and is_number(sign.get("step"))
    remedies, in_float32 = (each if isinstance(each, list) else [] for each in map(account.get, LISTS))
    named = [each for each in remedies if isinstance(each, dict) and each.get("name")]
    told = {
        "cause": account.get("cause"),
        "blame": account.get("blame"),
        "phase": account.get("phase"),
        "module": account.get("module"),
        "operation": account.get("op"),
        "first abnormal step": f"{sign['step']} (epoch {sign.get('epoch')})" if known else None,
        "what showed it": f"{account['where']} at step {account.get('step')}" if account.get("where") else None,
        "remedies that worked": listed([remedy_text(each) for each in named if each.get("worked") is True]),
        "remedies that did not work": listed([remedy_text(each) for each in named if each.get("worked") is False]),
        "remedies not tried, for want of time": listed([words.remedy(name) for name in untried(account)]),
        "enough in float32": modules_text([str(each) for each in in_float32]),
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


def modules_text(names: list[str]) -> str:
    """A few by name; of many, which a wrong loss scale asks for, the number."""
    return listed(names) if len(names) <= MOST_MODULES else f"{len(names)} modules, {names[0]} to {names[-1]}"


def remedy_text(remedy: Mapping[str, object]) -> str:
    """clipping (clip_norm=1.0)"""
    settings = remedy.get("settings")
    said = ", ".join(f"{key}={value}" for key, value in settings.items()) if isinstance(settings, dict) else ""
    return f"{remedy['name']} ({said})" if said else str(remedy["name"])


def evidence(account: Mapping[str, object]) -> dict[str, object]:
    """The account's evidence, level: first_bad_operation.module -> encoder.0.0; lists as their JSON."""
    found = account.get("evidence")
    return dict(leaves(found)) if isinstance(found, dict) else {}


def leaves(value: Mapping[str, object], before: str = "") -> list[tuple[str, object]]:
    """The values in nested mappings, each with its path; None is left out."""
    pairs = []
    for key, each in value.items():
        inner = leaves(each, f"{before}{key}.") if isinstance(each, dict) else [(f"{before}{key}", scalar(each))]
        pairs += [(name, leaf) for name, leaf in inner if leaf is not None]
    return pairs

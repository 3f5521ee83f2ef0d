"""What a reader must not miss, in sentences: errors, a best trial that learnt nothing, a study that ran out of time."""

from pathlib import Path

import pandas as pd

from analysis.load.json_files import is_number
from analysis.load.predictions import UNREADABLE, predicted_share
from analysis.load.study import Study
from analysis.page.wording import count, listed, show
from analysis.stats.outcomes import failures
from analysis.stats.reached import is_score

LONGEST_ERROR = 120  # characters


def alerts(study: Study, ranked: pd.DataFrame) -> list[str]:
    """Empty where there is nothing of the kind."""
    return [
        *error_sentences(study.trials),
        *untaught_sentences(study.folder, ranked, study.metric, study.mode),
        *budget_sentences(study),
    ]


def error_sentences(trials: pd.DataFrame) -> list[str]:
    """How many trials ended by an error or for want of memory, and the first error of each kind."""
    found, told = failures(trials), []
    for outcome, verb in (("failed", "failed"), ("out_of_memory", "ran out of memory")):
        own = found[found["outcome"] == outcome]
        if own.empty:
            continue
        first = own.iloc[0]
        error = ": ".join(str(first[name]) for name in ("error_type", "error_text") if pd.notna(first[name]))
        said = f"; the first error (trial {first['trial']}): {shortened(error)}" if error else "; no error was recorded"
        told.append(f"{len(own)} of {count(len(trials), 'trial')} {verb}{said}")
    return [f"{sentence.rstrip('.')}." for sentence in told]


def shortened(text: str) -> str:
    """In one line, cut with a mark where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_ERROR else f"{line[: LONGEST_ERROR - 1]}…"


def untaught_sentences(folder: Path, ranked: pd.DataFrame, metric: str, mode: str) -> list[str]:
    """Of a best trial whose score is 0, or that predicts one class on every pixel."""
    if ranked["rank"].isna().all():
        return []
    best = ranked.iloc[0]
    what = one_class(folder / str(best["folder"]))
    if what:
        return [
            f"The best trial ({best['trial']}) has learnt nothing to use: at its best epoch it predicts {what} on every"
            f" pixel of every validation image ({metric} {show(float(best[f'best_{metric}']), metric)})."
        ]
    if is_score(metric, mode) and best[f"best_{metric}"] == 0:
        return [f"No trial reached a {metric} above 0: the best trial ({best['trial']}) has learnt nothing to use."]
    return []


def one_class(trial: Path) -> str:
    """The class that a trial predicts everywhere; empty where it predicts two, or where its masks are not there."""
    try:
        share = predicted_share(trial)
    except UNREADABLE:
        return ""
    return {0.0: "background", 1.0: "the object"}.get(share, "")


def budget_sentences(study: Study) -> list[str]:
    """Of a study that its time budget ended before all its trials had come to an end."""
    budget_s, planned = study.study["options"].get("time_budget_s"), study.num_planned
    if planned is None:
        return []
    never, cut = planned - len(study.trials), int((study.trials["outcome"] == "interrupted").sum())
    if not is_number(budget_s) or study.state != "finished" or (never <= 0 and not cut):
        return []
    lost = [f"{count(never, 'trial was', 'trials were')} never started"] if never > 0 else []
    lost += [f"{count(cut, 'trial was', 'trials were')} cut short"] if cut else []
    return [f"The time budget of {budget_s:g} s ended the study: of {planned} planned trials {listed(lost)}."]

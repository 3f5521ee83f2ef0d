"""The page's part on which settings matter: shares by fANOVA and PED-ANOVA, for the metric and for divergence."""

import pandas as pd

from analysis.factors import Factor
from analysis.importances import (
    BEST_SHARE,
    FEWEST,
    MOST_FOR_FANOVA,
    divergence_target,
    importances,
    metric_target,
)
from analysis.load import Study
from analysis.page import Items, Section, Table, Text
from analysis.wording import listed

TITLE = "Which settings matter"
FEWEST_EXPLAINED = 0.05
NOTHING = f"fewer than {FEWEST} trials can be compared, all came out alike, or a single axis varied"
CAPTION = (
    "Shares that sum to 1 over the axes that always count; a conditional axis is judged among the trials where it does."
    f" fanova: of the variance of the values over the space (fANOVA, a forest on at most {MOST_FOR_FANOVA} trials, a"
    " fixed sample; interactions are left out). ped_anova: how far the settings of the best"
    f" {100 * BEST_SHARE:.0f} % (for divergence: of the trials that diverged) lie from those of all trials (PED-ANOVA,"
    " all trials). explained: what a forest foretells of trials it has not seen; near 0 the shares are noise. They say"
    " where to look, not which level is better, and from an adaptive search they also show where it looked."
)


def importance_section(study: Study, factors: list[Factor]) -> Section:
    targets = [
        metric_target(study.trials, study.epochs, study.metric, study.mode),
        divergence_target(study.trials),
    ]
    found = [importances(study.trials, target, factors) for target in targets]
    table = pd.concat([each for each in found if len(each)]) if any(map(len, found)) else pd.DataFrame()
    if table.empty:
        return Section(TITLE, [Text(f"Nothing can be said: {NOTHING}.")] if len(factors) > 1 else [])
    table = table if table["only_where"].any() else table.drop(columns="only_where")
    return Section(TITLE, [Items(told(found, targets, study.metric)), Table("importances", CAPTION, table)])


def told(found: list[pd.DataFrame], targets: list, metric: str) -> list[str]:
    sentences = []
    for rows, target in zip(found, targets, strict=True):
        until = "" if target.epoch is None else f" until epoch {target.epoch}"
        what = "divergence" if target.of == "divergence" else metric + until
        if rows.empty:
            sentences.append(f"For {what} there is nothing to say: {NOTHING}.")
            continue
        for condition, own in rows.groupby("only_where", sort=False):
            how, name = ("fanova", "fANOVA") if own["fanova"].notna().any() else ("ped_anova", "PED-ANOVA")
            ordered = own.sort_values(how, ascending=False)
            parts = [f"{axis} {100 * share:.0f} %" for axis, share in zip(ordered["axis"], ordered[how], strict=True)]
            among = f"among trials with {condition}, " if condition else ""
            share, number = own["explained"].iloc[0], own["num_trials"].max()
            if share < FEWEST_EXPLAINED:
                sentences.append(f"For {what}, {among}settings foretell nothing ({number} trials): shares are noise.")
                continue
            sentences.append(
                f"For {what}, {among}by {name}: {listed(parts)} ({number} trials; a forest foretells"
                f" {100 * share:.0f} % of the variance of trials it has not seen)."
            )
    return sentences

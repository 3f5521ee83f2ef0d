"""The page's part on which settings matter: shares by fANOVA and PED-ANOVA, for the metric and for divergence."""

import pandas as pd

from analysis.load.factors import Factor
from analysis.load.study import Study
from analysis.page.blocks import Items, Section, Table, Text
from analysis.page.wording import count, listed
from analysis.stats.importances import (
    BEST_SHARE,
    FEWEST,
    MOST_FOR_FANOVA,
    Target,
    divergence_target,
    importances,
    metric_target,
)

TITLE = "Which settings matter"
FEWEST_EXPLAINED = 0.05
NOTHING = f"fewer than {FEWEST} trials can be compared, all came out alike, or a single axis varied"
COLUMNS = ("of", "axis", "only_where", "fanova", "ped_anova", "num_trials")  # on the page
CAPTION = (
    "Importances say where to look, not which level is better. They sum to 1 over the settings that every trial has;"
    " a setting that only some trials have is judged among those. fANOVA: the share of the variance that a setting"
    f" explains, by a forest on at most {MOST_FOR_FANOVA} trials, without interactions. PED-ANOVA: how far the"
    f" settings of the best {100 * BEST_SHARE:.0f} % of the trials (for divergence: of those that diverged) are from"
    " those of all. A pruned trial counts as one that did not diverge. After an adaptive search importances also show"
    " where it looked."
)


def importance_section(study: Study, factors: list[Factor]) -> Section:
    """Importances for the metric and for divergence, or why there are none; empty where one setting alone varied."""
    targets = [
        metric_target(study.trials, study.epochs, study.metric, study.mode),
        divergence_target(study.trials),
    ]
    found = [importances(study.trials, target, factors) for target in targets]
    judged = [rows[rows["reason"].eq("")] for rows in found]
    if not any(map(len, judged)):
        return Section(TITLE, [Text(f"Nothing can be said: {NOTHING}.")] if len(factors) > 1 else [])
    table = pd.concat([each for each in found if len(each)])
    about = "shares by fANOVA and PED-ANOVA, of the metric and of divergence"
    table = table.drop(columns=[name for name in ("only_where", "reason") if not table[name].any()])
    return Section(
        TITLE, [Items(told(found, targets, study.metric)), Table("importances", CAPTION, table, columns=COLUMNS)], about
    )


def told(found: list[pd.DataFrame], targets: list[Target], metric: str) -> list[str]:
    """A sentence a target and group of axes that were judged among the same trials.

    found: of each target the rows of importances.
    """
    sentences = []
    for rows, target in zip(found, targets, strict=True):
        until = "" if target.epoch is None else f" until epoch {target.epoch}"
        what = "divergence" if target.of == "divergence" else metric + until
        reasons = rows["reason"].unique()
        if rows.empty or (len(reasons) == 1 and reasons[0]):
            sentences.append(f"For {what} nothing can be said: {reasons[0] if len(rows) else NOTHING}.")
            continue
        for condition, own in rows.groupby("only_where", sort=False):
            sentences.append(sentence(what, str(condition), own, "" if condition else left_out(target)))
    return sentences


def left_out(target: Target) -> str:
    """Which trials do not count, and how many."""
    why = "of which it is not known" if target.epoch is None else f"without a measurement at epoch {target.epoch}"
    return f"{count(target.num_left_out, 'trial')} {why} left out" if target.num_left_out else ""


def sentence(what: str, condition: str, own: pd.DataFrame, left_out: str) -> str:
    """Of axes that were judged among the same trials, those where the condition holds; own: their rows."""
    among = f", among trials where {condition}" if condition else ""
    number = f"{count(int(own['num_trials'].max()), 'trial')}{f'; {left_out}' if left_out else ''}"
    reason, share = own["reason"].iloc[0], own["explained"].iloc[0]
    if reason:
        return f"For {what}{among}, nothing can be said of {listed(list(own['axis']))}: {reason}."
    if share < FEWEST_EXPLAINED:
        return f"The settings do not predict {what}{among} ({number}), so the importances are noise."
    how, name = ("fanova", "fANOVA") if own["fanova"].notna().any() else ("ped_anova", "PED-ANOVA")
    ordered = own.sort_values(how, ascending=False)
    parts = [f"{axis} {100 * each:.0f} %" for axis, each in zip(ordered["axis"], ordered[how], strict=True)]
    return (
        f"Importance for {what}{among} ({name}): {listed(parts)} ({number}; a forest predicts {100 * share:.0f} % of"
        " the variance in trials it has not seen)."
    )

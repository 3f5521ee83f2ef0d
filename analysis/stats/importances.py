"""Which settings matter: importances by fANOVA and PED-ANOVA, for the metric and, by itself, for divergence. Pure.

fANOVA (Hutter et al. 2014) fits a forest to all values and says which share of their variance over the space a setting
explains. PED-ANOVA (Watanabe et al. 2023) says how far the settings of the best tenth differ from those of all trials.
Both are Optuna's. Neither is an effect: they tell where to look.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, levels, numbers, present_levels
from analysis.stats.outcomes import divergence_known
from analysis.stats.ranking import name_hash
from analysis.stats.scores import measured

FEWEST = 20  # trials, for anything to be said
MOST_FOR_FANOVA = 500  # its forest takes a minute on 2,000
BEST_SHARE = 0.1  # of the trials, whose settings PED-ANOVA compares with those of all
COLUMNS = ("of", "axis", "only_where", "fanova", "ped_anova", "explained", "num_trials", "reason")


@dataclass(frozen=True)
class Target:
    """What is to be explained: a value for each trial that counts, more of it being what is asked for."""

    of: str
    values: pd.Series  # indexed as the trials; NaN for those that are left out
    epoch: int | None = None  # at which trials are compared
    num_left_out: int = 0  # trials that have no value


def importances(trials: pd.DataFrame, target: Target, factors: list[Factor]) -> pd.DataFrame:
    """A row of COLUMNS for each axis that varied; shares between 0 and 1, or the reason why there are none.

    An axis that exists in some trials only (its condition holds, or the others record no value of it) is judged among
    those, beside the axes that exist in all of them; the axes that always exist are judged over all trials.
    """
    values = {factor.name: levels_or_numbers(trials, factor) for factor in factors}
    read = trials[np.logical_or.reduce([each.notna() for each in values.values()])] if factors else trials.iloc[:0]
    judged_on = target.values.reindex(read.index).dropna().index
    there = {factor.name: values[factor.name].reindex(judged_on).notna() for factor in factors}
    always = [factor for factor in factors if there[factor.name].all()]
    rows = judged(trials.loc[judged_on], target, always)
    for factor in (each for each in factors if each not in always and there[each.name].any()):
        own = judged_on[there[factor.name]]
        beside = [each for each in factors if there[each.name][own].all()]
        where = "=".join(factor.condition) if factor.condition else f"{factor.name} is set"
        found = judged(trials.loc[own], target, beside)
        rows += [row | {"only_where": where} for row in found if row["axis"] == factor.name]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def judged(known: pd.DataFrame, target: Target, factors: list[Factor]) -> list[dict]:
    """A row of COLUMNS, as a dictionary, for each axis that varies among `known`, the trials whose values are known."""
    values = target.values[known.index]
    varied = [factor for factor in factors if levels_or_numbers(known, factor).nunique() > 1]
    reason = too_little(values, len(varied))
    if reason:
        nothing = {"of": target.of, "only_where": "", "num_trials": len(values), "reason": reason}
        return [{"axis": factor.name} | nothing for factor in varied]
    sample = sampled(known)
    in_sample = values[sample.index]
    nothing = dict.fromkeys([factor.name for factor in varied], np.nan)  # a rare divergence may be in no sample
    by_fanova = evaluated(sample, in_sample, varied, "fanova") if in_sample.nunique() > 1 else nothing
    share_explained = explained(sample, in_sample, varied)
    by_ped = evaluated(known, values, varied, "ped_anova")
    return [
        {
            "of": target.of,
            "axis": factor.name,
            "only_where": "",
            "fanova": by_fanova[factor.name],
            "ped_anova": by_ped[factor.name],
            "explained": share_explained,
            "num_trials": len(values),
            "reason": "",
        }
        for factor in varied
    ]


def too_little(values: pd.Series, num_varied: int) -> str:
    """Why nothing can be judged; empty where it can."""
    if len(values) < FEWEST:
        return f"fewer than {FEWEST} trials ({len(values)})"
    if values.nunique() < 2:
        return "all came out alike"
    return "no other axis varied" if num_varied < 2 else ""


def explained(trials: pd.DataFrame, values: pd.Series, factors: list[Factor]) -> float:
    """Of the variance of the values, what a forest predicts of trials it has not seen (out-of-bag R²), at least 0.

    Near 0 the settings do not predict the values, and shares, which sum to 1 whatever there is to share, are noise.
    """
    from sklearn.ensemble import RandomForestRegressor  # a second to import

    columns = [levels_or_numbers(trials, factor) for factor in factors]
    coded = [column.astype("category").cat.codes if column.dtype == object else column for column in columns]
    forest = RandomForestRegressor(n_estimators=128, min_samples_leaf=2, oob_score=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a trial that every tree has seen
        return max(0.0, float(forest.fit(np.column_stack(coded), values.to_numpy(float)).oob_score_))


def sampled(trials: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_FOR_FANOVA rows of trials, by the hash of their folders' names: always the same ones."""
    order = trials["folder"].map(name_hash)
    return trials.loc[order.sort_values(kind="stable").index[:MOST_FOR_FANOVA]]


def levels_or_numbers(trials: pd.DataFrame, factor: Factor) -> pd.Series:
    """The axis's value of each trial; missing where it does not exist."""
    level = levels(trials, factor)
    return level if factor.kind == "choice" else numbers(trials, factor.name).where(level.notna())


def evaluated(trials: pd.DataFrame, values: pd.Series, factors: list[Factor], how: str) -> dict[str, float]:
    """Importance by axis, the sum 1; all NaN where nothing differs. how: "fanova" or "ped_anova"."""
    import optuna  # a second to import, and needed only here

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    columns = {factor.name: levels_or_numbers(trials, factor) for factor in factors}
    spaces = {factor.name: distribution(trials, factor) for factor in factors}
    for place, value in zip(trials.index, values, strict=True):
        params = {name: column[place] for name, column in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, value=float(value)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all are among the best, all shares are 0
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator(how, values), params=list(columns), normalize=False
        )
    total = sum(found.values())
    return {name: found[name] / total if total > 0 else np.nan for name in columns}


def evaluator(how: str, values: pd.Series):
    """Optuna's evaluator; PED-ANOVA's compares the best tenth with all, or of values 0 and 1 the ones."""
    import optuna

    if how == "fanova":
        return optuna.importance.FanovaImportanceEvaluator(seed=0)
    share = ((values == values.max()).sum() - 0.5) / len(values)  # of 0 and 1: exactly those with 1 are the best
    quantile = float(share) if values.nunique() == 2 else BEST_SHARE
    return optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)


def distribution(trials: pd.DataFrame, factor: Factor):
    """As wide as the trials: what was not tried is not judged."""
    import optuna

    if factor.kind == "choice":
        return optuna.distributions.CategoricalDistribution(present_levels(trials, factor))
    found = levels_or_numbers(trials, factor)
    log = factor.kind == "log_uniform" and float(found.min()) > 0
    return optuna.distributions.FloatDistribution(float(found.min()), float(found.max()), log=log)


def metric_target(trials: pd.DataFrame, epochs: pd.DataFrame, metric: str, mode: str) -> Target:
    """Each trial's best until one epoch, the last that at least half of the measured trials came to.

    Later epochs do not count, and the trials that ended before are left out: `num_left_out` says how many.
    """
    rows = measured(epochs, metric)
    last = rows.groupby("folder")["epoch"].max()
    if last.empty:
        return Target(metric, pd.Series(dtype=float))
    epoch = int(np.floor(last.quantile(0.5, interpolation="lower")))
    reached = rows[rows["folder"].isin(last.index[last >= epoch]) & (rows["epoch"] <= epoch)]
    best = reached.groupby("folder")[metric].max() if mode == "max" else -reached.groupby("folder")[metric].min()
    values = trials["folder"].map(best)
    return Target(metric, values, epoch, int(values.isna().sum()))


def divergence_target(trials: pd.DataFrame) -> Target:
    """1 for the trials that diverged or froze, 0 for the others that came to an end (pruned ones too)."""
    is_known = divergence_known(trials)
    values = trials["outcome"].isin(BROKEN).astype(float).where(is_known)
    return Target("divergence", values, num_left_out=int((~is_known).sum()))

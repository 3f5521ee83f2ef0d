"""What is missing from a study, in sentences."""

import pandas as pd

from analysis.page.wording import count, listed, show


def plan_gaps(facts: dict) -> list[str]:
    """How many planned trials have not started."""
    missing = facts["outcomes"].get("not started", 0)
    yet = " yet" if facts["state"] == "running" else ""
    return [f"{count(missing, 'planned trial has', 'planned trials have')} not started{yet}."] if missing else []


def untrained_gaps(trials: pd.DataFrame) -> list[str]:
    """Scores of networks that no step had changed."""
    if trials.empty:
        return []
    names = listed([str(name) for name in trials["trial"].head(20)])
    more = f", and {len(trials) - 20} more" if len(trials) > 20 else ""
    return [
        f"{count(len(trials), 'trial has', 'trials have')} a best score of untrained weights, as no step had been"
        f" taken by then: {names}{more}."
    ]


def bests_gaps(ranked: pd.DataFrame) -> list[str]:
    """Where a trial's own record of its best says another number than its epochs."""
    if "best_val_dice" not in ranked:
        return []
    recorded, computed = pd.to_numeric(ranked["recorded_best_val_dice"]), ranked["best_val_dice"].astype(float)
    apart = ranked[(recorded - computed).abs().gt(1e-6) | (recorded.notna() & computed.isna())]
    if apart.empty:
        return []
    told = [
        f"{trial} ({show(said, 'dice')} recorded, {show(found, 'dice')} found)"
        for trial, said, found in zip(apart["trial"], recorded[apart.index], computed[apart.index], strict=True)
    ][:20]
    more = f", and {len(apart) - 20} more" if len(apart) > 20 else ""
    return [
        f"{count(len(apart), 'trial has', 'trials have')} another best val_dice in outcome.json than in the epochs"
        f" that can be read, which this report uses: {', '.join(told)}{more}."
    ]

"""What kind of design a study is, and so whether its differences are effects or only associations."""

from dataclasses import dataclass

import pandas as pd

BLIND_SEARCHES = ("random", "grid")  # settings drawn without a look at results
NO_SCHEDULERS = (None, "none", "fifo")


@dataclass(frozen=True)
class Design:
    """Whether a difference may be called an effect, by how settings were chosen and trials stopped."""

    reason: str  # in words, what stands in the way; empty where nothing does

    @property
    def answers(self) -> bool:
        """Whether differences between levels may be called effects."""
        return not self.reason

    @property
    def word(self) -> str:
        return "effect" if self.answers else "association"


def design_of(options: dict, trials: pd.DataFrame) -> Design:
    """By the options of study.json and by what happened to the trials."""
    search, scheduler = (
        value if isinstance(value, str) else None for value in (options.get("search"), options.get("scheduler"))
    )
    is_pruned = bool((trials["outcome"] == "pruned").any()) or scheduler not in NO_SCHEDULERS
    if search is None:
        return Design("it is not recorded how settings were chosen and trials stopped")
    reasons = []
    if search not in BLIND_SEARCHES:
        reasons.append(f"the search ({search}) tried more of the settings that did well")
    if is_pruned:
        name = scheduler if scheduler not in NO_SCHEDULERS else "unrecorded"
        reasons.append(f"the scheduler ({name}) stopped trials that did badly")
    return Design(" and ".join(reasons))

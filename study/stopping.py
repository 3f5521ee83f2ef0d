"""Which trials are stopped early, by their objective. A new scheduler is a function and a line in SCHEDULERS.

The objective is a trial's best until then (trials/scores.py): always finite, as a measurement need not be.
"""

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from study.trainable import OBJECTIVE


def asha(mode: str, epochs: int) -> TrialScheduler:
    """Asynchronous successive halving (Li et al. 2020): the best third goes on at epochs 1, 3, 9, ..."""
    return ASHAScheduler(
        time_attr="epoch", metric=OBJECTIVE, mode=mode, max_t=epochs, grace_period=1, reduction_factor=3
    )


def median(mode: str, epochs: int) -> TrialScheduler:
    """Stops a trial whose best is below the median of the others' means so far (Golovin et al. 2017)."""
    return MedianStoppingRule(time_attr="epoch", metric=OBJECTIVE, mode=mode, grace_period=1, min_samples_required=3)


def none(mode: str, epochs: int) -> TrialScheduler:
    """Every trial runs to its last epoch."""
    return FIFOScheduler()


SCHEDULERS = {"asha": asha, "median": median, "none": none}

"""Who chooses the next configuration: Optuna's TPE, chance, or a grid; and the repetition under several seeds."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from ray.air.constants import TRAINING_ITERATION
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from search_spaces import Space
from search_spaces.space import Value
from study.optuna_space import SuggestFrom
from study.trainable import OBJECTIVE
from trials.scores import is_broken


def tpe(seed: int) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimator; explicit, since its defaults change between Optuna's releases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group`, for axes that come and go
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def chance(seed: int) -> optuna.samplers.BaseSampler:
    """Uniform over the space."""
    return optuna.samplers.RandomSampler(seed=seed)


# The grid's points are enqueued, every one, so that nothing is left to its sampler.
SAMPLERS = {"optuna": tpe, "random": chance, "grid": chance}


def make_searcher(
    space: Space, search: str, mode: str, first: list[dict[str, Value]], num_seeds: int, epochs: int
) -> Searcher:
    """A searcher that tries the configurations of `first` before its own, each under seeds 0 to num_seeds - 1.

    mode: which end of the trials' objective is best, "min" or "max".
    """
    inner = OptunaSearch(
        space=SuggestFrom(space),
        metric=OBJECTIVE,
        mode=mode,
        points_to_evaluate=first,
        sampler=SAMPLERS[search](seed=0),
        study_name=f"segstudy-{space.name}",
    )
    return SeedRepeats(inner, num_seeds, epochs)


@dataclass
class Group:
    """One configuration's trials, a seed each, and the objective at each epoch they reported."""

    first_trial: str
    config: dict[str, Any]
    trials: dict[str, list[float]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    complete: set[str] = field(default_factory=set)  # ran to their last epoch, diverged or froze


class SeedRepeats(Searcher):
    """Runs every configuration of the inner searcher under several seeds and tells it their mean.

    What it tells is the objective (trials/scores.py): a trial's best, or its worst where it diverged or froze. A group
    in which a trial was pruned is told as pruned, with its mean at each epoch that all its seeds reached, so that
    Optuna does not take the best of two epochs for a whole run's. Only a group that failed in every seed has failed.
    """

    def __init__(self, searcher: OptunaSearch, num_seeds: int, epochs: int):
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.searcher = searcher  # Ray saves and restores what goes by this name by itself
        self._num_seeds, self._epochs = num_seeds, epochs
        self._groups: dict[str, Group] = {}  # by trial
        self._open: Group | None = None

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec) -> bool:
        """The metric and the space are the inner searcher's already."""
        return True

    def suggest(self, trial_id: str) -> dict | None:
        """The open group's configuration under its next seed, or a new group's under seed 0."""
        if self._open is None:
            config = self.searcher.suggest(trial_id)
            if config is None or config == Searcher.FINISHED:
                return config
            self._open = Group(trial_id, dict(config))
        group, seed = self._open, len(self._open.trials)
        group.trials[trial_id] = []
        self._groups[trial_id] = group
        if len(group.trials) == self._num_seeds:
            self._open = None
        return {**group.config, "seed": seed}

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        """Remembers the epoch's objective, once, whatever a resumed trial repeats."""
        values = self._groups[trial_id].trials[trial_id]
        del values[int(result["epoch"]) - 1 :]
        values.append(float(result[self.metric]))

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Notes how the trial ended; with the group's last, the inner searcher is told."""
        group = self._groups[trial_id]
        if trial_id in group.ended:
            return
        group.ended.add(trial_id)
        if error or not result or self.metric not in result:
            group.failed.add(trial_id)
        else:
            self.on_trial_result(trial_id, result)  # Ray leaves out the epoch at which a trial was stopped
            if is_broken(result) or result["epoch"] >= self._epochs:
                group.complete.add(trial_id)
        if len(group.ended) == self._num_seeds:
            self._tell(group)

    def _tell(self, group: Group) -> None:
        values = {trial: values for trial, values in group.trials.items() if trial not in group.failed}
        if not values:
            self.searcher.on_trial_complete(group.first_trial, error=True)
            return
        means = [float(np.mean(epoch)) for epoch in zip(*values.values(), strict=False)]
        for epoch, mean in enumerate(means, start=1):
            self.searcher.on_trial_result(group.first_trial, {self.metric: mean, TRAINING_ITERATION: epoch})
        whole = group.complete >= set(values)
        last = float(np.mean([trial_values[-1] for trial_values in values.values()]))
        self.searcher.on_trial_complete(group.first_trial, result={self.metric: last} if whole else None)

    def get_state(self) -> dict:
        """What Ray keeps of this wrapper, beside the inner searcher's own."""
        return {"groups": self._groups, "open": self._open}

    def set_state(self, state: dict) -> None:
        """Puts back what `get_state` gave."""
        self._groups, self._open = state["groups"], state["open"]

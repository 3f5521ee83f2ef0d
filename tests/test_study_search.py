"""The searcher: Optuna's, each configuration under several seeds, told what it can use."""

import pickle

import optuna
import pytest
from optuna.trial import TrialState

from search_spaces import SPACES, Choice, IntRange, LogUniform, Space, Uniform
from study.grid import grid
from study.optuna_space import SuggestFrom, suggest
from study.search import make_searcher
from study.trainable import OBJECTIVE

SPACE = Space(
    name="mine",
    question="Which?",
    axes={
        "amp": Choice((False, True)),
        "amp_dtype": Choice(("float16", "bfloat16")),
        "lr": LogUniform(1e-4, 1e-2),
    },
    baseline={"amp": False, "lr": 1e-3},
    conditions={"amp_dtype": ("amp", True)},
)


def searcher(search: str = "optuna", num_seeds: int = 1, epochs: int = 3):
    return make_searcher(SPACE, search, "max", [dict(SPACE.baseline)], num_seeds, epochs)


def result(epoch: int, objective: float, **more) -> dict:
    return {"epoch": epoch, OBJECTIVE: objective, "val_dice": None, "training_iteration": epoch, **more}


def told(search) -> list[optuna.trial.FrozenTrial]:
    return search.searcher._ot_study.trials


def run_trial(search, trial_id: str, objectives: list[float]) -> dict:
    config = search.suggest(trial_id)
    for epoch, value in enumerate(objectives[:-1], start=1):
        search.on_trial_result(trial_id, result(epoch, value))
    search.on_trial_complete(trial_id, result(len(objectives), objectives[-1]))
    return config


@pytest.mark.parametrize("search", ["optuna", "random", "grid"])
def test_the_baseline_comes_first(search):
    assert searcher(search).suggest("a") == {**SPACE.baseline, "seed": 0}


def test_every_configuration_runs_under_every_seed():
    search = searcher(num_seeds=3)
    configs = [search.suggest(str(number)) for number in range(6)]
    assert [config.pop("seed") for config in configs] == [0, 1, 2, 0, 1, 2]
    assert configs[0] == configs[1] == configs[2] != configs[3]


def test_the_search_sees_the_mean_over_seeds():
    search = searcher(num_seeds=2)
    run_trial(search, "a", [0.1, 0.2, 0.5])
    assert told(search)[0].state == TrialState.RUNNING
    run_trial(search, "b", [0.3, 0.4, 0.9])
    assert told(search)[0].value == pytest.approx(0.7)
    assert told(search)[0].intermediate_values == pytest.approx({1: 0.2, 2: 0.3, 3: 0.7})


def test_a_pruned_trial_is_not_taken_for_a_whole_one():
    search = searcher()
    run_trial(search, "a", [0.1])
    assert told(search)[0].state == TrialState.PRUNED
    assert told(search)[0].intermediate_values == {1: 0.1}


@pytest.mark.parametrize("how", ["diverged", "frozen"])
def test_a_trial_that_broke_is_a_whole_one(how):
    search = searcher()
    search.suggest("a")
    search.on_trial_result("a", result(1, 0.6))
    search.on_trial_complete("a", result(2, 0.4, **{how: True}))
    assert (told(search)[0].state, told(search)[0].value) == (TrialState.COMPLETE, 0.4)


def test_a_seed_that_diverged_lowers_its_group():
    search = searcher(num_seeds=2)
    run_trial(search, "a", [0.1, 0.2, 0.8])
    search.suggest("b")
    search.on_trial_result("b", result(1, 0.5))
    search.on_trial_complete("b", result(2, 0.0, diverged=True))
    assert (told(search)[0].state, told(search)[0].value) == (TrialState.COMPLETE, pytest.approx(0.4))
    assert told(search)[0].intermediate_values == pytest.approx({1: 0.3, 2: 0.1})


def test_a_group_fails_only_if_every_seed_fails():
    search = searcher(num_seeds=2)
    search.suggest("a")
    search.on_trial_complete("a", error=True)
    run_trial(search, "b", [0.1, 0.2, 0.4])
    assert told(search)[0].value == pytest.approx(0.4)
    for trial_id in ("c", "d"):
        search.suggest(trial_id)
        search.on_trial_complete(trial_id, error=True)
    assert told(search)[1].state == TrialState.FAIL


def test_an_epoch_repeated_after_a_resume_counts_once():
    search = searcher()
    search.suggest("a")
    for epoch, value in ((1, 0.1), (2, 0.2), (2, 0.2)):
        search.on_trial_result("a", result(epoch, value))
    search.on_trial_complete("a", result(3, 0.3))
    assert told(search)[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}


def test_a_saved_search_goes_on_within_a_group(tmp_path):
    search = searcher(num_seeds=2)
    first = search.suggest("a")
    search.searcher.save(str(tmp_path / "state"))  # as Ray does: the inner one, and the wrapper's state
    again = searcher(num_seeds=2)
    again.searcher.restore(str(tmp_path / "state"))
    again.set_state(pickle.loads(pickle.dumps(search.get_state())))
    assert again.suggest("b") == {**first, "seed": 1}


def test_the_same_study_is_searched_the_same_way_again():
    dice = [[0.1 * number, 0.2, 0.3] for number in range(15)]
    configs = [[run_trial(search, str(i), d) for i, d in enumerate(dice)] for search in (searcher(), searcher())]
    assert configs[0] == configs[1]


def test_conditional_axes_appear_only_where_they_exist():
    search = searcher("random")
    configs = [search.suggest(str(number)) for number in range(30)]
    assert {config["amp"] for config in configs} == {False, True}
    assert all(("amp_dtype" in config) == config["amp"] for config in configs)


def test_an_int_range_is_drawn_with_both_ends():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert {suggest(study.ask(), "width", IntRange(1, 3)) for _ in range(50)} == {1, 2, 3}


def test_an_unknown_axis_is_refused():
    with pytest.raises(TypeError, match="does not know"):
        suggest(optuna.create_study().ask(), "width", object())


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_every_space_suggests_values_on_its_axes(space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        chosen = SuggestFrom(space)(study.ask())
        assert all(value in space.axes[name] for name, value in chosen.items())


def test_a_grid_is_every_combination_once_and_the_baseline_first():
    combinations = grid(SPACE, {"lr": [1e-4, 1e-3]})
    assert len(combinations) == 2 * 3  # without AMP, and with either half format
    assert combinations[0] == dict(SPACE.baseline)
    assert len({str(sorted(chosen.items())) for chosen in combinations}) == 6


def test_a_grid_is_not_given_a_baseline_that_is_none_of_its_points():
    combinations = grid(SPACE, {"lr": [1e-4, 1e-2]})
    assert len(combinations) == 2 * 3
    assert {chosen["lr"] for chosen in combinations} == {1e-4, 1e-2}


def test_a_grid_refuses_a_continuous_axis_without_points():
    with pytest.raises(ValueError, match=r"needs the points of lr, .*--points lr=0.0001,0.01"):
        grid(SPACE, {})
    with pytest.raises(ValueError, match="needs the points of x"):
        grid(Space(name="u", question="?", axes={"x": Uniform(0, 1)}, baseline={"x": 0.5}), {})


def test_a_grid_refuses_a_point_outside_its_axis():
    with pytest.raises(ValueError, match="lies outside"):
        grid(SPACE, {"lr": [1.0]})

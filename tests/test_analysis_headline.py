"""The answer's first sentences, made of comparisons and of diverged trials."""

import json

import pandas as pd
import pytest
from analysis_fixtures import ACCOUNT, STUDY, Trial, completed, diverged_line, line, outcome, write_study

from analysis.load.factors import Factor, factors_of
from analysis.load.study import load_study
from analysis.load.trial import untried
from analysis.page.headline import asked_about, divergence_sentences, headline
from analysis.page.sections import effects
from analysis.page.verdict import verdict_sentences
from analysis.stats.comparisons import compare
from analysis.stats.designs import design_of

SPACE = {
    "name": "upsample",
    "question": "?",
    "axes": {
        "upsample": {"kind": "choice", "values": ["deconv", "bilinear"]},
        "amp": {"kind": "choice", "values": [False, True]},
    },
}
GRID = {"search": "grid", "scheduler": "none"}


def compared(folder, trials, options=GRID, **changed):
    """The study, its factors, design and comparisons."""
    record = STUDY | {"space": SPACE, "options": STUDY["options"] | options, "num_trials": len(trials)} | changed
    study = load_study(write_study(folder, trials, study=record))
    factors, _ = factors_of(study.study, study.trials)
    design = design_of(study.study["options"], study.trials)
    return study, factors, design, compare(study.trials, study.epochs, factors, study.metric, study.mode, design)


def said(folder, trials, options=GRID, **changed) -> list[str]:
    study, factors, design, found = compared(folder, trials, options, **changed)
    return headline(study, factors, found, design)


def grid(gain: float, noise=(0.0, 0.002, -0.001, 0.001, -0.002, 0.0015)) -> list[Trial]:
    """Deconv is better by `gain`, under six seeds, with and without AMP."""
    trials = []
    for seed, wobble in enumerate(noise):
        for amp in (False, True):
            for upsample in ("deconv", "bilinear"):
                value = 0.7 + 0.01 * seed + (gain + wobble if upsample == "deconv" else 0.0)
                trials.append(completed([value - 0.2, value], upsample=upsample, amp=amp, seed=seed))
    return trials


def broken(upsample: str, *, cures=("float32_head",), seed: int = 0) -> Trial:
    remedies = [{"name": name, "worked": True} for name in cures]
    made = completed([0.5], upsample=upsample, amp=True, seed=seed)
    made.lines, made.outcome = [line(1, 0.5), diverged_line(2, 0.1)], outcome("diverged", 2)
    made.account = ACCOUNT | {"remedies": remedies}
    return made


def test_a_decided_difference_comes_first_with_its_interval(tmp_path):
    first = said(tmp_path, grid(0.05))[0]
    assert first.startswith("upsampling deconv against bilinear: +5.0 Dice points at epoch 2")
    assert "(95 % CI +4.9 to +5.2; 12 pairs of 6 seeds)" in first
    assert "; significant: p < 0.05 after Holm's correction for " in first


def test_what_is_not_decided_is_said_with_what_would_decide_it(tmp_path):
    told = said(tmp_path, grid(0.0005, noise=(0.02, -0.02, 0.01, -0.01, 0.015, -0.014)))[0]
    assert "; not significant (a difference of this size would take " in told


def test_an_adaptive_search_gives_associations(tmp_path):
    told = said(tmp_path, grid(0.05), options={"search": "optuna", "scheduler": "none"})[0]
    assert told.startswith("upsampling deconv against bilinear: +5.0 Dice points")
    assert told.endswith("; an association, not an effect.")


def test_an_association_whose_interval_holds_zero_is_no_headline(tmp_path):
    trials = grid(0.0005, noise=(0.02, -0.02, 0.01, -0.01, 0.015, -0.014))
    told = said(tmp_path, trials, options={"search": "optuna", "scheduler": "asha"})
    assert told == [
        "No setting is clearly associated with a better val_dice: of 2 differences between levels none has a 95 %"
        " interval that leaves out zero."
    ]


def test_what_was_asked_is_answered_where_only_another_axis_is_clear(tmp_path):
    trials = [
        completed(
            [0.5, 0.6 + (0.1 + 0.001 * s) * amp + wobble * (1 if upsample == "deconv" else -1)],
            amp=amp,
            upsample=upsample,
            seed=s,
        )
        for s, wobble in enumerate((0.02, -0.02, 0.01, -0.01, 0.015, -0.014))
        for amp in (False, True)
        for upsample in ("deconv", "bilinear")
    ]
    told = said(tmp_path, trials, options={"search": "optuna", "scheduler": "asha"}, name="q")
    assert told == [
        "Upsampling is not clearly associated with a better val_dice: the difference between its levels has no 95 %"
        " interval that leaves out zero."
    ]


def test_a_level_that_all_diverged_trials_share_is_named(tmp_path):
    trials = [trial for trial in grid(0.0) if not (trial.config["amp"] and trial.config["seed"] < 2)]
    trials += [broken(upsample, seed=seed) for upsample in ("deconv", "bilinear") for seed in range(2)]
    told = said(tmp_path, trials)
    assert any(
        each.startswith("All 4 trials that diverged had amp=true: 4 of 12 with it, 0 of 12 without") for each in told
    ), told


def test_divergence_comes_first_where_no_score_is_decided(tmp_path):
    trials = [trial for trial in grid(0.0) if not (trial.config["amp"] and trial.config["seed"] < 2)]
    trials += [broken(upsample, seed=seed) for upsample in ("deconv", "bilinear") for seed in range(2)]
    assert "diverged" in said(tmp_path, trials)[0]


def test_a_remedy_that_was_not_tried_in_one_trial_has_not_failed_there(tmp_path):
    trials = [broken("deconv", seed=seed) for seed in range(3)]
    untried = {"name": "float32_head", "worked": None, "tried": False}
    trials[2].account = ACCOUNT | {"remedies": [{"name": "bfloat16", "worked": True}, untried]}
    told = said(tmp_path, [*trials, completed([0.5], upsample="bilinear")])
    rerun = "We re-ran the step at which each of the 3 trials broke"
    works = "a float32 head works in 2 of the 2 in which it was tried."
    cut = "The search for remedies was cut short (diagnosis_budget_s): not tried were a float32 head in 1 of 3."
    assert f"{rerun}: no remedy is known to work for all; {works}" in told
    assert cut in told


def test_an_old_account_that_was_cut_short_tried_what_it_lists_and_no_more():
    remedies = [{"name": "float32", "worked": True}, {"name": "bfloat16", "worked": False}]
    account = ACCOUNT | {"schema_version": 1, "remedies": remedies, "search_complete": False}
    assert untried(account) == ["float32_head", "clipping", "guarded_statistics", "lower_scale"]
    assert untried(account | {"search_complete": True}) == []


def test_the_question_is_read_from_the_space_and_not_from_the_studys_name(tmp_path):
    study, factors, *_ = compared(tmp_path, grid(0.05), name="amp_run")
    assert asked_about(study, factors) == ["upsample"]


def test_a_space_says_what_it_asks_about(tmp_path):
    study, factors, *_ = compared(tmp_path, grid(0.05), space=SPACE | {"asks": ["amp"]})
    assert asked_about(study, factors) == ["amp"]


def test_a_space_that_asks_about_nothing_in_particular_asks_about_all(tmp_path):
    study, factors, *_ = compared(tmp_path, grid(0.05), space=SPACE | {"name": "mine", "asks": []})
    assert asked_about(study, factors) == ["upsample", "amp"]


def test_an_association_of_divergence_whose_interval_holds_zero_is_no_headline(tmp_path):
    trials = [*grid(0.0), broken("deconv", seed=9), broken("bilinear", seed=9), broken("bilinear", seed=8)]
    told = said(tmp_path, trials, options={"search": "optuna", "scheduler": "asha"})
    assert not any("diverged in" in each for each in told), told


def test_causes_and_the_cure_of_all_are_told(tmp_path):
    told = said(tmp_path, [*grid(0.0), broken("deconv", seed=9), broken("bilinear", seed=9)])
    assert "The cause was a saturated head in both." in told
    assert "We re-ran the step at which each of the 2 trials broke: with a float32 head it succeeds in both." in told


def test_without_a_common_cure_the_commonest_is_told(tmp_path):
    trials = [broken("deconv", cures=("bfloat16",), seed=7), broken("deconv", cures=("bfloat16",), seed=8)]
    told = said(tmp_path, [*grid(0.0), *trials, broken("bilinear", seed=9)])
    assert (
        "We re-ran the step at which each of the 3 trials broke: no remedy works for all; bfloat16 works in 2 of 3."
        in told
    )


def test_a_trial_without_an_account_is_counted_as_such(tmp_path):
    silent = broken("deconv", seed=7)
    silent.account = None
    assert any(
        "not recorded for 1 trial" in each for each in said(tmp_path, [*grid(0.0), silent, broken("deconv", seed=8)])
    )


@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_without_divergence_nothing_is_said_of_it(tmp_path, gain):
    assert "diverge" not in json.dumps(said(tmp_path, grid(gain)))


def test_a_conditional_axis_that_no_diverged_trial_has_is_passed_over(tmp_path):
    axes = SPACE["axes"] | {"amp_dtype": {"kind": "choice", "values": ["float16", "bfloat16"]}}
    space = SPACE | {"axes": axes, "conditions": {"amp_dtype": ["amp", True]}}
    trials = grid(0.0)
    for trial in trials:
        trial.config["amp_dtype"] = ("float16", "bfloat16")[trial.config["seed"] % 2]
        if not trial.config["amp"] and trial.config["seed"] < 2:
            trial.lines, trial.outcome = [line(1, 0.5), diverged_line(2, 0.1)], outcome("diverged", 2)
    assert any("had amp=false" in each for each in said(tmp_path, trials, space=space | {"name": "amp_dtype"}))


def test_less_of_a_loss_is_told_as_less(tmp_path):
    options = {"search": "optuna", "scheduler": "none", "metric": "val_loss", "mode": "min"}
    told = said(tmp_path, grid(0.05), options=options)[0]
    assert told.startswith("upsampling deconv against bilinear: -0.0503 of val_loss"), told


def test_where_nothing_diverged_no_sentence_is_of_divergence(tmp_path):
    *_, found = compared(tmp_path, grid(0.05))
    assert not [text for text in effects.lines(found, "val_dice", "max") if "diverged" in text]


def test_comparisons_with_the_same_share_of_diverged_trials_are_told_in_one_sentence(tmp_path):
    trials = grid(0.05)
    for trial in trials:
        if trial.config["amp"]:
            trial.lines, trial.outcome = [line(1, 0.5), diverged_line(2, 0.1)], outcome("diverged", 2)
    *_, found = compared(tmp_path, trials)
    lines = [text for text in effects.lines(found, "val_dice", "max") if "both sides" in text]
    assert lines == [
        "In 1 comparison the share of diverged trials is the same on both sides; the table has the intervals."
    ]


def test_trials_are_counted_among_those_with_the_levels_that_are_named():
    """All that diverged had AMP and width 8, but of width no difference is clear: nothing is counted by it."""
    amp, width, upsample = (Factor(name, "choice") for name in ("amp", "width", "upsample"))
    bad = [(True, 8, "deconv", "diverged"), (True, 8, "deconv", "diverged"), (True, 8, "bilinear", "diverged")]
    good = [(True, 16, "deconv", "completed"), (False, 8, "bilinear", "completed"), (False, 16, "deconv", "completed")]
    trials = pd.DataFrame([*bad, *good], columns=["amp", "width", "upsample", "outcome"]).assign(num_epochs=1)
    clear = {"what": "divergence", "kind": "association"}
    found = [{"axis": "amp", "low": 0.1, "high": 0.9}, {"axis": "width", "low": -0.1, "high": 0.9}]
    found = pd.DataFrame([each | clear for each in [*found, {"axis": "upsample", "low": 0.1, "high": 0.9}] * 2])
    told = divergence_sentences(trials, [amp, width, upsample], found, ["amp", "upsample"])
    assert told[1] == "bilinear diverged in 1 of 1 trial, deconv in 2 of 3 (of those with amp=true)."


def test_the_verdict_says_at_which_epoch_with_an_interval(tmp_path):
    trials = grid(0.0005, noise=(0.02, -0.02, 0.01, -0.01, 0.015, -0.014))
    study, factors, design, found = compared(tmp_path, trials, options={"search": "optuna", "scheduler": "asha"})
    (told,) = verdict_sentences(study, factors[0], found, design)
    assert " (deconv less bilinear at epoch 2: 95 % CI " in told

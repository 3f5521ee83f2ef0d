"""What trials writes and what analysis has words for are the same names, in both directions."""

import pytest

from analysis.figures import canvas
from analysis.load import contract
from analysis.page import words
from trials.measurements import METRICS
from trials.numerics.explaining.rules import BLAMES, CAUSES, PHASES, REMEDIES
from trials.numerics.watching.health import EVENTS
from trials.outcome import BROKEN, OUTCOMES

OF_THE_READER = {"running", "not started"}  # outcomes that no trial writes: they are read from what is not there


@pytest.mark.parametrize(
    ("written", "worded"),
    [
        (OUTCOMES, set(words.OUTCOMES) - OF_THE_READER),
        (BROKEN, contract.BROKEN),
        (OUTCOMES, set(contract.OUTCOMES) - OF_THE_READER),
        (REMEDIES, contract.REMEDIES),
        (CAUSES, words.CAUSES),
        (BLAMES, words.BLAMES),
        (PHASES, words.PHASES),
        (EVENTS, words.EVENTS),
        (REMEDIES, words.REMEDIES),
        (OUTCOMES, set(canvas.OUTCOMES) - OF_THE_READER),
    ],
    ids=[
        "outcomes",
        "bad outcomes",
        "outcomes read",
        "remedies read",
        "causes",
        "blames",
        "phases",
        "events",
        "remedies",
        "outcomes in charts",
    ],
)
def test_every_name_that_trials_writes_has_words_and_no_other(written, worded):
    assert set(written) == set(worded)


def test_which_end_of_a_metric_is_best_is_the_same_in_trials_and_analysis():
    assert {name: metric.mode for name, metric in METRICS.items()} == contract.MODES


def test_each_set_of_outcomes_is_of_outcomes():
    for names in (contract.BROKEN, contract.UNMEASURED, contract.CUT, contract.WHOLE):
        assert set(names) <= set(contract.OUTCOMES)
    assert not set(contract.WHOLE) & set(contract.BROKEN)


def test_a_name_of_a_later_version_is_shown_as_it_is():
    assert words.remedy("warm_restart") == "warm restart"
    assert words.cause("cosmic_ray") == "cosmic ray"

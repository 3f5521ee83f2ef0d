"""Guards are judged by what runs did after an event: counted by hand."""

from analysis_fixtures import STUDY, Trial, completed, diverged_line, line, outcome, write_study

from analysis.load.factors import factors_of
from analysis.load.study import load_study
from analysis.page.answer import facts_of, sentences
from analysis.page.headline import headline
from analysis.page.sections.guards import guard_findings, guard_section, guard_sentences
from analysis.page.sections.trials import ending
from analysis.page.trial_record import trial_parts
from analysis.stats.guards import fates
from analysis.stats.ranking import rank_trials

SPACE = {
    "name": "remedies",
    "question": "Which guard cures what?",
    "axes": {
        "clip_norm": {"kind": "choice", "values": [0.0, 1.0]},
        "guard_statistics": {"kind": "choice", "values": [False, True]},
    },
    "fixed": {"on_divergence": "continue"},
}
ACCOUNT = {"cause": "optimizer_instability", "blame": "optimisation", "where": "outputs", "epoch": 1, "step": 7}
NOTHING = dict.fromkeys(["train_loss", "val_loss", "val_dice"])


def settings(clip: float = 0.0, guarded: bool = False) -> dict:
    return {"clip_norm": clip, "guard_statistics": guarded, "epochs": 3, "on_divergence": "continue"}


def lived(dice: float, **own) -> Trial:
    """An event in epoch 1, and two good epochs after it."""
    trial = completed([0.1, 0.2, dice], **settings(**own))
    trial.lines[0] = diverged_line(1, 0.0, where="outputs", rolled_back=False, **NOTHING) | {"done": False}
    trial.account = ACCOUNT
    return trial


def broke(**own) -> Trial:
    """An event in each epoch, the last one without a measurement."""
    trial = lived(0.3, **own)
    trial.lines = [diverged_line(epoch, 0.0, where="outputs", rolled_back=False, **NOTHING) for epoch in (1, 2, 3)]
    trial.outcome = outcome("diverged", 3, step=7, where="outputs")
    return trial


def cut(**own) -> Trial:
    trial = lived(0.3, **own)
    trial.lines, trial.outcome = trial.lines[:2], outcome("pruned", 2)
    return trial


def studied(tmp_path, trials):
    record = STUDY | {"space": SPACE, "num_trials": len(trials), "options": STUDY["options"] | {"search": "grid"}}
    study = load_study(write_study(tmp_path / "s", trials, study=record))
    return study, factors_of(study.study, study.trials)[0]


def sentences_of(tmp_path, trials):
    return guard_sentences(guard_findings(*studied(tmp_path, trials)), len(trials))


TRIALS = [broke(), broke(), lived(0.4), lived(0.6, clip=1.0), lived(0.8, clip=1.0), cut(clip=1.0), broke(guarded=True)]


def test_for_each_guard_it_is_said_how_many_met_an_event_and_lived_and_at_what_dice(tmp_path):
    assert sentences_of(tmp_path, [*TRIALS, completed([0.1, 0.2, 0.9], **settings())]) == [
        "Without a guard, 3 of 4 runs met an event; 1 of these 3 lived to the last epoch, with a median val_dice of"
        " 0.4000 there; median val_dice of those that met none: 0.9000.",
        "With clip_norm=1 alone, 3 of 3 runs met an event; 2 of these 3 lived to the last epoch, with a median val_dice"
        " of 0.7000 there (1 cut short, so not known).",
        "With guard_statistics=true alone, 1 of 1 run met an event; none of these lived to the last epoch.",
    ]


def test_the_section_counts_each_guard_alone_and_with_others(tmp_path):
    trials = [*TRIALS, lived(0.5, clip=1.0, guarded=True)]
    table = guard_section(guard_findings(*studied(tmp_path, trials)), "val_dice").blocks[1].frame.set_index("guards")
    assert table["num_trials"].to_dict() == {
        "none": 3,
        "clip_norm=1 alone": 3,
        "clip_norm=1, any others": 4,
        "guard_statistics=true alone": 1,
        "guard_statistics=true, any others": 2,
    }
    assert (table["num_with_event"] == table[["num_lived", "num_broke", "num_cut"]].sum(axis=1)).all()


def test_a_run_that_went_on_after_an_event_is_completed_and_not_diverged(tmp_path):
    study, factors = studied(tmp_path, [lived(0.7, clip=1.0), broke()])
    assert study.trials["outcome"].to_list() == ["completed", "diverged"]
    ranked = rank_trials(study.trials, study.epochs, "val_dice", "max")
    said = sentences(facts_of(study, factors, ranked), factors)
    assert any("1 completed (1 of them after an event) and 1 diverged" in each for each in said), said


def test_a_run_whose_last_epoch_measured_nothing_did_not_live(tmp_path):
    study, _ = studied(tmp_path, [broke(), lived(0.7)])
    assert fates(study.trials, study.epochs, "val_dice")["fate"].to_list() == ["broke", "lived"]


def test_a_run_that_lived_and_is_called_diverged_is_explained(tmp_path):
    trial = lived(0.4, clip=1.0)
    trial.lines[-1] |= {"diverged": True, "diverged_where": "loss_scale", "rolled_back": False}
    trial.outcome = outcome("diverged", 3, step=7, where="loss_scale")
    told = sentences_of(tmp_path, [trial, broke()])
    assert "With clip_norm=1, 1 of 1 run met an event; it lived to the last epoch" in told[1]
    assert told[-1] == (
        "A run that lived still passed a limit in the last epoch, so the rest of this page calls it diverged."
    )


def test_an_epoch_that_was_rolled_back_is_an_event_too(tmp_path):
    trial = completed([0.1, 0.2, 0.6], **settings() | {"on_divergence": "rollback"})
    trial.lines[1] |= {"rolled_back": True, "num_rollbacks": 1}
    study, _ = studied(tmp_path, [trial])
    assert study.trials["outcome"].to_list() == ["completed"]
    assert fates(study.trials, study.epochs, "val_dice")[["met_event", "fate"]].to_numpy().tolist() == [[True, "lived"]]


def test_untrained_weights_are_no_life(tmp_path):
    frozen = completed([0.1, 0.1, 0.1], **settings())
    frozen.lines[-1] |= {"num_steps": 32, "num_skipped_steps": 32}
    study, _ = studied(tmp_path, [frozen])
    assert fates(study.trials, study.epochs, "val_dice")["fate"].to_list() == ["broke"]


def test_the_answer_of_such_a_space_begins_with_its_guards(tmp_path):
    from analysis.stats.comparisons import compare
    from analysis.stats.designs import design_of

    study, factors = studied(tmp_path, TRIALS)
    design = design_of(study.study["options"], study.trials)
    found = compare(study.trials, study.epochs, factors, study.metric, study.mode, design)
    guards = guard_findings(study, factors).sentences
    assert headline(study, factors, found, design, guards)[0].startswith("Without a guard, 3 of 3 runs met an event")


def test_where_no_run_met_an_event_the_guards_are_not_judged(tmp_path):
    trials = [completed([0.1, 0.2, 0.9], **settings(clip=clip)) for clip in (0.0, 1.0)]
    assert sentences_of(tmp_path, trials) == [
        "None of the 2 runs met an event, so this study cannot tell what the guards are worth."
    ]


def test_a_space_without_guards_has_no_such_section(tmp_path):
    study = load_study(write_study(tmp_path / "s", [completed([0.5])]))
    found = guard_findings(study, factors_of(study.study, study.trials)[0])
    assert guard_section(found, "val_dice").blocks == []


def test_a_diverged_line_with_good_ones_after_it_needs_no_outcome_to_be_survived(tmp_path):
    trial = lived(0.7)
    trial.lines.append(line(4, 0.8))
    trial.outcome = None
    study, _ = studied(tmp_path, [trial])
    assert study.trials["outcome"].to_list() == ["interrupted"]


def test_the_part_of_a_run_that_went_on_says_so(tmp_path):
    study, _ = studied(tmp_path, [lived(0.7)])
    ranked = rank_trials(study.trials, study.epochs, "val_dice", "max")
    (part,) = trial_parts(study, ranked)
    assert ending(part, "val_dice").startswith(
        "Completed (trained to its end). It went on after an event in epoch 1: the network's outputs were not finite."
    )

"""The answer so far: facts (numbers, pure) and the plain sentences made of nothing but those facts."""

from collections.abc import Collection

import pandas as pd

from analysis.load.contract import BROKEN
from analysis.load.factors import Factor, settings_columns
from analysis.load.json_files import is_number
from analysis.load.study import Study
from analysis.page import words
from analysis.page.differences import design_sentence
from analysis.page.wording import count, has_ended, listed, none_diverged, settings_text, show, unknown_text
from analysis.page.words import DID
from analysis.stats.designs import design_of
from analysis.stats.guards import event_counts
from analysis.stats.outcomes import causes, common_remedies, divergences, outcome_counts, unknown_divergences
from analysis.stats.ranking import level_summary, seed_spread

FEW_TRIALS = 5  # a level


def facts_of(study: Study, factors: list[Factor], ranked: pd.DataFrame) -> dict:
    """Everything the sentences say, as data."""
    choices = [factor for factor in factors if factor.kind == "choice"]
    spread = seed_spread(ranked, factors, study.metric)
    counts = outcome_counts(ranked, study.num_planned)
    scored = ranked[ranked["rank"].notna()]
    return {
        "state": study.state,
        "metric": study.metric,
        "mode": study.mode,
        "num_planned": study.num_planned,
        "num_trials": len(ranked),
        "num_measured": len(scored),
        "outcomes": dict(zip(counts["outcome"], counts["num_trials"], strict=True)),
        "num_completed_after_event": int(
            ((ranked["outcome"] == "completed") & ranked["folder"].isin(event_counts(study.epochs).index)).sum()
        ),
        "best": placed(scored, 0, factors, study),
        "second": placed(scored, 1, factors, study),
        "test": study.test,
        "levels": {factor.name: level_summary(ranked, factor, study.metric).to_dict("records") for factor in choices},
        "first_divergence": next(iter(divergences(ranked, factors).to_dict("records")), None),
        "unknown_divergences": unknown_divergences(ranked),
        "causes": causes(ranked),
        "common_remedies": common_remedies(ranked),
        "search": study.study["options"].get("search"),
        "scheduler": study.study["options"].get("scheduler"),
        "design": design_sentence(design_of(study.study["options"], study.trials)),
        "has_seeds": bool("seed" in ranked and ranked["seed"].notna().any()),
        "num_repeated_settings": len(spread),
        "median_seed_spread": float(spread["spread"].median()) if len(spread) else None,
    }


def placed(scored: pd.DataFrame, place: int, factors: list[Factor], study: Study) -> dict | None:
    """The trial in a place of the ranking; None where there are not so many. scored: the rows of ranked with a rank.

    epochs: how many were planned; of others' trials it is not known what their setting of that name counts.
    """
    if place >= len(scored):
        return None
    row = scored.iloc[place].to_dict()
    return {name: row.get(name) for name in ("folder", "trial", "best_epoch", "outcome", "seed")} | {
        "epochs": row.get("epochs") if study.is_ours else None,
        "value": float(row[f"best_{study.metric}"]),
        "settings": settings_text(row, settings_columns(scored, factors)),
    }


def sentences(facts: dict, factors: list[Factor], compared: Collection[str] = ()) -> list[str]:
    """`compared` are the axes of which the page tells differences elsewhere; of the others it tells medians here."""
    found = [*best_sentences(facts), test_sentence(facts), state_sentence(facts)]
    titles = {factor.name: factor.title for factor in factors if factor.name not in compared}
    found += [
        level_sentence(facts, titles[name], rows)
        for name, rows in facts["levels"].items()
        if name in titles and len(rows) > 1
    ]
    found.append(single_sentence(facts))
    found += [divergence_sentence(facts), *caution_sentences(facts)]
    return [sentence for sentence in found if sentence]


def state_sentence(facts: dict) -> str:
    """Whether the study has finished, and how its trials ended."""
    states = {
        "finished": "The study has finished",
        "interrupted": "The study was interrupted, so this is the answer of a part of it",
        "running": "The study is still running, or was killed without a record of it; this is the answer so far",
        "unknown": "Whether the study has finished is not recorded",
    }
    planned = f" of {facts['num_planned']} planned" if facts["num_planned"] is not None else ""
    after = facts["num_completed_after_event"]
    notes = {"completed": f" ({after} of them after an event)"} if after else {}
    ends = [f"{number} {words.outcome(name)}{notes.get(name, '')}" for name, number in facts["outcomes"].items()]
    if not facts["num_trials"]:
        return f"{states[facts['state']]}. No trial{planned} has started."
    return f"{states[facts['state']]}. {count(facts['num_trials'], 'trial')}{planned} started: {listed(ends)}."


def best_sentences(facts: dict) -> list[str]:
    """The best trial and the next best: score, epoch and settings."""
    metric, best, second = facts["metric"], facts["best"], facts["second"]
    if best is None:
        yet = " yet" if facts["state"] == "running" else ""
        return [f"No trial has a finite {metric}{yet}, so there is no best trial."] if facts["num_trials"] else []
    of = f" of {show(best['epochs'])}" if is_number(best["epochs"]) else ""
    seed = f"; seed {show(best['seed'])}" if is_number(best["seed"]) else ""
    settings = f", with {best['settings']}" if best["settings"] else ""
    found = [
        f"The best trial is {best['trial']}: {metric} {show(best['value'], 'dice')}"
        f"{epoch_text(best['best_epoch'])}{of} ({words.outcome(best['outcome'])}){settings}{seed}."
    ]
    if second is not None:
        gap = gap_to(best["value"], second["value"], facts["mode"])
        settings = f", with {second['settings']}" if second["settings"] else ""
        found.append(f"The next best, {second['trial']}, reached {show(second['value'], 'dice')} ({gap}){settings}.")
    return found


def gap_to(best: float, second: float, mode: str) -> str:
    """How far the second is behind, in words: 0.0120 less."""
    if best == second:
        return "the same"
    return f"{show(abs(best - second), 'dice')} {'less' if mode == 'max' else 'more'}"


def epoch_text(epoch: object) -> str:
    return " in an epoch that is not recorded" if pd.isna(epoch) else f" at epoch {epoch}"


def test_sentence(facts: dict) -> str:
    """The test score, and whose it is; empty where no trial has started."""
    test, best = facts["test"], facts["best"]
    if test is None:
        written = " (it is taken once, when the study finishes)" if facts["state"] == "running" else ""
        return f"There is no test score{written}." if facts["num_trials"] else ""
    images = f"{show(test.get('num_images'))} test images" if test.get("num_images") is not None else "test images"
    same = best is not None and best["folder"] == test.get("folder")
    whose = "the best trial" if same else f"trial {show(test.get('trial'))} (not the best of this ranking)"
    scores = [
        f"{word} {show(test[key], key)}"
        for key, word in [("test_dice", "Dice"), ("test_iou", "IoU")]
        if is_number(test.get(key))
    ]
    return f"On the {images}, {whose} scores {listed(scores) or 'nothing that test.json records'}."


def level_sentence(facts: dict, title: str, rows: list[dict]) -> str:
    """The medians of an axis's levels; rows: those of level_summary."""
    metric = facts["metric"]
    broke = any(row["num_diverged"] for row in rows)
    parts = [
        f"{show(row[f'median_best_{metric}'], 'dice')} for {row['level']}"
        f" ({row['num_measured']} of {count(row['num_trials'], 'trial')} measured"
        f"{'; ' + str(row['num_diverged']) + ' diverged' if broke else ''}"
        f"{', ' + str(row['num_unknown']) + ' not known' if broke and row['num_unknown'] else ''})"
        for row in rows
    ]
    return f"By {title}, the median of the trials' best {metric} is {listed(parts)}."


def single_sentence(facts: dict) -> str:
    """The axes on which all trials have the same level."""
    single = {name: rows[0] for name, rows in facts["levels"].items() if len(rows) == 1}
    same = [f"{name}={row['level']}" for name, row in single.items() if row["num_trials"] == facts["num_trials"]]
    so_far = " so far" if facts["state"] == "running" else ""
    return f"All trials{so_far} have {listed(same)}, so nothing is compared there." if same else ""


def divergence_sentence(facts: dict) -> str:
    """How many trials diverged, of how many that it is known of, and the earliest."""
    first, number = facts["first_divergence"], sum(facts["outcomes"].get(name, 0) for name in BROKEN)
    unknown = facts["unknown_divergences"]
    if not facts["num_trials"]:
        return ""
    if first is None:
        is_over = has_ended(facts["state"], facts["outcomes"])
        return none_diverged(facts["num_trials"], unknown, is_over=is_over)
    rest = f" (of {sum(unknown.values())} it is not known: {unknown_text(unknown)})" if unknown else ""
    step = f", step {show(first['step'])}" if is_number(first["step"]) else ""
    seen = f": {words.event(first['where'])}" if first["where"] else ""
    epoch = f"epoch {show(first['epoch'])}" if is_number(first["epoch"]) else "an epoch not recorded"
    how = [word for word in BROKEN if facts["outcomes"].get(word)]
    diverged = f"{number} of {count(facts['num_trials'], 'trial')} {' or '.join(DID[word] for word in how)}"
    return f"{diverged}{rest}, the earliest ({first['trial']}) at {epoch}{step}{seen}."


def caution_sentences(facts: dict) -> list[str]:
    """What the numbers above do not say."""
    if facts["num_measured"] < 2:
        return []
    return [facts["design"], seed_sentence(facts), few_sentence(facts)]


def seed_sentence(facts: dict) -> str:
    """How far the seeds of one setting lie apart, or that this study cannot tell."""
    if facts["num_repeated_settings"]:
        return (
            f"{count(facts['num_repeated_settings'], 'setting')} ran with several seeds. From seed to seed the best"
            f" {facts['metric']} differs by {show(facts['median_seed_spread'], 'dice')} (median), so a smaller"
            " difference between two trials may be luck."
        )
    if not facts["has_seeds"]:
        return "No seed is recorded, so how much of a difference between two trials is luck, this study cannot say."
    return (
        "No setting was measured under several seeds, so a difference between two trials includes the luck of the"
        " seed, which this study cannot tell apart."
    )


def few_sentence(facts: dict) -> str:
    """The levels of which fewer than FEW_TRIALS trials were measured; empty where there are none."""
    few = [
        f"{name}={row['level']} ({row['num_measured']})"
        for name, rows in facts["levels"].items()
        if len(rows) > 1
        for row in rows
        if row["num_measured"] < FEW_TRIALS
    ]
    return f"Fewer than {FEW_TRIALS} trials were measured with {listed(few)}." if few else ""

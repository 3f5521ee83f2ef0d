"""The page's part on how the trials ended."""

import pandas as pd

from analysis.page import words
from analysis.page.blocks import Section, Table
from analysis.page.words import OUTCOMES
from analysis.stats.outcomes import failures, outcome_counts


def outcomes_section(trials: pd.DataFrame, facts: dict) -> Section:
    """How many trials ended how, and the errors of those that failed."""
    counts, failed = outcome_counts(trials, facts["num_planned"]), failures(trials)
    counts = counts.assign(meaning=[OUTCOMES.get(name, "no known outcome") for name in counts["outcome"]])
    blocks = [Table("outcomes", "How the trials ended.", counts)] if len(counts) else []
    blocks += [Table("failures", "Trials that ended by an error, and what it said.", failed)] if len(failed) else []
    ends = ", ".join(f"{number} {words.outcome(name)}" for name, number in facts["outcomes"].items())
    return Section("How the trials ended", blocks, ends)

"""The page's part on the ranking: all trials, and the best of each against each numeric axis."""

import pandas as pd

from analysis.figures import canvas, places
from analysis.figures.canvas import colours_of
from analysis.load.factors import Factor, settings_columns
from analysis.page.blocks import Picture, Section, Table, slug
from analysis.page.wording import count, early_text, show
from analysis.stats.places import best_points, colouring, is_log, range_factors
from analysis.stats.ranking import ranking_table


def range_pictures(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> list[Picture]:
    """The best score of each trial against each numeric range (the learning rate first)."""
    points = [(factor, best_points(ranked, factor, factors, metric)) for factor in range_factors(factors)]
    return [best_picture(ranked, factor, found, factors, metric) for factor, found in points if len(found)]


def best_picture(
    ranked: pd.DataFrame, factor: Factor, points: pd.DataFrame, factors: list[Factor], metric: str
) -> Picture:
    """The best score of each trial against one axis; points: rows of best_points."""
    by = colouring(ranked, factors)
    drawn = canvas.drawn(
        places.draw_best_against,
        points,
        colours=colours_of(ranked, by, factors),
        metric=metric,
        name=factor.axis_title,
        log=is_log(factor, points["x"]),
        title=by.axis_title if by else "",
    )
    best = points.iloc[0]
    told = f"The best {metric} of {count(len(points), 'trial')} against {factor.title}"
    return Picture(
        f"best_{slug(metric)}_against_{slug(factor.name)}",
        f"{told}{early_text(ranked)}.",
        f"{told}. The best of them is {best['value']:.4f}, at {best['x']:.4g}.",
        drawn,
    )


def ranking_section(ranked: pd.DataFrame, factors: list[Factor], metric: str) -> Section:
    """All trials by their best score, and figures of it against each numeric axis."""
    if ranked.empty:
        return Section("Ranking", [])
    caption = (
        f"By the best {metric}; a trial without a finite one has no rank. A click on a setting shows only the trials"
        " that have it. Speed and duration are in tables/ranking.csv."
    )
    settings = settings_columns(ranked, factors)
    seeds = ["seed"] if "seed" in ranked and ranked["seed"].nunique() > 1 else []
    table = Table(
        "ranking",
        caption,
        ranking_table(ranked, factors, metric),
        settings=[*settings, *seeds],
        choices=[factor.name for factor in factors if factor.kind == "choice"],
        columns=("rank", f"best_{metric}", "trial", *settings, *seeds, "outcome", "num_epochs", "best_epoch"),
        heads={factor.name: factor.title for factor in factors} | {f"best_{metric}": f"best {metric}"},
    )
    best = ranked[f"best_{metric}"].iloc[0]
    about = f"{count(len(ranked), 'trial')} by their best {metric}, the best {show(best, metric)}"
    return Section("Ranking", [table, *range_pictures(ranked, factors, metric)], about)

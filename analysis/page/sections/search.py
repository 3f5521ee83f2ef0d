"""The page's part on how the search went: time line, rungs, cost against score, parallel coordinates."""

import pandas as pd

from analysis.figures import canvas, search
from analysis.load.factors import Factor
from analysis.load.study import Study
from analysis.page import words
from analysis.page.blocks import Picture, Section
from analysis.page.wording import count, listed, show
from analysis.stats.search_history import MOST_LINES, costs, parallel, rungs, time_line

TITLE = "How the search went"
MOST_AXES = 10  # of parallel coordinates
FEWEST = 3  # trials, for a figure to be worth its place


def search_section(study: Study, ranked: pd.DataFrame, factors: list[Factor]) -> Section:
    """Its figures; each is left out where it would show too little."""
    pictures = [
        *parallel_picture(ranked, factors, study.metric, study.mode),
        *rung_picture(study),
        *cost_picture(ranked, study.metric, study.mode),
        *time_picture(study),
    ]
    return Section(TITLE, pictures, count(len(pictures), "figure") + ": settings and scores, stops, costs, times")


def time_picture(study: Study) -> list[Picture]:
    """When each trial ran; none for fewer than FEWEST trials whose times are known."""
    bars = time_line(study.trials, study.epochs)
    if len(bars) < FEWEST:
        return []
    drawn = canvas.drawn(search.draw_time_line, bars, height_in=3.4)
    whole, counts = bars["end_min"].max(), bars["outcome"].value_counts()
    missing = len(study.trials) - len(bars)
    absent = f" {count(missing, 'trial')} left no result with a time and cannot be drawn." if missing else ""
    told = [f"{number} {words.outcome(str(name))}" for name, number in counts.items()]
    return [
        Picture(
            "time_line",
            f"When each trial ran, from its start to its last result.{absent}",
            f"Time line of {count(len(bars), 'trial')} over {whole:.1f} minutes: {listed(told)}.",
            drawn,
        )
    ]


def rung_picture(study: Study) -> list[Picture]:
    """Where the scheduler stopped trials; none where it stopped none, or at too many epochs."""
    rows = rungs(study.trials, study.epochs, study.metric, study.mode, by_objective=study.is_ours)
    if rows.empty:
        return []
    drawn = canvas.drawn(search.draw_rungs, rows, metric=study.metric)
    counts = rows.groupby("rung")["stopped"].agg(["size", "sum"])
    what = f"their best {study.metric} so far" if study.is_ours else f"their {study.metric} there"
    told = [f"epoch {rung}: {row['size']} came, {row['sum']} stopped" for rung, row in counts.iterrows()]
    return [
        Picture(
            "rungs",
            f"Where the scheduler stopped trials, by {what}. A stopped trial may lie above one that went on: each was"
            " compared with the trials that had come to the rung before it.",
            f"Rungs. {'; '.join(told)}.",
            drawn,
        )
    ]


def cost_picture(ranked: pd.DataFrame, metric: str, mode: str) -> list[Picture]:
    """What each trial took against what it reached; none for fewer than FEWEST trials."""
    points = costs(ranked, metric, mode)
    if len(points) < FEWEST:
        return []
    low, high = points["cost_min"].min(), points["cost_min"].max()
    drawn = canvas.drawn(search.draw_costs, points, metric=metric, log=canvas.needs_log(low, high))
    front = points[points["on_front"]]
    told = [f"{row.trial} ({row.cost_min:.2g} min, {show(row.value, metric)})" for row in front.itertuples()]
    return [
        Picture(
            "cost",
            f"The minutes that a trial took and the best {metric} that it reached ({low_or_high(mode)} is better). No"
            " trial that took less time is better than those on the line. Trials that shared the machine took longer.",
            f"Cost against best {metric} of {count(len(points), 'trial')}; on the front: {listed(told)}.",
            drawn,
        )
    ]


def parallel_picture(ranked: pd.DataFrame, factors: list[Factor], metric: str, mode: str) -> list[Picture]:
    """Each trial's settings and score as a line; none for fewer than FEWEST trials, or one setting that varied."""
    varied = [factor for factor in factors if factor.name in ranked and ranked[factor.name].astype(str).nunique() > 1]
    if len(varied) < 2 or ranked["rank"].notna().sum() < FEWEST:
        return []
    left_out = varied[MOST_AXES:]
    varied = varied[:MOST_AXES]
    frames = parallel(ranked, varied, metric)
    names = [*(factor.name for factor in varied), f"best {metric}"]
    how = {"names": names, "metric": f"best {metric}", "mode": mode}
    drawn = canvas.drawn(search.draw_parallel, frames, **how, height_in=3.6)
    shown = len(frames[1])
    some = f" {MOST_LINES} of them, evenly over the ranking." if shown < ranked["rank"].notna().sum() else ""
    some += f" The first {MOST_AXES} of {MOST_AXES + len(left_out)} settings that varied." if left_out else ""
    return [
        Picture(
            "parallel",
            f"Each trial's settings and the best {metric} it reached ({low_or_high(mode)} is better), a line a trial,"
            f" the darker the better.{some}",
            f"Parallel coordinates of {count(shown, 'trial')} over {listed(names)}.",
            drawn,
        )
    ]


def low_or_high(mode: str) -> str:
    return "higher" if mode == "max" else "lower"

"""Text of others, whole or cut with a mark: on the page, in tables and in figures, where none of it is off the edge."""

import csv
import io
import json
import re
from itertools import product
from urllib.parse import unquote

import matplotlib
import numpy as np
import pandas as pd
import pytest
from foreign_fixtures import scored, write_experiment
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis.figures import canvas, curves, divergence, lettering, places, search
from analysis.load.factors import Factor, levels
from analysis.load.labels import key_of
from analysis.page.blocks import Section, Table
from analysis.page.files import csv_of
from analysis.page.markdown import inline
from analysis.page.study_page import named_apart
from analysis.report import main
from analysis.stats.curves import CurveFrames, curve_ends, medians
from analysis.stats.search_history import scaled_range

NASTY = [
    "US$ to C$ {x_i}^2 \\frac",
    "_hidden <b>&amp;</b> #1 %s",
    "学習率の設定と大きさの違い",
    "معدل التعلم",
    "\U0001f600 and \ud83d alone\n\ttwo lines",
    "x" * 300,
    "x" * 299 + "y",
    str(list(range(60))),
]
NAMES = [*(f"{place} {text}" for place, text in enumerate(NASTY)), "", " "]


def laid_out(draw, *frames, **how):
    """The figure, after a look that all of it lies on it."""
    with matplotlib.rc_context(canvas.STYLE | {"font.family": lettering.families()}):
        figure, _ = canvas.laid_out(draw, *frames, **{"rows": 1, "panels": 1, "height_in": 4.0} | how)
        box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    width, height = figure.get_size_inches()
    assert (box.x0, box.y0) >= (-0.02, -0.02)
    assert box.x1 <= width + 0.02
    assert box.y1 <= height + 0.02
    return figure


def curve_frames(names):
    rows = [
        {"folder": name, "trial": name, "level": name, "epoch": epoch, "value": epoch / 9}
        for name, epoch in product(names, (1, 2))
    ]
    trials = pd.DataFrame({"folder": names, "outcome": "completed", "level": names})
    factor = Factor("level", "choice", tuple(names), labels={key_of(name): name for name in names})
    level = dict(zip(names, levels(trials, factor), strict=True))
    lines = pd.DataFrame(rows).assign(level=lambda rows: rows["folder"].map(level))
    return CurveFrames(lines, medians(lines, trials, factor), curve_ends(lines, trials), 0, 0)


def test_curves_of_nasty_levels_stay_on_their_figure():
    colours = canvas.palette(NAMES, 0)
    for name in NASTY:
        laid_out(curves.draw_metric, curve_frames(NAMES), colours=colours, title=name, label=name)


def test_a_legend_of_many_levels_stays_on_its_figure_and_counts_the_rest():
    names = [f"level {number} {'z' * 40}" for number in range(60)]
    figure = laid_out(
        curves.draw_metric, curve_frames(names), colours=canvas.palette(names, 0), title="t", label="loss"
    )
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(told) == canvas.MOST_IN_LEGEND
    assert told[-1] == f"… and {60 - canvas.MOST_IN_LEGEND + 1} more"


def test_nasty_ticks_and_axes_stay_on_their_figure():
    trials = pd.DataFrame({"x": 1.0, "y": range(len(NAMES)), "outcome": "completed", "trial": "a"})
    edge = pd.DataFrame({"x": [], "y": []})
    laid_out(places.draw_outcomes, trials, edge, name=NASTY[5], ticks=NAMES, ylabel=NASTY[2], log=False)
    frames = np.array([[0.0, 0.5, 1.0], [1.0, 0.0, 0.0]]), np.array([1.0, 2.0])
    ticks = [[(place / 10, name) for place, name in enumerate(NAMES)]] * 3
    laid_out(search.draw_parallel, (*frames, ticks), names=[NASTY[5], NASTY[2], NASTY[0]], metric=NASTY[6], mode="min")


def test_the_loss_scales_axis_is_in_plain_numbers():
    traces = pd.DataFrame(
        {"folder": "a", "outcome": "completed", "epoch": [1, 2], "loss_scale": [2.0**16, 2.0**10], "skipped_share": 0.0}
    )
    figure = laid_out(divergence.draw_scales, traces, rows=2)
    assert not any("$" in text.get_text() for text in figure.axes[0].yaxis.get_ticklabels())


@pytest.mark.parametrize("text", NASTY)
def test_a_shown_text_is_short_and_in_letters_that_the_fonts_have(text):
    line = lettering.shown(text, 40)
    assert len(line) <= 40
    assert {ord(each) for each in line} <= lettering.letters()


def test_texts_that_would_look_alike_are_told_apart():
    assert len(set(lettering.told_apart(NASTY, 14))) == len(NASTY)
    assert lettering.told_apart(["0.1", "0.1"], 14) == ["0.1", "0.1"]


def test_ticks_of_close_numbers_differ():
    _, ticks = scaled_range(pd.Series([0.58161, 0.58212]), log=False)
    assert len({text for _, text in ticks}) == 3


def test_a_table_holds_no_formula():
    frame = pd.DataFrame({"=cmd": ["=1+1", "+a", "-b", "@c", "\td", "-1.5", "plain"], "n": [-1.0] * 7})
    head, *rows = csv.reader(io.StringIO(csv_of(frame).decode()))
    assert head == ["'=cmd", "n"]
    assert [row[0] for row in rows] == ["'=1+1", "'+a", "'-b", "'@c", "'\td", "-1.5", "plain"]
    assert {row[1] for row in rows} == {"-1.0"}


def test_a_large_table_holds_no_formula():
    frame = pd.DataFrame({"=cmd": ["=1+1", "a"] * 60_000})
    assert csv_of(frame).decode().splitlines()[:3] == [""" "'=cmd" """.strip(), """ "'=1+1" """.strip(), '"a"']


def test_files_of_names_that_differ_by_case_alone_differ_otherwise():
    tables = [Table(name, "", pd.DataFrame()) for name in ("levels_LR", "levels_lr", "levels_lr_2", "a" * 300)]
    (section,) = named_apart([Section("", tables)])
    assert [table.name for table in section.blocks] == ["levels_LR", "levels_lr_2", "levels_lr_2_2", "a" * 80]


def test_markdown_takes_marks_of_text_as_they_stand():
    assert inline("$a$ #b <c> ~~d~~") == r"\$a\$ \#b \<c\> \~\~d\~\~"


def test_a_report_of_nasty_names_and_values(tmp_path):
    configs = [
        {"<script>alert(1)</script>": text, "$lr$": lr, "$LR$": lr + 1, "#" * 300: [text] * 60}
        for text, lr in product(NASTY[:5], (1, 2))
    ]
    folder = write_experiment(tmp_path / "an $experiment$ <b>", scored(configs))
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "<script>alert" not in page
    assert "trials.train" not in page
    links = re.findall(r'<a href="([^"#]*train_[^"]*)"', page)
    assert all((tmp_path / "out" / unquote(path)).is_dir() for path in links)
    assert links
    record = json.loads((tmp_path / "out/report.json").read_text())
    names = [name.lower() for name in record["figures"]]
    assert len(names) == len(set(names))
    assert {"levels_-lr", "levels_-lr-_2"} & set(record["tables"]) or "levels_lr_2" in record["tables"]


def test_words_of_ours_are_whole_in_a_tables_cell():
    reason = "fewer than 3 pairs, and fewer than 3 measured trials a level"
    assert Table("effects", pd.DataFrame({"reason": [reason]}), "").shown(reason, "reason") == reason

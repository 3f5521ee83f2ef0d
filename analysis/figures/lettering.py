"""Text of others in figures: in fonts that have its letters, with a mark for what no font has, cut to its place."""

from collections import Counter
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

from analysis.load.labels import cut

FIRST = "DejaVu Sans"  # matplotlib brings it
# Families with the letters that it lacks, by the names they have on Linux, macOS and Windows; used where installed.
MORE = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Source Han Sans", "IPAexGothic", "IPAGothic"),
    *("TakaoPGothic", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Unifont"),
    *("Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Yu Gothic", "Meiryo", "Microsoft YaHei", "SimHei", "Malgun Gothic", "Segoe UI Symbol"),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji"),
)
LONGEST_LINE = 50  # characters of a line of text in a figure; more would leave it


@cache
def families() -> tuple[str, ...]:
    """The fonts to draw with, in the order in which they are asked for a letter."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return (FIRST, *(name for name in MORE if name in installed))


@cache
def letters() -> frozenset[int]:
    """The characters that one of the fonts has."""
    paths = [font_manager.findfont(name) for name in families()]
    return frozenset(code for path in paths for code in FT2Font(path).get_charmap())


def shown(text: object, most: int = LONGEST_LINE) -> str:
    """One line of at most so many characters; a character that no font has stands as its code: \\u65e5."""
    return cut(coded(" ".join(str(text).split())), most)


def coded(text: str) -> str:
    """The text, with the code of each character that no font has in its place."""
    return "".join(each if ord(each) in letters() or each == "\n" else escaped(each) for each in text)


def escaped(letter: str) -> str:
    """The code of a character as Python writes it: \\u65e5, \\U0001f600."""
    code = ord(letter)
    return f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"


def told_apart(texts: list[str], most: int) -> list[str]:
    """Each as shown(); of different ones that would look alike each with a number."""
    lines = {text: shown(text, most) for text in texts}
    alike, seen = Counter(lines.values()), Counter()
    for text, line in lines.items():
        seen[line] += 1
        if alike[line] > 1:
            lines[text] = f"{cut(line, most - 4)} #{seen[line]}"
    return [lines[text] for text in texts]


def fit(figure: Figure) -> None:
    """Every text of a figure made such that its fonts have it and its lines stay within; ticks are named anew, too."""
    for text in figure.findobj(Text):
        text.set_text(lines_of(text.get_text()))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FixedFormatter):
                formatter.seq = [lines_of(text) for text in formatter.seq]


def shrink(figure: Figure) -> None:
    """Makes the labels and the legends of a figure that was laid out so small that they lie on it."""
    width, height = figure.bbox.width, figure.bbox.height
    for axes in figure.axes:
        for text, size, start, end in (
            (axes.xaxis.label, width, "x0", "x1"),
            (axes.title, width, "x0", "x1"),
            (axes.yaxis.label, height, "y0", "y1"),
        ):
            box = text.get_window_extent()
            low, high = getattr(box, start), getattr(box, end)
            middle = (low + high) / 2
            resize([text], 2 * min(middle, size - middle) / max(high - low, 1))
    for legend in figure.legends:
        resize([*legend.get_texts(), legend.get_title()], width / max(legend.get_window_extent().width, 1))


def resize(texts: list[Text], factor: float) -> None:
    """Makes the texts smaller by a factor below 1, and by 2 % more so that they surely fit."""
    if factor < 1:
        for text in texts:
            text.set_fontsize(text.get_fontsize() * factor * 0.98)


def lines_of(text: str) -> str:
    return "\n".join(cut(coded(line), LONGEST_LINE) for line in text.split("\n"))

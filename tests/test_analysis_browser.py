"""The page in a real browser: Chromium, headless, with no network but the disk."""

import base64
import json
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from analysis_fixtures import STUDY, Trial, completed, diverged_line, write_realistic, write_study
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from analysis.report import write_report

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WANTED = "apt-get install --no-install-recommends chromium chromium-driver"
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason=f"no Chromium here; {WANTED}")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root, as in a container, has none
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # nothing is reached, whatever the page asks for
)

# In the page: the lowest contrast of any text with what lies behind it (WCAG), and that text.
CONTRAST = """
const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = element => {
  for (let e = element; e; e = e.parentElement) {
    const colour = rgb(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
let worst = [99, ""];
for (const part of document.querySelectorAll("details")) part.open = true;
for (const element of document.body.querySelectorAll("*")) {
  const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join("");
  if (!text || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
  const style = getComputedStyle(element);
  const [a, b] = [rgb(element.closest("svg") ? style.fill : style.color), behind(element)].map(light);
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < worst[0]) worst = [ratio, element.tagName + " " + text.slice(0, 60)];
}
return worst;
"""


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a study with every kind of trial."""
    return write_report(write_realistic(tmp_path_factory.mktemp("results") / "upsample-1"))


@pytest.fixture
def page(browser, report):
    """The page, opened anew in a desktop's window."""
    return opened(browser, report)


def opened(browser, report: Path, *, width: int = 1280, dark: bool = False, media: str = ""):
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what came before is not this page's
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
    browser.get(report.as_uri())
    return browser


def unfolded(page):
    """With every part open."""
    page.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    return page


def requests(browser) -> set[str]:
    """The addresses that were asked for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return {each["request"]["url"] for each in sent}


def make_empty(folder):
    return write_study(folder, [], study=STUDY | {"finished": None})


def make_foreign(folder):
    foreign = [completed([0.5], model="<script>x()</script>"), Trial(lines=[diverged_line(1, 0.1)])]
    return write_study(folder, foreign, study={"name": "<img src=http://nowhere.example/x.png>"})


def make_broken(folder):
    write_study(folder, [completed([0.5, 0.6]), completed([0.6])])
    for path in folder.glob("*/*.json"):
        path.write_bytes(b"\xff{")
    return folder


MADE = {"full": write_realistic, "empty": make_empty, "foreign": make_foreign, "broken": make_broken}


@pytest.mark.parametrize("kind", MADE)
def test_nothing_is_said_on_the_console_and_nothing_asked_of_the_network(browser, tmp_path, kind):
    opened(browser, write_report(MADE[kind](tmp_path / kind)))
    said = [entry["message"] for entry in browser.get_log("browser")]
    asked = requests(browser)
    assert said == []
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_an_outside_address_would_have_been_seen(browser, tmp_path):
    (tmp_path / "page.html").write_text("<img src='http://nowhere.example/x.png'>")
    opened(browser, tmp_path / "page.html")
    assert "http://nowhere.example/x.png" in requests(browser)
    assert browser.get_log("browser")


def column(page, table: int, place: int) -> list[str]:
    """What a column is sorted by, from the top."""
    return page.execute_script(
        "return [...document.querySelectorAll('table')[arguments[0]].tBodies[0].rows]"
        ".map(row => row.cells[arguments[1]]).map(cell => cell.dataset.value ?? cell.textContent)",
        table,
        place,
    )


def in_order(values: list[str], *, up: bool) -> bool:
    """Sorted, numbers as numbers, what is empty last."""
    filled = [value for value in values if value]
    if filled != values[: len(filled)]:
        return False
    try:
        numbers = [float(value) for value in filled]
    except ValueError:
        return True  # words: the browser's own order
    return numbers == sorted(numbers, reverse=not up)


def test_every_column_of_every_table_sorts_both_ways(page):
    heads = page.find_elements(By.TAG_NAME, "table")
    assert len(heads) >= 8
    for number, table in enumerate(heads):
        for place, head in enumerate(table.find_elements(By.TAG_NAME, "th")):
            for up in (True, False):
                page.execute_script("arguments[0].click()", head.find_element(By.TAG_NAME, "button"))
                assert head.get_attribute("aria-sort") == ("ascending" if up else "descending")
                assert in_order(column(page, number, place), up=up), (head.text, column(page, number, place))


def test_the_keyboard_sorts_the_ranking(page):
    unfolded(page)
    button = page.find_element(By.XPATH, "//figure[@id='table-ranking']//th/button[normalize-space()='learning rate']")
    first = page.find_element(By.CSS_SELECTOR, "#table-ranking tbody").text
    button.send_keys(Keys.ENTER)
    head = button.find_element(By.XPATH, "..")
    assert head.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.SPACE)
    assert head.get_attribute("aria-sort") == "descending"
    assert page.find_element(By.CSS_SELECTOR, "#table-ranking tbody").text != first


def test_every_figure_is_shown_and_has_words(page):
    unfolded(page)
    shown = page.execute_script(
        "return [...document.images].map(i => [i.naturalWidth, i.naturalHeight, i.clientWidth, i.alt.length])"
    )
    assert len(shown) >= 8
    assert all(min(sizes) > 0 for sizes in shown)
    curves = page.execute_script(
        "return [...document.querySelectorAll('svg')].map(s => [s.getBoundingClientRect().width,"
        " s.getBBox().height, s.getAttribute('aria-label').length, s.getAttribute('role')])"
    )
    assert len(curves) >= 40
    assert all(min(sizes) > 0 and role == "img" for *sizes, role in curves)


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_the_page_never_scrolls_sideways(browser, report, width):
    page = opened(browser, report, width=width)
    page.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    wide, inner = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert inner == width
    assert wide <= width


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_by_day_and_by_night(browser, report, dark):
    page = opened(browser, report, dark=dark)
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(","))
    assert (max(red, green, blue) < 64) if dark else (min(red, green, blue) > 230)
    ratio, text = page.execute_script(CONTRAST)
    assert ratio >= 4.5, text


def test_a_trials_name_opens_its_part(page):
    link = page.find_element(By.CSS_SELECTOR, "#table-ranking tbody tr:nth-child(3) a")
    part = page.find_element(By.ID, link.get_attribute("href").split("#")[1])
    for _ in range(2):  # closed by hand, the same link opens it again
        assert part.get_attribute("open") is None
        page.execute_script("arguments[0].click()", link)
        assert page.find_element(By.ID, "trials").get_attribute("open") is not None  # what it lies in, too
        assert part.get_attribute("open") is not None
        assert link.text in part.find_element(By.TAG_NAME, "summary").text
        assert 0 <= page.execute_script("return arguments[0].getBoundingClientRect().top", part) < 900
        page.execute_script("arguments[0].open = false", part)


def test_an_address_with_a_trial_opens_its_part(browser, report):
    page = opened(browser, report)
    anchor = page.find_element(By.CSS_SELECTOR, "details[id^=trial-]").get_attribute("id")
    browser.get("about:blank")
    browser.get(f"{report.as_uri()}#{anchor}")
    assert page.find_element(By.ID, anchor).get_attribute("open") is not None


def test_a_diverged_trial_links_to_its_folder_and_capsule(page):
    part = page.find_element(By.CSS_SELECTOR, "details.diverged:has(dl)")
    unfolded(page)
    links = [a.get_attribute("href") for a in part.find_elements(By.TAG_NAME, "a")]
    paths = [Path(unquote(link.removeprefix("file://"))) for link in links]
    assert paths[-1].name == "capsule"
    assert all(path.is_dir() for path in paths)


def test_the_page_opens_with_the_answer_and_everything_else_folded(page):
    shown = [each.text for each in page.find_elements(By.CSS_SELECTOR, "section.open > h2")]
    assert shown == ["Read this first", "The answer"]
    assert page.find_elements(By.CSS_SELECTOR, "details[open]") == []
    folded = page.find_elements(By.CSS_SELECTOR, "main > details > summary")
    assert len(folded) >= 10
    assert all(each.find_elements(By.CSS_SELECTOR, ".inside") for each in folded)


def test_on_a_phone_the_first_table_shows_its_numbers_whole(browser, report):
    page = opened(browser, report, width=390)
    table = page.find_element(By.CSS_SELECTOR, "section.open .table")
    assert table.find_elements(By.CSS_SELECTOR, "td.number")
    assert page.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", table)


def test_a_click_on_a_level_leaves_its_trials_and_a_second_one_brings_all_back(page):
    unfolded(page)
    own = "'#table-ranking tbody tr, details[data-levels]'"
    rows = f"[...document.querySelectorAll({own})].filter(e => e.checkVisibility())"
    all_rows = page.execute_script(f"return {rows}.length")
    level = page.find_element(By.CSS_SELECTOR, "#table-levels_upsample td[data-level=bilinear] button")
    page.execute_script("arguments[0].click()", level)
    left = page.execute_script(f"return {rows}.map(e => e.textContent)")
    assert 0 < len(left) < all_rows
    assert all("bilinear" in text for text in left)
    assert page.find_element(By.ID, "filter").text.startswith("Only upsample: bilinear")
    page.execute_script("arguments[0].click()", level)
    assert page.execute_script(f"return {rows}.length") == all_rows


def test_a_figure_says_its_values_under_the_pointer(page):
    image = page.find_element(By.CSS_SELECTOR, "section.open img[data-points]")
    x, y, text = json.loads(image.get_attribute("data-points"))[0]
    page.execute_script(
        "const [image, x, y] = arguments, box = image.getBoundingClientRect();"
        "const at = {clientX: box.left + x / 1000 * box.width, clientY: box.top + y / 1000 * box.height};"
        "image.dispatchEvent(new PointerEvent('pointermove', at))",
        image,
        x,
        y,
    )
    texts = [each[2] for each in json.loads(image.get_attribute("data-points"))]
    assert page.find_element(By.CSS_SELECTOR, ".tip").text in texts
    assert "at epoch" in text


def num_pages(pdf: bytes) -> int:
    """How many pages."""
    return pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") or pdf.count(b"/Type/Page\n")


def test_on_paper_the_parts_are_open_and_nothing_is_cut(browser, report):
    page = opened(browser, report, width=680, media="print")  # A4 less its margins
    hidden = page.execute_script(
        "return [...document.querySelectorAll('details p, details svg, details pre')]"
        ".filter(e => !e.checkVisibility({contentVisibilityAuto: true})).length"
    )
    cut = page.execute_script(
        "return [...document.querySelectorAll('.table, pre')].filter(e => e.scrollWidth > e.clientWidth + 1"
        " || e.scrollHeight > e.clientHeight + 1).map(e => e.textContent.slice(0, 80))"
    )
    assert hidden == 0
    assert cut == []
    printed = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF")
    assert 8 < num_pages(pdf) < 60
    assert page.find_elements(By.CSS_SELECTOR, "details[open]") == []  # closed again

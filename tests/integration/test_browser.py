"""MLflow's page in headless Chromium after a real sweep: what a person who looks for the best row sees there.

`make test-browser`; chromium and chromedriver come from Debian's packages chromium and chromium-driver. The pictures
that it took lie in build/screenshots.
"""

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tclap.evaluation.statistics import Score
from tclap.report.table5 import ScoredModel, write
from tests.integration.conftest import REPO, TINY, rows_program
from tests.integration.services import mlflow_server, process

pytestmark = pytest.mark.browser
SCREENSHOTS = REPO / "build" / "screenshots"
METRIC = "zste/temporal"
ROWS = [("B", {}), ("B", {"alpha_st": 0, "alpha_ct": 0})]
ALPHAS = ("alpha_st", "alpha_ct")
PATIENCE_S = 60


@contextlib.contextmanager
def chromium(profile):
    """A browser that has seen nothing yet: MLflow's pages remember in it what was chosen there."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary, "no chromium on the PATH: apt-get install chromium chromium-driver"
    assert driver, "no chromedriver on the PATH: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    # As root in a container there is no sandbox; without the others it calls home and stumbles over a small /dev/shm.
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    options.add_argument("--window-size=1900,1100")
    options.add_argument(f"--user-data-dir={profile}")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('storage') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def site(database, tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server"), database) as address:
        yield address


@dataclass(frozen=True)
class Sweep:
    """Two rows of Table IV, one after the other, on a server that was there before."""

    storage: Path
    parent: Run
    trials: list[Run]
    page_while_it_ran: str  # text of the parent's page after the first row
    printed: list[str]


@pytest.fixture(scope="module")
def sweep(root, database, site, tmp_path_factory):
    storage = Path(database.removeprefix("sqlite:///")).parent
    flags = ["--data", root, "--storage", storage, "--name", "browsed", *TINY, "--concurrent-trials=1"]
    printed = storage / "printed.txt"
    client = MlflowClient(database)
    settings = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "PYTHONPATH")}
    command = [sys.executable, "-c", rows_program(ROWS), *flags, "--steps-b=600"]
    with (
        chromium(tmp_path_factory.mktemp("while-it-runs")) as browser,
        process(command, printed, {**settings, "RAY_ADDRESS": "local"}, REPO) as running,
    ):
        until(browser, lambda _: "[1/2]" in printed.read_text() or running.poll() is not None, 180)
        assert running.poll() is None, printed.read_text()
        experiment = client.get_experiment_by_name("tclap").experiment_id
        (parent,) = client.search_runs([experiment], "tags.kind = 'sweep'")
        browser.get(f"{site}/#/experiments/{experiment}/runs/{parent.info.run_id}")
        see(browser, "browsed: 1 of 2", "Best so far:")
        seen = browser.find_element(By.TAG_NAME, "body").text
        assert running.poll() is None, "it ended before it could be looked at"
        browser.save_screenshot(SCREENSHOTS / "while-it-runs.png")
        assert running.wait(300) == 0, printed.read_text()
    trials = client.search_runs([experiment], "tags.kind = 'trial'")
    return Sweep(storage, client.get_run(parent.info.run_id), trials, seen, printed.read_text().splitlines())


def until(browser, condition, patience_s=PATIENCE_S):
    """The first truthy value of `condition(browser)`; what it waits for may be redrawn meanwhile."""
    return WebDriverWait(browser, patience_s, ignored_exceptions=[Exception]).until(condition)


def click(browser, xpath):
    def clicked(_):
        browser.find_element(By.XPATH, xpath).click()
        return True

    until(browser, clicked)


def see(browser, *texts):
    """Wait until the page shows all of `texts`."""
    until(browser, lambda _: all(text in browser.find_element(By.TAG_NAME, "body").text for text in texts))


def column(browser, name):
    """Text of a column's cells, from the top of the page to its bottom."""
    cells = browser.find_elements(By.CSS_SELECTOR, f"[role=gridcell][col-id*='{name}']")
    return [cell.text for cell in sorted(cells, key=lambda cell: cell.location["y"])]


def test_sweep_and_its_children_are_found_from_the_front_page(browser, site, sweep):
    browser.get(f"{site}/#/experiments")
    # Before the experiment is opened: on its page of traces a tour may cover everything.
    click(browser, "//*[text()='Model training']")
    click(browser, "//a[normalize-space()='tclap']")
    click(browser, "//*[text()='Runs' or text()='Training runs']")
    see(browser, "browsed")
    names = {run.info.run_name for run in sweep.trials}
    assert len(names) == len(ROWS)
    shown = browser.find_element(By.TAG_NAME, "body").text
    assert not any(name in shown for name in names)
    click(browser, "//*[@role='row'][contains(., 'browsed')]//button")
    see(browser, *(" ".join(name.split()) for name in names))
    browser.save_screenshot(SCREENSHOTS / "children.png")


def test_trials_are_sorted_by_a_zste_metric(browser, site, sweep):
    parent, trials = sweep.parent, sweep.trials
    trials_only = quote("tags.kind = 'trial'")
    browser.get(f"{site}/#/experiments/{parent.info.experiment_id}/runs?searchFilter={trials_only}")
    see(browser, "matching runs")
    click(browser, "//button[contains(., 'Columns')]")
    search = until(browser, lambda _: browser.find_element(By.XPATH, "//input[@placeholder='Search columns']"))
    search.send_keys(METRIC)
    click(browser, f"//strong[text()='{METRIC}']")
    click(browser, "//button[contains(., 'Columns')]")
    values = sorted((run.data.metrics[METRIC] for run in trials), reverse=True)
    assert len(set(values)) > 1
    for descending in (True, False):
        wanted = values if descending else values[::-1]
        for _ in range(3):  # a click goes from one order to the next
            if order_in_address(browser) == (f"metrics.`{METRIC}`", descending):
                break
            before = browser.current_url
            click(browser, f"//*[@role='columnheader']//*[text()='{METRIC}']")
            until(browser, lambda _, before=before: browser.current_url != before)
        shown = [f"{value:.1f}" for value in wanted]
        until(browser, lambda _, shown=shown: [f"{float(c):.1f}" for c in column(browser, METRIC)] == shown)
        browser.save_screenshot(SCREENSHOTS / f"sorted-{'descending' if descending else 'ascending'}.png")


def order_in_address(browser):
    """(key, whether descending) by which the page says that it is sorted."""
    query = parse_qs(urlsplit(browser.current_url).fragment.partition("?")[2])
    return query.get("orderByKey", [""])[0], query.get("orderByAsc", [""])[0] == "false"


def test_table_and_plot_are_shown(browser, site, sweep):
    parent = sweep.parent
    browser.get(f"{site}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}/artifacts")
    click(browser, "//*[text()='table4.md']")
    see(browser, "α_st", "ours (1)", "51.30", "Rows named paper are Table IV as printed")
    browser.save_screenshot(SCREENSHOTS / "table.png")
    click(browser, "//*[text()='table4.png']")
    plot = until(browser, lambda _: browser.find_element(By.CSS_SELECTOR, "img[src^='blob:']"))
    # A picture that could not be read has no width of its own.
    until(browser, lambda _: plot.get_property("naturalWidth") > 500 and plot.size["height"] > 50)
    browser.save_screenshot(SCREENSHOTS / "plot.png")


def test_the_link_that_is_printed_opens_the_leaderboard_sorted_by_the_objective(browser, site, sweep):
    links = [line.removeprefix("leaderboard: ") for line in sweep.printed if line.startswith("leaderboard: ")]
    assert len(links) == 2  # when the sweep starts, and at its end
    assert len(set(links)) == 1
    browser.get(site + links[0].partition(":5000")[2])
    see(browser, "zste/order", "zste/1", *ALPHAS, "2 matching runs")
    for alpha in ALPHAS:  # what the two rows differ in
        until(browser, lambda _, alpha=alpha: sorted(map(float, column(browser, alpha))) == [0, 1])
    assert order_in_address(browser) == ("metrics.`zste/order`", True)
    browser.save_screenshot(SCREENSHOTS / "leaderboard.png")


def test_the_parents_page_shows_the_table_while_the_sweep_runs(sweep):
    text = sweep.page_while_it_ran
    assert "1 running" in text
    (best,) = (line for line in text.splitlines() if line.startswith("Best so far:"))
    assert "zste/order" in best
    assert "config_hash" in text  # the last column of the table


def test_the_parents_page_tells_at_the_end_which_is_best(browser, site, sweep):
    parent = sweep.parent
    browser.get(f"{site}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}")
    see(browser, "browsed: done", "Best so far:")
    browser.save_screenshot(SCREENSHOTS / "note.png")


def test_a_trials_page_says_what_it_is_and_how_it_scored_and_has_a_tab_for_the_machine(browser, site, sweep, root):
    trial = sweep.trials[0]
    page = f"{site}/#/experiments/{trial.info.experiment_id}/runs/{trial.info.run_id}"
    browser.get(page)
    see(browser, "A run of the sweep browsed: stage B", "95% interval", "zste/3A_order ", root.name)
    browser.save_screenshot(SCREENSHOTS / "trial.png")
    browser.get(f"{page}/system-metrics")
    see(browser, "cpu_utilization_percentage", "disk_available_megabytes")
    browser.save_screenshot(SCREENSHOTS / "system-metrics.png")


def rows_of(table):
    """Text of each row of a table's body, from its top to its bottom."""
    return [row.text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]


def numbers(table, column):
    """The numbers of a column, from the top of the table to its bottom: "72.0 ± 6.6" is 72."""
    cells = table.find_elements(By.CSS_SELECTOR, f"tbody tr > :nth-child({column + 1})")
    return [float(cell.text.split()[0]) for cell in cells]


def test_the_report_opens_from_disk_sorts_and_plays(browser, sweep):
    report = sweep.storage / "browsed" / "report.html"
    browser.get(report.as_uri())
    see(browser, "Leaderboard", "zste/order")
    table = browser.find_element(By.CSS_SELECTOR, "table.sortable")
    headers = table.find_elements(By.TAG_NAME, "th")
    number = next(n for n, header in enumerate(headers) if header.text.startswith("zste/order"))
    rows, cells = rows_of(table), numbers(table, number)
    assert len(rows) == len(ROWS)
    assert len(set(cells)) == len(ROWS), "rows that are equal have no order"
    for order in ("descending", "ascending"):  # one of them is not the order in which the page opens
        headers[number].click()
        assert headers[number].get_attribute("aria-sort") == order
        assert numbers(table, number) == sorted(cells, reverse=order == "descending")
        assert sorted(rows_of(table)) == sorted(rows), "cells left their rows"
    assert "://" not in "".join(
        tag.get_attribute("src") or "" for tag in browser.find_elements(By.CSS_SELECTOR, "script[src], img[src^=http]")
    )
    browser.save_screenshot(SCREENSHOTS / "report.png")
    sound = browser.find_element(By.TAG_NAME, "audio")
    browser.execute_script("arguments[0].muted = true; arguments[0].play()", sound)
    until(browser, lambda _: sound.get_property("currentTime") > 0.05)
    assert sound.get_property("duration") > 0.5
    assert sound.get_property("error") is None


def test_sorting_table_v_leaves_chance_and_the_papers_rows_at_the_end(browser, tmp_path):
    models = [ScoredModel(name, {"1": Score(value, 0.0, 100.0, 12, 20.0)}) for name, value in (("a", 5.0), ("b", 90.0))]
    _, _, page = write(models, tmp_path / "table5")
    browser.get(page.as_uri())

    def rows():
        return [row.text for row in browser.find_elements(By.CSS_SELECTOR, "tbody td.fixed")]

    before = rows()
    assert before[:3] == ["a", "b", "chance"]
    header = browser.find_elements(By.CSS_SELECTOR, "thead th")[1]
    header.click()
    assert rows() == ["b", "a", *before[2:]]
    header.click()
    assert rows() == before
    browser.save_screenshot(SCREENSHOTS / "table5.png")

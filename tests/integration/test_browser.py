"""MLflow's page in headless Chromium after a real sweep: what a person who looks for the best row sees there.

`make test-browser`; chromium and chromedriver come from Debian's packages chromium and chromium-driver. The pictures
that it took lie in build/screenshots.
"""

import shutil
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from mlflow import MlflowClient
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.integration.conftest import REPO, TINY, run_rows
from tests.integration.services import mlflow_server

pytestmark = pytest.mark.browser
SCREENSHOTS = REPO / "build" / "screenshots"
METRIC = "zste/temporal"
ROWS = [("B", {}), ("B", {"alpha_st": 0, "alpha_ct": 0})]
PATIENCE_S = 60


@pytest.fixture(scope="module")
def sweep(root, tmp_path_factory):
    """Two rows of Table IV at toy size; (MLflow's database, the parent's run, its trials' runs)."""
    storage = tmp_path_factory.mktemp("storage")
    process = run_rows(ROWS, "--data", root, "--storage", storage, "--name", "browsed", *TINY)
    assert process.returncode == 0, process.stdout + process.stderr
    (storage / "printed.txt").write_text(process.stdout)
    database = f"sqlite:///{storage / 'mlflow.db'}"
    client = MlflowClient(database)
    experiment = client.get_experiment_by_name("tclap").experiment_id
    (parent,) = client.search_runs([experiment], "tags.kind = 'sweep'")
    return database, parent, client.search_runs([experiment], "tags.kind = 'trial'")


@pytest.fixture(scope="module")
def site(sweep, tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server"), sweep[0]) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium, "no chromium on the PATH: apt-get install chromium chromium-driver"
    assert driver, "no chromedriver on the PATH: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # As root in a container there is no sandbox; without the others it calls home and stumbles over a small /dev/shm.
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    options.add_argument("--window-size=1900,1100")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


def until(browser, condition):
    """The first truthy value of `condition(browser)`; what it waits for may be redrawn meanwhile."""
    return WebDriverWait(browser, PATIENCE_S, ignored_exceptions=[Exception]).until(condition)


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
    names = {run.info.run_name for run in sweep[2]}
    assert len(names) == len(ROWS)
    shown = browser.find_element(By.TAG_NAME, "body").text
    assert not any(name in shown for name in names)
    click(browser, "//*[@role='row'][contains(., 'browsed')]//button")
    see(browser, *(" ".join(name.split()) for name in names))
    browser.save_screenshot(SCREENSHOTS / "children.png")


def test_trials_are_sorted_by_a_zste_metric(browser, site, sweep):
    _, parent, trials = sweep
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
    _, parent, _ = sweep
    browser.get(f"{site}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}/artifacts")
    click(browser, "//*[text()='table4.md']")
    see(browser, "α_st", "ours (1)", "51.30", "Rows named paper are Table IV as printed")
    browser.save_screenshot(SCREENSHOTS / "table.png")
    click(browser, "//*[text()='table4.png']")
    plot = until(browser, lambda _: browser.find_element(By.CSS_SELECTOR, "img[src^='blob:']"))
    # A picture that could not be read has no width of its own.
    until(browser, lambda _: plot.get_property("naturalWidth") > 500 and plot.size["height"] > 50)
    browser.save_screenshot(SCREENSHOTS / "plot.png")


def folder_of(sweep):
    """The sweep's own folder, beside the database."""
    return Path(sweep[0].removeprefix("sqlite:///")).parent


def test_the_link_that_is_printed_opens_the_leaderboard_sorted_by_the_objective(browser, site, sweep):
    printed = (folder_of(sweep) / "printed.txt").read_text().splitlines()
    links = [line.removeprefix("leaderboard: ") for line in printed if line.startswith("leaderboard: ")]
    assert len(links) == 2  # when the sweep starts, and at its end
    assert len(set(links)) == 1
    browser.get(site + links[0].partition(":5000")[2])
    see(browser, "zste/order", "zste/1", "2 matching runs")
    assert order_in_address(browser) == ("metrics.`zste/order`", True)
    browser.save_screenshot(SCREENSHOTS / "leaderboard.png")


def test_the_parents_page_tells_how_far_it_is_and_which_is_best(browser, site, sweep):
    _, parent, _ = sweep
    browser.get(f"{site}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}")
    see(browser, "browsed: done", "Best so far:")
    browser.save_screenshot(SCREENSHOTS / "note.png")


def test_the_report_opens_from_disk_and_sorts(browser, sweep):
    report = folder_of(sweep) / "browsed" / "report.html"
    browser.get(report.as_uri())
    see(browser, "Leaderboard", "zste/order")
    table = browser.find_element(By.CSS_SELECTOR, "table.sortable")
    header = table.find_elements(By.TAG_NAME, "th")[-1]
    before = [row.text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert len(before) == len(ROWS)
    header.click()
    header.click()
    after = [row.text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert sorted(after) == sorted(before)
    assert "://" not in "".join(
        tag.get_attribute("src") or "" for tag in browser.find_elements(By.CSS_SELECTOR, "script[src], img[src^=http]")
    )
    browser.save_screenshot(SCREENSHOTS / "report.png")

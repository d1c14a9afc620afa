"""A real browser for tests of pages, and a watch on what a page asks for and complains of.

A test module says `pytest_plugins = ["tests.browser"]` and takes `page`.
"""

import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    """The machine's own browser; tests that need one skip where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def context(browser):
    """What pages share, as none of the project's stores anything; one of its own costs a second."""
    with _context(browser) as context:
        context.new_page()  # keeps the process of pages alive
        yield context


@pytest.fixture
def page(context):
    """A fresh page. At the test's end it must have requested files only, and complained of none."""
    with _watched(context) as page:
        yield page


@pytest.fixture
def clocked_page(browser):
    """A page like `page` whose clock the test may stop: that stops it for a whole context."""
    with _context(browser) as context, _watched(context) as page:
        page.clock.install(time=0)
        yield page


@contextmanager
def _context(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    yield context
    context.close()


@contextmanager
def _watched(context):
    page = context.new_page()
    requested, complaints = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()
    assert complaints == []
    assert [url[:200] for url in requested if not url.startswith("file:")] == []

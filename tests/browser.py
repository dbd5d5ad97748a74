"""A person who uses Dagit in a real browser, and goes by the texts and buttons that are on the page."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster_home import PATIENCE_SECONDS
from playwright.sync_api import Error, Locator, Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="Install Chromium to run the tests in a browser: Debian's package is called chromium"
)

# tall enough for all events of a run: Dagit leaves those out of the page that are not in sight
_WINDOW = {"width": 1600, "height": 2400}


class Person:
    """Somebody in front of Dagit. What they look for must come to be on the page, or the test fails.

    Args:
        page: the window of the browser.
    """

    def __init__(self, page: Page) -> None:
        self._page = page

    def launch(self, job: str, config: Mapping[str, Any]) -> str:
        """Launch a job in the Launchpad and return the id of the run, whose page shows then."""
        self._menu("Jobs")
        self._page.get_by_role("link", name=re.compile(rf"\b{job}\b")).click()
        self._page.get_by_role("tab", name="Launchpad").click()
        self._page.locator(".CodeMirror").first.click()
        self._page.keyboard.press("ControlOrMeta+A")
        self._page.keyboard.insert_text(yaml.safe_dump(dict(config)))
        expect(self._page.get_by_text("No errors")).to_be_visible()
        self._page.get_by_role("button", name="Launch Run").click()
        return self._run_on_the_page()

    def find_run(self, run_id: str, **tags: str) -> None:
        """Open a run, found in the list of runs by tags of the orchestrator."""
        self._menu("Runs")
        for tag, value in tags.items():
            self._filter_runs(f"orchestrator/{tag}", value)
        self._link_to_run(run_id).click()
        self._page.wait_for_url(f"**/runs/{run_id}")

    def find_other_run(self, run_id: str, **tags: str) -> str:
        """Open the one run that has tags of the orchestrator and is not that run; return its id."""
        self._menu("Runs")
        for tag, value in tags.items():
            self._filter_runs(f"orchestrator/{tag}", value)
        others = self._page.get_by_role("link", name=re.compile(rf"^run (?!{run_id[:8]})[0-9a-f]{{8}}$"))
        others.click()
        return self._run_on_the_page(but=run_id)

    def see(self, text: str | re.Pattern[str]) -> None:
        """See a text somewhere on the page."""
        expect(self._page.get_by_text(text).first).to_be_visible()

    def see_run_end(self, status: str) -> None:
        """Watch a run until Dagster says how it ended."""
        expect(self._page.get_by_text(status, exact=True)).to_be_visible()

    def see_tags(self, **tags: str) -> None:
        """See tags of the orchestrator on the run whose page shows."""
        self._page.reload()
        self._press("View tags and config")
        for tag, value in tags.items():
            expect(self._dialog()).to_contain_text(f"orchestrator/{tag}: {value}")
        self._dialog().get_by_role("button", name="OK").click()

    def read(self, label: str) -> str:
        """Return what stands beside a label in the events of the run whose page shows."""
        beside = self._page.get_by_role("row").filter(has=self._page.get_by_role("cell", name=label, exact=True))
        return beside.get_by_role("cell").nth(1).inner_text()

    def reexecute_from_failure(self) -> str:
        """Press the button that re-executes a run from where it failed; return the id of the new run."""
        run_id = self._run_on_the_page()
        self._page.get_by_role("button", name="Re-execute all").locator("xpath=following::button[1]").click()
        self._page.get_by_role("menuitem", name="From failure").click()
        return self._run_on_the_page(but=run_id)

    def terminate(self) -> None:
        """Press the button that terminates a run, and say yes."""
        self._press("Terminate")
        self._dialog().get_by_role("button", name="Terminate 1 run").click()

    def _menu(self, name: str) -> None:
        self._page.goto("/")
        self._page.get_by_role("navigation").get_by_role("link", name=re.compile(rf"\b{name}$")).click()

    def _filter_runs(self, tag: str, value: str) -> None:
        self._press("Filter")
        for choice in ("Tag", tag, value):
            self._page.get_by_role("menuitem", name=f"tag {choice}", exact=True).click()
        expect(self._page.get_by_text(re.compile("^Tag is ")).first).to_contain_text(f"{tag}={value}")
        self._press("Filter")
        expect(self._page.get_by_role("menuitem")).to_have_count(0)

    def _press(self, name: str) -> None:
        # the name of a button's picture comes before its text
        self._page.get_by_role("button", name=re.compile(rf"\b{name}$")).click()

    def _dialog(self) -> Locator:
        return self._page.get_by_role("dialog")

    def _link_to_run(self, run_id: str) -> Locator:
        return self._page.get_by_role("link", name=f"run {run_id[:8]}")

    def _run_on_the_page(self, but: str = "") -> str:
        pattern = re.compile(rf"/runs/(?!{but or '$'})([0-9a-f-]{{36}})")
        self._page.wait_for_url(pattern)
        (run_id,) = pattern.findall(self._page.url)
        return str(run_id)


@contextmanager
def person_at(address: str, screenshots: Path) -> Iterator[Person]:
    """Open a browser at Dagit's address; what it shows when something goes wrong is kept as a picture.

    Args:
        address: where Dagit is.
        screenshots: a folder for the picture.
    """
    with sync_playwright() as playwright:
        # as root, in a container for example, a browser cannot have its sandbox
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.getuid() != 0)
        page = browser.new_page(base_url=address, viewport=_WINDOW)
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        expect.set_options(timeout=PATIENCE_SECONDS * 1000)
        try:
            yield Person(page)
        except BaseException as error:
            picture = screenshots / "page.png"
            with suppress(Error):
                page.screenshot(path=picture)
                error.add_note(f"{page.url} looks like this then: {picture}")
            raise
        finally:
            browser.close()

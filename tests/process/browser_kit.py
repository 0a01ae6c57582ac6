"""What tests that look at pages share: headless Chromium at a given size, what its console said, what sticks out.

    @needs_browser
    def test_...(tmp_path):
        with open_browser(390, 844) as driver:
            driver.get(url)
            assert console_errors(driver) == []
            assert overflow(driver) == []
            screenshot(driver, tmp_path / "page.png")

Nothing is downloaded: the driver is the one on the PATH, and without it, Chromium or selenium the tests are skipped.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

DESKTOP = (1280, 900)
PHONE = (390, 844)

NARROWEST_WINDOW_PX = 500  # Chromium makes no window narrower: a phone has to be emulated
TALLEST_PICTURE_PX = 16_000  # of the screen; a picture is one texture, and those end at 2**14
PAGE_LOAD_TIMEOUT_S = 20

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root in a container, where Chromium's sandbox does not start
    "--disable-gpu",
    "--disable-dev-shm-usage",  # /dev/shm of a container is often 64 MB
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--hide-scrollbars",
    # Only this machine: a page that wants anything from the network gets an error, which the console reports.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
)


def missing() -> str:
    """Return why no page can be looked at here, "" when one can."""
    absent = [
        name
        for name, there in (
            ("chromium", CHROMIUM is not None),
            ("chromedriver", CHROMEDRIVER is not None),
            ("selenium", importlib.util.find_spec("selenium") is not None),
        )
        if not there
    ]
    return f"not installed: {', '.join(absent)}" if absent else ""


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing() or "a browser is there")


@contextmanager
def open_browser(width: int, height: int, dark: bool = False) -> Iterator[WebDriver]:
    """Yield a fresh Chromium whose page area is `width` x `height` CSS px; it is gone, with its profile, afterwards.

    A width below 500 px is emulated as a phone with touch. `dark`: pages are told that a dark scheme is preferred.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    assert CHROMIUM is not None, missing()
    assert CHROMEDRIVER is not None, missing()
    with tempfile.TemporaryDirectory(prefix="benchrunner-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # A session of its own: whatever of Chromium outlives `quit` is found by it and killed.
        service = Service(CHROMEDRIVER, popen_kw={"start_new_session": True})
        driver: WebDriver | None = None
        try:
            driver = webdriver.Chrome(options=options, service=service)
            driver.set_page_load_timeout(PAGE_LOAD_TIMEOUT_S)
            set_size(driver, width, height)
            if dark:
                driver.execute_cdp_cmd(
                    "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
                )
            yield driver
        finally:
            leader = service.process.pid if getattr(service, "process", None) is not None else None
            try:
                if driver is not None:
                    driver.quit()
            finally:
                service.stop()
                _kill_users_of(profile, leader)


def set_size(driver: WebDriver, width: int, height: int) -> None:
    """Make the page area `width` x `height` CSS px; a phone's with touch and a dense screen below 500 px."""
    phone = width < NARROWEST_WINDOW_PX
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": width,
            "height": height,
            "screenWidth": width,
            "screenHeight": height,
            "deviceScaleFactor": 2 if phone else 1,
            "mobile": phone,
        },
    )
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})


def console_errors(driver: WebDriver) -> list[str]:
    """Return what the console reported as severe since the last call: script errors, missing files, refused loads."""
    log: list[dict[str, Any]] = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


def screenshot(driver: WebDriver, path: Path) -> Path:
    """Write the whole page, not only what fits the window, as a PNG, and return its path.

    Of a page that is longer than Chromium can draw at once, the top.
    """
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    most = TALLEST_PICTURE_PX / driver.execute_script("return devicePixelRatio")
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], most), "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(shot["data"]))
    return path


_STICKING_OUT = """
const wide = document.documentElement.scrollWidth, window_px = document.documentElement.clientWidth;
// A phone without a viewport tag lays the page out wider than its screen and zooms out: that is too wide as well.
const limit = Math.min(window_px, screen.width);
if (wide <= limit) return [];
const scrolls = (element) => {
  for (let up = element.parentElement; up && up !== document.body; up = up.parentElement)
    if (getComputedStyle(up).overflowX !== 'visible') return true;
  return false;
};
const found = [...document.querySelectorAll('body *')]
  .filter((element) => element.getBoundingClientRect().right > limit + 1 && !scrolls(element))
  .map((element) => `<${element.tagName.toLowerCase()} class="${element.getAttribute('class') || ''}"> ends at `
    + `${Math.round(element.getBoundingClientRect().right)} of ${limit} px: `
    + (element.textContent || '').trim().slice(0, 40));
return found.length ? found.slice(0, 10) : [`the page is ${wide} px wide on a screen of ${limit} px`];
"""


def overflow(driver: WebDriver) -> list[str]:
    """Return what makes the page wider than its screen, [] where nothing does.

    What scrolls inside a box of its own (a wide table in a scrolling block) is no overflow.
    """
    found: list[str] = driver.execute_script(_STICKING_OUT)
    return found


def _kill_users_of(profile: str, leader: int | None) -> None:
    """Kill what is left of one Chromium: the processes that name its profile, and the driver's process group."""
    for process in psutil.process_iter(["cmdline"]):
        if any(profile in word for word in process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    if leader is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)

"""A real run's report in a real browser: at desktop and phone width, light and dark, in print."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_kit import DESKTOP, console_errors, needs_browser, open_browser, overflow, screenshot, set_size

if TYPE_CHECKING:
    from process_kit import Workspace

pytestmark = [pytest.mark.slow, needs_browser]

NARROW = (360, 780)
PAPER = (688, 980)  # A4 within the margins of the style sheet, in CSS px

COLOURS = "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"

# Text of a chart that sticks out of the page; what scrolls in a box of its own may.
CUT = """
return [...document.querySelectorAll('figure svg text, figure .value, figure .label')]
  .filter((one) => !one.closest('.scroll'))
  .map((one) => [one.getBoundingClientRect(), one.textContent])
  .filter(([box, text]) => text && (box.left < -0.5 || box.right > document.documentElement.clientWidth + 0.5))
  .map(([box, text]) => text)
"""
SMALLEST_PX = """
return Math.min(...[...document.querySelectorAll('main *')]
  .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
  .map((one) => parseFloat(getComputedStyle(one).fontSize)))
"""
NAMES = "return [...document.querySelectorAll('[role=img]')].map((one) => one.getBoundingClientRect().height > 20)"


def luminance(colour: str) -> int:
    """Return the sum of a colour's channels, of `rgb(r, g, b)`."""
    return sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])


def test_a_report_is_readable_on_a_desk_a_phone_in_the_dark_and_in_print(workspace: Workspace, tmp_path: Path) -> None:
    """No console error, nothing sticks out, text stays readable, colours follow the reader's scheme."""
    # Given reports on real runs of two phases
    workspace.edit_config("speed = 1 ", "speed = 30 ")
    models = "qwen2.5-72b-instruct,qwen2.5-14b-instruct,qwen2.5-3b-instruct"
    ran = workspace.run("phase", "5.2", "5.3", "--models", models, "--instances", "1", "--stagger", "0", "--quiet")
    assert ran.code == 0, ran.err
    runs = [row["id"] for row in workspace.rows("select id from runs order by started_at")]
    written = workspace.run("report", *runs)
    assert (written.code, written.out) == (0, ""), written.err
    url = (workspace.path / "report.html").as_uri()
    for dark in (False, True):
        with open_browser(*DESKTOP, dark=dark) as driver:
            for name, size in (("desktop", DESKTOP), ("phone", NARROW)):
                # When it is opened
                set_size(driver, *size)
                driver.get(url)
                shot = screenshot(driver, tmp_path / f"report-{name}-{'dark' if dark else 'light'}.png")
                # Then it fits, complains of nothing, and every chart is there
                assert console_errors(driver) == []
                assert overflow(driver) == []
                assert driver.execute_script(CUT) == []
                assert driver.execute_script(SMALLEST_PX) >= 11
                drawn = driver.execute_script(NAMES)
                assert len(drawn) >= 9
                assert all(drawn)
                assert shot.stat().st_size > 50_000
            paper, ink = map(luminance, driver.execute_script(COLOURS))
            assert (paper < ink) is dark
            if not dark:
                # And on paper of A4's width nothing is cut
                set_size(driver, *PAPER)
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
                assert overflow(driver) == []
                printed = driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
                assert base64.b64decode(printed["data"]).startswith(b"%PDF")

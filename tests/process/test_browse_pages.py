"""`benchrunner browse` on a real run: its pages in Chromium, at a desk and on a phone, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from browser_kit import DESKTOP, PHONE, console_errors, needs_browser, open_browser, overflow, screenshot
from process_kit import ROOT, SECRETS, Workspace, family, wait_until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
pytest.importorskip("datasette", reason="the extra [browse] is not installed")

MODEL = "qwen2.5-7b-instruct"
HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\"> </pre>{{ 6 * 7 }}"


@dataclass
class Site:
    """A running `benchrunner browse`, the run it shows, and two of its trials."""

    url: str
    db: Path
    process: subprocess.Popen[str]
    run: str
    trial: str
    hostile_trial: str

    def page(self, table: str, row: str) -> str:
        # Datasette writes what is not a letter or digit of an id as ~ and its code.
        return f"{self.url}runs/{table}/" + re.sub(r"[^\w-]", lambda found: f"~{ord(found[0]):02X}", row)

    def answer(self, path: str, host: str | None = None) -> str:
        request = urllib.request.Request(self.url + path, headers={"Host": host} if host else {})
        with urllib.request.urlopen(request, timeout=20) as answer:
            text: str = answer.read().decode()
            return text


def start_site(space: Workspace, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Start `benchrunner browse` and return it with the address it prints once it answers."""
    process = space.start("browse", "--port", "0", *options)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, line + (process.stderr.read() if process.stderr is not None and not line else "")
    return process, found[0]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Return a workspace with one simulated run of two models, in which a model wrote what no page may execute."""
    path = tmp_path_factory.mktemp("browse")
    text = (ROOT / "phases.toml").read_text()
    quick = re.sub(r"^speed = .*$", "speed = 60\nlatency = false", text, count=1, flags=re.M)
    assert quick != text
    (path / "phases.toml").write_text(quick)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("IDEALLAB", "AZURE"))}
    env |= SECRETS | {"BENCHRUNNER_STATE_DIR": str(path / "state"), "NO_COLOR": "1", "COLUMNS": "100"}
    made = Workspace(path=path, env=env)
    ended = made.run("phase", "5.2", "--instances", "1", "--models", f"{MODEL},qwen2.5-3b-instruct", "--quiet")
    assert ended.code == 0, ended.err
    with contextlib.closing(sqlite3.connect(made.db)) as connection, connection:
        turn = {"turn": 1, "sent": [{"role": "user", "content": HOSTILE}], "reply": HOSTILE, "note": HOSTILE,
                "calls": [{"id": HOSTILE, "name": HOSTILE, "arguments": HOSTILE}],
                "results": [{"tool": HOSTILE, "error": HOSTILE}], "finish_reason": HOSTILE}  # fmt: skip
        connection.execute(
            "UPDATE trials SET transcript = ?, error_class = ? WHERE id = (SELECT max(id) FROM trials)",
            (json.dumps([turn]), HOSTILE),
        )
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def site(space: Workspace) -> Iterator[Site]:
    """Return the pages of that run, served by the command."""
    (ids,) = space.rows("SELECT min(id) AS first, max(id) AS last, min(run_id) AS run FROM trials")
    process, url = start_site(space)
    yield Site(url=url, db=space.db, process=process, run=ids["run"], trial=ids["first"], hostile_trial=ids["last"])
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


@pytest.fixture(scope="module", params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def browser(request: pytest.FixtureRequest) -> Iterator[WebDriver]:
    """Return Chromium, once as wide as a desk's screen and once as a phone."""
    with open_browser(*request.param) as driver:
        yield driver


def look(driver: WebDriver, url: str, picture: Path) -> str:
    """Open a page, check that nothing is wrong with it, and return the text one sees."""
    driver.get(url)
    screenshot(driver, picture)
    assert console_errors(driver) == []
    assert overflow(driver) == []
    text: str = driver.execute_script("return document.body.innerText")
    return text


@needs_browser
def test_home_leads_to_the_run_and_the_ready_queries(site: Site, browser: WebDriver, tmp_path: Path) -> None:
    """The newest runs come first, marked as simulated; a click leads to one."""
    # Given the home page
    seen = look(browser, site.url, tmp_path / "home.png")
    for text in (site.run, "SIMULATED", "20 of 20 scored", "Worst trials of a run", "One row per attempt at a request"):
        assert text in seen
    # When the run is clicked
    browser.find_element("css selector", "a.br-card").click()
    # Then its page is there
    wait_until(lambda: browser.title == f"Run {site.run}", "the run's page after a click")


@needs_browser
def test_a_run_page_shows_scores_load_and_what_it_is_made_of(site: Site, browser: WebDriver, tmp_path: Path) -> None:
    """Status, coverage, success per condition, requests per key; charts have words for those who cannot see them."""
    seen = look(browser, site.page("runs", site.run), tmp_path / "run.png")
    for text in ("complete", "SIMULATED", "20 of 20 (100.0 %)", f"{MODEL} optimal, medium, tools 0.8", "key0", "limit"):
        assert text in seen
    charts = browser.find_elements("css selector", "svg[role=img]")
    named = [chart.get_attribute("aria-label") or "" for chart in charts]
    assert len([words for words in named if "scored trials" in words]) == 4
    assert len([words for words in named if "in a clock second" in words]) >= 1


@needs_browser
def test_a_trial_page_tells_its_dialogue_turn_by_turn(site: Site, browser: WebDriver, tmp_path: Path) -> None:
    """Who said what, which tools ran, what came of them, every attempt, the score."""
    # Given what the file holds of the trial
    with contextlib.closing(sqlite3.connect(f"file:{site.db}?mode=ro", uri=True)) as connection:
        text, model, final_score = connection.execute(
            "SELECT transcript, model, final_score FROM trials WHERE id = ?", (site.trial,)
        ).fetchone()
        (calls,) = connection.execute("SELECT count(*) FROM calls WHERE trial_id = ?", (site.trial,)).fetchone()
    turns = json.loads(text)
    # When
    seen = look(browser, site.page("trials", site.trial), tmp_path / "trial.png")
    # Then every turn is on the page, with its reply and its results
    replies = [one.text for one in browser.find_elements("css selector", ".br-by-assistant pre")]
    assert replies == [" ".join(turn["reply"].split(" ")) for turn in turns if turn["reply"]]
    for text in (f"Turn {len(turns)}", model, f"{final_score:.3f}", f"{calls} in all", "SIMULATED"):
        assert text in seen
    results = [one.text for one in browser.find_elements("css selector", ".br-results li")]
    wanted = [result for turn in turns for result in turn["results"]]
    assert results == [f"{'✗' if one['error'] else '✓'} {one['tool']} {one['error'] or 'succeeded'}" for one in wanted]


@needs_browser
def test_what_a_model_wrote_is_text_and_nothing_else(site: Site, browser: WebDriver, tmp_path: Path) -> None:
    """A script in a transcript is shown, not run; so are marks of templates and tags that would close ours."""
    seen = look(browser, site.page("trials", site.hostile_trial), tmp_path / "hostile.png")
    assert browser.title == f"Trial {site.hostile_trial}"
    assert seen.count(HOSTILE) >= 7
    assert browser.find_elements("css selector", "section.content script, section.content img") == []
    # And in a table and a ready query, where Datasette and our own cells show it
    for path in (f"runs/trials?id={site.hostile_trial}", "runs/worst_trials"):
        look(browser, site.url + path, tmp_path / "table.png")
        assert browser.title != "taken"


@needs_browser
def test_a_ready_query_draws_its_chart_and_takes_its_parameters(
    site: Site, browser: WebDriver, tmp_path: Path
) -> None:
    """Left empty it is about the newest run; a key narrows it."""
    seen = look(browser, f"{site.url}runs/key_per_second?key=key0", tmp_path / "query.png")
    assert site.run in seen
    strips = [one.text for one in browser.find_elements("css selector", ".br-strip strong")]
    assert strips == ["key0"]


def test_columns_are_explained_and_rows_linked(site: Site) -> None:
    """A call leads to its trial and its run by the file's own foreign keys; long texts stay out of tables."""
    calls = site.answer("runs/calls?_size=1")
    assert "from sending to the end of the reply" in calls
    assert f'href="{site.page("runs", site.run).removeprefix(site.url[:-1])}"' in calls
    assert 'href="/runs/trials/' in calls
    trials = site.answer("runs/trials?_size=1")
    assert re.search(r"transcript of [\d,]+ characters", trials)
    assert "You carry out a data task" not in trials


def test_what_a_run_commits_meanwhile_is_seen(site: Site) -> None:
    """The file is open for reading only, and never taken for a finished one."""

    def events() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(site.answer("runs/key_events.json?_shape=array&kind=resume"))
        return found

    # Given a writer with a change under way
    assert events() == []
    with contextlib.closing(sqlite3.connect(site.db, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute(
            "INSERT INTO key_events (run_id, key_id, at, kind, detail) VALUES (?, 'key0', '2026', 'resume', 'x')",
            (site.run,),
        )
        assert events() == []
        # When it commits
        writer.execute("COMMIT")
        # Then the next page has it
        assert [event["key_id"] for event in events()] == ["key0"]
        writer.execute("DELETE FROM key_events WHERE kind = 'resume'")


def test_nothing_can_be_written_and_no_other_host_is_answered(site: Site) -> None:
    """SQL of the user's own may read; a page that made its name point here is refused."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        site.answer("runs.json?sql=delete+from+calls")
    assert refused.value.code == 400
    assert json.loads(site.answer("runs.json?_shape=array&sql=select+count(*)+as+n+from+calls"))[0]["n"] > 0
    with pytest.raises(urllib.error.HTTPError) as stranger:
        site.answer("", host="evil.example")
    assert stranger.value.code == 421


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_however_the_command_ends_its_server_ends_too(space: Workspace, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end it with 0; killed outright it leaves no process and no listener."""
    # Given pages being served
    process, url = start_site(space)
    children = family(process.pid)
    assert len(children) >= 1
    # When
    process.send_signal(number)
    # Then
    code = process.wait(20)
    assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)
    _, left = psutil.wait_procs(children, timeout=20)
    assert left == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)
    out, err = process.communicate(timeout=5)
    assert (out, err) == ("", "")

"""What somebody sees in a terminal of 80 x 24 while a run goes on, and of runs and keys beside it. In real tmux."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from process_kit import StrictProvider, Workspace, family, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

WIDTH, HEIGHT = 80, 24
FAST = "speed = 1 ", "speed = 20 "
ONE_TASK_TYPE = 'task_types = "all"', 'task_types = ["simple_task"]'
NEEDS_TMUX = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminals:
    """A tmux server of its own, without anybody's settings; a window of 80 x 24 a command."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._socket = workspace.path / "tmux"
        self._count = 0

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *arguments]
        done = subprocess.run(command, env=self._workspace.env, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout

    def run(self, *arguments: str, settings: str = "") -> Terminal:
        """Run `benchrunner ARGUMENTS` in a new terminal, which stays open with the exit code in its last line.

        `settings`: NAME=VALUE for this command alone.
        """
        self._count += 1
        name = f"t{self._count}"
        command = f"env {settings} {shlex.join([sys.executable, '-m', 'benchrunner', *arguments])}"
        told = f"cd {shlex.quote(str(self._workspace.path))}; {command}; echo exit-$?; exec cat"
        self._tmux("new-session", "-d", "-s", name, "-x", str(WIDTH), "-y", str(HEIGHT), told)
        return Terminal(lambda *more: self._tmux(*more), name)

    def close(self) -> None:
        """End the server and all that runs in it."""
        if not self._count:
            return
        server = int(self._tmux("display-message", "-p", "#{pid}"))
        inside = family(server)
        self._tmux("kill-server")
        for process in inside:
            if process.is_running():
                process.kill()


class Terminal:
    """One terminal and what stands on it."""

    def __init__(self, tmux: Callable[..., str], name: str) -> None:
        self._tmux, self._name = tmux, name

    def lines(self) -> list[str]:
        """Return the screen's lines, as they stand now."""
        return self._tmux("capture-pane", "-p", "-t", self._name).split("\n")[:HEIGHT]

    def everything(self) -> str:
        """Return the screen and what was scrolled out of it, with its colours."""
        return self._tmux("capture-pane", "-p", "-e", "-S", "-", "-t", self._name)

    def type(self, keys: str) -> None:
        """Press keys, as tmux calls them."""
        self._tmux("send-keys", "-t", self._name, keys)

    def shows_cursor(self) -> bool:
        """Return whether the cursor can be seen."""
        return self._tmux("display-message", "-p", "-t", self._name, "#{cursor_flag}").strip() == "1"

    def shows(self, text: str) -> bool:
        """Return whether the text stands on the screen."""
        return any(text in line for line in self.lines())


@pytest.fixture
def terminals(workspace: Workspace) -> Iterator[Terminals]:
    """Terminals in the workspace, whose runs are short; all are closed at the end."""
    del workspace.env["COLUMNS"], workspace.env["NO_COLOR"]
    workspace.edit_config(*ONE_TASK_TYPE)
    workspace.edit_config(*FAST)
    workspace.env["LC_ALL"] = "C.UTF-8"
    made = Terminals(workspace)
    yield made
    made.close()


@NEEDS_TMUX
def test_a_run_of_many_shards_is_one_steady_picture_in_a_small_terminal(
    workspace: Workspace, terminals: Terminals
) -> None:
    """20 shards on 24 lines: nothing scrolls, jumps or folds, keys and shards stay in their places till the end."""
    # Given a run of 20 shards, and somebody who watches the keys beside it
    qwen = ",".join(f"qwen2.5-{size}b-instruct" for size in (72, 32, 14, 7))
    view = terminals.run("phase", "5.4", "--instances", "1", "--models", qwen)
    watch = terminals.run("keys", "--watch", "--every", "0.3")
    # When the screen is looked at until the run has ended
    seen: list[list[str]] = []
    bars: set[str] = set()

    def ended() -> bool:
        lines = view.lines()
        if lines[0].startswith("SIMULATED 5.4 pool") and not any("exit-" in line for line in lines):
            seen.append(lines)
        bars.update(line for line in watch.lines() if "/200 per 1 s" in line)
        return any(line.startswith("exit-") for line in lines)

    wait_until(ended, "the run has ended", timeout_s=80)
    # Then all the time there were three lines of figures, three of keys, and shards below, within the width
    assert len(seen) > 10
    assert {tuple(line.split()[0] for line in lines[3:6]) for lines in seen} == {("key0", "key1", "key2")}
    assert {sum("qwen2.5-" in line and "/1 " in line for line in lines[6:]) for lines in seen} == {16}
    assert {line[:2] for lines in seen for line in lines[22:23]} == {"+ "}
    assert max(len(line) for lines in seen for line in lines) <= WIDTH
    assert all("/200 in 1 s" in line for lines in seen for line in lines[3:6])
    # And it told the time left, what binds and who runs, and left the cursor and a summary
    assert any(" left" in lines[0] for lines in seen)
    assert any(lines[2].startswith("bound by ") for lines in seen)
    assert any("running" in lines[6] for lines in seen)
    assert view.shows("exit-0")
    assert view.shows_cursor()
    assert "20/20" in view.everything()
    # And the watch saw the windows in use, and ends with Ctrl-C, cursor back, as something that went well
    assert len(bars) > 3
    watch.type("C-c")
    wait_until(lambda: watch.shows("exit-0"), "the watch has ended")
    assert watch.shows_cursor()


@NEEDS_TMUX
def test_colours_are_left_out_where_they_are_not_wanted(workspace: Workspace, terminals: Terminals) -> None:
    """NO_COLOR: the same picture without a colour in it; --quiet: no picture at all."""
    one = ("phase", "5.2", "--instances", "1", "--models", "qwen2.5-7b-instruct")
    coloured, plain = terminals.run(*one), terminals.run(*one, settings="NO_COLOR=1")
    quiet = terminals.run(*one, "--quiet")
    for terminal in (coloured, plain, quiet):
        wait_until(partial(terminal.shows, "exit-0"), "the run has ended", timeout_s=60)
    cyan, green = "\x1b[36m", "\x1b[32m"
    assert cyan in coloured.everything() or green in coloured.everything()
    assert [colour in plain.everything() for colour in (cyan, green)] == [False, False]
    assert "key0" in plain.everything().partition("first request to last reply")[0]
    assert "bound by" not in quiet.everything()


def test_a_killed_run_is_not_shown_as_running(workspace: Workspace) -> None:
    """Killed outright, it cannot say so: `runs` and `show` find out, and say how to go on; resumed, it is complete."""
    # Given a run whose supervisor is killed
    run = workspace.start("phase", "5.2", "--instances", "1", "--models", "qwen2.5-7b-instruct")
    wait_until(lambda: workspace.count("select count(*) from calls") > 1, "calls were made")
    run_id = workspace.rows("select id from runs")[0]["id"]
    assert run_id in workspace.run("runs").out
    assert "running" in workspace.run("runs").out
    run.send_signal(signal.SIGKILL)
    workspace.finish(run)
    # Then it reads killed, while the database keeps the status its writer gave it
    assert f"{run_id} 5.2   pool   SIMULATED killed" in workspace.run("runs").out
    assert f"killed, to be resumed (`benchrunner resume {run_id}`)" in workspace.run("show").out
    assert workspace.rows("select status from runs") == [{"status": "running"}]
    # And once resumed it is complete
    workspace.edit_config(*FAST)
    assert workspace.run("resume", "--quiet", "--force").code == 0
    assert "killed" not in workspace.run("runs").out


def test_a_waiting_run_s_keys_are_shown_as_held(
    workspace: Workspace, strict_provider: Callable[..., StrictProvider], tmp_path: Path
) -> None:
    """`keys` says by whom, for a key that the waiting run would otherwise be shown to have free."""
    # Given a run that holds every key for a while, and one that waits for them
    provider = strict_provider("--latency", "0.4")
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    command = ("phase", "5.2", "--live", "--instances", "3", "--quiet", "--models")
    holder = workspace.start(*command, "qwen2.5-3b-instruct,qwen2.5-14b-instruct")
    wait_until(lambda: workspace.count("select count(distinct key_id) from leases") == 3, "all three keys leased")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "phases.toml").write_text((workspace.path / "phases.toml").read_text())
    other = Workspace(path=tmp_path / "other", env=workspace.env, running=workspace.running)
    waiter = other.start(*command, "qwen2.5-7b-instruct")
    # When the keys are looked at while it waits
    run_id = workspace.rows("select id from runs")[0]["id"]
    held = f"held by run {run_id} (process {holder.pid})"
    wait_until(lambda: held in workspace.run("keys").out, "the waiting run's keys are shown as held", timeout_s=10)
    # Then, once both have been stopped, nothing is held any more
    for run in (holder, waiter):
        run.send_signal(signal.SIGTERM)
    assert (workspace.finish(holder).code, other.finish(waiter).code) == (143, 143)
    assert "held by" not in workspace.run("keys").out

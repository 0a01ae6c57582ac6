"""`benchrunner keys`: who holds what, also where another run does; looked at once, or again and again."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import RenderableType
from rich.text import Text

from benchrunner.cli.keyring import Keyring, LiveRun, held_by_others, key_parts, told_apart
from benchrunner.cli.main import main
from benchrunner.cli.watching import watch_in
from benchrunner.engine.run_dir import RunDirectory, leases_dir, live_runs
from benchrunner.records import DomainUse, Key, Lease
from benchrunner.registry.key_locks import KeyLock, KeyLocks
from benchrunner.registry.service import Holding, KeyHealth, KeyStatus
from benchrunner.reporting.console import SteadyConsole
from benchrunner.reporting.tables import show

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def credential(key_id: str, fingerprint: str) -> Key:
    return Key(key_id=key_id, provider="lab", account="lab", secret="s", fingerprint=fingerprint, limits=())


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a machine of its own."""
    monkeypatch.setenv("BENCHRUNNER_STATE_DIR", str(tmp_path / "state"))


def test_a_waiting_run_s_keys_are_shown_with_who_holds_them() -> None:
    """Whatever name the other run's config gives the key; a key nobody holds is not shown as held."""
    # Given a run that holds a key, and another that wants it under its own name, and one more key
    with RunDirectory("holder") as holder, RunDirectory("waiter") as waiter:
        holder.note_keys([credential("mine", "f0")])
        waiter.note_keys([credential("key0", "f0"), credential("key1", "f1")])
        lock = KeyLocks(leases_dir()).take(credential("mine", "f0"), "run holder (process 7)")
        assert isinstance(lock, KeyLock)
        # Then the waiting run's key is held by the other, and the holder's is its own
        live = list(live_runs())
        assert held_by_others(waiter.path, live) == {"key0": "run holder (process 7)"}
        assert held_by_others(holder.path, live) == {}
        # Until it is released
        lock.release()
        assert held_by_others(waiter.path, live) == {}


def test_what_a_killed_run_wrote_beside_its_lock_is_worth_nothing() -> None:
    """Its lock fell with it; only its words stayed. Nor does a run whose name begins alike count as alive."""
    with RunDirectory("waiter") as waiter:
        waiter.note_keys([credential("key0", "f0")])
        leases_dir().mkdir(mode=0o700)
        (leases_dir() / "f0-0.lock").write_text("run waiter-before (process 7)")
        assert held_by_others(waiter.path, list(live_runs())) == {}


def test_a_run_that_is_only_just_starting_has_noted_nothing() -> None:
    """No file, or half of one, is no error."""
    with RunDirectory("young") as young:
        assert held_by_others(young.path, list(live_runs())) == {}
        (young.path / "keys.json").write_bytes(b'{"key0": ')
        assert held_by_others(young.path, list(live_runs())) == {}


def shown(keyring: Keyring, width: int = 80) -> str:
    stream = io.StringIO()
    show(SteadyConsole(file=stream, width=width, color_system=None), key_parts(keyring))
    return stream.getvalue()


def free_key(key_id: str) -> KeyStatus:
    return KeyStatus(
        key_id=key_id, provider="lab", slots=1, health=KeyHealth.USABLE, reason="", parked_until_mono_s=0.0, holders=()
    )


def test_many_leases_of_one_model_are_one_line() -> None:
    """A key without bound may serve forty shards: what else there is to see must not be pushed off the screen."""
    held = tuple(
        Holding(
            lease=Lease(key_id="az", model=model, shard_id=f"r/s{n}", holder=f"r/s{n}/w", fence=n),
            counted=True,
            pid=100 + n,
            pid_started_s=0.0,
            since_mono_s=0.0,
        )
        for n, model in enumerate(("big", "big", "small", "big"))
    )
    key = replace(free_key("az"), slots=0, holders=held)
    run = LiveRun(run_id="r", simulated=True, keys=(key,), domains=(), held_elsewhere={})
    lines = shown(Keyring(domains=(), runs=(run,))).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["az", "usable", "big", "3", "shards", "-", "-"],
        ["az", "usable", "small", "s2", "102", "2"],
    ]


def quiet_domain(label: str, *, waiting: int = 0) -> DomainUse:
    return DomainUse(
        name=label, label=label, provider="lab", windows=(), waiting=waiting, paused_for_s=0.0, margin_s=0.01, granted=3
    )


def test_a_key_of_another_run_is_not_called_free() -> None:
    """The table says by whom it is held; a free one is called free."""
    run = LiveRun(
        run_id="waiter",
        simulated=False,
        keys=(free_key("key0"), free_key("key1")),
        domains=(),
        held_elsewhere={"key0": "run 20260101T000000-5.2-ab12 (process 4711)"},
    )
    lines = shown(Keyring(domains=(), runs=(run,))).splitlines()
    assert [line.split()[:3] for line in lines[2:]] == [["key0", "usable", "held"], ["key1", "usable", "free"]]
    assert "held by run 20260101T000000-5.2-ab12 (process 4711)" in lines[2]


def test_domains_without_a_limit_are_left_out_while_nothing_happens_in_them() -> None:
    """Five idle models would push what counts off the screen."""
    domains = (quiet_domain("lab/idle"), quiet_domain("lab/busy", waiting=2))
    run = LiveRun(run_id="r", simulated=True, keys=(), domains=domains, held_elsewhere={})
    said = shown(Keyring(domains=(), runs=(run,)))
    assert "lab/busy" in said
    assert "lab/idle" not in said


def test_windows_of_one_label_can_be_told_apart() -> None:
    """By the provider where that differs, else by the beginning of the identity that --json has whole."""
    # Given two configs' key0 of one provider, a key1 each of two, a key2, and a pair of one name at two addresses
    domains = [
        replace(quiet_domain(label), name=name, provider=provider)
        for label, name, provider in (
            ("key0", "key:2af6f3a75e27c689", "lab"),
            ("key0", "key:6894fff27264256c", "lab"),
            ("key1", "key:707d9b0b108c521a", "lab"),
            ("key1", "key:9ead47816357072a", "cloud"),
            ("key2", "key:d46472fab039e6b1", "lab"),
            ("lab/m:7b", "model:1f39e06736e8:m:7b", "lab"),
            ("lab/m:7b", "model:9511dfcb5079:m:7b", "lab"),
        )
    ]
    # Then each has a name of its own, in the table too
    names = [
        "key0 (2af6f3)", "key0 (6894ff)", "key1 (lab)", "key1 (cloud)", "key2",
        "lab/m:7b (1f39e0)", "lab/m:7b (9511df)",
    ]  # fmt: skip
    assert told_apart(domains) == names
    lines = shown(Keyring(domains=tuple(reversed(domains)), runs=())).splitlines()[2:]
    assert [line.split(" no limit")[0].strip() for line in lines] == names


def looks(until: int, number: signal.Signals) -> Callable[[], Sequence[RenderableType]]:
    """Return a look that counts, and at its `until`-th sends this process a signal, as Ctrl-C does."""
    seen = 0

    def look() -> Sequence[RenderableType]:
        nonlocal seen
        seen += 1
        if seen == until:
            os.kill(os.getpid(), number)
        return [Text(f"look {seen}"), Text("second part")]

    return look


def test_a_watch_on_a_terminal_redraws_in_place_until_ctrl_c() -> None:
    """One picture, drawn over and over; the cursor comes back and the last picture stays."""
    stream = io.StringIO()
    console = SteadyConsole(file=stream, force_terminal=True, width=80, height=24, color_system=None)
    code = watch_in(console, looks(3, signal.SIGINT), 0.0)
    drawn = stream.getvalue()
    assert code == 0
    assert (drawn.count(HIDE_CURSOR), drawn.count(SHOW_CURSOR)) == (1, 1)
    assert drawn.rindex(SHOW_CURSOR) > drawn.rindex("look 3") > drawn.rindex("\r")
    assert "look 4" not in drawn


def test_a_watch_elsewhere_writes_one_block_after_the_other() -> None:
    """Each under its instant, no control characters; SIGTERM ends it with the documented code."""
    stream = io.StringIO()
    code = watch_in(SteadyConsole(file=stream, width=80), looks(2, signal.SIGTERM), 0.0)
    lines = stream.getvalue().splitlines()
    assert code == 143
    assert [line for line in lines if not line.endswith("Z")] == [
        "look 1", "", "second part", "", "look 2", "", "second part", "",
    ]  # fmt: skip
    assert [len(line) for line in lines if line.endswith("Z")] == [20, 20]


def test_a_watch_whose_look_fails_leaves_the_terminal_as_it_was() -> None:
    """The error is raised, with the cursor back."""
    stream = io.StringIO()
    console = SteadyConsole(file=stream, force_terminal=True, width=80, height=24, color_system=None)

    def look() -> Sequence[RenderableType]:
        raise ValueError("no state directory")

    with pytest.raises(ValueError, match="no state directory"):
        watch_in(console, look, 0.0)
    assert stream.getvalue().count(SHOW_CURSOR) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("keys", "--every", "1"), "add --watch"),
        (("keys", "--watch", "--json"), "leave out --watch"),
        (("keys", "--watch", "--every", "0"), "must be 0.2 to 86,400 seconds, not 0"),
        (("phase", "5.2", "--live", "--simulated"), "give one of them"),
        (("check", "--timeout", "30"), "without it there is nothing to choose"),
        (("check", "--dry-run"), "without it there is nothing to choose"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    arguments: tuple[str, ...],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a sentence and exit 2, nothing looked at or started."""
    monkeypatch.setattr(sys, "argv", ["benchrunner", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err

"""The live picture and the plain lines: what they say, that they fit, and that they outlive their reader."""

from __future__ import annotations

import io
from dataclasses import replace
from math import inf

import pytest
from reporting_clock import HandClock
from rich.console import ConsoleDimensions
from rich.text import Text

from benchrunner.records import KeyProgress, LimitKind, ProgressSnapshot, ShardProgress, WindowProgress, WindowUse
from benchrunner.reporting.console import SteadyConsole
from benchrunner.reporting.live_frame import LiveFrame
from benchrunner.reporting.live_picture import Screen, bar_text, choose_shards, cut_middle, picture
from benchrunner.reporting.plain import PlainProgress, figures_text
from benchrunner.reporting.progress import LiveProgress
from benchrunner.reporting.wording import count_text, duration_text

MODELS = (
    "qwen2.5-72b-instruct",
    "qwen2.5-32b-instruct",
    "qwen2.5-14b-instruct",
    "qwen2.5-7b-instruct",
    "Llama-3.3-70B-Instruct",
)


def window(used: float, amount: int = 10, per_s: float = 1.0, *, model: str = "") -> WindowProgress:
    kind = LimitKind.TOKENS if model else LimitKind.REQUESTS
    return WindowProgress(model=model, use=WindowUse(kind=kind, amount=amount, per_s=per_s, used=used))


KEYS = (
    KeyProgress(
        key_id="key0",
        requests_per_s=9.84,
        limit_per_s=10.0,
        models=("qwen2.5-72b-instruct",),
        paused_for_s=0.0,
        refused=0,
        health="usable",
        windows=(window(10.0),),
    ),
    KeyProgress(
        key_id="key1",
        requests_per_s=0.0,
        limit_per_s=10.0,
        models=(),
        paused_for_s=12.0,
        refused=3,
        health="usable",
        reason="MPE-429",
        windows=(window(0.0),),
        cap_per_s=1.234,
    ),
    KeyProgress(
        key_id="azure",
        requests_per_s=1.5,
        limit_per_s=inf,
        models=("m", "m", "n"),
        paused_for_s=0.0,
        refused=0,
        health="usable",
        windows=(window(123_456.0, 400_000, 60.0, model="m"), window(1.0, 400_000, 60.0, model="n")),
    ),
)


def shard(number: int, status: str = "waiting", *, scored: int = 0) -> ShardProgress:
    """Return one of ten shards of the usual grid."""
    return ShardProgress(
        label=("very_easy", "medium")[number % 2],
        model=MODELS[number % 5],
        status=status,
        scored=scored,
        invalid=0,
        running=2 if status == "running" else 0,
        total=100,
        keys=(f"key{number % 3}",) if status == "running" else (),
    )


def snapshot(shards: tuple[ShardProgress, ...] | None = None) -> ProgressSnapshot:
    """Return a run with ten shards and three keys, a third through."""
    if shards is None:
        shards = tuple(
            shard(
                n,
                "done" if n < 2 else "running" if n < 5 else "waiting",
                scored=(100, 100, 40, 30, 99)[n] if n < 5 else 0,
            )
            for n in range(10)
        )
    return ProgressSnapshot(
        run_id="20250826-100000-k3f9",
        phase="5.2",
        policy="pool",
        backend="simulated",
        elapsed_s=65.0,
        shards=shards,
        keys=KEYS,
        scored=369,
        invalid=2,
        total=1000,
        calls=3690,
        refused=3,
        tokens=12_345_678,
        eta_s=130.0,
        lower_bound_s=171.0,
        top_cause="api_timeout",
        binding="10 requests per 1 s of key0",
    )


def drawn(shown: ProgressSnapshot, *, width: int = 80, height: int = 24, ascii_only: bool = False) -> list[str]:
    """Return the picture's lines as a terminal of that size shows them."""
    stream = io.StringIO()
    console = SteadyConsole(file=stream, width=width, height=height, color_system=None, legacy_windows=False)
    console.print(picture(shown, Screen(width=width, height=height - 1, ascii_only=ascii_only)))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_ten_shards_and_three_keys_fit_a_small_terminal() -> None:
    """The whole picture at 80 x 24: mark, figures, what binds, a line a key with its bar, a line a shard."""
    bar = {n: bar_text(n, 100, cells=12) for n in (0, 30, 40, 99, 100)}
    assert drawn(snapshot()) == [
        "SIMULATED 5.2 pool  1 min 05 s, about 2 min 10 s left  20250826-100000-k3f9",
        "scored 369/1000  invalid 2 (api_timeout)  refused 3  calls 3690  tokens 12.3M",
        "bound by 10 requests per 1 s of key0",
        f"key0  {bar[100]} 10/10 in 1 s            9.8/s  qwen2.5-72b-instruct",
        f"key1  {bar[0]}  0/10 in 1 s          paused 12 s: MPE-429  3 refused",
        f"azure {bar[30]} 123k/400k tok in 60 s   1.5/s  m x2, n",
        f"qwen2.5-72b-instruct   very_easy {bar[100]} 100/100 done",
        f"qwen2.5-32b-instruct   medium    {bar[100]} 100/100 done",
        f"qwen2.5-14b-instruct   very_easy {bar[40]}  40/100 key2 2 running",
        f"qwen2.5-7b-instruct    medium    {bar[30]}  30/100 key0 2 running",
        f"Llama-3.3-70B-Instruct very_easy {bar[99]}  99/100 key1 2 running",
        f"qwen2.5-72b-instruct   medium    {bar[0]}   0/100 waiting",
        f"qwen2.5-32b-instruct   very_easy {bar[0]}   0/100 waiting",
        f"qwen2.5-14b-instruct   medium    {bar[0]}   0/100 waiting",
        f"qwen2.5-7b-instruct    very_easy {bar[0]}   0/100 waiting",
        f"Llama-3.3-70B-Instruct medium    {bar[0]}   0/100 waiting",
    ]


def test_a_run_that_stops_says_so_and_for_how_long_at_most() -> None:
    """In the picture's first line and in plain ones, in place of the time left; shards that start no more say that."""
    # Given a run that drains, one shard still running
    shards = (shard(2, "running", scored=40), shard(5, "left"))
    shown = replace(snapshot(shards), eta_s=None, binding="", stopping_s=17.2)
    # Then both views say so
    lines = drawn(shown)
    assert lines[0] == "SIMULATED 5.2 pool  1 min 05 s, stopping, at most 17 s  20250826-100000-k3f9"
    assert lines[2] == ""
    assert lines[-2].endswith(" 40/100 key2 2 running")
    assert lines[-1].endswith("  0/100 left for resume")
    assert "3 refused, stopping, at most 17 s | key0" in figures_text(shown)
    # And when its time is over, and when it has ended
    late = replace(shown, stopping_s=0.0)
    assert drawn(late)[0] == "SIMULATED 5.2 pool  1 min 05 s, stopping now  20250826-100000-k3f9"
    assert "3 refused, stopping now | key0" in figures_text(late)
    ended = replace(shown, stopping_s=None)
    assert drawn(ended)[0] == "SIMULATED 5.2 pool  1 min 05 s  20250826-100000-k3f9"
    assert "3 refused | key0" in figures_text(ended)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_left_for_resume_is_not_cut(width: int) -> None:
    """It is the longest standing a shard has; names give way to it."""
    shards = tuple(shard(n, "left") for n in range(4))
    assert all(line.endswith(" left for resume") for line in drawn(snapshot(shards), width=width)[6:])


def test_shards_left_for_resume_are_counted_where_they_have_no_line() -> None:
    """Under the words that stand on a line."""
    shards = (*(shard(n, "done") for n in range(3)), *(shard(n, "left") for n in range(5)))
    shown, rest = choose_shards(shards, 3)
    assert (shown, rest) == ((shards[3], shards[4]), "+ 3 left for resume, 3 done")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (120, 50), (20, 6)])
@pytest.mark.parametrize("shards", [0, 1, 10, 80])
def test_the_picture_always_fits(width: int, height: int, shards: int) -> None:
    """However many shards, it leaves the last line of the screen free and never folds: a redraw would flicker."""
    # Given a run of so many shards
    shown = snapshot(tuple(shard(n, "running" if n % 9 == 0 else "waiting") for n in range(shards)))
    # When it is drawn on such a terminal
    lines = drawn(shown, width=width, height=height)
    # Then it fits
    assert len(lines) <= height - 1
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_number_of_lines_is_the_same_from_start_to_end(width: int) -> None:
    """Whatever shards and keys are doing: lines that come and go make a picture jump."""

    def standing(done: int, running: int) -> tuple[ShardProgress, ...]:
        status = ["done"] * done + ["running"] * running + ["waiting"] * (40 - done - running)
        return tuple(shard(n, one, scored=100 if one == "done" else 0) for n, one in enumerate(status))

    stopped = tuple(replace(key, health="parked", parked_for_s=60.0, reason="quota " * 20) for key in KEYS)
    seen = [
        replace(snapshot(standing(0, 0)), binding="", eta_s=None),
        snapshot(standing(5, 3)),
        replace(snapshot(standing(30, 10)), keys=stopped, binding="a very long cause " * 20),
        snapshot(standing(40, 0)),
    ]
    assert {len(drawn(one, width=width)) for one in seen} == {23}
    assert max(len(line) for one in seen for line in drawn(one, width=width)) <= width


def test_of_many_shards_the_running_ones_come_first_and_the_done_are_folded() -> None:
    """The others are counted, so that nothing looks lost."""
    # Given 40 shards of which numbers 10, 20 and 30 run, one failed and one is done
    status = {10: "running", 20: "running", 30: "running", 35: "failed", 0: "done"}
    shards = tuple(shard(n, status.get(n, "waiting")) for n in range(40))
    # When six lines are there for them
    shown, rest = choose_shards(shards, 6)
    # Then five shards are shown, and the line says what the other 35 do
    assert shown == (shards[10], shards[20], shards[30], shards[35], shards[1])
    assert rest == "+ 34 waiting, 1 done"


@pytest.mark.parametrize(
    ("done", "total", "filled"),
    [(0, 100, 0), (99, 100, 13), (100, 100, 14), (0, 0, 14), (1, 100, 1), (50, 100, 7), (120, 100, 14)],
)
def test_a_bar_is_full_only_when_all_is_done_and_empty_only_when_nothing_is(
    done: int, total: int, filled: int
) -> None:
    """Ninety-nine of a hundred is not done, one of a hundred is begun; the bar works in ASCII too."""
    assert bar_text(done, total, cells=14, ascii_only=True) == "#" * filled + "-" * (14 - filled)


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("qwen2.5-72b-instruct", 20, "qwen2.5-72b-instruct"),
        ("qwen2.5-72b-instruct", 16, "qwen2.5-72b-i…ct"),
        ("DeepSeek-R1-0528", 9, "DeepSee…8"),
        ("abcdef", 3, "abc"),
        ("abcdef", 0, ""),
    ],
)
def test_a_long_name_is_cut_in_its_middle(text: str, width: int, cut: str) -> None:
    """What tells models apart, the family and size in front and the variant behind, stays."""
    assert cut_middle(text, width) == cut


def test_a_terminal_that_knows_only_ascii_gets_ascii() -> None:
    """No bar, mark or ellipsis of ours is outside it."""
    narrow = drawn(snapshot(), width=50, ascii_only=True)
    assert [line for line in narrow[3:] if not line.isascii()] == []


def test_models_of_a_key_are_shortened_one_by_one_and_counted_when_there_is_no_room() -> None:
    """Three models on one key are three names, however long."""
    names = ("DeepSeek-V3-0324", "DeepSeek-R1-0528", "Llama-3.3-70B-Instruct")
    busy = replace(KEYS[2], models=(*names, names[0]), windows=())
    wide, middle, narrow = (
        next(line for line in drawn(replace(snapshot(), keys=(busy,)), width=width) if line.startswith("azure"))
        for width in (200, 90, 45)
    )
    assert wide.endswith("DeepSeek-V3-0324 x2, DeepSeek-R1-0528, Llama-3.3-70B-Instruct")
    assert middle.endswith("DeepSeek-V3-0324, DeepSeek-R1-0528, Llama-3.3-70B-…ct")
    assert narrow.endswith("3 models")


def test_of_more_keys_than_lines_the_rest_is_counted() -> None:
    """Twenty keys leave room for shards."""
    keys = tuple(replace(KEYS[0], key_id=f"key{n:02d}") for n in range(20))
    lines = drawn(replace(snapshot(), keys=keys))
    assert [line.split()[0] for line in lines[3:10]] == [f"key{n:02d}" for n in range(7)]
    assert lines[10] == "+ 13 more keys"


class CountedWrites(io.StringIO):
    """A stream that counts how often something reaches it."""

    frames = 0

    def write(self, text: str) -> int:
        """Count."""
        self.frames += bool(text)
        return super().write(text)


def test_the_live_picture_is_redrawn_at_most_four_times_a_second(clock: HandClock) -> None:
    """A thousand updates in a second cost four drawings; the last state is drawn on the way out."""
    # Given a live display on a terminal
    stream = CountedWrites()
    console = SteadyConsole(file=stream, force_terminal=True, width=80, height=24, color_system=None)
    view = LiveProgress(console, clock)
    view.start()
    before = stream.frames
    # When a thousand updates come within a second
    for n in range(1000):
        view.update(replace(snapshot(), scored=n))
        clock.sleep_s(0.001)
    # Then four were drawn
    assert stream.frames - before == 4
    # And the last, not drawn yet, is what remains on the screen
    view.stop()
    assert "scored 999/1000" in stream.getvalue().rpartition("\r")[2]
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1


def test_events_stand_above_the_live_picture(clock: HandClock) -> None:
    """A line about a key is kept on the screen; the picture is drawn again below it."""
    # Given a live display with a picture
    stream = io.StringIO()
    view = LiveProgress(SteadyConsole(file=stream, force_terminal=True, width=80, height=24, color_system=None), clock)
    view.start()
    view.update(snapshot())
    # When an event with a control character is told
    view.line("key1 was refused:\x1b[2J [bold]CE-003[/bold]")
    view.stop()
    # Then it is there as text, followed by the picture
    assert "key1 was refused: [2J [bold]CE-003[/bold]" in stream.getvalue()
    assert stream.getvalue().rindex("scored 369/1000") > stream.getvalue().index("CE-003")


def terminal_frame(*, width: int = 40, height: int = 6) -> tuple[LiveFrame, io.StringIO]:
    """Return a frame on a terminal of that size, and what is written to it."""
    stream = io.StringIO()
    console = SteadyConsole(file=stream, force_terminal=True, width=width, height=height, color_system=None)
    return LiveFrame(console), stream


def test_a_frame_is_written_over_the_last_one_line_by_line() -> None:
    """No line is erased before its successor is there: a terminal that reads in pieces shows old or new, never less."""
    # Given a picture of three lines
    frame, stream = terminal_frame()
    frame.draw(Text("one\ntwo\nthree"))
    # When one of two lines takes its place
    stream.truncate(0)
    stream.seek(0)
    frame.draw(Text("ONE\nTWO"))
    # Then the cursor goes up, each line is followed by the erasing of what it left over, and the third line goes
    assert stream.getvalue() == "\r\x1b[2AONE\x1b[K\nTWO\x1b[K\x1b[J"


def test_a_frame_never_fills_the_last_column_or_line() -> None:
    """A full line would lose its last character to the erasing, a full screen would scroll."""
    frame, stream = terminal_frame(width=10, height=4)
    frame.draw(Text("\n".join("x" * 30 for _ in range(9)), no_wrap=True, overflow="crop"))
    lines = stream.getvalue().replace("\x1b[K", "").replace("\x1b[J", "").lstrip("\r").split("\n")
    assert lines == ["x" * 9] * 3


def test_a_terminal_that_changed_its_size_is_cleared_once() -> None:
    """It has folded the old lines anew, so that nobody knows where they begin."""
    frame, stream = terminal_frame()
    frame.draw(Text("one"))
    frame._console.size = ConsoleDimensions(20, 6)
    for _ in range(2):
        frame.draw(Text("one"))
    assert stream.getvalue().count("\x1b[2J") == 1


class GoneReader(io.StringIO):
    """A pipe whose reader went away."""

    def write(self, text: str) -> int:
        """Fail as such a pipe does."""
        raise BrokenPipeError(32, "Broken pipe")


def test_a_run_goes_on_when_its_terminal_or_log_is_gone(clock: HandClock) -> None:
    """A closed terminal or a broken pipe silences the view and raises nothing into the supervisor."""
    # Given views whose stream is gone
    live = LiveProgress(SteadyConsole(file=GoneReader(), force_terminal=True, width=80, height=24), clock)
    for view in (live, PlainProgress(GoneReader(), clock)):
        # When the run shows itself
        view.start()
        for _ in range(3):
            view.update(snapshot())
            clock.sleep_s(20)
        view.line("still here")
        # Then it ends as usual
        view.stop()


def test_plain_progress_is_one_line_at_first_and_then_every_fifteen_seconds(clock: HandClock) -> None:
    """A log of a long run stays readable; the last state is always in it."""
    # Given plain lines
    stream = io.StringIO()
    view = PlainProgress(stream, clock)
    view.start()
    # When a run of 40 s is updated every second, with one event
    for n in range(40):
        if n == 20:
            view.line("key1 is paused for 12 s")
        view.update(replace(snapshot(), scored=n))
        clock.sleep_s(1.0)
    view.stop()
    # Then figures come at 0, 15 and 30 s and at the end, each with its instant
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == [f"2025-08-26T10:00:{at:02d}Z" for at in (0, 15, 20, 30, 40)]
    assert lines[2].endswith("Z key1 is paused for 12 s")
    assert lines[4] == (
        "2025-08-26T10:00:40Z SIMULATED 5.2 pool: 39/1000 scored, invalid 2 (api_timeout), 3 of 10 shards running, "
        "3690 calls, 3 refused, 2 min 10 s left, bound by 10 requests per 1 s of key0 | "
        "key0 9.8/10 req/s qwen2.5-72b-instruct | key1 0.0/10 req/s paused 12 s: MPE-429, cap 1.2/s, 3 refused | "
        "azure 1.5 req/s m x2, n"
    )


def test_plain_progress_of_nothing_says_nothing(clock: HandClock) -> None:
    """A run that was refused before it began leaves an empty log."""
    stream = io.StringIO()
    view = PlainProgress(stream, clock)
    view.start()
    view.stop()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-1.0, "0 s"),
        (0.04, "0 s"),
        (0.36, "0.4 s"),
        (4.0, "4 s"),
        (4.04, "4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185.25, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7620.0, "2 h 07 min"),
        (90_000.0, "25 h 00 min"),
    ],
)
def test_a_duration_is_worded_without_sixty_seconds(seconds: float | None, text: str) -> None:
    """Rounding carries over into minutes and hours."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (9_999, "9999"), (10_000, "10k"), (999_499, "999k"), (999_500, "1.0M"), (12_345_678, "12.3M")],
)
def test_a_count_takes_five_characters(count: int, text: str) -> None:
    """Large counts are rounded where a table has no room for them."""
    assert count_text(count) == text

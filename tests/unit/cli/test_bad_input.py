"""Wrong input gets a sentence and exit code 2, nothing is started or written; and every command explains itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import benchrunner.cli.running
import benchrunner.engine.forking
from benchrunner.cli.main import COMMANDS, cli, main
from benchrunner.records import RunRecord
from benchrunner.store.writer import RunWriter

ROOT = Path(__file__).parents[3]
HEAVY = ("pydantic", "requests", "urllib3", "rich", "multiprocess", "psutil", "starlette", "sqlite_utils", "orjson")


@dataclass
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


Say = Callable[..., Answer]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Say]:
    """Run a command line in a directory with the shipped phases.toml. Whatever would start a process fails the test."""
    (tmp_path / "phases.toml").write_text((ROOT / "phases.toml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCHRUNNER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    started: list[object] = []
    # The fork server is started for its imports before the input is looked at; here it would outlive its test.
    monkeypatch.setattr(benchrunner.engine.forking, "named_context", lambda: None)
    monkeypatch.setattr(benchrunner.cli.running, "launch", lambda *request, **_: started.append(request))

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["benchrunner", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    yield run
    assert started == [], "a run was started"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["phaze", "5.2"], 'no command "phaze"; did you mean "phase"?'),
        (["phase", "5.22"], 'no phase "5.22" in phases.toml; did you mean "5.2"?'),
        (["phase", "5.1", "seven"], 'no phase "seven" in phases.toml; valid: 5.1, 5.2, 5.3, 5.4, 5.5'),
        (["plan", "5.22"], 'no phase "5.22" in phases.toml; did you mean "5.2"?'),
        (["phase", "5.2", "--policy", "poool"], "no policy 'poool'; did you mean pool?"),
        (["plan", "5.2", "--policy", "serail"], "no policy 'serail'; did you mean serial?"),
        (
            ["phase", "5.2", "--models", "qwen2.5-7b-instrukt"],
            'phase 5.2 has no model "qwen2.5-7b-instrukt"; did you mean "qwen2.5-7b-instruct"?',
        ),
        (["phase", "5.2", "--models", "Llama-3.3-70B-Instruct"], 'phase 5.2 has no model "Llama-3.3-70B-Instruct"'),
        (["phase", "5.2", "--models", " , "], "--models names nothing; write names with commas between"),
        (["phase"], "Missing argument 'PHASE...'"),
        (["phase", "5.2", "--instanses", "1"], "--instances"),
        (["phase", "5.2", "--engine", "rey"], "Invalid value for '--engine': 'rey' is not"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_unknown_word_is_named_with_the_nearest_valid_one(arguments: list[str], sentence: str, say: Say) -> None:
    """Commands, phases, policies, models, options: exit 2 and one sentence that helps, on stderr."""
    answer = say(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--instances", "0", "'--instances': must be at least 1, not 0"),
        ("--instances", "-1", "'--instances': must be at least 1, not -1"),
        ("--instances", "many", "'--instances': 'many' is no whole number"),
        ("--seed", "1.5", "'--seed': '1.5' is no whole number"),
        ("--seed", "9" * 400, "is no whole number"),
        ("--seed", str(2**63), "'--seed': must be 0 to 9,223,372,036,854,775,807"),
        ("--wait", "9" * 400, "is no duration"),
        ("--stagger", "-0.5", "'--stagger': '-0.5' is no duration; write 90 (seconds), 45s, 30m or 1h30m"),
        ("--stagger", "inf", "'--stagger': 'inf' is no duration"),
        ("--wait", "nan", "'--wait': 'nan' is no duration"),
        ("--wait", "-1", "'--wait': '-1' is no duration"),
    ],
)
def test_a_number_out_of_range_is_refused(option: str, value: str, sentence: str, say: Say) -> None:
    """Nothing runs on zero instances or a negative stagger, and nothing is written."""
    answer = say("phase", "5.2", option, value)
    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err
    assert not Path("runs.db").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs", "--limit", "0"], "'--limit': must be at least 1, not 0"),
        (["compare", "a", "b", "--resamples", "5"], "'--resamples': must be 100 to 1,000,000, not 5"),
        (["simulate", "--port", "65536"], "'--port': must be 0 to 65,535, not 65536"),
        (["tasks", "show", "t", "--rate", "nan"], "'--rate': 'nan' is no number"),
        (["check", "--live", "--timeout", "0"], "'--timeout': must be more than 0 seconds, not 0"),
        (["check", "--live", "--timeout", "nan"], "'--timeout': 'nan' is no duration"),
        (["keys", "--watch", "--every", "100ms"], "'--every': '100ms' is no duration"),
        (["check", "--live", "--timeout", "9999999999"], "'--timeout': must be 0 to 86,400 seconds"),
        (["phase", "5.2", "--stagger", "99999999999"], "'--stagger': must be 0 to 86,400 seconds"),
        (["nightly", "--wait", "99999999999"], "'--wait': must be 0 to 31,622,400 seconds"),
        (["keys", "--watch", "--every", "25h"], "'--every': must be 0.2 to 86,400 seconds, not 25h"),
        (["show", "r1", "r2"], "show takes one run, not 2 (r1, r2); compare takes two"),
        (["audit", "r1", "r2"], "audit takes one run, not 2 (r1, r2)"),
        (["resume", "r1", "r2"], "resume takes one run, not 2 (r1, r2)"),
        (["runs", "--db", "."], "'--db': File '.' is a directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_told_with_what_can(arguments: list[str], sentence: str, say: Say) -> None:
    """Every number and duration says its bounds, and a command that takes one run names those it got."""
    answer = say(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err


@pytest.mark.parametrize(
    ("arguments", "where", "command"),
    [
        ([""], "benchrunner", "benchrunner"),
        (["resume", ""], "resume", "benchrunner resume"),
        (["show", "--trial", ""], "--trial", "benchrunner show"),
        (["phase", ""], "phase", "benchrunner phase"),
        (["phase", "5.2", "--policy", ""], "--policy", "benchrunner phase"),
        (["phase", "5.2", "--models", ""], "--models", "benchrunner phase"),
        (["phase", "5.2", "--db="], "--db", "benchrunner phase"),
        (["tasks", ""], "tasks", "benchrunner tasks"),
        (["tasks", "check", ""], "check", "benchrunner tasks check"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_empty_word_is_not_taken_for_a_wish(arguments: list[str], where: str, command: str, say: Say) -> None:
    """`resume "$RUN"` with RUN not set must not resume the newest run; the usage shown is the command's own."""
    answer = say(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"Usage: {command} [OPTIONS]")
    assert f"\nTry '{command} --help' for help.\n" in answer.err
    assert f"the word after {where} is empty; is a shell variable not set?" in answer.err


def test_phase_resume_and_nightly_read_how_long_to_wait_alike() -> None:
    """One parser, one way to write it, one sentence of help; what is not said differs and is told."""
    # Given the three commands
    context = click.Context(cli)
    helps = {}
    for name in ("phase", "resume", "nightly"):
        command = cli.get_command(context, name)
        assert command is not None
        (wait,) = [one for one in command.params if one.name == "wait_s"]
        # When each reads a plain number and a duration
        read = [wait.type_cast_value(context, text) for text in ("5400", "90m")]
        # Then both are seconds
        assert read == [5400.0, 5400.0]
        assert isinstance(wait, click.Option)
        helps[name] = wait.help or ""
    assert helps["phase"] == helps["resume"]
    assert [name for name, told in helps.items() if "90 (seconds), 45s, 30m or 1h30m; 0: not at all" not in told] == []


@pytest.mark.parametrize(
    ("name", "default"), [("phase", "local"), ("nightly", "local"), ("resume", "the engine that the run began with")]
)
def test_each_command_tells_the_engine_it_takes_unasked(name: str, default: str) -> None:
    """One phrase about itself, and none about what another command does."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    (engine,) = [one for one in command.params if one.name == "engine"]
    assert isinstance(engine, click.Option)
    assert engine.help == f"What runs workers.  [default: {default}]"


def test_all_phases_of_a_command_line_are_checked_before_the_first_runs(say: Say) -> None:
    """A misspelt third phase is told now, not after two nights."""
    answer = say("phase", "5.1", "5.2", "5.66")
    assert (answer.code, 'no phase "5.66"' in answer.err) == (2, True)


# --- phases.toml ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["phase", "5.2"], ["plan", "5.2"], ["check"], ["simulate"]], ids=" ".join)
def test_a_missing_config_says_what_makes_one(command: list[str], say: Say) -> None:
    """Every command that reads phases.toml says the same when there is none."""
    answer = say(*command, "--config", "night.toml")
    assert answer.code == 2
    assert answer.err == "Error: night.toml: there is no such file; `benchrunner init` writes one here\n"


def test_a_syntax_error_is_told_with_line_and_column(say: Say) -> None:
    """What is not TOML is told where."""
    Path("phases.toml").write_text('[run]\ndb = "runs.db"\nseed = = 3\n')
    answer = say("phase", "5.2")
    assert answer.code == 2
    assert answer.err == "Error: phases.toml: is not TOML: Invalid value (at line 3, column 8)\n"


def test_all_faults_of_a_config_are_told_at_once(say: Say) -> None:
    """A wrong file is refused with every fault, each with its table, key and nearest valid word; nothing is written."""
    # Given a file with a misspelt key, a wrong value, a model on no key and a phase with an unknown model
    config = Path("phases.toml")
    text = config.read_text()
    for old, new in (
        ("seed = 20250826", "sead = 20250826"),
        ("timeout_s = 150", "timeout_s = -150"),
        ('key = "key2"', 'key = "key9"'),
        ('models = [\n    "qwen2.5-72b-instruct"', 'models = [\n    "qwen2.5-72b-instrukt"'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    config.write_text(text)
    # When a phase is asked for
    answer = say("phase", "5.2")
    # Then all of them are told
    assert answer.code == 2
    head, *faults = answer.err.splitlines()
    assert head == "Error: phases.toml has 4 faults:"
    wrong = (("[run]", '"seed"'), ("timeout_s", "-150"), ("key9", '"key'), ('"5.2"', '"qwen2.5-72b-instruct"'))
    for place, word in wrong:
        assert [fault for fault in faults if place in fault and word in fault] != [], (place, word, faults)
    assert sorted(path.name for path in Path().iterdir()) == ["phases.toml"]


def test_a_right_config_is_said_to_be_right(say: Say) -> None:
    """`check` counts what it found, and needs no secret for it."""
    answer = say("check")
    assert (answer.code, answer.err) == (0, "")
    assert "phases.toml is right: 2 providers, 4 keys, 8 models, phases 5.1, 5.2, 5.3, 5.4, 5.5" in answer.out


def test_init_overwrites_nothing_unasked(say: Say) -> None:
    """What stands there stays, unless --force."""
    Path("phases.toml").write_text("mine")
    refused = say("init")
    assert (refused.code, Path("phases.toml").read_text()) == (2, "mine")
    assert "phases.toml is there already; --force overwrites" in refused.err
    assert say("init", "--force").code == 0
    assert Path("phases.toml").read_text() == (ROOT / "phases.toml").read_text()


# --- runs.db --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["runs", "show", "resume"])
def test_without_a_database_reading_commands_say_so_and_make_none(command: str, say: Say) -> None:
    """Asking is not writing."""
    answer = say(command)
    assert (answer.code, answer.out) == (2, "")
    assert "there is no run database at runs.db; `benchrunner phase` makes one, --db names another" in answer.err
    assert not Path("runs.db").exists()


@pytest.fixture
def two_runs(say: Say) -> None:  # after `say`: it is made in that directory
    """Runs r20250826-a and r20250826-b, without shards."""
    for name in "ab":
        record = RunRecord(
            run_id=f"r20250826-{name}",
            batch_id="b1",
            phase="5.2",
            policy="pool",
            engine="local",
            backend="simulated",
            seed=1,
            config_hash="c",
            config="{}",
            version="0",
            argv="phase 5.2",
            started_at="2025-08-26T00:00:00.000000Z",
        )
        # A writer each, as each invocation has one: it holds its run for as long as it is open.
        with RunWriter.open(Path("runs.db")) as writer:
            writer.add_run(record, (), (), ())


@pytest.mark.usefixtures("two_runs")
def test_an_unknown_run_is_named_with_those_there_are(say: Say) -> None:
    """`show` and `resume` take an id or its beginning; a wrong one helps to the right one."""
    for command in ("show", "resume"):
        unknown = say(command, "r20250827-a")
        assert (unknown.code, unknown.out) == (2, "")
        assert "r20250827-a" in unknown.err
        assert "r20250826-a" in unknown.err, "the nearest there is"


@pytest.mark.usefixtures("two_runs")
def test_a_beginning_that_several_runs_share_is_not_guessed_at(say: Say) -> None:
    """Two runs that begin alike are both named."""
    several = say("show", "r2025")
    assert several.code == 2
    assert "r20250826-a" in several.err
    assert "r20250826-b" in several.err


# --- help -----------------------------------------------------------------------------------------------------------


def commands() -> list[tuple[str, click.Command, click.Context]]:
    """Return every command and subcommand with its full name."""
    found = []
    context = click.Context(cli, info_name="benchrunner")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None, f"COMMANDS names {name}, which has no file"
        own = click.Context(command, info_name=name, parent=context)
        found.append((f"benchrunner {name}", command, own))
        if isinstance(command, click.Group):
            found += [
                (f"benchrunner {name} {part}", sub, click.Context(sub, info_name=part, parent=own))
                for part, sub in command.commands.items()
            ]
    return found


@pytest.mark.parametrize(("name", "command", "context"), commands(), ids=lambda value: str(value).split("object")[0])
def test_every_command_has_help_with_an_example(name: str, command: click.Command, context: click.Context) -> None:
    """--help says what it does, what each option means, and shows a line to type."""
    text = command.get_help(context)
    assert "Example" in text, f"{name} --help shows no example"
    assert f"{name.rsplit(' ', 1)[0]} " in text.split("Example", 1)[1], "the example is one of this command"
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("name", [name for name, _, _ in commands()])
def test_every_command_stands_in_the_docs(name: str) -> None:
    """docs/cli.md holds every command's help (`make check` compares the words)."""
    headings = [line for line in (ROOT / "docs/cli.md").read_text(encoding="utf-8").splitlines() if line[:3] == "## "]
    assert f"## {name}" in headings


def test_every_documented_exit_code_stands_in_the_docs() -> None:
    """The table of docs/cli.md has the codes that the program ends with."""
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert [code for code in ("0", "1", "2", "3", "130 / 143") if f"\n| {code} | " not in text] == []


def test_help_imports_nothing_heavy() -> None:
    """`benchrunner --help` answers at once: only click and the commands' declarations are loaded."""
    # Given a fresh interpreter that shows the help
    program = (
        "import sys\n"
        "from benchrunner.cli.main import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    # When it is done
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    # Then no library that takes long to load was
    assert "Usage:" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "loaded: []"

"""No secret is found in anything a run leaves, says or shows, whatever the provider repeats."""

from __future__ import annotations

import contextlib
import os
import secrets as random_secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from process_kit import ROOT, StrictProvider, Workspace, family, short_name

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ECHOING_PROVIDER = ROOT / "tests" / "servers" / "echoing_provider.py"
VARIABLES = ("IDEALLAB_KEY_0", "IDEALLAB_KEY_1", "IDEALLAB_KEY_2")
SMALL = ("phase", "5.2", "--live", "--instances", "1", "--models", "qwen2.5-3b-instruct")


@pytest.fixture
def secrets() -> dict[str, str]:
    """Return a secret per variable that stands nowhere else on this machine."""
    return {name: f"sk-{random_secrets.token_urlsafe(24)}" for name in VARIABLES}


@pytest.fixture
def guarded(workspace: Workspace, secrets: dict[str, str]) -> Iterator[Workspace]:
    """Yield a workspace whose temporary files are its own too, with the secrets in its environment."""
    own = workspace.path / "tmp"
    own.mkdir()
    workspace.edit_config("limits = [{ requests = 10, per_s = 1 }]", "limits = [{ requests = 200, per_s = 1 }]")
    with short_name(own) as temporary:
        workspace.env |= secrets | {"TMPDIR": str(temporary)}
        yield workspace


@pytest.fixture
def echoing_url() -> Iterator[str]:
    """Return the address of a provider that repeats keys."""
    process = subprocess.Popen([sys.executable, str(ECHOING_PROVIDER)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    process.kill()
    process.wait(10)
    process.stdout.close()


def files_with(secret: str, *folders: Path) -> list[str]:
    """Return the files under the folders that hold the secret, in whatever they are."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            # A run's files come and go while it runs.
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and secret.encode() in path.read_bytes():
                    found.append(str(path))
    return found


def shared_memory() -> set[str]:
    """Return the names under /dev/shm, where there is one."""
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


class Watch:
    """What the processes of a run showed of themselves while it ran."""

    def __init__(self) -> None:
        self.looks = 0
        self.argv: list[str] = []
        self.environ: dict[int, dict[str, str]] = {}
        self.files: list[str] = []

    def until_ended(self, process: subprocess.Popen[str], look_for: list[str], *folders: Path) -> None:
        """Look at every process of the run, and at its files, again and again until it has ended."""
        while process.poll() is None:
            for member in family(process.pid):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                    self.argv += member.cmdline()
                    self.environ[member.pid] = member.environ()
            for secret in look_for:
                self.files += files_with(secret, *folders)
            self.looks += 1
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)


def run_watched(workspace: Workspace, secrets: dict[str, str], *arguments: str) -> tuple[Watch, int, str]:
    """Run a command to its end and return what was seen meanwhile, its exit code, and all it printed."""
    said = workspace.path / "said"
    before = shared_memory()
    with said.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchrunner", *arguments],
            cwd=workspace.path,
            env=workspace.env,
            stdout=stream,
            stderr=stream,
            text=True,
        )
        workspace.running.append(process)
        watch = Watch()
        watch.until_ended(process, list(secrets.values()), workspace.path)
    fresh = shared_memory() - before
    for secret in secrets.values():
        watch.files += [name for name in fresh if secret.encode() in (Path("/dev/shm") / name).read_bytes()]
    return watch, process.returncode, said.read_text()


def assert_nothing_left(
    workspace: Workspace, secrets: dict[str, str], watch: Watch, *, but: tuple[Path, ...] = ()
) -> None:
    """No file, no argument, now or while the run went on."""
    assert watch.looks >= 5
    for secret in secrets.values():
        assert [path for path in files_with(secret, workspace.path) if Path(path) not in but] == []
        assert [one for one in watch.argv if secret in one] == []
    assert [path for path in watch.files if Path(path) not in but] == []


def test_no_secret_is_in_anything_a_run_leaves(
    guarded: Workspace, secrets: dict[str, str], strict_provider: Callable[..., StrictProvider]
) -> None:
    """Workspace, database and its log, state directory, shared memory, temporary files, arguments, every output."""
    # Given a run with secrets in its environment
    provider = strict_provider("--limit", "200")
    guarded.env["IDEALLAB_BASE_URL"] = provider.base_url
    # When it runs, and its results are shown in every form
    watch, code, said = run_watched(guarded, secrets, *SMALL, "--json")
    assert code == 0, said
    for command in (("show",), ("show", "--json"), ("audit", "--json"), ("export",), ("keys", "--json"), ("runs",)):
        ended = guarded.run(*command)
        said += ended.out + ended.err
        assert ended.code == 0, said
    # Then the provider had every secret, and nobody else
    assert set(provider.stats()["accepted"]) <= set(secrets.values())
    assert_nothing_left(guarded, secrets, watch)
    assert [secret for secret in secrets.values() if secret in said] == []
    # And the environment of its processes holds what the user's own did, under the user's names, and no more
    held = {
        (name, value)
        for environ in watch.environ.values()
        for name, value in environ.items()
        if any(secret in value for secret in secrets.values())
    }
    assert held <= set(secrets.items())


def test_secrets_of_an_env_file_are_in_no_process_argument_or_environment(
    guarded: Workspace, secrets: dict[str, str], strict_provider: Callable[..., StrictProvider]
) -> None:
    """What a file of the user's alone holds does not spread: not to other files, arguments, or environments."""
    # Given the secrets in a file that only the user can read
    provider = strict_provider("--limit", "200")
    guarded.env["IDEALLAB_BASE_URL"] = provider.base_url
    for name in secrets:
        del guarded.env[name]
    keys = guarded.path / "keys.env"
    keys.write_text("".join(f"{name}={secret}\n" for name, secret in secrets.items()))
    keys.chmod(0o600)
    assert 'env_file = "keys.env"' in (guarded.path / "phases.toml").read_text()
    # When a run uses them
    watch, code, said = run_watched(guarded, secrets, *SMALL)
    # Then they are in that file and nowhere else
    assert code == 0, said
    assert len(watch.environ) >= 3
    assert_nothing_left(guarded, secrets, watch, but=(keys,))
    values = [value for environ in watch.environ.values() for value in environ.values()]
    assert [value for value in values if any(secret in value for secret in secrets.values())] == []
    # And the command refuses the file once others can read it
    keys.chmod(0o644)
    refused = guarded.run(*SMALL)
    assert refused.code == 2
    assert [secret for secret in secrets.values() if secret in refused.out + refused.err] == []


def test_a_provider_that_repeats_the_key_finds_it_kept_nowhere(
    guarded: Workspace, secrets: dict[str, str], echoing_url: str
) -> None:
    """Error texts, codes, pages, torn bodies, headers: the key in them is masked wherever they end up."""
    # Given a provider that has the caller's key in every error it sends
    guarded.env["IDEALLAB_BASE_URL"] = echoing_url
    guarded.edit_config("seed = 20250826", "max_tries = 2\nseed = 20250826")
    # When a run is played on it
    watch, code, said = run_watched(guarded, secrets, *SMALL)
    # Then trials were lost to it, with its words kept ...
    assert code == 1, said
    assert guarded.count("select count(*) from calls where outcome = 'bad_request'") > 0
    assert guarded.count("select count(*) from calls where outcome = 'rate_limited'") > 0
    assert guarded.count("select count(*) from calls where provider_code is not null and provider_code <> ''") > 0
    # ... and no key in them
    assert_nothing_left(guarded, secrets, watch)
    shown = guarded.run("show", "--json")
    checked = guarded.run("check", "--live")
    for secret in secrets.values():
        assert secret not in said + shown.out + shown.err + checked.out + checked.err


def test_a_traceback_holds_no_secret(guarded: Workspace, secrets: dict[str, str]) -> None:
    """A command that dies of a bug, or of a provider that is not there, names no secret."""
    # Given a provider that nobody can reach, and the interpreter's own words about everything
    guarded.env |= {"IDEALLAB_BASE_URL": "http://127.0.0.1:9/v1", "PYTHONDEVMODE": "1", "PYTHONFAULTHANDLER": "1"}
    guarded.edit_config("seed = 20250826", "max_tries = 1\nseed = 20250826")
    # When a run fails on it
    watch, code, said = run_watched(guarded, secrets, *SMALL)
    # Then nothing that was said or left names a key
    assert code == 1, said
    assert_nothing_left(guarded, secrets, watch)
    assert [secret for secret in secrets.values() if secret in said] == []
    assert os.environ.keys().isdisjoint(secrets)

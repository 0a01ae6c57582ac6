"""`benchrunner browse` as a user mistypes it: a sentence, exit 2, nothing started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchrunner.browse import server
from benchrunner.cli.main import cli
from benchrunner.errors import BenchrunnerError, StoreError, UsageError


def browse(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(cli, ["browse", *arguments], standalone_mode=False).exception


def test_without_datasette_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra that is not installed is one sentence, not a traceback."""
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    error = browse()
    assert isinstance(error, UsageError)
    assert str(error) == (
        "browse needs Datasette: pip install 'benchrunner[browse]' (in a clone: pip install -e '.[browse]')"
    )


def test_a_database_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    """And none is made."""
    error = browse("--db", str(tmp_path / "none.db"))
    assert isinstance(error, StoreError)
    assert error.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_is_not_ours_cannot_be_listened_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address and the way out are named."""

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(server.socket, "getaddrinfo", refuse)
    with pytest.raises(UsageError, match=r"cannot listen on nowhere\.invalid:8001: Name or service not known"):
        server.start_browse(tmp_path / "runs.db", host="nowhere.invalid", port=8001)
    assert issubclass(UsageError, BenchrunnerError)

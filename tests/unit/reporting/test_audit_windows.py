"""Windows are judged exactly by the recorded instants: one microsecond too early is too early."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from audited_run import audited, change, faults_of, play_and_keep, rows_of


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a simulated run that was played."""
    database = tmp_path_factory.mktemp("played") / "runs.db"
    play_and_keep(database)
    return database


@pytest.fixture
def database(played: Path, tmp_path: Path) -> Path:
    """Return a copy of the run, for one test to change."""
    return Path(shutil.copy(played, tmp_path))


def _send(
    database: Path, *stamps: str, key_id: str = "key0", run_id: str = "r1", first_id: int = 1, tokens: int = 1
) -> None:
    """Put calls at these instants of the minute before the run, apart from every dialogue's own."""
    for number, at in enumerate(stamps):
        change(
            database,
            "INSERT INTO calls (id, run_id, trial_id, turn, attempt, key_id, model, deployment, outcome, sent_at, "
            "wait_window_s, backoff_s, latency_s, prompt_tokens, completion_tokens) SELECT (id & ~1048575) + "
            "500000 + ?1, ?2, trial_id, 7, 1, ?3, model, model, 'transient', ?4, 0, 0, 0.1, 1, ?5 - 1 FROM calls "
            "WHERE run_id = ?2 AND model = 'm-big' ORDER BY id LIMIT 1",
            first_id + number,
            run_id,
            key_id,
            f"2025-08-26T09:59:{at}Z",
            tokens,
        )


def _faults(database: Path, run: str | None = None) -> list[tuple[str, str, str]]:
    """Return what is found of the windows; the calls put in follow no dialogue, which is another check's business."""
    return list(rows_of(audited(database, run), "windows"))


TEN = tuple(f"10.{n:06d}" for n in range(10))


def test_as_many_as_the_limit_in_one_window_are_none_too_many(database: Path) -> None:
    """Ten in a second may go, and the eleventh exactly one second after the first."""
    _send(database, *TEN, "11.000000")
    assert _faults(database) == []


def test_one_microsecond_too_early_is_found(database: Path) -> None:
    """No tolerance: what the provider may refuse is told."""
    _send(database, *TEN, "10.999999")
    assert _faults(database) == [
        (
            "key key0",
            "at most 10 requests in any 1 s",
            "11 from 2025-08-26T09:59:10.000000Z on; 1 left too early",
        )
    ]


def test_a_request_whose_end_nobody_saw_is_left_out(database: Path) -> None:
    """Its instant is the planned one, and it may never have left: it proves nothing."""
    _send(database, *TEN, "10.500000")
    change(database, "UPDATE calls SET outcome = 'sent' WHERE sent_at LIKE '%10.500000Z'")
    assert _faults(database) == []


def test_refused_requests_count_like_any_other(database: Path) -> None:
    """They reached the provider."""
    _send(database, *TEN, "10.500000")
    change(database, "UPDATE calls SET outcome = 'rate_limited' WHERE sent_at LIKE '%10.500000Z'")
    assert len(_faults(database)) == 1


def test_a_simulated_run_is_held_to_the_limits_at_its_speed(database: Path) -> None:
    """At speed 2 the embedded provider takes twenty a second."""
    _send(database, *TEN, *(f"10.5{n:05d}" for n in range(10)))
    change(database, "UPDATE runs SET config = json_set(config, '$.simulator.speed', 2.0)")
    assert _faults(database) == []
    _send(database, "10.600000", first_id=100)
    assert [row[1] for row in _faults(database)] == ["at most 20 requests in any 1 s"]


def test_the_sittings_of_a_simulated_run_have_windows_of_their_own(database: Path) -> None:
    """A resumed run has a new embedded provider: nobody saw both crowds."""
    _send(database, *TEN, *(f"10.5{n:05d}" for n in range(10)))
    assert len(_faults(database)) == 1
    # The second ten were sent after a resume, whose calls have ids of another block
    change(database, "UPDATE calls SET id = id + 1048576 WHERE sent_at LIKE '%:10.5%'")
    assert _faults(database) == []


def test_the_keys_of_an_account_share_the_models_window(database: Path) -> None:
    """An (account, model) limit counts over all keys of the account, tokens as the replies told them."""
    # Given ten calls of 190 tokens on either key within one second, and a limit of 2000 tokens
    _send(database, *TEN, tokens=190)
    assert _faults(database) == []
    _send(database, "10.500000", key_id="key1", first_id=100, tokens=190)
    # Then it is the account that had too many
    assert _faults(database) == [
        (
            "acc/m-big",
            "at most 2000 tokens in any 1 s",
            "2090 from 2025-08-26T09:59:10.000000Z on; 1 left too early",
        )
    ]


def test_two_live_runs_share_a_keys_window_under_whatever_names(tmp_path: Path) -> None:
    """A live run beside another is held to what both sent; only crowds it was part of are its own."""
    # Given two live runs, of which each sent half as much again as the limit allows in one second
    database = tmp_path / "runs.db"
    play_and_keep(database, run_id="r1", backend="live")
    play_and_keep(database, run_id="r2", backend="live")
    change(database, "UPDATE calls SET sent_at = replace(sent_at, 'T10:', 'T12:') WHERE run_id = 'r2'")
    assert faults_of(audited(database, "r1")) == {}
    _send(database, *TEN[:6], run_id="r1", tokens=190)
    _send(database, *(f"10.5{n:05d}" for n in range(6)), run_id="r2", tokens=190)
    change(database, "UPDATE runs SET started_at = '2025-08-26T09:00:00.000000Z'")
    # When either is audited
    for run in ("r1", "r2"):
        # Then the key was sent twelve in a second
        assert [row[::2] for row in _faults(database, run)] == [
            ("key key0", "12 from 2025-08-26T09:59:10.000000Z on; 2 left too early"),
            ("acc/m-big", "2280 from 2025-08-26T09:59:10.000000Z on; 2 left too early"),
        ]
    # And a key with another variable is another key, whatever it is called
    change(database, "UPDATE runs SET config = json_set(config, '$.keys[0].env', 'OTHER') WHERE id = 'r2'")
    assert _faults(database, "r1") == []


def test_a_crowd_of_another_run_alone_is_not_held_against_this_one(tmp_path: Path) -> None:
    """Each run answers for windows it had a part in."""
    database = tmp_path / "runs.db"
    play_and_keep(database, run_id="r1", backend="live")
    play_and_keep(database, run_id="r2", backend="live")
    change(database, "UPDATE calls SET sent_at = replace(sent_at, 'T10:', 'T12:') WHERE run_id = 'r2'")
    _send(database, "08.000000", run_id="r1")
    _send(database, *TEN, "10.500000", run_id="r2")
    change(database, "UPDATE runs SET started_at = '2025-08-26T09:00:00.000000Z'")
    assert _faults(database, "r1") == []
    assert len(_faults(database, "r2")) == 1

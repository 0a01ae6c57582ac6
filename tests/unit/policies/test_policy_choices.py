"""What each policy starts, for hand-made views of shards and keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchrunner.errors import UsageError
from benchrunner.policies import make_policy, policy_name, policy_names
from benchrunner.policies.base import Choice, Grant, KeyView, Policy, ShardView

STATIC = {"72b": "key0", "32b": "key1", "14b": "key2", "7b": "key0", "3b": "key1"}


def shard(name: str, position: int, *, key: str = "key0", provider: str = "ideallab", **changes: object) -> ShardView:
    """Return a waiting shard of ten trials and 100 s."""
    waiting = ShardView(
        shard_id=name,
        position=position,
        model=name.split("/")[0],
        provider=provider,
        static_key=key,
        group=0,
        pending=10,
        running=0,
        expected_s=100.0,
        keys=(),
        started_s=None,
        done=False,
    )
    return replace(waiting, **changes)  # type: ignore[arg-type]  # the callers name ShardView's own fields


def on(view: ShardView, *keys: str, started_s: float = 0.0, **changes: object) -> ShardView:
    """Return the shard as it runs on these keys, three trials in flight."""
    running = replace(view, keys=keys, started_s=started_s, running=3, pending=7)
    return replace(running, **changes)  # type: ignore[arg-type]  # as above


def crashed(view: ShardView, started_s: float = 0.0) -> ShardView:
    return replace(view, keys=(), started_s=started_s, running=0, pending=10)


def finished(view: ShardView, started_s: float | None = 0.0) -> ShardView:
    return replace(view, keys=(), started_s=started_s, running=0, pending=0, expected_s=0.0, done=True)


def key(name: str, *models: str, slots: int = 1, provider: str = "ideallab", usable: bool = True) -> KeyView:
    return KeyView(key_id=name, provider=provider, slots=slots, models=models, usable=usable)


def ideallab(**models: tuple[str, ...]) -> tuple[KeyView, ...]:
    """Return the three IdealLab keys with what is leased on them."""
    return tuple(key(name, *models.get(name, ())) for name in ("key0", "key1", "key2"))


def scale_phase() -> tuple[ShardView, ...]:
    """Return phase 5.2: five models, first all very_easy, then all medium."""
    names = [f"{model}/{difficulty}" for difficulty in ("very_easy", "medium") for model in STATIC]
    return tuple(shard(name, n, key=STATIC[name.split("/")[0]]) for n, name in enumerate(names))


def grants(choice: Choice) -> list[tuple[str, str]]:
    return [(grant.shard_id, grant.key_id) for grant in choice.grants]


def ask(policy: Policy, shards: tuple[ShardView, ...], keys: tuple[KeyView, ...], now_s: float = 0.0) -> Choice:
    return policy.choose(now_s=now_s, shards=shards, keys=keys)


def native(order: str = "serial", stagger_s: float = 15.0) -> Policy:
    return make_policy("native", order=order, stagger_s=stagger_s)


def policy(name: str, batch_size: int = 3) -> Policy:
    return make_policy(name, order="serial", stagger_s=0.0, batch_size=batch_size)


# --- all of them --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["native", "native-concurrent", "native-grouped", "serial", "batched", "pool"])
def every_policy(request: pytest.FixtureRequest) -> Policy:
    name, _, order = request.param.partition("-")
    return make_policy(name, order=order or "serial", stagger_s=0.0)


def test_done_shard_gets_no_key(every_policy: Policy) -> None:
    """A finished shard starts nothing, however many keys are free."""
    assert ask(every_policy, (finished(shard("a", 0)),), ideallab()) == Choice()


def test_shard_whose_trials_are_all_in_flight_gets_no_further_key(every_policy: Policy) -> None:
    """A worker with nothing to take is not started."""
    # Given a shard that runs its last trials, and one whose worker is winding down with them
    for busy in (on(shard("a", 0), "key0", pending=0), replace(crashed(shard("a", 0)), pending=0, running=2)):
        # When asked / Then nothing
        assert grants(ask(every_policy, (busy,), ideallab(key0=("a",)))) == []


def test_shard_without_any_usable_key_gets_no_grant(every_policy: Policy) -> None:
    """No grant is made over a retired or parked key; the engine notices that there is none."""
    keys = (key("key0", usable=False), key("key1", usable=False), key("az", provider="azure", slots=0))
    assert ask(every_policy, (shard("a", 0),), keys) == Choice()


def test_shard_of_a_dead_provider_does_not_hold_up_the_others(every_policy: Policy) -> None:
    """While any key is usable, what it can serve goes on."""
    # Given a first shard whose provider has no usable key
    stuck, fit = shard("a", 0), shard("b", 1, key="az", provider="azure")
    keys = (key("key0", usable=False), key("az", provider="azure", slots=0))
    # When asked, before or after the first ever ran / Then the second runs
    for first in (stuck, crashed(stuck)):
        assert grants(ask(every_policy, (first, fit), keys)) == [("b", "az")]


def test_crashed_shard_runs_again_on_its_key(every_policy: Policy) -> None:
    """A worker's death costs its shard nothing but the time to start another."""
    assert grants(ask(every_policy, (crashed(shard("a", 0)),), ideallab(), now_s=5.0)) == [("a", "key0")]


def test_refused_static_key_is_replaced_by_the_least_loaded_one(every_policy: Policy) -> None:
    """A key that died hands its shards to another of the same provider, never to a stranger's."""
    keys = (
        key("key0", usable=False),
        key("key1", "x", slots=2),
        key("key2", slots=2),
        key("az", provider="azure", slots=0),
    )
    assert grants(ask(every_policy, (shard("a", 0),), keys)) == [("a", "key2")]


# --- native -------------------------------------------------------------------------------------------------------


def test_native_serial_runs_one_shard_at_a_time() -> None:
    """Phases 5.1, 5.4 and 5.5: the next begins when the one before is done."""
    first, second = shard("a", 0), shard("b", 1, key="key1")
    # Given none / Then the first, whatever the order they are listed in
    assert grants(ask(native(), (second, first), ideallab())) == [("a", "key0")]
    # Given the first runs / Then nothing
    assert grants(ask(native(), (on(first, "key0"), second), ideallab(key0=("a",)))) == []
    # Given the first is done / Then the second
    assert grants(ask(native(), (finished(first), second), ideallab())) == [("b", "key1")]


def test_native_ignores_slots() -> None:
    """5.2 as it stands puts four processes on key0: what the provider then refuses is what is to be seen."""
    # Given phase 5.2 with no stagger / When asked once
    choice = ask(native("concurrent", stagger_s=0.0), scale_phase(), ideallab())
    # Then all ten are up, on their static keys
    assert [(name.split("/")[0], key_id) for name, key_id in grants(choice)] == list(STATIC.items()) * 2
    assert choice.ask_again_s is None


def test_native_concurrent_launches_one_every_stagger() -> None:
    """5.2: the n-th process comes n x 15 s after the first, and the policy says when to ask again."""
    # Given phase 5.2, played by a loop that only ever asks when told to
    shards, now_s, launches = scale_phase(), 1000.1, []
    while True:
        choice = ask(native("concurrent"), shards, ideallab(), now_s)
        launches += [(grant.shard_id, round(now_s - 1000.1, 3)) for grant in choice.grants]
        started = {grant.shard_id: grant.key_id for grant in choice.grants}
        shards = tuple(on(s, started[s.shard_id], started_s=now_s) if s.shard_id in started else s for s in shards)
        if choice.ask_again_s is None:
            break
        now_s = choice.ask_again_s
    # Then each came in its turn
    assert launches == [(view.shard_id, 15.0 * n) for n, view in enumerate(scale_phase())]


def test_native_concurrent_does_not_drift_when_asked_late() -> None:
    """A launch that came late moves none after it."""
    a, b, c = (shard(name, n) for n, name in enumerate("abc"))
    # Given the second was launched 5 s late
    shards = (on(a, "key0", started_s=100.0), on(b, "key0", started_s=120.0), c)
    # When asked / Then the third is due at its own instant
    assert ask(native("concurrent"), shards, ideallab(), 121.0) == Choice(ask_again_s=130.0)
    assert grants(ask(native("concurrent"), shards, ideallab(), 130.0)) == [("c", "key0")]


def test_native_concurrent_restarts_a_crashed_shard_at_once() -> None:
    """A shard that had its turn does not wait for another one."""
    a, b, c = (shard(name, n) for n, name in enumerate("abc"))
    shards = (on(a, "key0", started_s=100.0), crashed(b, started_s=115.0), c)
    choice = ask(native("concurrent"), shards, ideallab(), 116.0)
    assert (grants(choice), choice.ask_again_s) == ([("b", "key0")], 130.0)


def test_native_concurrent_gives_no_turn_to_what_was_done_before() -> None:
    """A resumed run launches its first unfinished shard at once, not after the turns of the finished ones."""
    # Given shards of which the first and the third were done before
    a, b, c, d = (shard(name, n) for n, name in enumerate("abcd"))
    resumed = (finished(a, started_s=None), b, finished(c, started_s=None), d)
    # When asked / Then the second starts at once and the fourth one stagger later
    choice = ask(native("concurrent"), resumed, ideallab(), 100.0)
    assert (grants(choice), choice.ask_again_s) == ([("b", "key0")], 115.0)


def test_native_grouped_runs_the_groups_of_one_model_together() -> None:
    """5.3: a model's three flaw groups run at once; the next model waits for all of them."""
    flaws = tuple(
        shard(f"{model}/{group}", 3 * n + group, key=STATIC[model], group=group)
        for n, model in enumerate(("72b", "32b"))
        for group in range(3)
    )
    # Given nothing runs / Then the first model's groups start on its one key
    first = [(f"72b/{group}", "key0") for group in range(3)]
    assert grants(ask(native("grouped"), flaws, ideallab())) == first
    # Given one of them still runs / Then the second model waits
    busy = (finished(flaws[0]), on(flaws[1], "key0"), finished(flaws[2]), *flaws[3:])
    assert grants(ask(native("grouped"), busy, ideallab(key0=("72b",)))) == []
    # Given one of them crashed / Then it goes on, not the second model
    hurt = (finished(flaws[0]), crashed(flaws[1]), finished(flaws[2]), *flaws[3:])
    assert grants(ask(native("grouped"), hurt, ideallab())) == [("72b/1", "key0")]
    # Given all are done / Then the second model starts
    over = (*map(finished, flaws[:3]), *flaws[3:])
    assert grants(ask(native("grouped"), over, ideallab())) == [(f"32b/{group}", "key1") for group in range(3)]


def test_native_grouped_keeps_the_shards_of_one_group_in_line() -> None:
    """Shards of one model run at once only where their groups differ."""
    line = (shard("m/0", 0, group=0), shard("m/1", 1, group=0), shard("m/2", 2, group=1))
    assert grants(ask(native("grouped"), line, ideallab())) == [("m/0", "key0"), ("m/2", "key0")]


# --- serial -------------------------------------------------------------------------------------------------------


def test_serial_runs_one_shard_at_a_time_in_order() -> None:
    """A: whoever holds a key is alone, whatever other keys are free."""
    shards = scale_phase()
    assert grants(ask(policy("serial"), shards, ideallab())) == [("72b/very_easy", "key0")]
    running = (on(shards[0], "key0"), *shards[1:])
    assert grants(ask(policy("serial"), running, ideallab(key0=("72b",)))) == []


def test_serial_respects_slots() -> None:
    """A static key that is full, as while a stopped worker still holds it, is waited for."""
    assert grants(ask(policy("serial"), (shard("a", 0),), (key("key0", "other"), key("key1")))) == []


@pytest.mark.parametrize("line", [policy("serial"), native("serial")], ids=["serial", "native"])
def test_shard_winds_down_before_the_next_begins(line: Policy) -> None:
    """A shard that lost its key but has trials in flight is still the one shard at work."""
    # Given a shard whose stopping worker still has two trials, and one before it in order
    before, winding = shard("a", 0, key="key1"), replace(crashed(shard("b", 1)), running=2, pending=0)
    # When asked / Then the other waits
    assert grants(ask(line, (before, winding), ideallab())) == []
    # And if it has more to do, it is the one that goes on
    assert grants(ask(line, (before, replace(winding, pending=1)), ideallab())) == [("b", "key0")]


@pytest.mark.parametrize("line", [policy("serial"), native("serial")], ids=["serial", "native"])
def test_nobody_starts_beside_a_shard_that_has_a_key(line: Policy) -> None:
    """Not even a shard that is owed a new key."""
    hurt = replace(crashed(shard("b", 1, key="key1")), running=1)
    assert grants(ask(line, (on(shard("a", 0), "key0"), hurt), ideallab(key0=("a",)))) == []


# --- batched ------------------------------------------------------------------------------------------------------


def test_batch_is_shards_in_order_with_distinct_static_keys() -> None:
    """B on phase 5.2: 72b, 32b and 14b; 7b shares 72b's key and waits."""
    shards = scale_phase()
    assert grants(ask(policy("batched"), shards, ideallab())) == [
        ("72b/very_easy", "key0"),
        ("32b/very_easy", "key1"),
        ("14b/very_easy", "key2"),
    ]


def test_next_batch_waits_for_the_whole_batch() -> None:
    """B: a free key stays free until the last of the batch is done."""
    shards = scale_phase()
    rest = shards[3:]
    # Given two of three done / Then nothing
    two_done = (finished(shards[0]), finished(shards[1]), on(shards[2], "key2"), *rest)
    assert grants(ask(policy("batched"), two_done, ideallab(key2=("14b",)))) == []
    # Given all done / Then the next with distinct keys: 7b, 3b and, past two that share theirs, 14b's medium
    all_done = (*map(finished, shards[:3]), *rest)
    assert [name for name, _ in grants(ask(policy("batched"), all_done, ideallab()))] == [
        "7b/very_easy",
        "3b/very_easy",
        "14b/medium",
    ]


def test_crashed_member_returns_to_its_batch() -> None:
    """B: a crash neither ends a batch nor lets a stranger into it."""
    shards = scale_phase()
    hurt = (on(shards[0], "key0"), crashed(shards[1]), finished(shards[2]), *shards[3:])
    assert grants(ask(policy("batched"), hurt, ideallab(key0=("72b",)))) == [("32b/very_easy", "key1")]


def test_batch_is_never_larger_than_its_size() -> None:
    """B: batch_size bounds what runs at once even if more keys are free."""
    assert len(ask(policy("batched", batch_size=2), scale_phase(), ideallab()).grants) == 2


def test_key_without_bound_still_takes_one_shard_of_a_batch() -> None:
    """B: distinct static keys are asked for on Azure too."""
    azure = tuple(shard(name, n, key="az", provider="azure") for n, name in enumerate("abc"))
    assert grants(ask(policy("batched"), azure, (key("az", slots=0, provider="azure"),))) == [("a", "az")]


def test_two_members_never_share_a_stand_in_key() -> None:
    """B: with key0 dead its shards go elsewhere, but not onto a key the batch already uses."""
    # Given key0 dead and key1 without bound, so that slots would not prevent it
    keys = (key("key0", usable=False), key("key1", slots=0))
    shards = (shard("a", 0, key="key0"), shard("b", 1, key="key1"))
    # When asked / Then one runs
    assert grants(ask(policy("batched"), shards, keys)) == [("a", "key1")]


def test_two_shards_of_one_static_key_do_not_run_at_once_on_stand_ins() -> None:
    """B: what is counted is the static key, dead or alive."""
    keys = (key("key0", usable=False), key("key1"), key("key2"))
    assert grants(ask(policy("batched"), (shard("a", 0), shard("b", 1)), keys)) == [("a", "key1")]


def test_member_that_winds_down_does_not_stand_in_its_own_way() -> None:
    """B: a full batch still gives a new key to its own member, whose old worker has trials in flight."""
    winding = replace(crashed(shard("a", 0)), running=2)
    assert grants(ask(policy("batched", batch_size=1), (winding,), ideallab())) == [("a", "key0")]


def test_member_whose_key_came_back_waits_for_room_in_the_batch() -> None:
    """B: a shard stranded in an earlier batch does not make a later one overfull."""
    # Given a batch of one at work, and an earlier member whose provider had been dead
    stranded, busy = crashed(shard("a", 0, key="key0")), on(shard("b", 1, key="key1"), "key1")
    # When its key is back / Then it waits, with room it runs
    assert grants(ask(policy("batched", batch_size=1), (stranded, busy), ideallab(key1=("b",)))) == []
    assert grants(ask(policy("batched", batch_size=2), (stranded, busy), ideallab(key1=("b",)))) == [("a", "key0")]


# --- pool ---------------------------------------------------------------------------------------------------------


def test_pool_gives_free_keys_to_the_longest_shards() -> None:
    """C: longest expected first, ties by position."""
    lengths = {"a": 50.0, "b": 300.0, "c": 100.0, "d": 300.0}
    shards = tuple(shard(name, n, expected_s=lengths[name]) for n, name in enumerate("abcd"))
    assert [name for name, _ in grants(ask(policy("pool"), shards, ideallab()))] == ["b", "d", "c"]


def test_pool_takes_shards_about_equally_long_in_the_phase_s_order() -> None:
    """C: an expectation is good to a tenth; what differs by less does not turn the order of the phase round."""
    lengths = {"a": 95.0, "b": 80.0, "c": 99.0, "d": 100.0}
    shards = tuple(shard(name, n, expected_s=lengths[name]) for n, name in enumerate("abcd"))
    assert [name for name, _ in grants(ask(policy("pool"), shards, ideallab()))] == ["a", "c", "d"]


def test_pool_prefers_a_shards_static_key_among_equals() -> None:
    """C: with all keys free each model starts where it would have been."""
    shards = (shard("a", 0, key="key2"), shard("b", 1, key="key0"))
    assert grants(ask(policy("pool"), shards, ideallab())) == [("a", "key2"), ("b", "key0")]


def test_pool_waits_for_a_free_key() -> None:
    """C: a key serves one model at a time."""
    running = tuple(on(shard(name, n), f"key{n}") for n, name in enumerate("abc"))
    keys = ideallab(key0=("a",), key1=("b",), key2=("c",))
    assert grants(ask(policy("pool"), (*running, shard("d", 3)), keys)) == []


def test_pool_puts_every_waiting_shard_on_a_key_without_bound() -> None:
    """C: Azure's quota is per model, so its key takes all of them at once."""
    azure = tuple(shard(name, n, key="az", provider="azure") for n, name in enumerate("abcd"))
    choice = ask(policy("pool"), azure, (key("az", slots=0, provider="azure"),))
    assert grants(choice) == [(name, "az") for name in "abcd"]
    # And once they run there, it joins none of them
    running = tuple(on(view, "az") for view in azure)
    assert ask(policy("pool"), running, (key("az", *"abcd", slots=0, provider="azure"),)) == Choice()


def test_pool_prefers_the_emptier_key() -> None:
    """C: where keys take several models, load is spread before it is stacked."""
    keys = (key("key0", "x", slots=3), key("key1", slots=3))
    shards = tuple(shard(name, n) for n, name in enumerate("abc"))
    assert grants(ask(policy("pool"), shards, keys)) == [("a", "key1"), ("b", "key0"), ("c", "key1")]


def test_pool_lets_a_key_go_on_with_the_model_whose_last_replies_are_out() -> None:
    """A worker with nothing left to take is given the next shard of its model, and a key of another model is not."""
    # Given two keys busy with one model each, the first without trials left to take, and a shard of each model waiting
    shards = (
        on(shard("72b/a", 0), "key0", pending=0),
        on(shard("32b/a", 1), "key1"),
        shard("32b/b", 2, expected_s=500.0),
        shard("72b/b", 3),
    )
    keys = (replace(key("key0", "72b"), spare=("72b",)), key("key1", "32b"))
    # When the pool chooses / Then only the first one's model goes on, though the other shard is longer
    choice = ask(policy("pool"), shards, keys)
    assert choice.grants == (Grant(shard_id="72b/b", key_id="key0", goes_on=True),)


def test_one_worker_goes_on_with_one_shard() -> None:
    """A worker that runs out of trials takes the longest shard of its model; the others wait or take free keys."""
    shards = (on(shard("72b/a", 0), "key0", pending=0), shard("72b/b", 1), shard("72b/c", 2, expected_s=500.0))
    keys = (replace(key("key0", "72b"), spare=("72b",)), key("key1"))
    choice = ask(policy("pool"), shards, keys)
    assert choice.grants == (
        Grant(shard_id="72b/c", key_id="key0", goes_on=True),
        Grant(shard_id="72b/b", key_id="key1"),
    )


def test_key_that_waits_for_last_replies_joins_only_its_own_model() -> None:
    """Where no shard waits it helps another shard of its model; the longest of all is for keys that are free."""
    # Given a key that only waits for a model's last replies, and two running shards, the longer of another model
    shards = (
        on(shard("72b/a", 0), "key0", pending=0),
        on(shard("72b/b", 1), "key1", expected_s=50.0),
        on(shard("32b/a", 2), "key2", expected_s=500.0),
    )
    keys = (replace(key("key0", "72b"), spare=("72b",)), key("key1", "72b"), key("key2", "32b"))
    # When the pool chooses / Then it joins the one of its model
    choice = ask(policy("pool"), shards, keys)
    assert choice.grants == (Grant(shard_id="72b/b", key_id="key0", joining=True, goes_on=True),)
    # And not even that while a shard waits for a key
    assert grants(ask(policy("pool"), (*shards, shard("3b/a", 3)), keys)) == []


def test_idle_key_joins_the_shard_with_most_left_per_key() -> None:
    """C: at the end of a run nobody idles while somebody is long."""
    # Given one long shard on two keys and a shorter one on a key, 120 s and 100 s a key
    shards = (on(shard("long", 0), "key0", "key1", expected_s=240.0), on(shard("short", 1), "key2", expected_s=100.0))
    keys = (*ideallab(key0=("long",), key1=("long",), key2=("short",)), key("key3"))
    # When a key is idle / Then it joins the long one
    choice = ask(policy("pool"), shards, keys)
    assert [(g.shard_id, g.key_id, g.joining) for g in choice.grants] == [("long", "key3", True)]


def test_several_idle_keys_spread_over_the_running_shards() -> None:
    """C: each join counts before the next is chosen."""
    # Given 240 s and 150 s on a key each, and three idle keys
    shards = (on(shard("long", 0), "key0", expected_s=240.0), on(shard("short", 1), "key1", expected_s=150.0))
    keys = (*ideallab(key0=("long",), key1=("short",)), key("key3"), key("key4"))
    # When asked / Then 240 -> long (120 each), 150 -> short (75), 120 -> long
    assert [name for name, _ in grants(ask(policy("pool"), shards, keys))] == ["long", "short", "long"]


def test_joiners_are_no_more_than_the_trials_left_to_take() -> None:
    """C: with one trial pending one key joins, not two."""
    shards = (on(shard("a", 0), "key0", pending=1, expected_s=500.0),)
    assert grants(ask(policy("pool"), shards, ideallab(key0=("a",)))) == [("a", "key1")]


def test_nobody_joins_while_a_shard_of_the_provider_waits() -> None:
    """C: a free slot goes to a shard that has none before it goes to one that has."""
    # Given one free slot, a shard at work and a crashed one
    shards = (on(shard("a", 0), "key0", expected_s=900.0), crashed(shard("b", 1)))
    choice = ask(policy("pool"), shards, (key("key0", "a"), key("key1")))
    assert [(g.shard_id, g.key_id, g.joining) for g in choice.grants] == [("b", "key1", False)]


def test_waiting_shards_of_one_provider_do_not_keep_anothers_keys_from_joining() -> None:
    """C: providers are pools of their own."""
    shards = (
        on(shard("a", 0), "key0"),
        shard("b", 1),
        on(shard("c", 2, key="az", provider="azure"), "az"),
    )
    keys = (
        key("key0", "a"),
        key("az", "c", slots=0, provider="azure"),
        key("az2", slots=0, provider="azure"),
    )
    assert grants(ask(policy("pool"), shards, keys)) == [("c", "az2")]


def test_key_without_bound_joins_only_while_it_serves_nothing() -> None:
    """C: a key that always has room would otherwise end up on every shard of its provider."""
    shards = tuple(on(shard(name, n, provider="azure"), az) for n, (name, az) in enumerate([("a", "az"), ("b", "az2")]))
    keys = (key("az", "a", slots=0, provider="azure"), key("az2", "b", slots=0, provider="azure"))
    assert grants(ask(policy("pool"), shards, keys)) == []


def test_slot_beside_a_key_of_its_own_does_not_join_the_same_shard_twice() -> None:
    """C: never the same key twice on a shard."""
    shards = (on(shard("a", 0), "key0"),)
    assert grants(ask(policy("pool"), shards, (key("key0", "a", slots=2),))) == []


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "name"),
    [("A", "serial"), ("b", "batched"), ("C", "pool"), ("Native", "native"), ("POOL", "pool"), (" serial ", "serial")],
)
def test_policies_answer_to_names_and_letters_in_any_case(word: str, name: str) -> None:
    """--policy takes a name or a letter."""
    assert (policy_name(word), policy(word).name) == (name, name)


@pytest.mark.parametrize(("word", "near"), [("seriel", "serial"), ("pol", "pool"), ("batch", "batched")])
def test_misspelt_policy_gets_the_nearest_name(word: str, near: str) -> None:
    """A typing mistake is answered with what was probably meant."""
    with pytest.raises(UsageError, match=f"no policy '{word}'; did you mean {near}"):
        policy(word)


def test_unlike_word_gets_the_list() -> None:
    """Where nothing is near, all names are shown and none is guessed."""
    with pytest.raises(UsageError, match=r"no policy 'xyz' \(there are native, serial, batched, pool; letters"):
        policy("xyz")


@pytest.mark.parametrize(
    ("order", "stagger_s", "batch_size", "said"),
    [
        ("concurent", 0.0, 3, "did you mean concurrent"),
        ("serial", -1.0, 3, "stagger"),
        ("serial", float("nan"), 3, "stagger"),
        ("serial", 0.0, 0, "batch size"),
    ],
)
def test_setting_no_policy_can_work_with_is_refused(order: str, stagger_s: float, batch_size: int, said: str) -> None:
    """Wrong settings are said when the policy is made, not met in mid-run."""
    with pytest.raises(UsageError, match=said):
        make_policy("pool", order=order, stagger_s=stagger_s, batch_size=batch_size)


def test_only_native_is_unmanaged_and_only_pool_joins() -> None:
    """The engine takes from here whether to consult windows and whether to leave work for joiners."""
    traits = [(name, policy(name).managed, policy(name).joins) for name in policy_names()]
    assert traits == [
        ("native", False, False),
        ("serial", True, False),
        ("batched", True, False),
        ("pool", True, True),
    ]

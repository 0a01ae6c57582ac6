"""What a run tells its user of its own accord, sentence by sentence. Pure."""

from __future__ import annotations

from benchrunner.engine.books import Rules, ShardState, WorkerState
from benchrunner.engine.events import Say


def late_result(trial_id: str, worker_id: str) -> Say:
    """Say that a worker reported a trial it does not hold."""
    return Say(text=f"late result of {trial_id} from {worker_id} not accepted")


def trial_invalid(model: str, cause: str, detail: str) -> Say:
    """Say of what a model's trials are lost, with the provider's words (`detail`) if there are any."""
    said = f": {detail}" if detail else ""
    return Say(text=f"a trial of {model} is invalid, {cause}{said}")


def provider_unreachable(provider: str, why: str) -> Say:
    """Say that a provider is given up."""
    return Say(text=f"provider {provider} gives no reply ({why}); its shards are left for `benchrunner resume`")


def model_silent(model: str, why: str) -> Say:
    """Say that a model is given up whose calls are answered with failures only."""
    return Say(text=f"model {model} gives no reply ({why}); its shards are left for `benchrunner resume`")


def model_parked(model: str, refused_s: float) -> Say:
    """Say that a model is given up that got nothing but refusals for `refused_s`."""
    return Say(
        text=f"model {model} had no reply for {refused_s:.0f} s, only refusals; it is parked and left"
        " for `benchrunner resume`"
    )


def shard_given_up(state: ShardState) -> Say:
    """Say that a shard is given up whose leases run out one after another."""
    return Say(
        text=f"shard {state.shard.model} {state.shard.label} ended no trial in {state.fruitless} leases; it is"
        " left for `benchrunner resume`"
    )


def key_held(key_id: str, by: str) -> Say:
    """Say who has a key that this run waits for; "": some other run."""
    return Say(text=f"key {key_id} is held by {by or 'another run'}; waiting for it")


def worker_overran(worker_id: str) -> Say:
    """Say that a lease has lasted too long."""
    return Say(text=f"worker {worker_id} overran its shard's time and is stopped")


def worker_crashed(worker: WorkerState, state: ShardState, exit_code: int) -> Say:
    """Say who died, of what, and what becomes of its trials."""
    return Say(
        text=f"worker {worker.worker_id} ({state.shard.model} {state.shard.label} on {worker.key_id}) ended"
        f" with {exit_code}; {len(worker.running)} running trials go back to the queue"
    )


def too_many_crashes(rules: Rules) -> Say:
    """Say that the restart budget is spent."""
    return Say(
        text=f"workers crashed more than {rules.restarts} times within {rules.restart_window_s:.0f} s; giving up."
        " Finished results are kept; `benchrunner resume` runs the rest"
    )

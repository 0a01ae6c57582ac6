"""Whether any window was overfull, by the recorded instants at which requests left: exact, with no tolerance.

Two texts that differ by less than a window's length name instants that do: text keeps whole microseconds, so nothing
is lost to rounding. Requests whose end nobody saw have no exact instant and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate

from benchrunner.records import Limit, LimitKind
from benchrunner.reporting.audit_findings import Check, Tally
from benchrunner.reporting.stored_config import StoredConfig, StoredKey, read_stored_config
from benchrunner.simulator.plan import scaled_limits
from benchrunner.store.audit_queries import AuditReader, Sends

Sent = tuple[datetime, int, bool]
"""When a request left, what it is charged, and whether it is the audited run's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Domain:
    """What limits are counted over. `model` None: a key, with whatever models it served."""

    label: str
    limits: tuple[Limit, ...]
    keys: frozenset[str]
    model: str | None

    def holds(self, sends: Sends) -> bool:
        return sends.key_id in self.keys and self.model in (None, sends.model)


def check_windows(reader: AuditReader, run_id: str, config: StoredConfig, *, simulated: bool) -> Check:
    """Return whether each key and (account, model) kept within its limits.

    A live run's windows are shared with other runs of this machine: those of the same database are counted too, where
    a request of this run is among the crowd. The embedded provider begins anew with each sitting of a run.
    """
    tally = Tally(name="windows")
    own = reader.sends(run_id)
    domains = _domains(config, config.speed if simulated else 1.0)
    others: list[Sends] = []
    other_runs = 0
    if own and not simulated:
        others, other_runs = _others(reader, run_id, config, own, _longest(domains))
    sittings: list[int | None] = [*sorted({sends.sitting for sends in own})] if simulated else [None]
    for domain in domains:
        for sitting in sittings:
            mine = [one for one in own if domain.holds(one) and sitting in (None, one.sitting)]
            if mine:
                theirs = [one for one in others if domain.holds(one)]
                for limit in domain.limits:
                    _check(tally, domain.label, limit, _sent(mine, limit, own=True) + _sent(theirs, limit, own=False))
    windows = sum(len(domain.limits) for domain in domains)
    requests = sum(one.sent_at.count(" ") + 1 for one in own)
    besides = f", with those of {other_runs} other live runs" if other_runs else ""
    unended = reader.unended_calls(run_id)
    left_out = f"; {unended} without an end left out" if unended else ""
    return tally.done(f"{requests} requests against {windows} windows of {len(domains)} domains{besides}{left_out}")


def _domains(config: StoredConfig, speed: float) -> list[_Domain]:
    found = [
        _Domain(
            label=f"key {key.key_id}",
            limits=scaled_limits(key.limits, speed),
            keys=frozenset((key.key_id,)),
            model=None,
        )
        for key in config.keys
    ]
    for model in config.models:
        accounts: dict[str, set[str]] = {}
        for key in config.keys:
            if key.provider == model.provider:
                accounts.setdefault(key.account, set()).add(key.key_id)
        found += [
            _Domain(
                label=f"{account}/{model.name}",
                limits=scaled_limits(model.limits, speed),
                keys=frozenset(keys),
                model=model.name,
            )
            for account, keys in accounts.items()
        ]
    return [domain for domain in found if domain.limits]


def _longest(domains: Iterable[_Domain]) -> timedelta:
    return timedelta(seconds=max((limit.per_s for one in domains for limit in one.limits), default=0.0))


def _others(
    reader: AuditReader, run_id: str, config: StoredConfig, own: Sequence[Sends], reach: timedelta
) -> tuple[list[Sends], int]:
    """Return what other live runs sent with this run's keys while their windows could meet, and how many runs did."""
    ids = {key.place: key.key_id for key in config.keys}
    instants = [at for one in own for at in one.sent_at.split(" ")]
    first_at, last_at = _moved(min(instants), -reach), _moved(max(instants), reach)
    found: list[Sends] = []
    runs = 0
    for run in reader.live_runs_meanwhile(run_id, first_at, last_at):
        theirs: Mapping[str, StoredKey] = {
            key.key_id: key for key in read_stored_config(run.config, f"run {run.run_id}").keys
        }
        # The same credential may go by another name in another config file.
        same = [
            replace(sends, key_id=ids[theirs[sends.key_id].place])
            for sends in reader.sends(run.run_id, first_at, last_at)
            if sends.key_id in theirs and theirs[sends.key_id].place in ids
        ]
        found += same
        runs += bool(same)
    return found, runs


def _moved(at: str, by: timedelta) -> str:
    return (datetime.fromisoformat(at.replace("Z", "")) + by).isoformat(timespec="microseconds") + "Z"


def _sent(rows: Iterable[Sends], limit: Limit, *, own: bool) -> list[Sent]:
    found: list[Sent] = []
    for row in rows:
        instants = map(datetime.fromisoformat, row.sent_at.replace("Z", "").split(" "))
        if limit.kind is LimitKind.REQUESTS:
            found += [(at, 1, own) for at in instants]
        else:
            # A call larger than the whole limit goes out alone, charged with all of it.
            charges = (min(int(tokens), limit.amount) for tokens in row.tokens.split(" "))
            found += [(at, charge, own) for at, charge in zip(instants, charges, strict=True)]
    return found


def _check(tally: Tally, label: str, limit: Limit, sent: list[Sent]) -> None:
    """Note the limit if any span of its window holds more than it allows, a request of the run's own among it."""
    sent.sort()
    span = timedelta(seconds=limit.per_s)
    totals = [0, *accumulate(charge for _, charge, _ in sent)]
    owned = [0, *accumulate(is_own for _, _, is_own in sent)]
    too_early = fullest = first = 0
    worst: datetime | None = None
    for last, (at, _, _) in enumerate(sent):
        while at - sent[first][0] >= span:
            first += 1
        held = totals[last + 1] - totals[first]
        if held > limit.amount and owned[last + 1] > owned[first]:
            too_early += 1
            if held > fullest:
                fullest, worst = held, sent[first][0]
    if worst is not None:
        tally.add(
            label,
            expected=f"at most {limit.amount} {limit.kind} in any {limit.per_s:g} s",
            found=f"{fullest} from {worst.isoformat(timespec='microseconds')}Z on; {too_early} left too early",
        )

"""What `check --live` says: each call and what it came to, as a table or as JSON, and one exit code for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from benchrunner.cli.live_verdicts import Verdict, verdict_on
from benchrunner.engine.live_check import Found, Unsent
from benchrunner.records import Outcome
from benchrunner.reporting.tables import Column, table
from benchrunner.reporting.wording import printable

FINE, SOME_FAILED, NO_KEY, HELD_ELSEWHERE = 0, 1, 3, 75

@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCall:
    """One call as it is shown."""

    key: str
    provider: str
    model: str
    deployment: str
    status: str
    fine: bool
    http_status: int | None
    provider_code: str
    latency_s: float | None  # None: nothing was sent
    wait_s: float  # for the windows, before it was sent
    retry_after_s: float | None
    limits: Mapping[str, str]  # headers of the response that speak of limits
    said: str  # the provider's own words, or what the HTTP library said; bounded, secrets masked
    means: str
    todo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReport:
    """All calls of one check, and the exit code they come to."""

    calls: int
    fine: int
    exit_code: int
    checked: tuple[CheckedCall, ...]


def report_of(found: Sequence[Found], variables: Mapping[str, str], secrets_in: str) -> LiveReport:
    """Return what to show. `variables`: key id -> the variable of its secret; `secrets_in`: where those may stand."""
    checked = tuple(_checked(one, verdict_on(one, variables, secrets_in)) for one in found)
    return LiveReport(
        calls=sum(one.result is not None for one in found),
        fine=sum(call.fine for call in checked),
        exit_code=exit_code(found, [call.fine for call in checked]),
        checked=checked,
    )


def exit_code(found: Sequence[Found], fine: Sequence[bool]) -> int:
    """Return 0 if all is fine; 3 if every key was refused or is out of quota; 75 if all that is missing are keys that
    other runs hold; else 1.
    """
    if all(fine):
        return FINE
    keys = {one.probe.key.key_id for one in found}
    usable = {
        one.probe.key.key_id
        for one in found
        if one.result is None or one.result.outcome not in (Outcome.AUTH, Outcome.QUOTA)
    }
    if keys and not usable:
        return NO_KEY
    missing = [one for one, is_fine in zip(found, fine, strict=True) if not is_fine]
    return HELD_ELSEWHERE if all(one.unsent is Unsent.HELD for one in missing) else SOME_FAILED


def _checked(found: Found, verdict: Verdict) -> CheckedCall:
    probe, result = found.probe, found.result
    return CheckedCall(
        key=probe.key.key_id,
        provider=probe.provider.name,
        model=probe.model.name,
        deployment=probe.deployment,
        status=verdict.status,
        fine=verdict.fine,
        http_status=result.http_status if result else None,
        provider_code=result.provider_code if result else "",
        latency_s=round(result.latency_s, 3) if result else None,
        wait_s=round(found.wait_s, 3),
        retry_after_s=result.retry_after_s if result else None,
        limits=dict(found.headers),
        said=result.detail if result else "",
        means=verdict.means,
        todo=verdict.todo,
    )


def limits_text(limits: Mapping[str, str]) -> str:
    """Return the limit headers in few words: `9/10 requests left, 39000/40000 tokens left, retry-after 2`."""
    left = dict(limits)
    parts = []
    for what in ("requests", "tokens"):
        most = left.pop(f"x-ratelimit-limit-{what}", None)
        remaining = left.pop(f"x-ratelimit-remaining-{what}", None)
        if most is not None or remaining is not None:
            parts.append(f"{remaining or '?'}/{most or '?'} {what} left")
    parts += [f"{name.removeprefix('x-').removeprefix('ratelimit-')} {value}" for name, value in left.items()]
    return ", ".join(parts)


def live_parts(report: LiveReport) -> list[RenderableType]:
    """Return the table and what there is to do, in reading order."""
    has_limits = any(call.limits for call in report.checked)
    parts: list[RenderableType] = [
        table(
            f"{report.fine} of {len(report.checked)} calls were answered as they should",
            [
                Column(title="key"),
                Column(title="model"),
                Column(title="status"),
                Column(title="HTTP", numeric=True),
                Column(title="latency", numeric=True),
                *([Column(title="limits told")] if has_limits else []),
            ],
            (
                (
                    call.key,
                    call.deployment,
                    call.status,
                    call.http_status,
                    None if call.latency_s is None else f"{call.latency_s:.2f} s",
                    *((limits_text(call.limits) or None,) if has_limits else ()),
                )
                for call in report.checked
            ),
        )
    ]
    remarks: dict[tuple[str, str, str, str], list[CheckedCall]] = {}
    for call in report.checked:
        if call.means:
            # Without an HTTP status the provider said nothing: the words are a library's, and `means` has put them.
            own_words = "" if call.fine or call.http_status is None else call.said
            told = (call.status, call.means, call.todo, own_words)
            remarks.setdefault(told, []).append(call)
    for (status, means, todo, said), calls in remarks.items():
        lines = [f"{status}: {_named(calls, report.checked)}", f"  means: {means}"]
        lines += [f"  said:  {printable(said)}"] if said else []
        lines += [f"  do:    {todo}"] if todo else []
        parts.append(Text("\n".join(lines)))
    return parts


def _named(calls: Sequence[CheckedCall], every: Sequence[CheckedCall]) -> str:
    """Return whom a remark is about: `key1 with all 5`, or `key1 with gpt-4o, o3`."""
    by_key: dict[str, list[str]] = {}
    for call in calls:
        by_key.setdefault(call.key, []).append(call.deployment)
    parts = []
    for key, deployments in by_key.items():
        whole = len(deployments) > 1 and len(deployments) == sum(one.key == key for one in every)
        parts.append(f"{key} with {f'all {len(deployments)}' if whole else ', '.join(deployments)}")
    return "; ".join(parts)

"""From names to credentials: addresses and secrets are read once, here, and go into Provider and Key records."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dotenv import dotenv_values

from benchrunner.config.faults import Faults, table_name
from benchrunner.config.references import VARIABLE_IN_TEXT, base_url_fault
from benchrunner.config.settings import Config
from benchrunner.errors import ConfigError
from benchrunner.records import Key, KeyEntry, Phase, Provider

Bound = tuple[tuple[Provider, ...], tuple[Key, ...]]


def resolve_live(
    config: Config, *, phases: Sequence[Phase], models: Sequence[str] | None = None, environ: Mapping[str, str]
) -> Bound:
    """Return the providers that the phases' models are served by, and all their keys, ready to send.

    `models` keeps those named, None keeps all. A variable of `environ` goes before the same one in the env file.
    Raises ConfigError naming every variable that is missing or unfit; no value is ever repeated in it.
    """
    faults = Faults()
    variables = _Variables(config, environ, faults)
    used = used_providers(config, phases=phases, models=models)
    base_urls = {name: _base_url(config, name, variables, faults) for name in used}
    secrets: dict[str, str] = {}
    for key in config.keys:
        if key.provider in used:
            where = f"[[{table_name('providers', key.provider, 'keys')}]] ({key.key_id}) env"
            secrets[key.key_id] = _secret(key, variables.read(key.env, where), where, faults)
    _refuse_twins(config, base_urls, secrets, faults)
    if faults.sentences:
        raise ConfigError("the live run", tuple(faults.sentences))
    return bind(config, base_urls, secrets)


def used_providers(config: Config, *, phases: Sequence[Phase], models: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the names of the providers that serve the phases' models, in file order."""
    wanted = {name for phase in phases for name in phase.models if models is None or name in models}
    serving = {model.provider for model in config.models if model.name in wanted}
    return tuple(provider.name for provider in config.providers if provider.name in serving)


def bind(config: Config, base_urls: Mapping[str, str], secrets: Mapping[str, str]) -> Bound:
    """Return the providers named in `base_urls` and their keys, with addresses and secrets filled in.

    `secrets` are by key id and must hold every key of those providers: KeyError otherwise.
    """
    places = {name: url.rstrip("/") for name, url in base_urls.items()}
    providers = tuple(replace(one, base_url=places[one.name]) for one in config.providers if one.name in places)
    keys = tuple(
        Key(
            key_id=entry.key_id,
            provider=entry.provider,
            account=entry.account,
            secret=secrets[entry.key_id],
            fingerprint=fingerprint(places[entry.provider], secrets[entry.key_id]),
            limits=entry.limits,
            slots=entry.slots,
        )
        for entry in config.keys
        if entry.provider in places
    )
    return providers, keys


def fingerprint(base_url: str, secret: str) -> str:
    """Return a short one-way hash of place and secret: the same credential has the same one in every file."""
    return hashlib.blake2b(f"{base_url}\0{secret}".encode(), digest_size=8).hexdigest()


class _Variables:
    """The environment, with the env file behind it. Tells each missing variable once, with all its readers."""

    def __init__(self, config: Config, environ: Mapping[str, str], faults: Faults) -> None:
        self._environ, self._faults = environ, faults
        self._file = config.run.env_file
        self._told: set[str] = set()
        self._in_file = read_env_file(self._file, faults) if self._file is not None else {}

    def read(self, name: str, where: str) -> str | None:
        """Return the variable's value without blanks around it, or None after noting that it is not set."""
        value = (self._environ.get(name) or self._in_file.get(name) or "").strip()
        if not value and name not in self._told:
            self._told.add(name)
            self._faults.add(where, f"the variable {name} is not set; {self._remedy(name)}")
        return value or None

    def _remedy(self, name: str) -> str:
        if self._file is None:
            return f"export {name}=..., or name a file with that line as env_file in [run]"
        there = "" if self._file.exists() else ", which does not exist yet,"
        return f"export {name}=..., or write that line without `export` into {self._file}{there} and chmod 600 it"


def read_env_file(path: Path, faults: Faults) -> dict[str, str]:
    """Return the variables in `path`, {} where there is no such file; notes why it is refused where it is."""
    where = "[run] env_file"
    try:
        # Non-blocking: a pipe under that name must not hold the command up before it is refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    except OSError as error:
        faults.add(where, f"{path} cannot be read: {error.strerror}")
        return {}
    # The file that is asked for its mode is the file that is read: no second look-up of the name in between.
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            faults.add(where, f"{path} is not a file")
        elif mode & 0o077:
            faults.add(where, f"other users can read it (mode {stat.S_IMODE(mode):03o}); chmod 600 {path}")
        else:
            with open(descriptor, encoding="utf-8-sig", closefd=False) as stream:
                found = dotenv_values(stream=stream, interpolate=False)
            return {name: value for name, value in found.items() if value is not None}
    except UnicodeDecodeError:
        faults.add(where, f"{path} is not UTF-8 text")
    finally:
        os.close(descriptor)
    return {}


def _base_url(config: Config, provider: str, variables: _Variables, faults: Faults) -> str:
    entry = next(one for one in config.providers if one.name == provider)
    where = f"[{table_name('providers', provider)}] base_url"
    names = VARIABLE_IN_TEXT.findall(entry.base_url)
    values = {name: variables.read(name, where) for name in names}
    if any(value is None for value in values.values()):
        return ""
    url = VARIABLE_IN_TEXT.sub(lambda found: values[found[1]] or "", entry.base_url)
    if fault := base_url_fault(entry.kind, url):
        faults.add(where + (f" (from {', '.join(names)})" if names else ""), fault)
    return url.rstrip("/")


def _secret(key: KeyEntry, value: str | None, where: str, faults: Faults) -> str:
    if value is not None and not (value.isascii() and value.isprintable() and " " not in value):
        faults.add(where, f"the secret in {key.env} holds blanks or characters that no HTTP header may carry")
    return value or ""


def _refuse_twins(config: Config, base_urls: Mapping[str, str], secrets: Mapping[str, str], faults: Faults) -> None:
    """Two ids for one credential would count its limit twice in every plan, and lease it to two models."""
    first: dict[tuple[str, str], KeyEntry] = {}
    for key in _with_secret(config.keys, secrets):
        twin = first.setdefault((base_urls[key.provider], secrets[key.key_id]), key)
        if twin is not key:
            where = f"[[{table_name('providers', key.provider, 'keys')}]] ({key.key_id})"
            faults.add(where, f"{key.env} holds the same secret as {twin.env} of {twin.key_id}; each needs its own")


def _with_secret(keys: Iterable[KeyEntry], secrets: Mapping[str, str]) -> list[KeyEntry]:
    return [key for key in keys if secrets.get(key.key_id)]

"""Engine `ray`: the cluster a run works on, found or started, and the crew opened on it.

    --address, or [engine.ray] address ──> a cluster that is there; its registry outlives the run
    neither ──> a cluster of one node on this machine, on loopback, for the life of this command

Ray is an extra and slow to import: nothing above the functions here touches it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from benchrunner.config.settings import Config, RaySettings
from benchrunner.engine.crew import Crew
from benchrunner.engine.forking import deaf_children
from benchrunner.engine.supervisor import RunPlan
from benchrunner.errors import EngineError, UsageError, did_you_mean, pip_line

STORE_BYTES = 80 * 2**20
"""Of a local cluster's object store, which workers here do not use: about the least that Ray takes."""

TEMP_PREFIX = "benchrunner-ray-"
START_S, REST_S = 60.0, 5.0
"""How long the first worker of a run may take to come up, and how long its other spares are waited for."""

SLIVER = 0.001
"""How much of a resource is asked for where only its being there matters."""


@contextlib.contextmanager
def open_cluster(address: str | None) -> Iterator[None]:
    """Be connected to the cluster while the block runs; without an address to one of our own.

    Raises UsageError where Ray is not installed or nobody answers.
    """
    ray = _load_ray(own=address is None)
    with ExitStack() as stack:
        options: dict[str, Any] = {"address": address}
        if address is None:
            options = {
                "num_cpus": os.cpu_count(),
                "include_dashboard": False,
                "object_store_memory": STORE_BYTES,
                # Ray would run workers behind everything else on the machine; ours are to send on time.
                "_system_config": {"worker_niceness": 0},
                "_temp_dir": stack.enter_context(_temp_dir()),
            }
        hears = signal.getsignal(signal.SIGTERM)
        try:
            # What ends a process group ends us alone: a raylet that hears SIGTERM takes the workers with it, undrained.
            with deaf_children():
                ray.init(namespace="benchrunner", log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, ValueError, RuntimeError) as fault:
            if address is None:
                raise EngineError(f"no local Ray cluster can be started: {fault}") from fault
            raise UsageError(f"no Ray cluster answers at {address}: {str(fault).splitlines()[0]}") from fault
        finally:
            signal.signal(signal.SIGTERM, hears)  # Ray takes it for itself: it ends the process at once
        stack.callback(ray.shutdown)
        yield


def _load_ray(*, own: bool) -> ModuleType:
    # Before the first import: Ray reads both only then.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if own:
        # By this switch Ray binds a cluster to loopback, where only this machine's users can reach it.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ModuleNotFoundError as fault:
        if fault.name != "ray":
            raise
        raise UsageError(f"--engine ray needs Ray, which is not installed: {pip_line('ray')}") from None
    loaded: ModuleType = ray
    return loaded


@contextlib.contextmanager
def _temp_dir() -> Iterator[str]:
    """Give Ray a directory of our own, short enough for its sockets; those of killed commands are removed first."""
    parent = Path("/tmp")
    for left in parent.glob(f"{TEMP_PREFIX}*"):
        pid = left.name.removeprefix(TEMP_PREFIX).split("-")[0]
        if pid.isdigit() and left.lstat().st_uid == os.getuid() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    path = tempfile.mkdtemp(prefix=f"{TEMP_PREFIX}{os.getpid()}-", dir=parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def check_placement(config: Config, providers: Iterable[str]) -> None:
    """Raise UsageError where the connected cluster has no node for the workers of one of these providers."""
    for name in providers:
        placement(config.ray, name, simulated=config.run.backend == "simulated")


def open_crew(
    stack: ExitStack, config: Config, run: RunPlan, *, note: str, last_fence: int, resumed: bool
) -> Crew:
    """Return the crew of a run on the cluster that is connected. What it starts is ended with the stack.

    Raises UsageError where a resumed run is in progress on the cluster, EngineError where no registry or worker comes
    up.
    """
    from benchrunner.engine.ray_desk import RayDesk
    from benchrunner.engine.ray_pool import RayPool
    from benchrunner.engine.ray_registry import open_registry

    simulated = config.run.backend == "simulated"
    placements = {name: placement(config.ray, name, simulated=simulated) for name in run.providers}
    registry = open_registry(private=simulated)  # nobody else could have a key of the embedded provider
    if resumed and registry.holds_run(run.run_id):
        raise UsageError(f"run {run.run_id} is in progress on this cluster; it can be resumed once it has ended")
    tasks = (Path(run.tasks_file).name, Path(run.tasks_file).read_bytes()) if run.tasks_file else None
    pool = RayPool(registry.actor, placements.__getitem__, tuple(run.providers), tasks=tasks)
    stack.callback(pool.close)
    pool.prepare(len(run.shards))
    desk = RayDesk(
        registry,
        keys=run.keys,
        counted=run.policy.managed,
        note=note,
        worker_of=pool.handle,
        domain_names=sorted({domain.name for pair in run.domains.values() for domain in pair}),
        last_fence=last_fence,
    )
    stack.callback(desk.close)
    if not pool.wait_ready(START_S, REST_S):
        raise EngineError(f"no worker came up on the cluster within {START_S:.0f} s; is it full?")
    return Crew(pool=pool, desk=desk, key_domains=desk.key_domains, windows_path="")


def placement(settings: RaySettings, provider: str, *, simulated: bool) -> Mapping[str, Any]:
    """Return how Ray is to place a worker that calls the provider.

    Raises UsageError for a resource that no node of the cluster has: Ray would wait for one for ever.
    """
    import ray

    resources = dict(settings.resources)
    if provider in settings.providers:
        resources.setdefault(settings.providers[provider], SLIVER)
    if simulated:
        # The embedded provider listens on this machine's loopback.
        resources[f"node:{ray.util.get_node_ip_address()}"] = SLIVER  # type: ignore[no-untyped-call]
    known = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for name, amount in resources.items():
        if known.get(name, 0.0) < amount:
            there = sorted(one for one in known if not one.startswith(("node:", "object_store", "memory", "CPU")))
            raise UsageError(
                f"no node of the cluster has {amount:g} of the resource {name!r}, which [engine.ray] asks for workers "
                f"of provider {provider}; {did_you_mean(name, there)}"
            )
    options: dict[str, Any] = {
        "num_cpus": settings.worker_cpus,
        "resources": resources,
        "scheduling_strategy": "SPREAD",
    }
    if settings.worker_memory_mb:
        options["memory"] = settings.worker_memory_mb * 2**20
    return options

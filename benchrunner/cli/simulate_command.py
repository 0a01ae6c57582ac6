"""`benchrunner simulate`: the embedded provider alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from benchrunner.cli.numbers import Number
from benchrunner.cli.options import config_option, fault_option


@click.command("simulate", short_help="Run the embedded provider alone.")
@click.option(
    "--port",
    type=Number(int, at_least=0, at_most=65535),
    default=8080,
    show_default=True,
    help="Port to serve on; 0 takes a free one.",
)
@fault_option
@config_option
def command(port: int, faults: tuple[str, ...], config_path: Path) -> None:
    """Serve the config's models on loopback, with its limits enforced at arrival, until Ctrl-C.

    What goes wrong there is up to `profile` in the config's [simulator] table and to --fault.

    Each key's secret is its id, so any OpenAI or Azure client can call: a key named key0 has the secret "key0".

    \b
    Example:
      benchrunner simulate --port 8080
      curl http://127.0.0.1:8080/v1/chat/completions -H 'Authorization: Bearer key0' \\
        -d '{"model": "qwen2.5-7b-instruct", "messages": [{"role": "user", "content": "hello"}]}'
    """
    import os

    from benchrunner.config.injected import with_faults
    from benchrunner.config.load import load_config
    from benchrunner.engine.backend import simulator_plan
    from benchrunner.engine.signals import StopSignals
    from benchrunner.simulator.start import start_simulator

    config = load_config(config_path, environ=os.environ)
    # Whatever a run of it would call: nothing here is live.
    config = with_faults(replace(config, run=replace(config.run, backend="simulated")), faults)
    secrets = {key.key_id: key.key_id for key in config.keys}
    plan = simulator_plan(config, tuple(provider.name for provider in config.providers), secrets)
    with StopSignals().installed() as signals, start_simulator(plan, port=port) as running:
        click.echo(f"SIMULATED provider: OpenAI routes at {running.base_url}, Azure routes at {running.origin}")
        click.echo(f"keys: {', '.join(secrets)} (each is its own secret); Ctrl-C ends it")
        while running.alive() and not signals.wait_s(1.0):
            pass

"""W1 with Inspect AI: ten tasks at once, each model on its static key, everything else as it comes.

    python inspect_eval.py BASE_URL QUESTIONS.jsonl CALLS_PER_SHARD MODEL...

Prints how many calls were finally lost. Knows nothing of benchrunner.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate

DIFFICULTIES = ("very_easy", "medium")
STATIC_KEYS = (0, 1, 2, 0, 1)


def main() -> None:
    """Evaluate every model at both difficulties."""
    base_url, questions, calls = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    names = sys.argv[4:]
    rows = [json.loads(line) for line in questions.read_text().splitlines()][:calls]
    samples = [Sample(id=row["id"], input=row["prompt"], target=row["expected"]) for row in rows]
    models = [
        get_model(
            f"openai-api/strict/{name}", base_url=base_url, api_key=os.environ[f"IDEALLAB_KEY_{STATIC_KEYS[n]}"]
        )
        for n, name in enumerate(names)
    ]
    tasks = [
        Task(dataset=samples, solver=generate(), scorer=match(), name=difficulty, model=model)
        for model in models
        for difficulty in DIFFICULTIES
    ]
    with tempfile.TemporaryDirectory() as logs:
        done = eval(
            tasks, max_tasks=len(tasks), log_dir=logs, display="none", fail_on_error=False, log_level="error"
        )
        # Inside the block: samples are read from the logs when they are asked for.
        answered = sum(
            sample.error is None and sample.output.completion == "OK"
            for log in done
            for sample in log.samples or []
        )
    print(len(tasks) * len(samples) - answered)


main()

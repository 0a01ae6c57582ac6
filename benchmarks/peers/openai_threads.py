"""W1 with the openai client and threads, its retries left as they come: what a first script does.

    python openai_threads.py BASE_URL QUESTIONS.jsonl CALLS_PER_SHARD MODEL...

Prints how many calls were finally lost. Knows nothing of benchrunner.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai

DIFFICULTIES = 2
THREADS_PER_SHARD = 3


def main() -> None:
    """Run ten shards of three threads each, keys in turn."""
    base_url, questions, calls = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    models = sys.argv[4:]
    prompts = [json.loads(line)["prompt"] for line in questions.read_text().splitlines()][:calls]
    clients = itertools.cycle(
        [openai.OpenAI(api_key=os.environ[f"IDEALLAB_KEY_{n}"], base_url=base_url) for n in range(3)]
    )

    def ask(model: str, prompt: str) -> bool:
        try:
            answer = next(clients).chat.completions.create(
                model=model, messages=[{"role": "user", "content": prompt}]
            )
        except openai.APIError:
            return False
        return bool(answer.choices[0].message.content == "OK")

    pools = [ThreadPoolExecutor(THREADS_PER_SHARD) for _ in range(len(models) * DIFFICULTIES)]
    asked = [
        pool.submit(ask, model, prompt)
        for pool, model in zip(pools, models * DIFFICULTIES, strict=True)
        for prompt in prompts
    ]
    print(sum(not one.result() for one in asked))


main()

"""W1 as a careful hand writes it: asyncio, httpx, one aiolimiter per key, keys in turn, a retry on 429.

    python asyncio_client.py BASE_URL QUESTIONS.jsonl CALLS_PER_SHARD MODEL...

Prints how many calls were finally lost. Knows nothing of benchrunner.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path

import httpx
from aiolimiter import AsyncLimiter

RETRIES = 5
DIFFICULTIES = 2
IN_FLIGHT_PER_SHARD = 30


async def main() -> None:
    """Run ten task groups side by side."""
    base_url, questions, calls = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    models = sys.argv[4:]
    prompts = [json.loads(line)["prompt"] for line in questions.read_text().splitlines()][:calls]
    keys = itertools.cycle([(os.environ[f"IDEALLAB_KEY_{n}"], AsyncLimiter(10, 1)) for n in range(3)])
    lost = 0
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=400)) as client:

        async def ask(model: str, prompt: str, room: asyncio.Semaphore) -> None:
            nonlocal lost
            async with room:
                for _ in range(RETRIES):
                    key, limiter = next(keys)
                    async with limiter:
                        answer = await client.post(
                            f"{base_url}/chat/completions",
                            headers={"Authorization": f"Bearer {key}"},
                            json={"model": model, "messages": [{"role": "user", "content": prompt}]},
                        )
                    if answer.status_code == 200:
                        assert answer.json()["choices"][0]["message"]["content"] == "OK"
                        return
                    await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
                lost += 1

        async def shard(model: str) -> None:
            room = asyncio.Semaphore(IN_FLIGHT_PER_SHARD)
            async with asyncio.TaskGroup() as group:
                for prompt in prompts:
                    group.create_task(ask(model, prompt, room))

        await asyncio.gather(*(shard(model) for model in models for _ in range(DIFFICULTIES)))
    print(lost)


asyncio.run(main())

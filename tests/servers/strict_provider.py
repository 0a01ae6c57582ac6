"""An OpenAI-compatible server that owes nothing to benchrunner: it counts at arrival and refuses what is over.

    python strict_provider.py [--limit 10] [--per-s 1.0] [--latency 0.05] [--text OK] [--refuse KEY ...] [--port 0]
                              [--latency-of MODEL=SECONDS ...] [--sigma 0.0] [--seed 1] [--stumble MODEL ...]

Prints its port on the first line. GET /stats answers with what it saw. Standard library only, one thread.
`--limit 0` counts and refuses nothing. With `--sigma` latencies are log-normal about their median; each follows from
the seed, the model and the question, so whoever asks a question, and however often, waits equally long for it.
With `--stumble` each question's first answer by that model is a 503, after its latency.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import signal
import time
from collections import Counter, defaultdict, deque
from typing import Any


class Seen:
    """What arrived, per key."""

    def __init__(self, limit: int, per_s: float) -> None:
        self.limit, self.per_s = limit, per_s
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.unauthorized: Counter[str] = Counter()
        self.stamps: dict[str, deque[float]] = defaultdict(deque)
        self.in_flight: dict[str, Counter[str]] = defaultdict(Counter)
        self.most_models: Counter[str] = Counter()
        self.by_model: Counter[str] = Counter()
        self.bodies: Counter[str] = Counter()
        self.asked: Counter[tuple[str, str]] = Counter()  # model, question
        self.first_s: float | None = None
        self.last_s: float | None = None

    def admit(self, key: str) -> float | None:
        """Return None if the request may pass, else the seconds until it might."""
        now_s = time.monotonic()
        if self.first_s is None:
            self.first_s = now_s
        stamps = self.stamps[key]
        if not self.limit:
            self.accepted[key] += 1
            return None
        while stamps and stamps[0] <= now_s - self.per_s:
            stamps.popleft()
        if len(stamps) >= self.limit:
            self.refused[key] += 1
            return stamps[0] + self.per_s - now_s
        stamps.append(now_s)
        self.accepted[key] += 1
        return None

    def stats(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "accepted": dict(self.accepted),
            "refused": dict(self.refused),
            "unauthorized": dict(self.unauthorized),
            "most_models_in_flight": dict(self.most_models),
            "by_model": dict(self.by_model),
            "span_s": (self.last_s or 0.0) - (self.first_s or 0.0),
            "first_s": self.first_s,  # on the machine's monotonic clock, refused or not
            "last_s": self.last_s,
        }


def latency_s(options: argparse.Namespace, model: str, question: str) -> float:
    """Return how long the reply to `question` takes, whoever asks."""
    median_s: float = options.latency_of.get(model, options.latency)
    if not options.sigma or not median_s:
        return median_s
    drawn = random.Random(f"{options.seed}/{model}/{question}").gauss(0.0, 1.0)
    return median_s * math.exp(options.sigma * drawn)


def model_latency(text: str) -> tuple[str, float]:
    """Return the two halves of MODEL=SECONDS."""
    model, _, seconds = text.rpartition("=")
    if not model:
        raise argparse.ArgumentTypeError(f"{text!r} is not MODEL=SECONDS")
    return model, float(seconds)


async def serve(options: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    seen = Seen(options.limit, options.per_s)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ", 2)
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines[1:])
                }
                verdict: float | None = None
                key = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("api-key", "")
                if method == "POST" and key not in options.refuse:
                    verdict = seen.admit(key)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                status, extra, document = await respond(method, path, key, verdict, body)
                payload = json.dumps(document).encode()
                head_lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *extra]
                head_lines += [f"Content-Length: {len(payload)}", "", ""]
                writer.write("\r\n".join(head_lines).encode() + payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # cancelled: told to end while a client still held its connection
        finally:
            writer.close()

    async def respond(
        method: str, path: str, key: str, verdict: float | None, body: bytes
    ) -> tuple[str, list[str], dict[str, Any]]:
        if method == "GET":
            return "200 OK", [], seen.stats()
        if key in options.refuse:
            seen.unauthorized[key] += 1
            error = {"message": "Incorrect API key provided", "code": "invalid_api_key"}
            return "401 Unauthorized", [], {"error": error}
        if verdict is not None:
            return (
                "429 Too Many Requests",
                [f"Retry-After: {max(1, round(verdict + 0.5))}"],
                {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}},
            )
        request = json.loads(body)
        model = str(request["model"])
        seen.by_model[model] += 1
        seen.in_flight[key][model] += 1
        busy = sum(count > 0 for count in seen.in_flight[key].values())
        seen.most_models[key] = max(seen.most_models[key], busy)
        question = str(request["messages"][-1]["content"])
        seen.asked[model, question] += 1
        stumbles = model in options.stumble and seen.asked[model, question] == 1
        wait_s = latency_s(options, model, question)
        if wait_s:
            await asyncio.sleep(wait_s)
        seen.in_flight[key][model] -= 1
        seen.last_s = time.monotonic()
        if stumbles:
            return "503 Service Unavailable", [], {"error": {"message": "the model stumbled"}}
        return (
            "200 OK",
            [],
            {
                "id": "fixed",
                "object": "chat.completion",
                "model": model,
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": options.text}, "finish_reason": "stop"}
                ],
                "usage": {"prompt_tokens": len(body) // 4, "completion_tokens": 1, "total_tokens": len(body) // 4 + 1},
            },
        )

    server = await asyncio.start_server(answer, "127.0.0.1", options.port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main() -> None:
    """Parse the options and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--per-s", type=float, default=1.0)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--latency-of", type=model_latency, action="append", default=[], metavar="MODEL=SECONDS")
    parser.add_argument("--sigma", type=float, default=0.0)
    parser.add_argument("--stumble", action="append", default=[], metavar="MODEL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text", default="OK")
    parser.add_argument("--refuse", nargs="*", default=[])
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    options.latency_of = dict(options.latency_of)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()

"""An OpenAI-compatible server behind a gateway's hidden limit: one token bucket for all keys, refusals as HTTP 400.

    python bucket_provider.py [--per-s 12] [--burst 12] [--latency 0.05] [--text OK] [--port 0]

Prints its port on the first line. GET /stats answers with when each request came and whether it was refused. Owes
nothing to benchrunner: standard library only, one thread, counted at arrival.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from typing import Any

REFUSAL = {
    "error": {
        "code": "MPE-429",
        "message": "model provider is throttling: RateQuota, request rate exceeded, try again later",
    }
}


class Bucket:
    """Tokens that come back at a constant rate, up to a burst; and what asked for them."""

    def __init__(self, per_s: float, burst: float) -> None:
        self.per_s, self.burst = per_s, burst
        self.tokens, self.at_s = burst, time.monotonic()
        self.seen: list[tuple[float, bool]] = []  # instant, refused

    def admit(self) -> bool:
        """Return whether a request that arrives now may pass."""
        now_s = time.monotonic()
        self.tokens = min(self.burst, self.tokens + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        passes = self.tokens >= 1
        if passes:
            self.tokens -= 1
        self.seen.append((now_s, not passes))
        return passes


async def serve(options: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    bucket = Bucket(options.per_s, options.burst)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = (line.partition(":") for line in head[1:])
                headers = {name.strip().lower(): value.strip() for name, _, value in fields}
                asked = head[0].startswith("POST ")
                passes = bucket.admit() if asked else True
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                document: dict[str, Any] = REFUSAL
                if not asked:
                    document = {"seen": bucket.seen}
                elif passes:
                    await asyncio.sleep(options.latency)
                    document = completion(str(json.loads(body)["model"]), options.text, len(body) // 4)
                payload = json.dumps(document).encode()
                status = "200 OK" if passes else "400 Bad Request"
                lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(payload)}")
                writer.write("\r\n".join([*lines, "", ""]).encode() + payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", options.port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def completion(model: str, text: str, prompt_tokens: int) -> dict[str, Any]:
    """Return a reply of one token."""
    return {
        "id": "fixed",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": 1, "total_tokens": prompt_tokens + 1},
    }


def main() -> None:
    """Parse the options and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--per-s", type=float, default=12.0)
    parser.add_argument("--burst", type=float, default=12.0)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--text", default="OK")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()

"""An OpenAI-compatible server that owes nothing to benchrunner and lets things go wrong, each at a given share.

    python faulty_provider.py [--reset 0.02] [--unavailable 0.02] [--hang 0.02] [--empty 0.02] [--html 0.02]
                              [--torn 0.02] [--hang-s 5] [--latency 0.01] [--seed 1] [--port 0]

The n-th request's fate is drawn from (seed, n), so a retry is another draw. What a healthy reply says follows from the
conversation alone: with a plan in it, its steps one after the other, then "Task completed."; without one, "OK".
Prints its port on the first line. GET /stats answers with what it did. Standard library only, one thread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import socket
import struct
from collections import Counter
from typing import Any

FAULTS = ("reset", "unavailable", "hang", "empty", "html", "torn")
STEP = re.compile(r"^Step \d+\. (\S+) \(match", re.MULTILINE)
PAGE = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body>back soon</body></html>"


def scripted(messages: list[dict[str, Any]]) -> str:
    """Return what a model without any wit says next: the step of the plan whose turn it is."""
    turns = sum(message["role"] == "assistant" for message in messages)
    asked = "\n".join(str(message["content"]) for message in messages if message["role"] != "assistant")
    steps = STEP.findall(asked)
    if not steps:
        return "OK"
    return f"<use_tool>{steps[turns]}</use_tool>" if turns < len(steps) else "Task completed."


def fate(seed: int, number: int, shares: dict[str, float]) -> str:
    """Return the fault of a request, "" for none: exactly these shares in the long run."""
    draw = random.Random(f"{seed}/{number}").random()
    for name, share in shares.items():
        draw -= share
        if draw < 0:
            return name
    return ""


def completion(model: str, text: str, size: int) -> bytes:
    """Return the body of a chat completion."""
    document = {
        "id": "scripted",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": size // 4,
            "completion_tokens": len(text) // 4,
            "total_tokens": (size + len(text)) // 4,
        },
    }
    return json.dumps(document).encode()


async def serve(options: argparse.Namespace) -> None:
    """Answer until SIGTERM."""
    shares = {name: getattr(options, name) for name in FAULTS}
    counts: Counter[str] = Counter()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method = head[0].split(" ", 1)[0]
                headers = {
                    name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if method == "GET":
                    reply = "200 OK", "application/json", json.dumps(counts).encode()
                else:
                    counts["requests"] += 1
                    found = fate(options.seed, counts["requests"], shares)
                    counts[found or "served"] += 1
                    await asyncio.sleep(options.latency)
                    reset = found == "reset"
                    if reset:
                        line: socket.socket = writer.get_extra_info("socket")
                        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    if found == "hang":
                        await asyncio.sleep(options.hang_s)
                    if reset or found == "hang":
                        writer.transport.abort()
                        return
                    reply = respond(found, json.loads(body), len(body))
                status, content_type, payload = reply
                lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(payload)}"]
                writer.write("\r\n".join([*lines, "", ""]).encode() + payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the caller has gone
        finally:
            writer.close()

    def respond(found: str, request: dict[str, Any], size: int) -> tuple[str, str, bytes]:
        if found == "unavailable":
            return "503 Service Unavailable", "application/json", b'{"error": {"message": "overloaded"}}'
        if found == "html":
            return "200 OK", "text/html", PAGE
        text = "" if found == "empty" else scripted(request["messages"])
        payload = completion(str(request["model"]), text, size)
        return "200 OK", "application/json", payload[: len(payload) // 2] if found == "torn" else payload

    server = await asyncio.start_server(answer, "127.0.0.1", options.port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main() -> None:
    """Parse the options and serve."""
    parser = argparse.ArgumentParser()
    for name in FAULTS:
        parser.add_argument(f"--{name}", type=float, default=0.0)
    parser.add_argument("--hang-s", type=float, default=5.0)
    parser.add_argument("--latency", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()

"""An OpenAI-compatible server whose answers depend on the key and on the model, as a gateway's do; owes us nothing.

    python picky_provider.py

Keys: "bad400..." is called invalid under HTTP 400, "bad401..." under 401, "broke..." has no quota, "busy..." is
throttled with a Retry-After; any other is good. Models: "nowhere" does not exist, "mute" never answers, "other" is
served as another model; any other answers. Good answers carry limit headers, and one that repeats the key. Prints its
port on the first line; GET /stats answers with what it saw. Standard library only.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOCK = threading.Lock()
CALLS: Counter[str] = Counter()
MAX_TOKENS: list[int] = []
BUSY: dict[str, Counter[str]] = defaultdict(Counter)
MOST_MODELS: Counter[str] = Counter()
LATENCY_S = 0.05


def verdict(key: str, model: str) -> tuple[int, dict[str, str], dict[str, Any]] | None:
    """Return status, headers and body of a refusal, None for an answer."""
    if key.startswith("bad400"):
        return 400, {}, {"error": {"code": "CE-003", "message": f"invalid api key: {key}"}}
    if key.startswith("bad401"):
        return 401, {}, {"error": {"code": "invalid_api_key", "message": f"Incorrect API key provided: {key}"}}
    if key.startswith("broke"):
        return 429, {}, {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}
    if key.startswith("busy"):
        return 429, {"Retry-After": "2"}, {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}
    if model == "nowhere":
        return 404, {}, {"error": {"code": "model_not_found", "message": "The model `nowhere` does not exist"}}
    return None


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Tell what was seen."""
        with LOCK:
            seen = {"calls": dict(CALLS), "max_tokens": sorted(set(MAX_TOKENS)), "most_models": dict(MOST_MODELS)}
        self.answer(200, {}, seen)

    def do_POST(self) -> None:
        """Refuse or answer."""
        request = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        model = request["model"]
        with LOCK:
            CALLS[key] += 1
            MAX_TOKENS.append(request["max_tokens"])
            BUSY[key][model] += 1
            MOST_MODELS[key] = max(MOST_MODELS[key], sum(count > 0 for count in BUSY[key].values()))
        time.sleep(60.0 if model == "mute" else LATENCY_S)
        with LOCK:
            BUSY[key][model] -= 1
        refused = verdict(key, model)
        if refused is not None:
            self.answer(*refused)
            return
        headers = {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "59",
            "X-RateLimit-Reset-Requests": "1s",
            "x-ratelimit-key": key,
            "x-other": "not of interest",
        }
        document = {
            "model": "elsewhere-9b" if model == "other" else model,
            "choices": [{"message": {"role": "assistant", "content": "OK"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 1},
        }
        self.answer(200, headers, document)

    def answer(self, status: int, headers: dict[str, str], document: dict[str, Any]) -> None:
        """Send one response."""
        payload = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

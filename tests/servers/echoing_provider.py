"""An OpenAI-compatible server that repeats the caller's key wherever a careless gateway might, and owes us nothing.

    python echoing_provider.py

Prints its port on the first line. Most requests fail, each in another way, the key in every text of it; the others are
answered. Standard library only.
"""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COUNT = itertools.count()
LOCK = threading.Lock()


def fault(number: int, key: str) -> tuple[int, str, str] | None:
    """Return status, content type and body of one way to fail, None for an answer."""
    said = f"request with api key {key} (Authorization: Bearer {key}) failed"
    faults = {
        0: (503, "application/json", json.dumps({"error": {"message": said, "code": key, "type": key}})),
        1: (502, "text/html", f"<html><head><title>{said}</title></head><body>{key}</body></html>"),
        2: (429, "application/json", json.dumps({"error": {"message": f"{said}: Throttling.RateQuota", "code": "1"}})),
        3: (500, "text/plain", key),
        4: (200, "application/json", '{"choices": [{"message": "' + key),
        5: (200, "application/json", json.dumps({"message": json.dumps({"error": {"message": said}})})),
        6: (400, "application/json", json.dumps({"error": {"message": said, "param": key, "code": f"bad-{key}"}})),
    }
    # Throttles are the slowest to get over: one for three of the others is enough.
    return None if number % 9 == 2 and number % 27 != 2 else faults.get(number % 9)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Fail or answer."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        with LOCK:
            number = next(COUNT)
        failed = fault(number, key)
        if failed is None:
            document = {
                "model": json.loads(body)["model"],
                "choices": [{"message": {"role": "assistant", "content": "OK"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1},
            }
            failed = (200, "application/json", json.dumps(document))
        status, kind, text = failed
        payload = text.encode()
        self.send_response(status, f"reason {key}")
        self.send_header("Content-Type", kind)
        self.send_header("X-Request-Key", key)
        self.send_header("Set-Cookie", f"key={key}")
        if status == 429:
            self.send_header("Retry-After", "0")
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

"""What simulated tools answer: small JSON by operation, and a few words about a failure."""

from __future__ import annotations

from random import Random
from typing import Final

import orjson

from benchrunner.suites.workflow.tools import Tool

_Value = str | int | float | bool | list[str] | dict[str, int]

_ENCODINGS: Final = ("utf-8", "utf-8", "latin-1", "utf-16")
_TOPICS: Final = ("orders", "readings", "invoices", "log lines", "profiles", "tickets", "payments")


def success_output(tool: Tool, rng: Random) -> str:
    """Return the JSON text of a successful answer of `tool`."""
    rows = rng.randint(20, 5000)
    fields: dict[str, _Value] = {"success": True}
    match tool.operation:
        case "reader":
            fields |= {"content": f"{rows} lines of {rng.choice(_TOPICS)}", "size_bytes": rows * rng.randint(40, 120)}
            fields["encoding"] = rng.choice(_ENCODINGS)
        case "scanner":
            fields |= {"files": rng.randint(1, 60), "newest": f"part-{rng.randint(0, 99):02d}.csv"}
        case "fetcher":
            fields |= {"status": 200, "items": rows, "pages": 1 + rows // 500}
        case "parser":
            fields |= {"records": rows, "fields": rng.randint(3, 24), "skipped": rng.randint(0, 5)}
        case "transformer" | "converter":
            fields |= {"records": rows, "format": rng.choice(("json", "csv", "parquet"))}
        case "filter":
            fields |= {"kept": rows, "dropped": rng.randint(0, rows)}
        case "validator":
            invalid = rng.randint(0, 4)
            fields |= {"checked": rows, "valid": rows - invalid, "invalid": invalid}
        case "aggregator":
            fields |= {"groups": rng.randint(2, 40), "records": rows}
        case "writer" | "compressor":
            fields |= {"written_bytes": rows * rng.randint(20, 90), "records": rows}
        case "poster" | "notifier" | "queue" | "router":
            fields |= {"accepted": True, "reference": f"{rng.getrandbits(32):08x}"}
        case "calculator" | "analyzer" | "predictor" | "simulator" | "optimizer":
            fields |= {"result": round(rng.uniform(0, 1000), 2), "samples": rows}
        case "authenticator" | "connector":
            fields |= {"session": f"{rng.getrandbits(32):08x}", "expires_in_s": rng.choice((600, 1800, 3600))}
        case _:
            fields |= {"reference": f"{rng.getrandbits(32):08x}"}
    return orjson.dumps(fields).decode()


def failure_context(code: str, rng: Random) -> str:
    """Return a parenthesis that tells one failure with `code` from another."""
    match code:
        case "TIMEOUT":
            return f"(after {rng.uniform(5, 60):.1f} s)"
        case "INVALID_INPUT":
            return f"(field {rng.randint(1, 12)})"
        case "NETWORK_ERROR" | "INVALID_RESPONSE":
            return f"(connection {rng.getrandbits(16):04x})"
        case _:
            return f"(reference {rng.getrandbits(24):06x})"

"""Runs a command and accounts for every process it started, also those that outlive it or die unnoticed.

    python -m benchmarks.accounting RESULT.json COMMAND [ARGUMENT...]

    bench ──> accounting (a child subreaper) ──> command ──> fork server ──> workers, Manager
                   ▲──────────── orphans fall to it, not to init ────────────────┘

The kernel adds a process's processor time to whoever waits for it. What the command itself waited for is in its own
figure; what it left behind is adopted here and waited for here. So the sum misses nothing and counts nothing twice.
Linux only: elsewhere there is no subreaper, and `cpu_s` is null.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a command took. Instants are on the machine's monotonic clock."""

    started_s: float
    ended_s: float
    exit_code: int
    cpu_s: float | None  # user and system time of the command and everything it started; None: not known here

    @classmethod
    def read(cls, path: Path) -> Account:
        """Return what this module wrote to `path`."""
        return cls(**json.loads(path.read_text()))


def main() -> int:
    """Run the command, wait for all it started, write the account, and pass on the command's exit code."""
    result, command = Path(sys.argv[1]), sys.argv[2:]
    adopts = sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    started_s = time.monotonic()
    process = subprocess.Popen(command)
    cpu_s, code, ended_s = 0.0, 0, started_s
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu_s += usage.ru_utime + usage.ru_stime
        if pid == process.pid:
            code, ended_s = os.waitstatus_to_exitcode(status), time.monotonic()
            process.returncode = code  # already waited for: Popen must not look for it
    account = Account(started_s=started_s, ended_s=ended_s, exit_code=code, cpu_s=cpu_s if adopts else None)
    result.write_text(json.dumps(asdict(account)))
    return code


if __name__ == "__main__":
    sys.exit(main())

"""Where and when something was measured."""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

BUSY = 0.5
"""A load of more before a run, on all cores together, is other people's work."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader has to know of the machine to judge figures."""

    processor: str
    cores: int
    python: str
    receiver: str
    commit: str
    began: datetime
    seconds: float
    load_before: float
    """The load average of the minute before the run."""
    load_after: float
    """The same at its end: the run's own load is in it, one to two."""

    @property
    def was_busy(self) -> bool:
        return self.load_before > BUSY


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()


def commit() -> str:
    """The commit at hand, with a mark where files that are measured differ from it; empty outside of git."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"],  # noqa: S607 - found on PATH, as make finds it
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""

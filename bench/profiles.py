"""Where the time of a handler and of a start goes: `python -m bench.profiles` writes docs/performance.md.

Handlers run under Python's own profiler, which makes calls of Python dearer than calls of C: the shares say
where to look, and `make bench` what was won. A start is told by `-X importtime`.
"""

import contextlib
import cProfile
import io
import os
import pstats
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from rich.console import Console

from bench.deployed import ROOT
from bench.document import filled
from bench.figures import Task
from bench.stub import STORE_ID
from bench.world import Context, held_item, ingest_event, stream_event, world
from functions.fanout.app import handler as fanout
from functions.ingest.app import handler as ingest

DOCUMENT = ROOT / "docs" / "performance.md"
SUBSCRIBERS = 10
_WARM, _PROFILED = 100, 400
_PARTS = 12
"""How many rows a table has; the rest is one more."""
_LAYER = ROOT / "layers" / "checkout_recovery"
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)")

Key = tuple[str, int, str]
Row = tuple[int, int, float, float]


def shares(spent: Mapping[str, float]) -> list[tuple[str, float]]:
    """The largest parts with their shares of the whole, and all others as one."""
    whole = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda part: part[1], reverse=True)
    rest = sum(seconds for _, seconds in ordered[_PARTS:])
    named = [*ordered[:_PARTS], *([("all others", rest)] if rest else [])]
    return [(name, seconds / whole) for name, seconds in named]


def by_part(stats: Mapping[Key, tuple[int, int, float, float, Mapping[Key, Row]]]) -> dict[str, float]:
    """Seconds by module of ours, or by library; what runs in C without a file counts as its callers'."""
    spent: dict[str, float] = defaultdict(float)
    for key, (_, _, own, _, callers) in stats.items():
        part = part_of(key[0])
        if part:
            spent[part] += own
        else:
            for caller, (_, _, by_caller, _) in callers.items():
                spent[part_of(caller[0]) or "Python"] += by_caller
    return spent


def part_of(file: str) -> str | None:
    """The part that a file of Python belongs to; None for what is no file."""
    path = Path(file)
    if "checkout_recovery" in path.parts[:-1]:
        last = len(path.parts) - 1 - path.parts[::-1].index("checkout_recovery")
        return ".".join((*path.parts[last + 1 : -1], path.stem))
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1].removesuffix(".py")
    if file.startswith(("~", "<")):
        return None
    return "Python" if path.is_absolute() else None


def handlers() -> dict[str, list[tuple[str, float]]]:
    """Profiles of the warm handlers, by table."""
    with world({STORE_ID: SUBSCRIBERS}, held=held_item()):
        later, batch = ingest_event("c-held"), stream_event({"c-new": STORE_ID})
        return {
            "profile-ingest": _profiled(lambda: ingest(later, Context())),
            "profile-fan-out": _profiled(lambda: fanout(batch, Context())),
        }


def _profiled(task: Task) -> list[tuple[str, float]]:
    profile = cProfile.Profile()
    with _quiet():
        _repeat(task, _WARM)
        profile.enable()
        _repeat(task, _PROFILED)
        profile.disable()
    return shares(by_part(pstats.Stats(profile).stats))  # type: ignore[attr-defined] # typeshed does not know it


def _repeat(task: Callable[[], object], times: int) -> None:
    for _ in range(times):
        task()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Metrics are lines on stdout."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def start(function: str) -> list[tuple[str, float]]:
    """What a function's imports take, by library; the second of two runs, with everything compiled."""
    with tempfile.TemporaryDirectory() as cache:
        lines = [_imports(function, cache) for _ in range(2)][-1]
    spent: Counter[str] = Counter()
    for microseconds, module in lines:
        spent[_library(module)] += microseconds
    return shares(spent)


def _imports(function: str, cache: str) -> Iterable[tuple[int, str]]:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import app"],
        cwd=ROOT / "functions" / function,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_LAYER), "PYTHONPYCACHEPREFIX": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return [(int(found[1]), found[2]) for found in map(_IMPORT.match, result.stderr.splitlines()) if found]


def _library(module: str) -> str:
    name = module.partition(".")[0]
    if name in ("checkout_recovery", "app"):
        return "our own modules"
    return "Python" if name in sys.stdlib_module_names or name.startswith("_") else name


def markdown(parts: Iterable[tuple[str, float]], what: str) -> str:
    rows = "".join(f"| {name} | {share:.0%} |\n" for name, share in parts)
    return f"| {what} | share |\n| --- | ---: |\n{rows}"


def main() -> int:
    tables = {name: markdown(parts, "module or library") for name, parts in handlers().items()}
    tables["profile-start"] = markdown(start("fanout"), "library")
    for name, table in tables.items():
        Console(highlight=False).print(f"\n{name}\n{table}", markup=False)
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs a group of figures in a process of its own: none inherits another's memory, caches or settings."""

import importlib
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import NoReturn

from bench.figures import Effort, Figure

_LEAVES_WITHIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a group's process tells."""

    figures: tuple[Figure, ...] = ()
    problem: str = ""


def measured(group: str, effort: Effort, seconds: float) -> Measured:
    """Measures a group, and ends it when its time is up.

    Args:
        group: a module of this folder that has `measure(rounds)`.
        effort: what its rounds may take.
        seconds: after how long it is ended.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(group, effort, theirs))
    process.start()
    theirs.close()
    try:
        told = ours.recv() if ours.poll(max(0.0, seconds)) else Measured(problem="there was no time left")
    except EOFError:
        told = Measured(problem="its process ended early")
    finally:
        process.join(_LEAVES_WITHIN_SECONDS)
        process.terminate()
        process.join()
    assert isinstance(told, Measured)
    return told


def _measure(group: str, effort: Effort, to: Connection) -> None:
    signal.signal(signal.SIGTERM, _leave)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # metrics are lines on stdout
    try:
        told = Measured(tuple(importlib.import_module(f"bench.{group}").measure(effort)))
    except Exception as error:  # noqa: BLE001 - the other groups are worth having; the table says what is missing
        told = Measured(problem=f"{type(error).__name__}: {error}"[:300])
    to.send(told)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Lets servers be closed on the way out."""
    sys.exit(1)

"""Versions that only grow, even when what they count is deleted and made anew.

A counter that starts again at 1 would let a warm function take what it cached of the deleted thing for
current. So a version is the time in milliseconds, or one more than the last where that is later.
"""

from datetime import datetime


def next_version(last: int, now: datetime) -> int:
    return max(last + 1, int(now.timestamp() * 1000))

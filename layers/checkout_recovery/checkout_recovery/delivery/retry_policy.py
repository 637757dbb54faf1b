"""When a delivery that failed is tried again. Pure: a function of what happened and of chance."""

from collections.abc import Callable

FIRST_RETRY_SECONDS = 5
_JITTER = 0.5


def first_retry_delay(random: Callable[[], float]) -> int:
    """Returns the whole seconds until the second attempt; jitter only adds.

    Args:
        random: gives numbers in [0, 1).
    """
    return FIRST_RETRY_SECONDS + round(FIRST_RETRY_SECONDS * _JITTER * random())

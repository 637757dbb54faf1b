"""The schedule's trigger: every minute, what has gone quiet is found abandoned.

One run takes a share of the index's shards. Where there are more than that, the scheduled run starts another
of itself for each further share.
"""

import json
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from checkout_recovery import wiring

_SHARDS_A_RUN = 8
"""The default number of shards needs one run; with more, see docs/scale.md."""
_RESERVE_MILLISECONDS = 15_000
"""What the checkout at hand may take when every call is slow, before Lambda ends the function."""
_ONE_CALL_MILLISECONDS = 8_000
"""What one call takes at worst."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Returns how many checkouts were looked at, by what became of them."""
    shards = range(wiring.settings().due_shards)
    is_scheduled = "first_shard" not in event
    first = event.get("first_shard", shards.start)
    unstarted = None
    if is_scheduled:
        unstarted = _start_others(shards[_SHARDS_A_RUN::_SHARDS_A_RUN], context.invoked_function_arn)
    swept = wiring.sweep()(
        shards[first : first + _SHARDS_A_RUN],
        lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS,
    )
    if is_scheduled and context.get_remaining_time_in_millis() > _ONE_CALL_MILLISECONDS:
        wiring.sweep().measure_circuits()
    if unstarted:
        raise unstarted  # after its own share: whoever is on call has to know, the shoppers need not wait
    return {"found": dict(swept.found), "failed": swept.failed, "finished": swept.finished}


def _start_others(firsts: Iterable[int], function: str) -> Exception | None:
    """Starts a run for each further share; returns why one did not start."""
    unstarted: Exception | None = None
    for first in firsts:
        try:
            wiring.functions().invoke(
                FunctionName=function,
                InvocationType="Event",
                Payload=json.dumps({"first_shard": first}),
            )
        except (BotoCoreError, ClientError) as error:
            unstarted = error
    return unstarted

"""The way out: signed POSTs and deliveries a second, beside a raw socket that posts the same bytes."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from bench.figures import Effort, Figure, Speed, Target, Task, figure, in_turns
from bench.raw_socket import RawSocket, sent_by
from bench.stub import KEY, STORE_ID
from bench.world import Context, stream_event, world
from checkout_recovery import wiring
from checkout_recovery.contracts import CONTRACTS
from checkout_recovery.delivery.send import Post
from checkout_recovery.delivery.signed import signed_headers
from checkout_recovery.secrets import Secret
from checkout_recovery.subscriptions.subscription import Subscription
from functions.fanout.app import handler as fanout

GROUP = "sending"
SUBSCRIBERS = 10
POSTS = 2_000
BATCHES = 80
BODY = b'{"body":"' + b"x" * 2_037 + b'"}'
"""2 KB."""

SENDER, FAN_OUT = Target(must=0.5, aim=0.8), Target(must=0.1, aim=0.25)


def measure(effort: Effort) -> list[Figure]:
    with world({STORE_ID: SUBSCRIBERS}) as here:
        subscriptions, sender = wiring.registry().subscriptions(STORE_ID).items, wiring.sender()
        posts = [_post(number, subscriptions[number % SUBSCRIBERS]) for number in range(POSTS)]

        def send() -> None:
            assert all(outcome.delivered for outcome in sender.send(posts, 60.0))

        batch = stream_event({"c-new": STORE_ID})

        def fan_out() -> None:
            for _ in range(BATCHES):
                assert fanout(batch, Context()) == {"batchItemFailures": []}

        raw = RawSocket(
            here.receiver.port, sent_by(lambda url: sender.send([_post(0, subscriptions[0], url)], 5))
        )
        beside = partial(_beside, raw, f"raw socket to {here.receiver.name}", effort.shared(2))
        found = [
            *beside("sender, signed POSTs of 2 KB", send, POSTS, SENDER),
            *beside(f"fan-out, 1 event x {SUBSCRIBERS}, deliveries", fan_out, BATCHES * SUBSCRIBERS, FAN_OUT),
        ]
        raw.close()
    return found


def _post(number: int, subscription: Subscription, url: str = "") -> Post:
    return Post(
        f"dlv_{number:032d}",
        subscription.subscription_id,
        f"c-{number}",
        url or subscription.callback_url,
        partial(_prepare, number, subscription, Secret((KEY,), version=1)),
    )


def _prepare(number: int, subscription: Subscription, secret: Secret) -> tuple[Mapping[str, str], bytes]:
    """Signs, as an attempt of fan-out does."""
    headers = signed_headers(
        CONTRACTS[subscription.topic, subscription.version],
        subscription,
        secret,
        event_id="evt_0123456789abcdef0123456789abcdef",
        delivery_id=f"dlv_{number:032d}",
        shop_url="my-store.com",
        sent_at=datetime.now(UTC),
        body=BODY,
    )
    return headers, BODY


def _beside(
    raw: RawSocket, baseline: str, effort: Effort, name: str, task: Task, items: int, target: Target
) -> Sequence[Figure]:
    """A task beside the socket, by the clock and by this process's CPU."""
    task()  # connects
    speed: Callable[[], Speed] = partial(Speed.of, task, items)
    found = in_turns(speed, partial(Speed.of, partial(raw.post, POSTS), POSTS), effort)
    clock = [(ours.a_second, bare.a_second) for ours, bare in found]
    cpu = [(ours.a_cpu_second, bare.a_cpu_second) for ours, bare in found]
    return (
        figure(GROUP, name, "/s", baseline, clock, target=target),
        figure(GROUP, f"{name}, by CPU", "/CPU s", baseline, cpu, target=target),
    )

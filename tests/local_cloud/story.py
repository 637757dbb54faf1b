"""What some forty shoppers do within three minutes, told to the deployed stack.

A checkout has to be quiet for a minute before it is abandoned. So all shoppers start together, the minute
passes once for all of them, and once more for those who came back. The story runs beside the other tests;
`test_abandonment` reads what came of it.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Self
from zlib import crc32
from zoneinfo import ZoneInfo

from local import senders
from local.cloud import Stack
from local.receiver import Arrival
from local.senders import Call
from tests.local_cloud.shops import CART, EMAIL_DOMAIN, PHONE, WAIT_SECONDS, Shop, Shopper, World, within

ABANDON_AFTER = timedelta(seconds=60)
"""The shortest that a store can have."""
_JUST_BEFORE_DUE = timedelta(seconds=50)
_A_MOMENT = timedelta(seconds=1)

DUE_SHARDS = 20
"""More than one run of the sweep takes, so that it has to start others of itself."""

ZONE = "Asia/Kolkata"


class Ended(Exception):
    """Nobody waits for the story any longer."""


class Watched(Shop):
    """A store with the shortest wait, and a subscription that hears everything."""

    def __init__(self, world: World, **settings: Any) -> None:
        super().__init__(world, abandon_after_seconds=int(ABANDON_AFTER.total_seconds()), **settings)
        self.everything, _ = self.subscribe("checkout 2026-11")

    def heard(self, checkout_id: str) -> list[Arrival]:
        """What was told of a checkout, in order."""
        return [a for a in self.arrivals(self.everything) if a.json["data"]["checkout_id"] == checkout_id]

    def events(self, checkout_id: str) -> list[str]:
        """The same, by its types."""
        return [str(arrival.event_type).removeprefix("checkout.") for arrival in self.heard(checkout_id)]

    def held_back(self, checkout_id: str) -> list[str]:
        """Why abandonments of a checkout were not told, by the delivery log, in order."""
        log = self.api.deliveries(
            self.everything.subscription_id, state="suppressed", checkout_id=checkout_id
        )
        return [str(entry["reason"]) for entry in reversed(log)]


class Story:
    """The shoppers, their stores, and what they do."""

    def __init__(self, world: World, stack: Stack) -> None:
        self.world = world
        self._stack = stack
        self._ended = threading.Event()
        self._numbers = count(10)
        self.shoppers: dict[str, Shopper] = {}
        """By their checkouts."""
        self.tellings: defaultdict[str, list[datetime]] = defaultdict(list)
        """When each checkout's newer tellings were posted."""
        self.results: dict[str, list[str]] = {}
        """Which checkouts an order was answered to end, by its id."""

    def run(self) -> Self:
        """Tells it all, which takes a little over two minutes."""
        self._open_stores()
        begun = datetime.now(UTC)
        self._those_who_buy_in_time()
        self._those_who_leave()
        left = datetime.now(UTC)
        self._wait_until(begun + _JUST_BEFORE_DUE)
        self._just_before_due()
        self._wait_until(left + ABANDON_AFTER + _A_MOMENT)
        self._sweep_twice_at_once()
        self._await_messages()
        self._those_who_come_back()
        back = datetime.now(UTC)
        self._wait_until(max(back + ABANDON_AFTER, self.dawn_breaks) + _A_MOMENT)
        self._sweep_twice_at_once()
        return self

    def end(self) -> None:
        """Ends it early, where nobody waits for it."""
        self._ended.set()

    # ------------------------------------------------------------ the stores

    def _open_stores(self) -> None:
        self.daily = daily = Watched(self.world)
        """With the default cooldown, and three receivers of abandonments besides."""
        only = {"events": ["checkout.abandoned"]}
        self.consenting, _ = daily.subscribe("checkout 2026-11", consent="granted", **only)
        self.by_phone, _ = daily.subscribe("checkout 2026-11", requires=["phone"], **only)
        self.cashfree, _ = daily.subscribe("abandonedCheckout v1")
        self.eager = Watched(self.world, cooldown_seconds=0)
        now = datetime.now(ZoneInfo(ZONE))
        night = {"start": _clock(now - timedelta(hours=1)), "timezone": ZONE}
        self.at_night = Watched(self.world, quiet_hours=night | {"end": _clock(now + timedelta(hours=1))})
        # After the first sweep has decided, and as soon after it as whole minutes allow.
        breaks = (now + timedelta(seconds=150)).replace(second=0, microsecond=0)
        self.dawn_breaks = breaks.astimezone(UTC)
        self.at_dawn = Watched(self.world, quiet_hours=night | {"end": _clock(breaks)})

    # ------------------------------------------------------------ what shoppers do

    def _those_who_buy_in_time(self) -> None:
        daily = self.daily
        self._tell(daily, "c-in-time")
        self._tell(daily, "c-in-time-elsewhere", shopper=self.shoppers["c-in-time"])
        self._tell(daily, "c-in-time", completed=True)

        first = self._new_shopper("c-order-first")
        self._order("o-first", phone=first.own["phone"])
        self._tell(daily, "c-order-first", event_time=_before(seconds=60))
        undated = self._new_shopper("c-after-order")
        self._order("o-by-email", email=undated.email.upper())
        self._tell(daily, "c-after-order", event_time=None)
        self._order("o-by-token", checkout_token="c-token-first")
        self._tell(daily, "c-token-first", event_time=_before(seconds=60))

        self._tell(daily, "c-two-a")
        self._tell(daily, "c-two-b", shopper=self.shoppers["c-two-a"])
        self._tell(daily, "c-not-theirs")
        self._order("o-two", phone=self.shoppers["c-two-a"].own["phone"])

        for checkout_id, seconds in (("c-cashfree-before", 120), ("c-cashfree-after", 0)):
            shopper = self._new_shopper(checkout_id)
            self._order(f"o-{checkout_id}", phone=shopper.own["phone"])
            left_at, begun_at = _before(seconds=seconds), _before(seconds=900 + seconds)
            call = daily.left_behind(
                checkout_id, shopper, event_time=left_at, abandoned_at=left_at, created_at=begun_at
            )
            daily.post(call).raise_for_status()

    def _those_who_leave(self) -> None:
        daily = self.daily
        far = next(id_ for id_ in map("c-far-{}".format, count()) if self._is_in_the_last_shard(id_))
        self.far = far
        for checkout_id in ("c-left", far, "c-bought-later", "c-restarted", "c-enriched", "c-moved"):
            self._tell(daily, checkout_id)
        self._tell(daily, "c-carted", cart_token=CART)
        paid = self._new_shopper("c-paid-later")
        self._post(daily, "c-paid-later", daily.envelope("c-paid-later", shopper=paid, event_time=_now()))
        malformed = self._new_shopper("c-malformed")
        odd = daily.envelope("c-malformed", shopper=malformed, event_time="2026-13-45T99:61:00Z")
        self._post(daily, "c-malformed", odd)
        self._tell(daily, "c-future", event_time=_before(days=-1))

        self._tell(daily, "c-denied", consent="denied")
        self._tell(daily, "c-granted", consent="granted")
        self._tell(daily, "c-email-only", phone=None)
        self._tell(daily, "c-nobody", phone=None, email=None)

        self._tell(daily, "c-typo")
        typo = self.shoppers["c-typo"]
        self._tell(daily, "c-typo-elsewhere", shopper=replace(typo, email=f"work.{typo.email}"))
        self._tell(daily, "c-typo", shopper=replace(typo, phone=self._new_shopper("").phone))

        same = self._new_shopper("c-same-a")
        forms = {"c-same-a": {}, "c-same-b": {"phone": f"+91 {same.phone}", "email": f"work.{same.email}"}}
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda id_: self._tell(daily, id_, shopper=same, **forms[id_]), forms))

        self._tell(self.eager, "c-again")
        for shop, name in ((self.at_night, "night"), (self.at_dawn, "dawn")):
            self._tell(shop, f"c-{name}", shopper=self.shoppers["c-left"])
            self._tell(shop, f"c-{name}-bought")
        told = self._new_shopper("c-dawn-told")
        now = _now()
        call = self.at_dawn.left_behind("c-dawn-told", told, event_time=now, abandoned_at=now, created_at=now)
        self._post(self.at_dawn, "c-dawn-told", call)

    def _just_before_due(self) -> None:
        self._tell(self.daily, "c-restarted", stage="OTP_VERIFIED")
        late = self.daily.own(
            "c-enriched", self.shoppers["c-enriched"], event_time=_before(days=1), address={"zip": "380001"}
        )
        self.daily.applied(late)  # and no newer telling: the wait goes on

    def _those_who_come_back(self) -> None:
        daily = self.daily
        self._order("o-later", phone=self.shoppers["c-bought-later"].own["phone"])
        paid = self.shoppers["c-paid-later"]
        self._post(
            daily,
            "c-paid-later",
            daily.envelope(
                "c-paid-later", shopper=paid, event_time=_now(), payload__session_state="COMPLETED"
            ),
        )
        self._order("o-carted", cart_token=CART)
        self._tell(self.eager, "c-again", stage="OTP_VERIFIED")
        moved = replace(self.shoppers["c-moved"], phone=self._new_shopper("").phone)
        self._tell(daily, "c-moved", shopper=moved)
        self._tell(daily, "c-moved-anew", shopper=replace(moved, email=f"anew.{moved.email}"))
        late = self._new_shopper("c-nobody")
        daily.applied(daily.own("c-nobody", late, event_time=_before(seconds=600)))
        for shop, name in ((self.at_night, "c-night-bought"), (self.at_dawn, "c-dawn-bought")):
            self._order(f"o-{name}", shop=shop, phone=self.shoppers[name].own["phone"])

    # ------------------------------------------------------------ how it is told

    def _new_shopper(self, checkout_id: str) -> Shopper:
        number = next(self._numbers)
        shopper = Shopper(f"{PHONE[:-2]}{number:02}", f"kanarienne.{number}@{EMAIL_DOMAIN}")
        return self.shoppers.setdefault(checkout_id, shopper) if checkout_id else shopper

    def _tell(
        self, shop: Watched, checkout_id: str, *, shopper: Shopper | None = None, **changes: Any
    ) -> None:
        """Posts a telling in our own schema, of now where nothing else is said."""
        known = shopper or self.shoppers.get(checkout_id) or self._new_shopper(checkout_id)
        self.shoppers[checkout_id] = known
        self._post(shop, checkout_id, shop.own(checkout_id, known, **({"event_time": _now()} | changes)))

    def _post(self, shop: Watched, checkout_id: str, call: Call) -> None:
        if self._ended.is_set():
            raise Ended
        self.tellings[checkout_id].append(datetime.now(UTC))
        shop.applied(call)

    def _order(self, order_id: str, *, shop: Watched | None = None, **found_by: Any) -> None:
        call = senders.order({"order_id": order_id, **found_by})
        results = (shop or self.daily).all_applied(call)
        self.results[order_id] = [result["checkout_id"] for result in results]

    def _wait_until(self, moment: datetime) -> None:
        if self._ended.wait(max(0.0, (moment - datetime.now(UTC)).total_seconds())):
            raise Ended

    # ------------------------------------------------------------ the sweep

    def _sweep_twice_at_once(self) -> None:
        """Two runs at once, besides those of the schedule, until nothing is due any more."""
        swept_to = datetime.now(UTC)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: self._start_sweep(), range(2)))
        within(WAIT_SECONDS, lambda: None if self._due(swept_to) else True, "what is due is swept")

    def _start_sweep(self) -> None:
        functions = self._stack.aws.client("lambda", endpoint_url=self._stack.endpoint_url)
        name = f"{self._stack.outputs['SweepFunctionName']}:live"
        answer = functions.invoke(FunctionName=name, Payload=b"{}")
        told = json.loads(answer["Payload"].read())
        assert not answer.get("FunctionError"), told["errorType"]
        assert told["failed"] == 0

    def _due(self, moment: datetime) -> list[str]:
        """The checkouts of the story's stores whose time has come and that nobody has decided."""
        table = self._stack.aws.client("dynamodb", endpoint_url=self._stack.endpoint_url)
        stores = {shop.api.store_id for shop in self.stores}
        return [
            item["checkout_id"]["S"]
            for shard in range(DUE_SHARDS)
            for item in table.query(
                TableName=self._stack.outputs["CheckoutTableName"],
                IndexName="due",
                KeyConditionExpression="due_shard = :shard AND due_at <= :moment",
                ExpressionAttributeValues={
                    ":shard": {"S": str(shard)},
                    ":moment": {"N": str(int(moment.timestamp() * 1000))},
                },
            )["Items"]
            if item["store_id"]["S"] in stores
        ]

    @property
    def stores(self) -> tuple[Watched, ...]:
        return self.daily, self.eager, self.at_night, self.at_dawn

    def _is_in_the_last_shard(self, checkout_id: str) -> bool:
        """Whether the checkout's part of the index is one that the scheduled run leaves to another."""
        key = f"{self.daily.api.store_id}\n{checkout_id}".encode()
        return crc32(key) % DUE_SHARDS == DUE_SHARDS - 1

    def _await_messages(self) -> None:
        """Waits until those who will buy or come back have been messaged: that is why they do."""
        waiting = [(self.daily, id_) for id_ in ("c-bought-later", "c-paid-later", "c-carted", "c-moved")]
        for shop, checkout_id in (*waiting, (self.eager, "c-again")):

            def told(shop: Watched = shop, checkout_id: str = checkout_id) -> bool | None:
                return "abandoned" in shop.events(checkout_id) or None

            within(WAIT_SECONDS, told, f"{checkout_id} is told to be abandoned")

        def told_to_all() -> bool | None:
            told = {arrival.event_id for arrival in abandonments(self.daily.arrivals(self.daily.everything))}
            made = self.daily.api.deliveries(self.cashfree.subscription_id, state="delivered")
            return told <= {entry["event_id"] for entry in made} or None

        within(WAIT_SECONDS, told_to_all, "what is told to be abandoned is told by Cashfree's topic too")


def abandonments(arrivals: Iterator[Arrival] | list[Arrival]) -> list[Arrival]:
    """Those that ask for a message."""
    return [arrival for arrival in arrivals if arrival.event_type == "checkout.abandoned"]


def _now() -> str:
    return _before()


def _before(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M}"

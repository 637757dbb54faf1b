"""The model: shoppers who come, hesitate, leave, return and buy, and a transport that loses no chance to err.

Everything follows from the seed. A person's day depends on nothing but the seed and their number, so the
same shopper can be found again in a larger run. The rates are guesses, and on the bad side: what goes wrong
once in a thousand checkouts has to go wrong a few times in every run.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from local.simulation.day import (
    ABANDONED,
    COMPLETED,
    CREATED,
    KOLKATA,
    RECOVERED,
    RESUMED,
    UPDATED,
    Day,
    Person,
    Receiver,
    Shop,
    Source,
    Webhook,
)

MIDNIGHT = datetime(2026, 11, 23, tzinfo=KOLKATA).astimezone(UTC)
"""At the stores."""
_HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 14, 13, 12, 12, 13, 14, 16, 18, 20, 19, 14, 7)
"""How many shoppers come in each hour of the day, in proportion."""
_LONGEST = timedelta(hours=6)
"""For how long after the last has come they may still be shopping."""

_STAGES = ("INITIATED", "PHONE_ENTERED", "ADDRESS_LOADED", "PAYMENT_LOADED", "PAYMENT_INITIATED")
"""Enough of the funnel: each step is a webhook."""
_CONTACT, _EMAIL, _NAME = 1, 2, 2
"""From which stage on a shopper's contact, e-mail address and name are known."""

_WRONG_ZONE = timedelta(hours=5, minutes=30)
"""A local time that is labelled as UTC."""
_GARBLED = ("23/11/2026 10:61", "yesterday", "0000-00-00T00:00:00Z", "1970-01-01T00:00:00Z")

_EVERYTHING = frozenset({CREATED, UPDATED, ABANDONED, RESUMED, COMPLETED, RECOVERED})
_SNAPSHOTS = _EVERYTHING - {ABANDONED}


def simulated_day(count: int, seed: int, hours: tuple[int, int] = (0, 24)) -> Day:
    """Makes a day.

    Args:
        count: how many shoppers come.
        seed: the same gives the same day.
        hours: between which they come, by the stores' clock.
    """
    shops = tuple(_shops(MIDNIGHT, Random(f"{seed}/shops")))  # noqa: S311 - a model, no secret
    people = [_person(f"p{n}", shops, hours, Random(f"{seed}/{n}")) for n in range(count)]  # noqa: S311
    return Day(MIDNIGHT + timedelta(hours=hours[0]), shops, people)


# ---------------------------------------------------------------- stores


def _shops(start: datetime, random: Random) -> Iterator[Shop]:
    yield Shop(
        store_id="clay-and-co",
        source=Source.OWN,
        share=0.35,
        abandon_after=timedelta(minutes=15),
        cooldown=timedelta(hours=24),
        receivers=(
            _receiver(1, "checkout", "2026-11", _EVERYTHING),
            _receiver(2, "abandonedCheckout", "v1", {ABANDONED}, requires={"phone", "checkout_url"}),
            _receiver(3, "checkout", "2026-11", {ABANDONED, RECOVERED}, wants_agreement=True),
        ),
        outages=_outages(start, random),
    )
    yield Shop(
        store_id="night-market",
        source=Source.ENVELOPE,
        share=0.3,
        abandon_after=timedelta(minutes=30),
        cooldown=timedelta(hours=6),
        quiet_hours=("21:00", "09:00"),
        clock_ahead=timedelta(seconds=90),
        receivers=(
            _receiver(4, "checkout", "2026-11", _EVERYTHING),
            _receiver(5, "abandonedCheckout", "v1", {ABANDONED}, requires={"email"}),
            _receiver(6, "ACR_CHECKOUT", "2026-05", _SNAPSHOTS),
        ),
        outages=_outages(start, random),
    )
    yield Shop(
        store_id="flat-street",
        source=Source.FLAT,
        share=0.2,
        abandon_after=timedelta(minutes=20),
        cooldown=timedelta(hours=24),
        receivers=(
            _receiver(7, "checkout", "2026-11", _EVERYTHING),
            _receiver(8, "abandonedCheckout", "v1", {ABANDONED}, requires={"phone", "name"}),
            _receiver(9, "ACR_CHECKOUT", "2025-09", _SNAPSHOTS),
        ),
        outages=_outages(start, random),
    )
    yield Shop(
        store_id="quick-bites",
        source=Source.OWN,
        share=0.15,
        abandon_after=timedelta(minutes=2),
        cooldown=timedelta(hours=1),
        quiet_hours=("14:00", "15:30"),
        clock_ahead=-timedelta(seconds=40),
        receivers=(
            _receiver(10, "checkout", "2026-11", _EVERYTHING, wants_agreement=True),
            _receiver(11, "abandonedCheckout", "v1", {ABANDONED}, requires={"phone"}),
        ),
        outages=_outages(start, random),
    )


def _receiver(
    number: int,
    topic: str,
    version: str,
    events: set[str] | frozenset[str],
    *,
    requires: set[str] | frozenset[str] = frozenset(),
    wants_agreement: bool = False,
) -> Receiver:
    return Receiver(
        f"sub_{number:026}", topic, version, frozenset(events), wants_agreement, frozenset(requires)
    )


def _outages(start: datetime, random: Random) -> tuple[tuple[datetime, datetime], ...]:
    """Two in the busy hours."""
    starts = [start + timedelta(hours=random.uniform(*hours)) for hours in ((8, 13), (15, 21))]
    return tuple((at, at + timedelta(minutes=random.uniform(10, 45))) for at in starts)


# ---------------------------------------------------------------- people


def _person(name: str, shops: tuple[Shop, ...], hours: tuple[int, int], random: Random) -> Person:
    first, end = hours
    (shop,) = random.choices(shops, [shop.share for shop in shops])
    (hour,) = random.choices(range(first, end), _HOURS[first:end])
    journey = _Journey(name, shop, MIDNIGHT + timedelta(hours=hour + random.random()), random)
    journey.live(MIDNIGHT + timedelta(hours=end) + _LONGEST * (end - first) / 24)
    transport = _Transport(shop, random)
    webhooks = [replace(one, arrivals=transport.arrivals(one)) for one in journey.webhooks]
    return Person(name, shop, tuple(webhooks), tuple(journey.purchases))


@dataclass
class _Checkout:
    """A checkout in a shopper's hands."""

    checkout_id: str
    cart_token: str | None
    has_url: bool
    mistypes: bool
    stage: int = 0
    has_phone: bool = False
    done: bool = False


@dataclass
class _Device:
    gives: frozenset[str]
    """Which of phone and e-mail address the shopper gives on it."""
    spelling: int
    checkout: _Checkout | None = None


@dataclass
class _Journey:
    """One person's day."""

    name: str
    shop: Shop
    now: datetime
    random: Random
    webhooks: list[Webhook] = field(default_factory=list)
    purchases: list[datetime] = field(default_factory=list)
    checkouts: int = 0

    def __post_init__(self) -> None:
        number = int(self.name[1:])
        self.phone = f"{self.random.choice((98, 99, 97, 90, 88))}{number * 7919 % 10**8:08}"
        self.email = f"{self.name}@shop.example"
        self.consent = self.random.choices((None, "granted", "denied"), (40, 45, 15))[0]
        count = self.random.choices((1, 2, 3), (68, 25, 7))[0]
        self.devices = [self._device() for _ in range(count)]

    def live(self, until: datetime) -> None:
        """Visits until the shopper has enough, or the time is up."""
        device = self.devices[0]
        while True:
            bought = self._visit(device, until)
            if not bought and self._chance(0.04):
                self._buy_elsewhere()
                bought = True
            if not self._chance(0.12 if bought else 0.45):
                return
            self._pass(self._away())
            if self.now > until:
                return
            if self._chance(0.35):
                device = self.random.choice(self.devices)
            if self._chance(0.03) and self.consent == "granted":
                self.consent = "denied"

    def _device(self) -> _Device:
        gives = self.random.choices(({"phone", "email"}, {"phone"}, {"email"}, set[str]()), (42, 32, 18, 8))
        return _Device(frozenset(gives[0]), self.random.randrange(4))

    def _visit(self, device: _Device, until: datetime) -> bool:
        """Goes on where the shopper was on this device; returns whether they bought."""
        checkout = device.checkout
        if checkout is None or checkout.done or self._chance(0.1):
            checkout = device.checkout = self._new_checkout(checkout)
        while self.now < until:
            self._tell(device, checkout)
            if self._chance(0.18):
                return False
            self._pass(self._pause())
            if checkout.stage == len(_STAGES) - 1:
                break
            checkout.stage += 1
        if self.now >= until or self._chance(0.15):
            return False
        self._buy(device, checkout)
        return True

    def _new_checkout(self, before: _Checkout | None) -> _Checkout:
        self.checkouts += 1
        own = self.shop.source is Source.OWN
        token = f"cart-{self.name}-{self.checkouts}" if own and self._chance(0.6) else None
        if before and not before.done and self._chance(0.5):
            token = before.cart_token
        return _Checkout(
            f"{self.name}-c{self.checkouts}", token, not own or self._chance(0.9), self._chance(0.06)
        )

    def _tell(self, device: _Device, checkout: _Checkout) -> None:
        stage = checkout.stage
        forgets = self.shop.source is Source.OWN and self._chance(0.12)
        phone = self._typed_phone(checkout) if "phone" in device.gives and not forgets else None
        email_from = _EMAIL if "phone" in device.gives else _CONTACT
        email = self.email if "email" in device.gives and stage >= email_from and not forgets else None
        says_consent = self.shop.source is Source.OWN and stage >= _CONTACT and self._chance(0.5)
        self._send(
            checkout_id=checkout.checkout_id,
            phone=phone,
            email=email,
            spelling=device.spelling,
            cart_token=checkout.cart_token,
            consent=self.consent if says_consent else None,
            has_name=stage >= _NAME and self._chance(0.7),
            has_url=checkout.has_url,
            stage=_STAGES[stage],
            total=self.random.randrange(500, 5000, 100),
        )

    def _typed_phone(self, checkout: _Checkout) -> str | None:
        """The number: at first perhaps half of it, or with a wrong digit that is corrected later."""
        if checkout.stage < _CONTACT:
            return None
        if not checkout.has_phone and self._chance(0.04):
            return self.phone[:5]
        checkout.has_phone = True
        if checkout.stage == _CONTACT and checkout.mistypes:
            return self.phone[:-1] + str((int(self.phone[-1]) + 1) % 10)
        return self.phone

    def _buy(self, device: _Device, checkout: _Checkout) -> None:
        """The provider tells it, or an order does, or both."""
        self.purchases.append(self.now)
        checkout.done = True
        order_id = f"o-{self.name}-{len(self.purchases)}"
        told = self._chance(0.8)
        if told:
            self._send(
                checkout_id=checkout.checkout_id,
                phone=self.phone if "phone" in device.gives else None,
                email=self.email if "email" in device.gives else None,
                spelling=device.spelling,
                cart_token=checkout.cart_token,
                has_url=checkout.has_url,
                stage="COMPLETED",
                bought=True,
                order_id=order_id if self.shop.source is Source.OWN and self._chance(0.7) else None,
            )
        if not told or self._chance(0.35):
            self._order(order_id, device, checkout)

    def _order(self, order_id: str, device: _Device, checkout: _Checkout) -> None:
        """The shop's own word of a purchase in a checkout, by one of the names that it has for it."""
        given = {"phone": self.phone, "email": self.email}
        contact = {kind: given[kind] for kind in sorted(device.gives)}
        ways: list[dict[str, str]] = [{"checkout_id": checkout.checkout_id}]
        ways += [{"checkout_id": checkout.checkout_id, **contact}]
        ways += [{"cart_token": checkout.cart_token}] if checkout.cart_token else []
        ways += [{kind: value} for kind, value in contact.items()]
        ways += [contact] if contact else []
        way = self.random.choice(ways)
        self._send(
            order_id=order_id,
            checkout_id=way.get("checkout_id"),
            cart_token=way.get("cart_token"),
            phone=way.get("phone"),
            email=way.get("email"),
            spelling=self.random.randrange(4),
            names_token=self._chance(0.5),
            bought=True,
            is_order=True,
        )

    def _buy_elsewhere(self) -> None:
        """In the shop's app, on the phone, or at the counter: only an order tells."""
        self._pass(self._away() / 2)
        self.purchases.append(self.now)
        kinds = self.random.choice((("phone",), ("email",), ("phone", "email")))
        self._send(
            order_id=f"o-{self.name}-{len(self.purchases)}",
            checkout_id=None,
            phone=self.phone if "phone" in kinds else None,
            email=self.email if "email" in kinds else None,
            spelling=self.random.randrange(4),
            bought=True,
            is_order=True,
        )

    def _send(
        self,
        *,
        checkout_id: str | None,
        phone: str | None = None,
        email: str | None = None,
        spelling: int = 0,
        cart_token: str | None = None,
        consent: str | None = None,
        has_name: bool = False,
        has_url: bool = False,
        stage: str = "",
        total: int = 0,
        bought: bool = False,
        order_id: str | None = None,
        is_order: bool = False,
        names_token: bool = False,
    ) -> None:
        name = f"{self.name}-w{len(self.webhooks) + 1}"
        said, said_at = self._dated(is_order)
        anonymous = said_at is not None and self.shop.source is Source.OWN and self._chance(0.2)
        self.webhooks.append(
            Webhook(
                name=name,
                happened_at=self.now,
                said=said,
                said_at=said_at,
                checkout_id=checkout_id,
                event_id=None if anonymous or is_order else f"evt-{name}",
                phone=phone,
                spelling=spelling,
                email=email,
                cart_token=cart_token,
                consent=consent,
                has_name=has_name,
                has_url=has_url,
                stage=stage,
                total=total,
                bought=bought,
                order_id=order_id,
                is_order=is_order,
                names_token=names_token,
            )
        )

    def _dated(self, is_order: bool) -> tuple[str | None, datetime | None]:
        """What a sender says of the time: mostly it, sometimes nothing, nonsense or the future."""
        if is_order:
            at = self.now if self._chance(0.75) else None
            return (at.isoformat(), at) if at else (None, None)
        if self.shop.source is Source.FLAT:
            return None, None
        kind = self.random.choices(("right", "undated", "future", "garbled"), (95, 2, 1.5, 1.5))[0]
        if kind == "undated" or (kind == "garbled" and self.shop.source is Source.OWN):
            return None, None
        if kind == "garbled":
            return self.random.choice(_GARBLED), None
        at = self.now + (_WRONG_ZONE if kind == "future" else self.shop.clock_ahead)
        return at.isoformat(), at

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _pass(self, time: timedelta) -> None:
        """Time goes by, and never less than what keeps two tellings of a checkout apart."""
        passed = max(time, timedelta(seconds=3))
        self.now += timedelta(milliseconds=int(passed / timedelta(milliseconds=1)))

    def _pause(self) -> timedelta:
        """Between two steps; sometimes about as long as the store waits."""
        if self._chance(0.04):
            return self.shop.abandon_after * self.random.uniform(0.5, 2.5)
        return timedelta(seconds=min(self.random.lognormvariate(math.log(35), 0.9), 900))

    def _away(self) -> timedelta:
        """Between two visits."""
        return timedelta(minutes=min(self.random.lognormvariate(math.log(35), 1.4), 600))


# ---------------------------------------------------------------- transport


@dataclass
class _Transport:
    """How word of what happened comes: late, twice, in another order, or after an outage all at once."""

    shop: Shop
    random: Random

    def arrivals(self, webhook: Webhook) -> tuple[datetime, ...]:
        """When a webhook comes, and comes again."""
        times = [webhook.happened_at + self._delay()]
        while self.random.random() < 0.07:  # noqa: PLR2004 - a rate of the model
            times.append(times[-1] + self._until_repeated())
        if not webhook.is_order:
            times = [self._after_outage(time) for time in times]
        return tuple(sorted(time.replace(microsecond=time.microsecond // 1000 * 1000 + 1) for time in times))

    def _delay(self) -> timedelta:
        kind = self.random.choices(("prompt", "late", "very late"), (93, 5, 2))[0]
        if kind == "prompt":
            return timedelta(seconds=self.random.uniform(0.2, 4))
        if kind == "late":
            return timedelta(minutes=min(self.random.lognormvariate(math.log(3), 1), 60))
        return timedelta(hours=self.random.uniform(0.3, 5))

    def _until_repeated(self) -> timedelta:
        kind = self.random.choices(("at once", "retried", "hours"), (50, 35, 15))[0]
        if kind == "at once":
            return timedelta(seconds=self.random.uniform(0.05, 5))
        if kind == "retried":
            return timedelta(minutes=self.random.uniform(0.5, 30))
        return timedelta(hours=self.random.uniform(0.5, 4))

    def _after_outage(self, time: datetime) -> datetime:
        for start, end in self.shop.outages:
            if start <= time < end:
                return end + timedelta(seconds=self.random.uniform(1, 180))
        return time

"""The judge: what should have been told that day, from the rules as they are promised and from what had come.

It imports nothing of `checkout_recovery`, so no mistake there can excuse itself here. It goes through one
person's day in the order in which word of it came, keeps what could be known by then (*evidence*), and holds
every delivery against it. It reads the log only for what depends on it: whether a shopper has just been
messaged. `docs/simulation.md` says how it reads the rules where they leave a choice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from local.simulation.day import (
    ABANDONED,
    COMPLETED,
    RECOVERED,
    RESUMED,
    Day,
    Person,
    Receiver,
    Shop,
    Told,
    Webhook,
)

DEADLINE = timedelta(minutes=2)
"""A minute, and one sweep: a sweep may be cut off, the next may not."""
DOUBT = timedelta(minutes=5)
"""How far clocks may differ: a time further in the future is not believed, and what lies closer together than
this has no certain order."""

_SHORTEST_PHONE = 10
"""Digits; fewer are a number half typed."""


class Fault(StrEnum):
    """What must not happen."""

    AFTER_PURCHASE = "message after the purchase"
    COOLDOWN = "second message within the cooldown"
    QUIET_HOURS = "message in quiet hours"
    CONSENT = "message against consent"
    MISSING_FIELD = "message without a required field"
    NO_CONTACT = "message to nobody"
    MISSED = "missed abandonment"
    REASON = "held back for another reason than is said"
    EARLY = "abandonment without its wait"
    RETURN = "return not told, or invented"
    PURCHASE = "purchase told not exactly once"
    OPEN = "still open after its shopper's purchase"


@dataclass(frozen=True, slots=True)
class Violation:
    fault: Fault
    person: Person
    checkout_id: str
    at: datetime
    why: str


@dataclass
class Findings:
    """What the judge found."""

    violations: list[Violation] = field(default_factory=list)
    delays: list[timedelta] = field(default_factory=list)
    """From when each abandonment was due to when it was found."""
    in_doubt: int = 0
    """Checkouts of which nobody can say whether a purchase ended them: when it was, or whose, is not sure."""
    unheard: int = 0
    """Messages after a purchase of which no word had come."""
    unknowable: int = 0
    """Messages after a purchase that nothing connected, or whose time nobody told."""
    strangers: int = 0
    """Second messages to a person whom nothing connected with the first."""

    def count(self, fault: Fault) -> int:
        return sum(violation.fault is fault for violation in self.violations)


def judge(day: Day, told: Iterable[Told]) -> Findings:
    """Holds a log of deliveries against the day."""
    owners = {w.checkout_id: p.name for p in day.people for w in p.webhooks if w.checkout_id}
    by_person: dict[str, list[Told]] = defaultdict(list)
    for one in told:
        by_person[owners[one.checkout_id]].append(one)
    findings, end = Findings(), day.end
    for person in day.people:
        _Case(person, by_person[person.name], end, findings).hear()
    return findings


# ---------------------------------------------------------------- evidence


class _End(StrEnum):
    CERTAIN = "certain"
    """A purchase ended it."""
    DOUBTFUL = "doubtful"
    """A purchase may have ended it: it came close to the last activity, or whose it is is not sure."""


@dataclass
class _Checkout:
    """One checkout, as far as word of it has come."""

    checkout_id: str
    newest: datetime | None = None
    """Where its newest telling belongs in time."""
    is_dated: bool = False
    """Whether that is the telling's own word; else it is when it came."""
    came_at: datetime | None = None
    """When the newest telling came."""
    facts: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    """What is told, and of when: the newest telling that says anything wins."""
    due: datetime | None = None
    """When an abandonment has to be decided."""
    after_activity: bool = False
    """`due` follows an activity, not quiet hours or a late contact."""
    lacks_contact: bool = False
    has_left: bool = False
    """Found abandoned since the last activity."""
    ever_left: bool = False
    returned_at: datetime | None = None
    """A return that has still to be told."""
    end: _End | None = None
    """Whether a purchase has ended it; that stays so."""
    is_doubted: bool = False
    """Whether its newest telling may be older than a purchase that is known."""
    told_ends: int = 0

    @property
    def is_open(self) -> bool:
        return self.end is None

    def fact(self, name: str) -> str | None:
        return self.facts[name][1] if name in self.facts else None

    @property
    def has_phone(self) -> bool:
        return len(self.fact("phone") or "") >= _SHORTEST_PHONE

    @property
    def has_contact(self) -> bool:
        return self.has_phone or self.fact("email") is not None

    def hears(self, webhook: Webhook, at: datetime) -> bool:
        """Takes a telling in; returns whether it is newer than all before."""
        said = webhook.said_at if _is_believed(webhook, at) else None
        place = said or max(at, self.newest or at)
        newer = self.newest is None or said is None or said > self.newest
        # Or of this moment, and a fast clock has stamped the newest.
        alive = said is not None and self.came_at is not None and max(self.came_at, at - DOUBT) < said
        facts = {
            "phone": webhook.phone,
            "email": webhook.email,
            "consent": webhook.consent,
            "name": "known" if webhook.has_name else None,
            "checkout_url": "known" if webhook.has_url else None,
        }
        for name, value in facts.items():
            if value and (name not in self.facts or place >= self.facts[name][0]):
                self.facts[name] = (place, value)
        if newer:
            self.newest, self.is_dated = place, said is not None
        if newer or alive:
            self.came_at = at
        return newer or alive


@dataclass
class _Purchase:
    """A purchase, as far as word of it has come."""

    node: str
    at: datetime
    """By the earliest that anybody said."""
    heard_at: datetime
    order_ids: set[str]
    checkout_ids: set[str]
    """Those that it is said to be of."""

    def ends(self, checkout: _Checkout) -> _End | None:
        """How sure it is that a checkout of the same shopper was quiet before this purchase."""
        if checkout.checkout_id in self.checkout_ids or checkout.newest is None or checkout.came_at is None:
            return _End.CERTAIN
        last = checkout.newest if checkout.is_dated else checkout.came_at
        if last <= self.at:
            return _End.CERTAIN
        doubtful = last <= self.at + DOUBT if checkout.is_dated else last <= self.heard_at + DOUBT
        return _End.DOUBTFUL if doubtful else None


class _Groups:
    """Checkouts and orders in groups that share something, in chains."""

    def __init__(self) -> None:
        self._leaders: dict[str, str] = {}

    def connect(self, one: str, other: str) -> None:
        self._leaders[self.leader(one)] = self.leader(other)

    def leader(self, node: str) -> str:
        while (above := self._leaders.get(node, node)) != node:
            node = above
        return node


class _Connections:
    """Who is known to be the same shopper."""

    def __init__(self) -> None:
        self._strong, self._weak = _Groups(), _Groups()
        self._phones: set[str] = set()
        """Of whom a phone is known."""
        self._emails: set[tuple[str, str]] = set()

    def join(self, node: str, webhook: Webhook) -> None:
        """Takes in by what a telling says that its shopper is known."""
        if len(webhook.phone or "") >= _SHORTEST_PHONE:
            self._phones.add(node)
            self.connect(node, f"phone {webhook.phone}")
        if webhook.cart_token:
            self.connect(node, f"cart {webhook.cart_token}")
        if webhook.email:
            self._emails.add((node, webhook.email))
            self._weak.connect(node, f"email {webhook.email}")

    def connect(self, one: str, other: str) -> None:
        self._strong.connect(one, other)
        self._weak.connect(one, other)

    def are_one(self, one: str, other: str) -> bool:
        """Whether they share a phone or a cart, or else an e-mail address and not both have a phone."""
        one, other = self._strong.leader(one), self._strong.leader(other)
        if one == other:
            return True
        with_phone = {self._strong.leader(node) for node in self._phones}
        return not self._emails_of(one).isdisjoint(self._emails_of(other)) and not {one, other} <= with_phone

    def may_be_one(self, one: str, other: str) -> bool:
        """Whether they share anything at all: two phones with one e-mail address may be two people."""
        return self._weak.leader(one) == self._weak.leader(other)

    def _emails_of(self, leader: str) -> set[str]:
        return {email for node, email in self._emails if self._strong.leader(node) == leader}


def _is_believed(webhook: Webhook, at: datetime) -> bool:
    return webhook.said_at is not None and webhook.said_at <= at + DOUBT


# ---------------------------------------------------------------- the case


class _Case:
    """One person's day before the judge."""

    def __init__(self, person: Person, told: Sequence[Told], end: datetime, findings: Findings) -> None:
        self._person = person
        self._shop: Shop = person.shop
        self._end = end
        self._findings = findings
        self._checkouts: dict[str, _Checkout] = {}
        self._purchases: list[_Purchase] = []
        self._connections = _Connections()
        self._heard: set[str] = set()
        self._events: dict[str, list[Told]] = defaultdict(list)
        for one in told:
            self._events[one.event_id].append(one)
        self._messages = [event for event in self._events.values() if any(one.is_message for one in event)]

    def hear(self) -> None:
        for at, what in self._timeline():
            self._look_at_the_clock(at)
            if isinstance(what, Webhook):
                self._arrives(what, at)
            else:
                self._is_told(what)
        self._look_at_the_clock(self._end)
        self._conclude()

    def _timeline(self) -> Iterator[tuple[datetime, Webhook | list[Told]]]:
        """What came and what was told, in order; what is told at once comes after what it is told of."""
        arrivals = [(at, 0, n, w) for n, w in enumerate(self._person.webhooks) for at in w.arrivals]
        told = [(event[0].at, 1, n, event) for n, event in enumerate(self._events.values())]
        line: list[tuple[datetime, int, int, Webhook | list[Told]]] = [*arrivals, *told]
        for at, _, _, what in sorted(line, key=lambda entry: entry[:3]):
            yield at, what

    # ------------------------------------------------------------ what comes

    def _arrives(self, webhook: Webhook, at: datetime) -> None:
        if webhook.name in self._heard:
            return  # a repeated one changes nothing
        self._heard.add(webhook.name)
        if webhook.checkout_id:
            checkout = self._checkout(webhook.checkout_id)
            self._connections.join(checkout.checkout_id, webhook)
            if not webhook.is_order:
                self._is_told_of(checkout, webhook, at)
        if webhook.bought:
            self._is_bought(webhook, at)
        self._settle()

    def _checkout(self, checkout_id: str) -> _Checkout:
        return self._checkouts.setdefault(checkout_id, _Checkout(checkout_id))

    def _is_told_of(self, checkout: _Checkout, webhook: Webhook, at: datetime) -> None:
        newer = checkout.hears(webhook, at)
        if webhook.bought or not checkout.is_open:
            return
        if newer:
            checkout.returned_at = at if checkout.has_left else None
            checkout.has_left = checkout.lacks_contact = False
            checkout.due, checkout.after_activity = at + self._shop.abandon_after, True
        elif checkout.lacks_contact and checkout.has_contact:
            checkout.lacks_contact = False
            checkout.due, checkout.after_activity = at, False

    def _is_bought(self, webhook: Webhook, at: datetime) -> None:
        time = webhook.said_at if webhook.said_at and _is_believed(webhook, at) else at
        purchase = self._known_purchase(webhook)
        if purchase is None:
            purchase = _Purchase(f"purchase {webhook.name}", time, at, set(), set())
            self._purchases.append(purchase)
        purchase.at = min(purchase.at, time)
        self._connections.join(purchase.node, webhook)
        if webhook.order_id:
            purchase.order_ids.add(webhook.order_id)
        if webhook.checkout_id:
            purchase.checkout_ids.add(webhook.checkout_id)
            self._connections.connect(purchase.node, webhook.checkout_id)

    def _known_purchase(self, webhook: Webhook) -> _Purchase | None:
        """The purchase that is already known and now told again: the order is the same, or the checkout."""
        for purchase in self._purchases:
            if webhook.order_id in purchase.order_ids or webhook.checkout_id in purchase.checkout_ids:
                return purchase
        return None

    def _settle(self) -> None:
        """Which checkouts are ended by a purchase, by what is known now. What has ended stays so."""
        for checkout in self._checkouts.values():
            ends = self._ends(checkout, self._connections.are_one)
            checkout.is_doubted = _End.DOUBTFUL in ends
            if _End.CERTAIN in ends:
                checkout.end = _End.CERTAIN
            elif checkout.is_open and self._ends(checkout, self._connections.may_be_one):
                checkout.end = _End.DOUBTFUL
            if not checkout.is_open:
                checkout.due = checkout.returned_at = None

    def _ends(self, checkout: _Checkout, are_one: Callable[[str, str], bool]) -> set[_End]:
        """How the purchases of who is the same shopper end a checkout."""
        mine = [one for one in self._purchases if are_one(checkout.checkout_id, one.node)]
        return {end for one in mine if (end := one.ends(checkout))}

    # ------------------------------------------------------------ what is told

    def _is_told(self, event: list[Told]) -> None:
        one = event[0]
        checkout = self._checkout(one.checkout_id)
        match one.event:
            case "checkout.abandoned":
                self._is_abandoned(checkout, event)
            case "checkout.resumed":
                if checkout.returned_at != one.at and checkout.end is not _End.DOUBTFUL:
                    self._blame(Fault.RETURN, checkout, one.at, "nobody came back")
                checkout.returned_at = None
            case "checkout.completed" | "checkout.recovered":
                self._is_ended(checkout, one)
        self._all_hear(checkout, event)

    def _all_hear(self, checkout: _Checkout, event: list[Told]) -> None:
        """Who asked for an event gets it, once; nobody else does."""
        got = sorted(one.subscription_id for one in event)
        wanted = sorted(r.subscription_id for r in self._shop.receivers if event[0].event in r.events)
        if got != wanted:
            kinds = {ABANDONED: Fault.MISSED, RESUMED: Fault.RETURN}
            fault = kinds.get(event[0].event, Fault.PURCHASE)
            self._blame(fault, checkout, event[0].at, f"{event[0].event} to {got}, not to {wanted}")

    def _is_ended(self, checkout: _Checkout, told: Told) -> None:
        expected = RECOVERED if checkout.ever_left else COMPLETED
        checkout.told_ends += 1
        if checkout.end is None:
            self._blame(Fault.PURCHASE, checkout, told.at, f"{told.event}, and nobody said so")
        elif checkout.told_ends > 1:
            self._blame(Fault.PURCHASE, checkout, told.at, f"{told.event} once more")
        elif told.event != expected:
            self._blame(Fault.PURCHASE, checkout, told.at, f"{told.event}, not {expected}")
        checkout.end = _End.CERTAIN
        checkout.due = checkout.returned_at = None

    def _is_abandoned(self, checkout: _Checkout, event: list[Told]) -> None:
        at = event[0].at
        if checkout.is_open:
            self._is_on_time(checkout, at)
        checkout.has_left = True
        checkout.ever_left |= event[0].suppressed != "completed"
        checkout.due = None
        held = self._held_back(checkout, event[0])
        for one in event:
            (receiver,) = (r for r in self._shop.receivers if r.subscription_id == one.subscription_id)
            if one.is_message:
                self._is_messaged(checkout, one, receiver)
            elif checkout.is_open:
                self._is_held_back(checkout, one, held or _refused(checkout, receiver))
        if any(one.is_message for one in event) and checkout.end is not _End.CERTAIN:
            self._compare_with_truth(checkout, event[0])
        if not checkout.is_open:
            return
        checkout.lacks_contact = held is Fault.NO_CONTACT
        if held is Fault.QUIET_HOURS:
            checkout.due, checkout.after_activity = self._shop.awake(at), False

    def _is_held_back(self, checkout: _Checkout, told: Told, because: Fault | None) -> None:
        if because is None:
            self._blame(Fault.MISSED, checkout, told.at, f"{told.suppressed} to {told.subscription_id}")
        elif told.suppressed != because.name.lower():
            self._blame(Fault.REASON, checkout, told.at, f"{told.suppressed}, not {because.name.lower()}")

    def _is_on_time(self, checkout: _Checkout, at: datetime) -> None:
        if checkout.due is None or at < checkout.due:
            self._blame(Fault.EARLY, checkout, at, f"due {checkout.due}")
        elif checkout.after_activity:
            self._findings.delays.append(at - checkout.due)

    def _is_messaged(self, checkout: _Checkout, told: Told, receiver: Receiver) -> None:
        """What speaks against a message that was sent."""
        if checkout.end is _End.CERTAIN:
            self._blame(Fault.AFTER_PURCHASE, checkout, told.at, told.subscription_id)
        if not checkout.has_contact:
            self._blame(Fault.NO_CONTACT, checkout, told.at, told.subscription_id)
        if self._shop.awake(told.at) != told.at:
            self._blame(Fault.QUIET_HOURS, checkout, told.at, told.subscription_id)
        if refused := _refused(checkout, receiver):
            self._blame(refused, checkout, told.at, told.subscription_id)
        for other in self._messages_before(told):
            if not self._connections.are_one(other.checkout_id, checkout.checkout_id):
                self._findings.strangers += 1
            elif (other.at, other.event_id) < (told.at, told.event_id):  # of two at once, blame one
                self._blame(Fault.COOLDOWN, checkout, told.at, f"after {other.checkout_id} at {other.at}")

    def _held_back(self, checkout: _Checkout, told: Told) -> Fault | None:
        """Why nobody may be told of an abandonment, as far as that is the shopper's matter."""
        if not checkout.has_contact:
            return Fault.NO_CONTACT
        may_be = told.suppressed == "cooldown"  # of who may be one, silence is right as well
        are_one = self._connections.may_be_one if may_be else self._connections.are_one
        if any(are_one(other.checkout_id, checkout.checkout_id) for other in self._messages_before(told)):
            return Fault.COOLDOWN
        return Fault.QUIET_HOURS if self._shop.awake(told.at) != told.at else None

    def _messages_before(self, told: Told) -> list[Told]:
        """Other abandonments that were messaged within the cooldown, or in the same moment."""
        since = told.at - self._shop.cooldown
        firsts = (event[0] for event in self._messages)
        return [one for one in firsts if since < one.at <= told.at and one.event_id != told.event_id]

    # ------------------------------------------------------------ what is not told

    def _look_at_the_clock(self, now: datetime) -> None:
        """Blames what should have been told by now and was not."""
        for checkout in self._checkouts.values():
            if checkout.due and checkout.due + DEADLINE < now:
                self._blame(Fault.MISSED, checkout, now, f"due {checkout.due}")
                checkout.due = None
            if checkout.returned_at and checkout.returned_at < now:
                self._blame(Fault.RETURN, checkout, now, f"returned {checkout.returned_at}")
                checkout.returned_at = None

    def _conclude(self) -> None:
        for checkout in self._checkouts.values():
            if checkout.end is _End.CERTAIN and not checkout.told_ends:
                self._blame(Fault.OPEN, checkout, self._end, "bought, and nobody was told")
            self._findings.in_doubt += checkout.end is _End.DOUBTFUL

    # ------------------------------------------------------------ what nobody could know

    def _compare_with_truth(self, checkout: _Checkout, told: Told) -> None:
        """Looks for a message that was wrong in truth, though the evidence does not say so.

        Where the evidence leaves it in doubt, nobody is to be messaged.
        """
        mine = (w for w in self._person.webhooks if w.checkout_id == checkout.checkout_id and not w.bought)
        last = max((w.happened_at for w in mine if w.happened_at <= told.at), default=told.at)
        bought = [at for at in self._person.purchases if last <= at <= told.at]
        if not bought:
            return
        words = [w for w in self._person.webhooks if w.bought and w.happened_at in bought]
        if checkout.is_doubted:
            self._blame(Fault.AFTER_PURCHASE, checkout, told.at, "which was first is in doubt")
        elif any(word.arrivals[0] <= told.at for word in words):
            self._findings.unknowable += 1
        else:
            self._findings.unheard += 1

    def _blame(self, fault: Fault, checkout: _Checkout, at: datetime, why: str) -> None:
        violation = Violation(fault, self._person, checkout.checkout_id, at, why)
        self._findings.violations.append(violation)


def _refused(checkout: _Checkout, receiver: Receiver) -> Fault | None:
    """Why one receiver may not be told of an abandonment that others may be told of."""
    consent = checkout.fact("consent")
    if consent == "denied" or (receiver.wants_agreement and consent != "granted"):
        return Fault.CONSENT
    known = {name for name in ("email", "name", "checkout_url") if checkout.fact(name)}
    if checkout.has_phone:
        known.add("phone")
    return None if receiver.requires <= known else Fault.MISSING_FIELD

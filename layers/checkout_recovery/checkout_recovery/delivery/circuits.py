"""Which subscriptions are left alone for a while because they fail, as this function and all others know it.

Each warm function counts failures in a row itself, and tells the others only when a circuit opens, is probed
or closes. Whoever writes such a change first also notifies the operator, so each is told once.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from checkout_recovery.delivery.retry_policy import GONE
from checkout_recovery.errors import Conflict, Unavailable
from checkout_recovery.notifications import Notice, Notifications
from checkout_recovery.observability import logger, measure
from checkout_recovery.subscriptions.circuit import FAILURES, Circuit
from checkout_recovery.subscriptions.subscription import Subscription
from checkout_recovery.tables.deliveries import Attempt
from checkout_recovery.tables.registry import RegistryTable

_MAX_FAILING = 4096

FAILING = "failing"


class Circuits:
    """Collaborators are arguments."""

    def __init__(
        self,
        registry: RegistryTable,
        notifications: Callable[[], Notifications],
        now: Callable[[], datetime],
        *,
        probes: bool,
        is_silent: Callable[[str, str], bool],
    ) -> None:
        """Starts knowing of no failure.

        Args:
            registry: has the open circuits.
            notifications: to the operator; asked for when there is anything to say.
            now: UTC.
            probes: whether probes may be made here. A probe of a receiver that hangs holds its batch up.
            is_silent: whether the sender leaves a subscription alone, by its id and URL, because its receiver
                does not answer; that is worth telling the others before there are many failures.
        """
        self._registry = registry
        self._notifications = notifications
        self._now = now
        self._probes = probes
        self._is_silent = is_silent
        self._failing: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._claimed: dict[str, Circuit] = {}

    @property
    def are_probed_elsewhere(self) -> bool:
        """Whether probes are left to another function."""
        return not self._probes

    def may_probe(self, circuit: Circuit) -> bool:
        """Whether one delivery may be attempted although the circuit is open, if nobody claims it first."""
        return self._probes and self._now() >= circuit.probe_at

    def claim_probe(self, circuit: Circuit) -> bool:
        """Whether the attempt is ours to make."""
        claimed = circuit.claimed(self._now())
        try:
            is_ours = self._registry.put_circuit(circuit, claimed)
        except Unavailable:
            return False
        if is_ours:
            self._claimed[circuit.subscription_id] = claimed
        if is_ours and claimed.is_told and not circuit.is_told:
            self._notifications().send(Notice.FAILING, circuit.store_id, circuit.subscription_id)
        return is_ours

    def heard(
        self, attempts: Sequence[tuple[Subscription, Attempt]], open_circuits: Mapping[str, Circuit]
    ) -> None:
        """Draws the consequences of attempts, in the order in which they ended.

        Args:
            attempts: each with whose it was.
            open_circuits: as they were known before the attempts.
        """
        last: dict[str, tuple[Subscription, Attempt]] = {}
        answered: dict[str, Circuit] = {}
        for subscription, attempt in attempts:
            id_ = subscription.subscription_id
            circuit = open_circuits.get(id_)
            self._note(subscription, attempt, is_open=circuit is not None)
            if circuit and circuit.is_untried and attempt.failure is None:
                answered[id_] = circuit
            if id_ not in answered or attempt.failure in (None, GONE):  # who has answered is known
                last[id_] = subscription, attempt
        closed = self._close_untried(answered.values())
        for subscription_id, (subscription, attempt) in last.items():
            if subscription_id in closed and attempt.failure != GONE:
                continue
            try:
                self._draw(subscription, attempt, self._as_claimed(open_circuits.get(subscription_id)))
            except (Unavailable, Conflict):
                # The next attempt finds the same: nothing is lost but a little time.
                logger.warning("circuit not written", extra={"subscription_id": subscription_id})

    def _close_untried(self, answered: Iterable[Circuit]) -> frozenset[str]:
        """Closes those of new receivers of which nobody has to be told, together: there may be many at once.

        Returns:
            Their subscriptions' ids.
        """
        closed = [circuit for circuit in answered if not circuit.is_told]
        try:
            self._registry.close_untried(closed)
        except Unavailable:
            logger.warning("circuits not written", extra={"subscriptions": len(closed)})
        for circuit in closed:
            self._claimed.pop(circuit.subscription_id, None)
        return frozenset(circuit.subscription_id for circuit in closed)

    def _as_claimed(self, circuit: Circuit | None) -> Circuit | None:
        """The circuit as it stands since its probe was claimed here: by then the operator may be told."""
        claimed = self._claimed.pop(circuit.subscription_id, None) if circuit else None
        is_same = claimed and circuit and claimed.failing_since == circuit.failing_since
        return claimed if is_same else circuit

    def _note(self, subscription: Subscription, attempt: Attempt, *, is_open: bool) -> None:
        """Counts failures in a row until the circuit opens; from one again once it is closed, by whomever."""
        key = _receiver(subscription)
        failures = self._failing.pop(key, 0)
        if attempt.failure is not None and not is_open:
            self._failing[key] = failures + 1
            if len(self._failing) > _MAX_FAILING:
                self._failing.popitem(last=False)

    def _draw(self, subscription: Subscription, attempt: Attempt, circuit: Circuit | None) -> None:
        now = self._now()
        if attempt.failure is None:
            if circuit and self._registry.close_circuit(circuit):
                if not circuit.is_untried:
                    measure("CircuitsClosed", 1)
                if circuit.is_told:
                    self._notify(Notice.RECOVERED, subscription)
        elif attempt.failure == GONE:
            self._disable(subscription, GONE, circuit)
        elif circuit and not circuit.is_untried:
            if circuit.is_hopeless(now):
                self._disable(subscription, FAILING, circuit)
        elif circuit or self._is_failing(subscription):
            opened = Circuit.opened(
                subscription.store_id,
                subscription.subscription_id,
                now,
                is_told=circuit is not None and circuit.is_told,
            )
            if self._registry.put_circuit(circuit, opened):
                measure("CircuitsOpened", 1)
            self._failing.pop(_receiver(subscription), None)

    def _is_failing(self, subscription: Subscription) -> bool:
        receiver = _receiver(subscription)
        return self._failing[receiver] >= FAILURES or self._is_silent(*receiver)

    def _disable(self, subscription: Subscription, reason: str, circuit: Circuit | None) -> None:
        after = replace(subscription, disabled_reason=reason, updated_at=self._now())
        self._registry.update_subscription(subscription, after)
        measure("SubscriptionsDisabled", 1, reason=reason)
        self._notify(Notice.DISABLED, subscription)
        if circuit:
            self._registry.close_circuit(circuit)

    def _notify(self, notice: Notice, subscription: Subscription) -> None:
        self._notifications().send(notice, subscription.store_id, subscription.subscription_id)


def _receiver(subscription: Subscription) -> tuple[str, str]:
    """Where a subscription's events go: one that has moved is another receiver, and starts afresh."""
    return subscription.subscription_id, subscription.callback_url

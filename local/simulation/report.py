"""What a simulated day came to: a table, a picture, and of what went wrong the whole story."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from local.simulation.day import (
    ABANDONED,
    COMPLETED,
    KOLKATA,
    RECOVERED,
    RESUMED,
    Day,
    Person,
    Told,
    Webhook,
)
from local.simulation.oracle import Fault, Findings, Violation
from local.simulation.world import Run

_LATE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_REASONS = ("completed", "no_contact", "cooldown", "quiet_hours", "consent", "missing_field")
_LINES = {"abandoned": "#333333", "told": "#d1495b", "came back": "#edae49", "recovered": "#00798c"}
_BARS = ("#7f4f24", "#bbbbbb", "#30638e", "#22223b", "#9c89b8", "#f0a6ca")


def table(day: Day, run: Run, findings: Findings, seconds: float) -> Table:
    """The one table: what happened, what was told, and what was wrong."""
    shown = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    shown.add_column()
    shown.add_column(justify="right")
    shown.add_column(style="dim")
    for section in (_came(day), _was_told(run), _was_judged(findings), _was_late(findings, run, seconds)):
        for name, value, note in section:
            style = "bold red" if isinstance(name, Fault) and value != "0" else None
            shown.add_row(str(name), value, note, style=style)
        shown.add_section()
    return shown


Row = tuple[str, str, str]


def _came(day: Day) -> Iterator[Row]:
    webhooks = [webhook for person in day.people for webhook in person.webhooks]
    arrivals = sum(len(webhook.arrivals) for webhook in webhooks)
    late = sum(webhook.arrivals[0] - webhook.happened_at > _LATE for webhook in webhooks)
    yield "shoppers", _number(len(day.people)), f"of {len(day.shops)} stores"
    yield "checkouts", _number(len({w.checkout_id for w in webhooks} - {None})), ""
    yield "purchases", _number(sum(len(person.purchases) for person in day.people)), ""
    yield "webhooks", _number(arrivals), ""
    yield "  repeated", _number(arrivals - len(webhooks)), ""
    yield "  late", _number(late), "by more than a minute"
    yield "  out of order", _number(sum(map(_out_of_order, day.people))), "within one checkout"
    yield "  undated", _number(sum(w.said_at is None for w in webhooks)), "or with an unreadable time"


def _was_told(run: Run) -> Iterator[Row]:
    events = {one.event_id: one for one in run.told}
    kinds = Counter(one.event for one in events.values())
    messaged = {one.event_id for one in run.told if one.is_message}
    held_back = Counter(one.suppressed for one in run.told if one.suppressed)
    yield "abandonments", _number(kinds[ABANDONED]), ""
    yield "  told", _number(len(messaged)), f"in {_number(sum(o.is_message for o in run.told))} messages"
    for reason in _REASONS:
        yield f"  suppressed: {reason}", _number(held_back[reason]), "deliveries"
    yield "resumed", _number(kinds[RESUMED]), ""
    yield "recovered", _number(kinds[RECOVERED]), ""
    yield "completed", _number(kinds[COMPLETED]), ""


def _was_judged(findings: Findings) -> Iterator[Row]:
    for fault in Fault:
        yield fault, _number(findings.count(fault)), ""
    yield "not to be known: after a purchase", _number(findings.unheard), "its word had not come yet"
    yield "  after a purchase", _number(findings.unknowable), "its word had come, but not whose or when"
    yield "  second message to one person", _number(findings.strangers), "nothing connected the two"
    yield "  whether bought", _number(findings.in_doubt), "checkouts in doubt: when, or by whom"


def _was_late(findings: Findings, run: Run, seconds: float) -> Iterator[Row]:
    delays = sorted(findings.delays)
    for name, share in (("median", 0.5), ("99th percentile", 0.99), ("worst", 1.0)):
        delay = delays[math.ceil(share * len(delays)) - 1] if delays else timedelta()
        yield f"detection delay, {name}", f"{delay.total_seconds():.1f} s", "virtual"
    yield "sweeps", _number(run.sweeps), f"{run.cut_off} of them cut off half-way"
    yield "run time", f"{seconds:.0f} s", ""


def _out_of_order(person: Person) -> int:
    """How many webhooks came before one of the same checkout that had happened before them."""
    by_checkout: dict[str, list[Webhook]] = {}
    for webhook in person.webhooks:
        by_checkout.setdefault(str(webhook.checkout_id), []).append(webhook)
    return sum(
        earlier.arrivals[0] > later.arrivals[0]
        for webhooks in by_checkout.values()
        for earlier, later in pairwise(webhooks)
    )


def _number(count: int) -> str:
    return f"{count:,}"


# ---------------------------------------------------------------- what went wrong


def story(violation: Violation, told: Iterable[Told]) -> Iterator[str]:
    """One person's whole day, as the system heard it and what it said."""
    person = violation.person
    mine = {webhook.checkout_id for webhook in person.webhooks}
    yield f"{violation.fault}: {violation.checkout_id} at {_clock(violation.at)} ({violation.why})"
    bought = ", ".join(map(_clock, person.purchases)) or "never"
    yield f"  {person.name} at {person.shop.store_id}, bought {bought}"
    lines = [(at, _came_in(webhook, at)) for webhook in person.webhooks for at in webhook.arrivals]
    lines += [(one.at, _went_out(one)) for one in told if one.checkout_id in mine]
    for at, line in sorted(lines):
        yield f"  {_clock(at)}  {line}"


def _came_in(webhook: Webhook, at: datetime) -> str:
    said = _clock(webhook.said_at) if webhook.said_at else repr(webhook.said)
    known = [
        f"{name}={value}"
        for name, value in (
            ("phone", webhook.phone),
            ("email", webhook.email),
            ("cart", webhook.cart_token),
            ("consent", webhook.consent),
            ("order", webhook.order_id),
        )
        if value
    ]
    what = "ORDER" if webhook.is_order else webhook.stage
    again = " again" if at != webhook.arrivals[0] else ""
    when = f"happened {_clock(webhook.happened_at)}, says {said}"
    return f"<- {webhook.name}{again} {webhook.checkout_id} {what} ({when}) {' '.join(known)}"


def _went_out(told: Told) -> str:
    what = f"suppressed: {told.suppressed}" if told.suppressed else "told"
    return f"-> {told.event} {told.checkout_id} #{told.sequence} {what} to {told.subscription_id[-3:]}"


def _clock(moment: datetime) -> str:
    local = moment.astimezone(KOLKATA)
    return f"{local:%d %H:%M:%S}"


# ---------------------------------------------------------------- the picture


def plot(day: Day, run: Run, path: Path) -> None:
    """Draws the hours of the day: what was found, told, recovered, and held back."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    hours = _hours(day)
    events = list({one.event_id: one for one in run.told}.values())
    kinds: dict[str, Callable[[Told], bool]] = {
        "abandoned": lambda one: one.event == ABANDONED,
        "came back": lambda one: one.event == RESUMED,
        "recovered": lambda one: one.event == RECOVERED,
    }
    lines = {name: [one.at for one in events if is_one(one)] for name, is_one in kinds.items()}
    lines["told"] = list({one.event_id: one.at for one in run.told if one.is_message}.values())
    for name, colour in _LINES.items():
        above.plot(hours, _by_hour(day, lines[name], len(hours)), color=colour, label=name, linewidth=2)
    _stack(below, day, run.told, hours)
    _shade(above, day)
    above.set_ylabel("checkouts an hour")
    below.set_ylabel("deliveries held back an hour")
    below.set_xlabel("hour by the stores' clock; the day after from 24 on")
    for axes in (above, below):
        axes.legend(frameon=False, ncols=2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
    above.set_title(f"{len(day.people):,} shoppers in {len(day.shops)} stores", loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _hours(day: Day) -> list[int]:
    first = day.start.astimezone(KOLKATA).hour
    return list(range(first, first + math.ceil((day.end - day.start) / _HOUR)))


def _by_hour(day: Day, moments: Iterable[datetime], hours: int) -> list[int]:
    counted = Counter(int((moment - day.start) / _HOUR) for moment in moments)
    return [counted[hour] for hour in range(hours)]


def _stack(axes: Axes, day: Day, told: Sequence[Told], hours: list[int]) -> None:
    base = [0] * len(hours)
    for reason, colour in zip(_REASONS, _BARS, strict=True):
        heights = _by_hour(day, [one.at for one in told if one.suppressed == reason], len(hours))
        if any(heights):
            axes.bar(hours, heights, bottom=base, color=colour, label=reason, width=0.85)
        base = [low + height for low, height in zip(base, heights, strict=True)]


def _shade(axes: Axes, day: Day) -> None:
    """Where a provider was silent."""
    midnight = day.start.astimezone(KOLKATA).replace(hour=0)
    label: str | None = "a provider is silent"
    for start, end in (outage for shop in day.shops for outage in shop.outages):
        axes.axvspan((start - midnight) / _HOUR, (end - midnight) / _HOUR, color="#f2d7d5", lw=0, label=label)
        label = None

"""Cart lines in the names that FlexyPe gave them and that our own layouts took over."""

from collections.abc import Sequence
from decimal import Decimal, localcontext

from checkout_recovery.checkout.snapshot import Item, Variant
from checkout_recovery.providers.fields import Fields, refusal

_EXACT_DIGITS = 100
"""No product or sum of amounts that can be read is rounded."""


MAX_LINES = 1000
"""How many lines a cart may have: each becomes a dozen members in what is sent on."""


def lines_of(fields: Fields, name: str) -> list[Fields] | None:
    """Takes the lines of a cart out; None where there is no array of them, or one of nothing but strays.

    Raises:
        MalformedRequest: there are more than `MAX_LINES`.
    """
    lines = fields.objects(name)
    if lines == [] and name in fields.left:
        return None  # there is something, but no line in it
    if lines is not None and len(lines) > MAX_LINES:
        raise refusal(name, f"may have at most {MAX_LINES} lines")
    return lines


def read_items(fields: Fields, name: str) -> tuple[Item, ...] | None:
    """Reads the lines of a cart; None where there is no array of them."""
    lines = lines_of(fields, name)
    return None if lines is None else tuple(_item(line) for line in lines)


def sum_of(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """Adds amounts up. Unknown as soon as one is; and of nothing at all the sum is not known to be zero."""
    known = [amount for amount in amounts if amount is not None]
    if not known or len(known) < len(amounts):
        return None
    with localcontext(prec=_EXACT_DIGITS):
        return sum(known, Decimal(0))


def line_total(item: Item) -> Decimal | None:
    """What one line comes to, as told or else from price and quantity."""
    if item.total_price is not None:
        return item.total_price
    if item.price is None or item.quantity is None:
        return None
    with localcontext(prec=_EXACT_DIGITS):
        return item.price * item.quantity


def _item(line: Fields) -> Item:
    variant = _variant(line.object("variant"))
    return Item(
        product_id=line.identifier("product_id"),
        variant_id=line.identifier("variant_id"),
        title=line.text("title"),
        handle=line.text("handle"),
        image_url=line.text("image", "image_url"),
        quantity=line.count("quantity"),
        grams=line.amount("grams"),
        price=line.amount("price"),
        discount=line.amount("discount"),
        total_discount=line.amount("total_discount"),
        sub_total_price=line.amount("sub_total_price"),
        total_price=line.amount("total_price"),
        single_variant=line.flag("single_variant"),
        variant=variant,
        properties=line.array("properties") or [],
        extra=line.left,
    )


def _variant(fields: Fields) -> Variant | None:
    variant = Variant(
        variant_id=fields.identifier("variant_id"),
        title=fields.text("title"),
        price=fields.amount("price"),
        compare_at_price=fields.amount("compare_at_price"),
        extra=fields.left,
    )
    return None if fields.says_nothing else variant

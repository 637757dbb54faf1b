"""A shopper erased, through the real tables, on moto and on Amazon's DynamoDB Local, and by either call."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from checkout_recovery import wiring
from checkout_recovery.checkout.event import event_id
from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Details
from checkout_recovery.erasure import Erased, contact_of
from checkout_recovery.errors import MalformedRequest, Unavailable
from checkout_recovery.secrets import Secret, provider_secret
from checkout_recovery.subscriptions.store import ProviderSettings, Store, StoreSettings
from checkout_recovery.tables.checkouts import CheckoutTable
from checkout_recovery.tables.erasures import By, Erasure, new_erasure_id
from checkout_recovery.tables.shoppers import Link
from functions.ingest.app import handler as ingest
from functions.manage.app import handler as manage
from local.fixtures import DOMAINS, SECRET, SHOPIFY_REDACTION, STORE_ID, own, shopify
from tests.component.test_purchases import (
    CART,
    EMAIL,
    MINUTE,
    NOW,
    OTHER_PHONE,
    PHONE,
    STORE,
    TABLES,
    Clock,
    Killed,
    Shop,
    after_call,
    die,
)

OTHER_EMAIL = "bela@shop.example"
ALL = ("all", "phone", "address", "another's", "family's", "nobody's")

Event = dict[str, Any]


class Erasing(Shop):
    """A store of which shoppers are erased."""

    def erase(self, phone: str | None = None, email: str | None = None, by: By = By.STORE) -> Erased:
        number = Phone.of(phone, "91") if phone else None
        return self.erasures.erase(STORE, Details(phone=number, email=email), by, self.clock.now)

    def left(self, *checkout_ids: str) -> list[str]:
        """Which of these checkouts are there."""
        return [each for each in checkout_ids if self.load(each).is_known]

    def item(self, checkout_id: str) -> dict[str, Any]:
        """What CheckoutTable holds in a checkout's place."""
        key = CheckoutTable.key(STORE, checkout_id)
        item = self.client.get_item(TableName=self.names["CheckoutTable"], Key=key, ConsistentRead=True)
        return dict(item["Item"])

    def known_items(self) -> list[str]:
        """What ShopperTable holds, each as its handle's kind and its own."""
        items = self.client.scan(TableName=self.names["ShopperTable"], ConsistentRead=True)["Items"]
        return sorted(
            f"{item['handle']['S'].partition(':')[0]} {item['item']['S'].partition('#')[0]}" for item in items
        )


@pytest.fixture
def make_shop(table_client: DynamoDBClient, new_table: Callable[[str], str]) -> Callable[[], Erasing]:
    def make() -> Erasing:
        shop = Erasing(table_client, {table: new_table(table) for table in TABLES}, Clock())
        shop.open()
        return shop

    return make


@pytest.fixture
def shop(make_shop: Callable[[], Erasing]) -> Erasing:
    return make_shop()


def fill(shop: Shop) -> None:
    """Three checkouts of one shopper, and three of others."""
    shop.tell("all", phone=PHONE, email=EMAIL, cart_token=CART)
    shop.tell("phone", phone=PHONE)
    shop.tell("address", email=EMAIL)
    shop.tell("another's", phone=OTHER_PHONE, email=OTHER_EMAIL, cart_token="cart-2")
    shop.tell("family's", phone=OTHER_PHONE, email=EMAIL)
    shop.tell("nobody's")
    shop.clock.now += 2 * MINUTE


# ---------------------------------------------------------------- what is erased


def test_a_phone_takes_all_that_is_one_shoppers_and_nobody_elses(shop: Erasing) -> None:
    fill(shop)
    erased = shop.erase(phone=PHONE)
    assert {one.checkout_id for one in erased.checkouts} == {"all", "phone", "address"}
    assert erased.handles == 3
    assert shop.left(*ALL) == ["another's", "family's", "nobody's"]


def test_an_address_takes_every_checkout_that_holds_it(shop: Erasing) -> None:
    fill(shop)
    shop.erase(email=EMAIL.upper())
    assert shop.left("all", "phone", "address", "family's", "nobody's") == ["nobody's"]


def test_a_phone_and_an_address_take_what_holds_the_address_but_not_what_else_its_holder_has(
    shop: Erasing,
) -> None:
    fill(shop)
    shop.erase(phone=PHONE, email=EMAIL)
    assert shop.left(*ALL) == ["another's", "nobody's"]


def test_an_address_that_was_corrected_is_nobodys_any_more(shop: Erasing) -> None:
    shop.tell("mine", phone=PHONE, email=EMAIL)
    shop.tell("corrected", phone=OTHER_PHONE, email=EMAIL)
    shop.clock.now += MINUTE
    shop.tell("corrected", phone=OTHER_PHONE, email=OTHER_EMAIL)
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE, email=EMAIL)
    assert shop.left("mine", "corrected") == ["corrected"]


def test_phones_that_one_checkout_had_are_one_shoppers(shop: Erasing) -> None:
    shop.tell("first", phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("first", phone=OTHER_PHONE)
    shop.tell("second", phone=OTHER_PHONE, cart_token=CART)
    shop.tell("third", cart_token=CART)
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE)
    assert shop.left("first", "second", "third") == []


def test_nothing_is_known_by_a_shopper_who_was_erased(shop: Erasing) -> None:
    shop.tell("all", phone=PHONE, email=EMAIL, cart_token=CART)
    shop.clock.now += 20 * MINUTE
    shop.sweep()
    shop.order(phone=PHONE, email=EMAIL)
    assert shop.known_items()
    shop.erase(phone=PHONE)
    assert shop.known_items() == []


def test_what_is_known_by_another_with_the_same_address_stays(shop: Erasing) -> None:
    fill(shop)
    shop.erase(phone=PHONE)
    shop.order("o-9", phone=OTHER_PHONE)
    assert shop.bought("another's", "family's") == {"another's", "family's"}


def test_a_shopper_who_comes_back_is_a_new_one(shop: Erasing) -> None:
    shop.tell("old", phone=PHONE)
    shop.order(phone=PHONE)
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE)
    shop.tell("new", phone=PHONE)
    assert not shop.knows_of("o-1", PHONE)
    assert shop.load("new").status.value == "active"


def test_more_checkouts_than_one_call_takes_are_erased_by_repeating_it(shop: Erasing) -> None:
    shop.tell("bridge", phone=PHONE, cart_token=CART)
    for number in range(130):
        shop.tell(f"c{number}", cart_token=CART)
    shop.clock.now += 2 * MINUTE
    with pytest.raises(Unavailable):
        shop.erase(phone=PHONE)
    assert shop.left("bridge") == ["bridge"], "it leads to what is left"
    shop.erase(phone=PHONE)
    assert shop.left("bridge", *(f"c{number}" for number in range(130))) == []
    assert sum(each.checkouts for each in shop.log.page(STORE, 10).items) == 131
    assert shop.known_items() == []


def test_a_tills_number_does_not_connect_all_customers(shop: Erasing) -> None:
    for number in range(40):
        shop.tell(f"c{number}", phone=f"98765{number:05}", cart_token="till")
    shop.tell("home", phone="9876500000")
    shop.tell("far", phone="9876500001")
    shop.clock.now += 2 * MINUTE
    shop.erase(phone="9876500000")
    assert shop.left("home") == []
    assert len(shop.left(*(f"c{number}" for number in range(40)))) < 40


# ---------------------------------------------------------------- in the midst of it


def test_an_erasure_that_dies_anywhere_is_finished_by_the_repeat(make_shop: Callable[[], Erasing]) -> None:
    for number in count(1):
        shop = make_shop()
        shop.tell("a", phone=PHONE, email=EMAIL)
        shop.tell("b", email=EMAIL, cart_token=CART)
        shop.tell("c", cart_token=CART)
        shop.clock.now += 2 * MINUTE
        with after_call(shop.client, number, die) as died:
            try:
                shop.erase(phone=PHONE)
            except Killed:
                assert died
        shop.erase(phone=PHONE)
        assert shop.left("a", "b", "c") == [], number
        assert shop.known_items() == [], number
        if not died:
            break
    assert number > 10, "or nothing was cut off"


@pytest.mark.parametrize("number", range(1, 16))
def test_a_snapshot_in_the_midst_of_an_erasure_is_erased_or_comes_after_it(
    shop: Erasing, number: int
) -> None:
    shop.tell("a", phone=PHONE)
    shop.tell("b", phone=PHONE)
    shop.clock.now += 2 * MINUTE
    other = shop.as_another()

    def rewrite() -> None:
        other.tell("a", phone=PHONE, name=f"Asha {number}", cart_token=CART)
        other.tell("c", cart_token=CART)

    with after_call(shop.client, number, rewrite) as happened:
        shop.erase(phone=PHONE)
    left = shop.left("a", "b", "c")
    assert "b" not in left
    for checkout_id in left:
        assert shop.load(checkout_id).is_new, "told after it: a checkout of its own"
        assert happened
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE)
    assert shop.left("a") == []


def test_a_checkout_that_is_being_written_keeps_its_link(shop: Erasing) -> None:
    """Its link is there before it is; without the link no purchase would find it."""
    (handle,) = shop.purchases.handles(STORE, Details(phone=Phone.of(PHONE, "91")))
    shop.shoppers.link([handle], "coming", NOW, NOW + timedelta(days=90))
    shop.erase(phone=PHONE)
    assert shop.shoppers.checkouts_of(handle) == ["coming"]
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE)
    assert shop.shoppers.checkouts_of(handle) == []


def test_nobody_is_told_of_an_erasure(shop: Erasing) -> None:
    """What the stream has of it is no event: fan-out's filter wants an event's id in the image."""
    shop.tell("a", phone=PHONE, email=EMAIL, cart_token=CART)
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE)
    assert "event" not in shop.item("a")
    shop.clock.now += 60 * MINUTE
    assert shop.sweep().found == {}
    assert shop.told("a") == set()


def test_what_stays_of_a_checkout_is_its_ids_and_a_number(shop: Erasing) -> None:
    shop.tell("a", phone=PHONE, email=EMAIL, cart_token=CART, name="Asha")
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE)
    expires = shop.clock.now + timedelta(days=400)
    assert shop.item("a") == {
        "store_id": {"S": STORE},
        "checkout_id": {"S": "a"},
        "sequence": {"N": "2"},
        "expires_at": {"N": str(int(expires.timestamp()))},
    }


def test_a_checkout_told_again_goes_on_from_its_number_with_new_events(shop: Erasing) -> None:
    shop.tell("a", phone=PHONE)
    shop.clock.now += MINUTE
    shop.tell("a", phone=PHONE, name="Asha")
    before = shop.load("a")
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE)
    shop.tell("a", phone=PHONE)
    again = shop.load("a")
    assert again.sequence > before.sequence
    assert before.event
    assert again.event
    assert again.event.type == "checkout.created"
    assert again.event.id not in {event_id(STORE, "a", number) for number in range(before.sequence + 1)}
    assert (again.created_at, again.details.name) == (shop.clock.now, None)


def test_the_purchase_of_a_checkout_told_again_is_a_newer_event(shop: Erasing) -> None:
    shop.tell("a", phone=PHONE)
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE)
    shop.tell("a", phone=PHONE)
    created = shop.load("a")
    shop.order(phone=PHONE)
    bought = shop.load("a")
    assert bought.is_complete
    assert bought.sequence > created.sequence > 1


def test_an_order_that_names_an_erased_checkout_is_taken_for_one_that_came_before_it(shop: Erasing) -> None:
    shop.tell("a", phone=PHONE)
    shop.clock.now += 2 * MINUTE
    shop.erase(phone=PHONE)
    shop.order(checkout_id="a")
    bought = shop.load("a")
    assert bought.is_complete
    assert bought.is_new
    assert bought.sequence == 3


def test_an_erasure_repeated_finds_what_was_erased_no_more(shop: Erasing) -> None:
    fill(shop)
    shop.erase(phone=PHONE)
    tombstone = shop.item("all")
    shop.clock.now += 2 * MINUTE
    assert shop.erase(phone=PHONE).checkouts == []
    assert shop.item("all") == tombstone


def test_a_checkout_told_again_is_erased_again(shop: Erasing) -> None:
    for _ in range(3):
        shop.tell("a", phone=PHONE)
        shop.clock.now += 2 * MINUTE
        assert [one.checkout_id for one in shop.erase(phone=PHONE).checkouts] == ["a"]
    assert shop.item("a")["sequence"] == {"N": "6"}
    assert shop.known_items() == []


# ---------------------------------------------------------------- what is written down


def test_an_erasure_is_written_down_without_the_shopper(shop: Erasing) -> None:
    fill(shop)
    erased = shop.erase(phone=PHONE, by=By.ADMIN)
    (item,) = (
        item
        for item in shop.client.scan(TableName=shop.names["RegistryTable"])["Items"]
        if item["store_id"]["S"].startswith("#erasures#")
    )
    assert item == {
        "store_id": {"S": f"#erasures#{STORE}"},
        "kind_id": {"S": erased.erasure.erasure_id},
        "at": {"S": shop.clock.now.isoformat()},
        "by": {"S": "admin"},
        "checkouts": {"N": "3"},
    }


def test_an_erasure_of_nobody_is_written_down_too(shop: Erasing) -> None:
    erased = shop.erase(phone=PHONE)
    assert erased.checkouts == []
    assert [each.checkouts for each in shop.log.page(STORE, 10).items] == [0]


def test_erasures_do_not_get_in_the_way_of_the_stores_subscriptions(shop: Erasing) -> None:
    before = shop.registry.subscriptions(STORE)
    shop.erase(phone=PHONE)
    assert shop.registry.subscriptions(STORE) == before


def test_erasures_are_listed_newest_first_by_pages(shop: Erasing) -> None:
    for minute in range(3):
        at = NOW + minute * MINUTE
        shop.log.record(STORE, Erasure(erasure_id=new_erasure_id(at), at=at, by=By.STORE, checkouts=minute))
    first = shop.log.page(STORE, 2)
    second = shop.log.page(STORE, 2, first.next_cursor)
    assert [[each.checkouts for each in page.items] for page in (first, second)] == [[2, 1], [0]]
    assert second.next_cursor is None


def test_a_link_tells_when_it_was_made(shop: Erasing) -> None:
    shop.shoppers.link(["phone:0"], "gid://shop/Cart/1#a", NOW, NOW + timedelta(days=90))
    ((link,),) = shop.shoppers.links("phone:0")
    assert (link.checkout_id, link.linked_at) == ("gid://shop/Cart/1#a", NOW)
    assert isinstance(link, Link)


# ---------------------------------------------------------------- the path


@pytest.mark.parametrize(
    "text", ["+919876543210", "%2B919876543210", "%252B91%25209876543210", " 919876543210", "98765 43210"]
)
def test_a_phone_in_a_path_is_read_however_it_arrives(text: str) -> None:
    spelled = [text]
    while (plain := _unquoted(spelled[-1])) != spelled[-1]:
        spelled.append(plain)
    assert "9876543210" in contact_of(spelled).phone.national_numbers()  # type: ignore[union-attr] # or it fails


def _unquoted(text: str) -> str:
    return text.replace("%25", "%") if "%25" in text else text.replace("%2B", "+").replace("%20", " ")


@pytest.mark.parametrize(
    "text", ["nobody", "98765", "a@b", "@b.example", "", "9876543210x", "9876-cart-543210"]
)
def test_what_is_neither_is_refused_without_a_quote(text: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        contact_of([text])
    assert not text or text not in str(refused.value.problem())


# ---------------------------------------------------------------- the calls


@pytest.fixture
def store(aws: None) -> None:
    now = datetime.now(UTC)
    wiring.registry().create_store(
        Store(
            store_id=STORE_ID,
            settings=StoreSettings(domains=list(DOMAINS)),
            token_hash="0" * 64,
            providers={"shopify": ProviderSettings(configured_at=now, secret_version=1)},
            revision=1,
            created_at=now,
            updated_at=now,
        )
    )
    wiring.secrets().put(provider_secret(STORE_ID, "shopify"), Secret((SECRET,), version=1))


@pytest.fixture
def call(store: None, event: Callable[[str], Event], context: SimpleNamespace) -> Callable[..., Event]:
    """Calls manage as the gateway would, and reads its answer."""

    def send(method: str, end: str, scope: str = "store", query: dict[str, str] | None = None) -> Event:
        sent = event("manage-get-checkout")
        sent["rawPath"] = sent["requestContext"]["http"]["path"] = f"/v1/stores/{STORE_ID}/{end}"
        sent["requestContext"]["http"]["method"] = method
        store_id = STORE_ID if scope == "store" else ""
        sent["requestContext"]["authorizer"] = {"lambda": {"scope": scope, "store_id": store_id}}
        sent["queryStringParameters"] = query or {}
        answer = manage(sent, context)
        return {"status": answer["statusCode"], "body": json.loads(answer["body"])}

    return send


def tell(context: SimpleNamespace, checkout_id: str, **told: Any) -> None:
    assert ingest(own("any", {"checkout_id": checkout_id} | told).event, context)["statusCode"] == 200


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("erase-shopper-phone", 200),
        ("erase-shopper-email", 200),
        ("erase-shopper-neither", 422),
        ("erase-shopper-other-store", 403),
        ("list-erasures", 200),
    ],
)
def test_every_fixture_is_answered(
    store: None, event: Callable[[str], Event], context: SimpleNamespace, name: str, status: int
) -> None:
    assert manage(event("manage-" + name), context)["statusCode"] == status


@pytest.mark.parametrize(
    "spelled", ["+919876543210", quote("+919876543210"), "98765 43210", "JOHN.doe@example.com"]
)
def test_a_store_erases_a_shopper(call: Callable[..., Event], context: SimpleNamespace, spelled: str) -> None:
    tell(context, "cart-1", phone="+919876543210", email="john.doe@example.com")
    answer = call("DELETE", f"shoppers/{spelled}")
    assert answer["status"] == 200
    assert answer["body"].keys() == {"erasure_id", "checkouts", "handles"}
    assert (answer["body"]["checkouts"], answer["body"]["handles"]) == (1, 2)
    assert not wiring.checkouts().load(STORE_ID, "cart-1").is_known
    assert call("GET", "checkouts/cart-1")["status"] == 404


def test_who_erased_is_listed(call: Callable[..., Event], context: SimpleNamespace) -> None:
    mine = call("DELETE", "shoppers/+919876543210")["body"]["erasure_id"]
    theirs = call("DELETE", "shoppers/john@example.com", "admin")["body"]["erasure_id"]
    listed = call("GET", "erasures")["body"]
    assert [(each["erasure_id"], each["by"], each["checkouts"]) for each in listed["erasures"]] in (
        [(theirs, "admin", 0), (mine, "store", 0)],
        [(mine, "store", 0), (theirs, "admin", 0)],  # in one millisecond
    )
    first = call("GET", "erasures", query={"limit": "1"})["body"]
    second = call("GET", "erasures", query={"limit": "1", "cursor": first["next_cursor"]})["body"]
    assert first["erasures"] + second["erasures"] == listed["erasures"]


def test_a_foreign_cursor_is_refused(call: Callable[..., Event]) -> None:
    assert call("GET", "erasures", query={"cursor": "sub_01"})["status"] == 422


def test_what_is_neither_phone_nor_address_is_refused_and_not_repeated(
    call: Callable[..., Event], log: list[str]
) -> None:
    answer = call("DELETE", "shoppers/98765-asha")
    assert answer["status"] == 422
    assert "asha" not in json.dumps(answer)
    assert call("GET", "erasures")["body"]["erasures"] == []


@pytest.mark.parametrize("method", ["DELETE", "GET", "POST"])
def test_the_path_is_in_no_log(
    call: Callable[..., Event], context: SimpleNamespace, log: list[str], caplog: Any, method: str
) -> None:
    caplog.set_level("DEBUG", logger="aws_lambda_powertools")
    tell(context, "cart-1", phone="+919876543210")
    call(method, "shoppers/+919876543210")
    lines = "\n".join(log) + caplog.text
    assert log
    assert "9876543210" not in lines


def redacted(context: SimpleNamespace, **customer: Any) -> Event:
    body = SHOPIFY_REDACTION | {"customer": {"id": 1} | customer}
    answer = ingest(shopify("any", "customers/redact", body).event, context)
    return {"status": answer["statusCode"], "body": json.loads(answer["body"])}


def test_shopify_erases_a_shopper(store: None, context: SimpleNamespace, call: Callable[..., Event]) -> None:
    tell(context, "cart-1", phone="+919876543210", email="john.doe@example.com")
    tell(context, "cart-2", phone="+919876543211")
    answer = redacted(context, phone="+91 98765 43210", email="John.Doe@example.com")
    assert answer == {
        "status": 200,
        "body": {"results": [{"status": "erased", "checkout_id": "cart-1", "sequence": 1}]},
    }
    assert [each["by"] for each in call("GET", "erasures")["body"]["erasures"]] == ["shopify"]
    assert wiring.checkouts().load(STORE_ID, "cart-2").sequence == 1


def test_shopify_redacts_a_customer_with_an_address_only(store: None, context: SimpleNamespace) -> None:
    tell(context, "cart-1", email="john.doe@example.com")
    answer = redacted(context, email="john.doe@example.com", phone=None)
    assert [each["checkout_id"] for each in answer["body"]["results"]] == ["cart-1"]


def test_a_redaction_sent_again_finds_nothing(store: None, context: SimpleNamespace) -> None:
    tell(context, "cart-1", phone="+919876543210")
    redacted(context, phone="+919876543210")
    assert redacted(context, phone="+919876543210") == {"status": 200, "body": {"results": []}}


def test_a_redaction_that_is_not_signed_erases_nothing(store: None, context: SimpleNamespace) -> None:
    tell(context, "cart-1", phone="+919876543210")
    forged = shopify("any", "customers/redact", SHOPIFY_REDACTION, x_shopify_hmac_sha256="forged")
    assert ingest(forged.event, context)["statusCode"] == 401
    assert wiring.checkouts().load(STORE_ID, "cart-1").sequence == 1


def test_a_redaction_for_another_shop_erases_nothing(store: None, context: SimpleNamespace) -> None:
    tell(context, "cart-1", phone="+919876543210")
    sent = shopify(
        "any", "customers/redact", SHOPIFY_REDACTION, x_shopify_shop_domain="another.myshopify.com"
    )
    assert ingest(sent.event, context)["statusCode"] == 422
    assert wiring.checkouts().load(STORE_ID, "cart-1").sequence == 1

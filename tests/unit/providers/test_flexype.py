from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from checkout_recovery.checkout.phone import Phone
from checkout_recovery.checkout.snapshot import Address, Attribution, Client, Item, Shop, Variant
from checkout_recovery.errors import FieldError, MalformedRequest
from checkout_recovery.providers import flexype
from checkout_recovery.providers.provider import Credentials, Request
from local.fixtures import FLEXYPE_2025_09_FULL, SECRET
from local.fixtures import flexype as fixture
from local.samples import FLEXYPE_2025_09, FLEXYPE_2026_05
from tests.unit.providers.requests import read, snapshot_of


def new(**members: Any) -> dict[str, Any]:
    """The sample of 2026-05 with other members in its payload."""
    return FLEXYPE_2026_05 | {"payload": FLEXYPE_2026_05["payload"] | members}


def old(**members: Any) -> dict[str, Any]:
    return FLEXYPE_2025_09 | members


class TestAuthentication:
    @pytest.mark.parametrize("secrets", [(SECRET,), ("new", SECRET), (SECRET, "old")])
    def test_the_secret_itself_is_the_proof(self, secrets: tuple[str, ...]) -> None:
        request = Request({"x-flexype-authorization": SECRET}, b"{}")
        assert flexype.is_authentic(request, Credentials(secrets))

    @pytest.mark.parametrize(
        "given", ["", SECRET[:-1], SECRET + "x", SECRET.upper(), "sécrét", "\ud800", "\x00"]
    )
    def test_nothing_else_is(self, given: str) -> None:
        assert not flexype.is_authentic(
            Request({"x-flexype-authorization": given}, b""), Credentials((SECRET,))
        )

    def test_an_absent_header_proves_nothing(self) -> None:
        assert not flexype.is_authentic(Request({}, b""), Credentials((SECRET,)))

    @pytest.mark.parametrize("secrets", [(), ("",)])
    def test_without_a_secret_nobody_is_authentic(self, secrets: tuple[str, ...]) -> None:
        assert not flexype.is_authentic(Request({"x-flexype-authorization": ""}, b""), Credentials(secrets))


class TestVersions:
    def test_the_sample_of_2025_09_is_understood_to_the_last_field(self) -> None:
        snapshot = snapshot_of(fixture("sample", FLEXYPE_2025_09, x_event_id="wh_123"))
        assert snapshot.checkout_id == "..."
        assert snapshot.event_id == "wh_123"
        assert snapshot.event_time is None
        assert snapshot.details.phone == Phone(number="9876543210", dial_code="91", e164="+919876543210")
        assert snapshot.details.name == "John Doe"
        assert snapshot.details.email == "[email protected] "
        assert snapshot.details.shop == Shop(
            shopify_domain="my-store.myshopify.com", link="https://my-store.com"
        )
        assert snapshot.details.client == Client(ip="1.1.1.1")
        assert snapshot.details.cart is not None
        assert (snapshot.details.cart.discount, snapshot.details.cart.total) == (Decimal(0), Decimal(999))
        assert snapshot.details.cart.currency is None
        assert snapshot.details.consent is None
        assert snapshot.details.extra == {}

    def test_everything_that_2025_09_describes_has_its_place(self) -> None:
        details = snapshot_of(fixture("full", FLEXYPE_2025_09_FULL, x_event_id="wh_124")).details
        assert details.address == Address(
            address1="12 MG Road",
            address2="Near the lake",
            city="Ahmedabad",
            zip="380001",
            province="Gujarat",
            province_code="GJ",
            country="India",
            country_code="IN",
            extra={"landmark": "Clock tower"},
        )
        assert details.cart is not None
        assert details.cart.coupons == [{"code": "DIWALI300", "amount": 300}]
        assert details.cart.items == (
            Item(
                product_id="7781234567890",
                variant_id="43211234567890",
                title="Block-print Kurta",
                handle="block-print-kurta",
                image_url="https://cdn.shopify.com/products/kurta.jpg",
                quantity=2,
                grams=Decimal(350),
                price=Decimal("1049.50"),
                discount=Decimal(150),
                total_discount=Decimal(300),
                sub_total_price=Decimal("2399.00"),
                total_price=Decimal("2099.00"),
                single_variant=False,
                variant=Variant(
                    variant_id="43211234567890",
                    title="M / Indigo",
                    price=Decimal("1199.50"),
                    compare_at_price=Decimal("1499.00"),
                ),
            ),
        )
        assert details.client == Client(
            ip="203.0.113.7",
            referer="https://my-store.com/cart",
            user_agent="Mozilla/5.0 (Linux; Android 15)",
            fingerprint="fp_9c1d",
        )
        assert details.attribution == Attribution(
            original_referer="https://instagram.com/",
            referer_host="instagram.com",
            landing_page="/products/block-print-kurta",
            utm=FLEXYPE_2025_09_FULL["metadata"]["utm"],
            fbc="fb.1.1778148000.IwAR0",
            fbp="fb.1.1778148000.1234",
        )
        assert details.extra == {}

    def test_the_sample_of_2026_05_is_understood_to_the_last_field(self) -> None:
        notice = read(fixture("sample", FLEXYPE_2026_05))
        (snapshot,) = notice.snapshots
        details = snapshot.details
        assert notice.shops == {"store_01", "my-store.com", "my-store.myshopify.com"}
        assert snapshot.checkout_id == "abc123xyz"
        assert snapshot.event_id == "evt_123456789"
        assert snapshot.event_time == datetime(2026, 5, 7, 10, tzinfo=UTC)
        assert (details.name, details.first_name, details.last_name) == ("John Doe", "John", "Doe")
        assert details.stage == "PHONE_ENTERED"
        assert details.attribution is not None
        assert details.attribution.fbp == "fb.1.12345.6789"
        assert details.cart is not None
        assert details.cart.lines[0].variant == Variant(
            variant_id="67890", title="Large / Red", price=Decimal(999), compare_at_price=Decimal(1200)
        )
        parts = (details, details.shop, details.cart, details.client, details.attribution)
        assert [part.extra for part in parts if part] == [{}] * 5

    @pytest.mark.parametrize("version", ["", "2025-9", "2031-01"])
    def test_a_version_that_nobody_described_is_refused(self, version: str) -> None:
        with pytest.raises(MalformedRequest) as refused:
            read(fixture("version", FLEXYPE_2026_05, x_webhook_version=version))
        assert refused.value.errors == (FieldError("X-Webhook-Version", "must be one of 2025-09, 2026-05"),)

    @pytest.mark.parametrize("event_type", [None, "", "ORDER_PAID", 7])
    def test_another_event_type_is_refused(self, event_type: object) -> None:
        with pytest.raises(MalformedRequest, match="understood") as refused:
            read(fixture("type", FLEXYPE_2026_05 | {"event_type": event_type}))
        assert refused.value.errors[0].field == "event_type"

    @pytest.mark.parametrize("payload", [None, [], "payload", 1, {}])
    def test_a_payload_that_is_no_object_is_refused(self, payload: object) -> None:
        with pytest.raises(MalformedRequest) as refused:
            read(fixture("payload", FLEXYPE_2026_05 | {"payload": payload}))
        assert refused.value.errors[0].field == "payload"


class TestWhichCheckout:
    @pytest.mark.parametrize(
        ("url", "checkout_id"),
        [
            ("https://checkout.flexype.com/c/abc123", "abc123"),
            ("https://checkout.flexype.com/c/abc123/", "abc123"),
            ("https://checkout.flexype.com/c/abc123//?step=2#pay", "abc123"),
            ("https://checkout.flexype.com/c/abc123?next=/c/other", "abc123"),
            ("https://checkout.flexype.com/c/abc123#/c/other", "abc123"),
            (" HTTPS://checkout.flexype.com/abc123\n", "abc123"),
            ("https://checkout.flexype.com/c/a%2Fb", "a%2Fb"),
            ("https://checkout.flexype.com/c/Ünï", "Ünï"),
        ],
    )
    def test_the_last_path_segment_names_it(self, url: str, checkout_id: str) -> None:
        snapshot = snapshot_of(fixture("url", new(checkout_url=url)))
        assert snapshot.checkout_id == checkout_id
        assert snapshot.details.checkout_url == url

    @pytest.mark.parametrize(
        "url",
        [
            None,
            "",
            "  ",
            [],
            7,
            "abc123",
            "/c/abc123",
            "checkout.flexype.com",
            "https://checkout.flexype.com",
            "https://checkout.flexype.com///?c=abc123",
            "javascript:alert(1)",
            "https://checkout.flexype.com/" + "x" * 513,
            "https://checkout.flexype.com/" + "क" * 200,
        ],
    )
    def test_without_one_the_request_is_refused_and_the_url_not_quoted(self, url: object) -> None:
        with pytest.raises(MalformedRequest) as refused:
            read(fixture("url", new(checkout_url=url)))
        message = "must be an http(s) URL whose path ends in the id of the checkout"
        assert refused.value.errors == (FieldError("payload.checkout_url", message),)


class TestWhichEvent:
    def test_the_header_is_the_event_and_a_body_that_disagrees_keeps_its_own(self) -> None:
        snapshot = snapshot_of(fixture("event", FLEXYPE_2026_05, x_event_id="evt_header"))
        assert snapshot.event_id == "evt_header"
        assert snapshot.details.extra == {"envelope": {"event_id": "evt_123456789"}}

    @pytest.mark.parametrize("blank", [None, ""])
    def test_a_body_that_has_a_blank_id_keeps_it_beside_the_header(self, blank: str | None) -> None:
        snapshot = snapshot_of(
            fixture("event", FLEXYPE_2026_05 | {"event_id": blank}, x_event_id="evt_header")
        )
        assert snapshot.details.extra == {"envelope": {"event_id": blank}}

    @pytest.mark.parametrize("body", [FLEXYPE_2025_09, FLEXYPE_2026_05])
    def test_its_bytes_tell_it_from_another_of_the_same_id(self, body: dict[str, Any]) -> None:
        first, again = (snapshot_of(fixture("event", body, x_event_id="evt_1")) for _ in range(2))
        other = snapshot_of(fixture("event", body | {"odd": 1}, x_event_id="evt_1"))
        assert first.digest() == again.digest() != other.digest()

    def test_without_the_header_the_body_tells(self) -> None:
        assert snapshot_of(fixture("event", FLEXYPE_2026_05, x_event_id="")).event_id == "evt_123456789"
        assert snapshot_of(fixture("event", FLEXYPE_2025_09, x_event_id="")).event_id == "wh_123"

    def test_the_configured_webhooks_id_is_never_the_event(self) -> None:
        body = {name: value for name, value in FLEXYPE_2025_09.items() if name != "webhook_id"}
        assert snapshot_of(fixture("event", body, x_event_id="", x_webhook_id="wh_cfg")).event_id is None

    @pytest.mark.parametrize(
        ("told", "moment"),
        [
            ("2026-05-07T10:00:00Z", datetime(2026, 5, 7, 10, tzinfo=UTC)),
            ("2026-05-07T15:30:00+05:30", datetime(2026, 5, 7, 10, tzinfo=UTC)),
            ("2026-05-07T10:00:00.25Z", datetime(2026, 5, 7, 10, 0, 0, 250_000, tzinfo=UTC)),
            (1778148000, datetime(2026, 5, 7, 10, tzinfo=UTC)),
            (1778148000250, datetime(2026, 5, 7, 10, 0, 0, 250_000, tzinfo=UTC)),
        ],
    )
    def test_its_time_is_utc(self, told: object, moment: datetime) -> None:
        snapshot = snapshot_of(fixture("time", FLEXYPE_2026_05 | {"event_time": told}))
        assert snapshot.event_time == moment
        assert snapshot.details.extra == {}

    @pytest.mark.parametrize(
        "told",
        ["yesterday", "2026-05-07", "2026-05-07T10:00:00", "0001-01-01T00:00:00Z", 5, True, [], {"at": 1},
         "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z", Decimal("1778148000.5"), " "],
    )  # fmt: skip
    def test_a_time_that_is_none_is_kept_as_it_was_sent(self, told: object) -> None:
        snapshot = snapshot_of(fixture("time", FLEXYPE_2026_05 | {"event_time": told}))
        assert snapshot.event_time is None
        assert snapshot.details.extra == {"envelope": {"event_time": told}}

    def test_a_time_finer_than_microseconds_is_read_and_kept(self) -> None:
        told = "2026-05-07T10:00:00.123456789Z"
        snapshot = snapshot_of(fixture("time", FLEXYPE_2026_05 | {"event_time": told}))
        assert snapshot.event_time == datetime(2026, 5, 7, 10, 0, 0, 123456, tzinfo=UTC)
        assert snapshot.details.extra == {"envelope": {"event_time": told}}

    @pytest.mark.parametrize("stage", ["COMPLETED", "completed"])
    def test_completed_is_bought(self, stage: str) -> None:
        assert snapshot_of(fixture("stage", new(session_state=stage))).completed

    @pytest.mark.parametrize("stage", ["PAYMENT_INITIATED", "UPSELL_SHOWN", "", None, 3])
    def test_any_other_stage_is_not(self, stage: object) -> None:
        snapshot = snapshot_of(fixture("stage", new(session_state=stage)))
        assert not snapshot.completed
        assert snapshot.details.stage == (str(stage) if stage else None)


class TestMoney:
    def test_without_totals_the_lines_of_2026_05_are_added_up(self) -> None:
        lines = [
            {"total_price": "10.50", "total_discount": 1},
            {"price": 2, "quantity": 3, "total_discount": 0},
        ]
        cart = snapshot_of(fixture("sum", new(cart_items=lines))).details.cart
        assert cart is not None
        assert (cart.total, cart.discount) == (Decimal("16.50"), Decimal(1))

    def test_totals_that_are_told_count(self) -> None:
        cart = snapshot_of(fixture("sum", new(total_payable="899.00", discount=100))).details.cart
        assert cart is not None
        assert (cart.total, cart.discount) == (Decimal("899.00"), Decimal(100))

    @pytest.mark.parametrize(
        "lines", [[], [{}], [{"total_price": 1}, {"price": 2}], [{"total_price": "free"}]]
    )
    def test_a_sum_with_an_unknown_in_it_is_unknown(self, lines: list[Any]) -> None:
        cart = snapshot_of(fixture("sum", new(cart_items=lines))).details.cart
        assert cart is not None
        assert cart.total is None

    @pytest.mark.parametrize("lines", [{}, None, "none", [None]])
    def test_lines_that_are_none_do_not_empty_the_cart(self, lines: object) -> None:
        cart = snapshot_of(fixture("lines", old(cart_items=lines), x_event_id="wh_9")).details.cart
        assert cart is not None
        assert cart.items is None

    def test_a_cart_may_not_have_endless_lines(self) -> None:
        with pytest.raises(MalformedRequest):
            read(fixture("lines", old(cart_items=[{}] * 1001), x_event_id="wh_9"))

    def test_a_sum_is_not_rounded(self) -> None:
        line = {"price": Decimal("1234567890123456789012345.6789012345"), "quantity": 3}
        cart = snapshot_of(fixture("sum", new(cart_items=[line]))).details.cart
        assert cart is not None
        assert cart.total == Decimal("3703703670370370367037037.0367037035")

    def test_a_price_keeps_its_digits(self) -> None:
        cart = snapshot_of(fixture("price", old(total_payable=Decimal("170.00")))).details.cart
        assert cart is not None
        assert str(cart.total) == "170.00"

    @pytest.mark.parametrize("price", ["₹ 999/-", "1,299.00", "NaN", "1e5", " 9", True, [], {"amount": 9}])
    def test_a_price_that_is_none_is_kept_as_it_was_sent(self, price: object) -> None:
        details = snapshot_of(fixture("price", new(cart_items=[{"price": price}]))).details
        assert details.cart is not None
        assert details.cart.items == (Item(extra={"price": price}),)


class TestOddities:
    @pytest.mark.parametrize("address", [[], "12 MG Road", 380001])
    def test_an_address_that_is_no_object_is_kept(self, address: object) -> None:
        user = FLEXYPE_2025_09["user"] | {"address": address}
        details = snapshot_of(fixture("address", old(user=user), x_event_id="wh_123")).details
        assert details.address is None
        assert details.extra == {"user": {"address": address}}

    @pytest.mark.parametrize(
        ("spelling", "field"),
        [
            ("address_line_1", "address1"),
            ("line1", "address1"),
            ("address_line_2", "address2"),
            ("pincode", "zip"),
            ("postal_code", "zip"),
            ("state", "province"),
            ("state_code", "province_code"),
        ],
    )
    def test_an_addresss_fields_are_known_by_their_usual_spellings(self, spelling: str, field: str) -> None:
        user = FLEXYPE_2025_09["user"] | {"address": {spelling: "x"}}
        assert snapshot_of(fixture("address", old(user=user))).details.address == Address(**{field: "x"})

    def test_of_two_spellings_the_first_counts_and_the_other_is_kept(self) -> None:
        user = FLEXYPE_2025_09["user"] | {"address": {"pincode": "380002", "zip": "380001"}}
        address = snapshot_of(fixture("address", old(user=user))).details.address
        assert address == Address(zip="380001", extra={"pincode": "380002"})

    def test_ids_of_any_size_keep_their_digits(self) -> None:
        line = {"product_id": 92233720368547758079, "variant": {"variant_id": 2**53 + 1}}
        cart = snapshot_of(fixture("ids", new(cart_items=[line]))).details.cart
        assert cart is not None
        assert cart.lines[0].product_id == "92233720368547758079"
        assert cart.lines[0].variant == Variant(variant_id="9007199254740993")

    def test_numbers_are_taken_where_text_is_usual(self) -> None:
        user = {"phone": 9876543210, "dial_code": 91, "full_name": 7}
        details = snapshot_of(fixture("user", new(user=user))).details
        assert details.phone == Phone(number="9876543210", dial_code="91", e164="+919876543210")
        assert details.name == "7"

    def test_text_is_never_altered(self) -> None:
        user = {"full_name": "  Zoë\u00a0Ünal-देसाई 🛒 ", "email": "Half@"}
        details = snapshot_of(fixture("user", new(user=user))).details
        assert (details.name, details.email) == (user["full_name"], "Half@")

    def test_blanks_say_nothing_and_are_kept(self) -> None:
        details = snapshot_of(fixture("user", new(user={"full_name": " \t", "email": ""}))).details
        assert (details.name, details.email) == (None, None)
        assert details.extra == {"user": {"full_name": " \t"}}

    @pytest.mark.parametrize("user", [None, {}, [], {"email": None, "phone": "", "dial_code": None}])
    def test_a_shopper_may_be_unknown(self, user: object) -> None:
        details = snapshot_of(fixture("user", new(user=user))).details
        assert (details.phone, details.email, details.name) == (None, None, None)

    def test_a_dial_code_alone_is_no_phone(self) -> None:
        details = snapshot_of(fixture("user", new(user={"dial_code": 91}))).details
        assert details.phone is None
        assert details.extra == {"user": {"dial_code": 91}}

    def test_the_whole_number_serves_where_it_is_all_there_is(self) -> None:
        details = snapshot_of(fixture("user", new(user={"phone_with_dial_code": "+919876543210"}))).details
        assert details.phone == Phone(number="+919876543210", e164="+919876543210")

    def test_a_whole_number_that_says_something_else_is_kept(self) -> None:
        user = {"phone": "98765", "dial_code": "91", "phone_with_dial_code": "+91 98765"}
        details = snapshot_of(fixture("user", new(user=user))).details
        assert details.phone == Phone(number="98765", dial_code="91")
        assert details.extra == {"user": {"phone_with_dial_code": "+91 98765"}}

    def test_lines_that_are_no_objects_are_kept_beside_the_others(self) -> None:
        details = snapshot_of(fixture("lines", new(cart_items=[None, {"title": "A"}, "B"]))).details
        assert details.cart is not None
        assert details.cart.items == (Item(title="A"),)
        assert details.extra == {"cart_items": [None, "B"]}

    def test_fields_that_nobody_described_stay_where_they_came(self) -> None:
        body = deepcopy(FLEXYPE_2026_05) | {"sent_by": "v2"}
        body["payload"]["gift_wrap"] = True
        body["payload"]["user"]["tier"] = "gold"
        body["payload"]["cart_items"][0]["sku"] = "CTS"
        body["payload"]["cart_items"][0]["variant"]["sku"] = "CTS-L"
        body["payload"]["analytics"]["fb"]["fbq"] = 1
        body["payload"]["analytics"]["ga"] = "GA1"
        body["payload"]["metadata"]["ref"] = "x"
        body["store"]["plan"] = Decimal("2.50")
        details = snapshot_of(fixture("extra", body)).details
        assert details.extra == {
            "gift_wrap": True,
            "user": {"tier": "gold"},
            "envelope": {"sent_by": "v2"},
        }
        assert details.cart is not None
        assert details.cart.lines[0].extra == {"sku": "CTS"}
        assert details.cart.lines[0].variant is not None
        assert details.cart.lines[0].variant.extra == {"sku": "CTS-L"}
        assert details.attribution is not None
        assert details.attribution.extra == {
            "analytics": {"fb": {"fbq": 1}, "ga": "GA1"},
            "metadata": {"ref": "x"},
        }
        assert details.shop is not None
        assert details.shop.extra == {"plan": Decimal("2.50")}

    def test_what_is_left_of_the_envelope_never_hides_a_member_of_the_payload(self) -> None:
        body = new(envelope="padded") | {"sent_by": "v2"}
        assert snapshot_of(fixture("extra", body)).details.extra == {
            "envelope": "padded",
            "_envelope": {"sent_by": "v2"},
        }

    def test_a_shops_name_is_not_one_of_its_names(self) -> None:
        body = FLEXYPE_2026_05 | {
            "store": {
                "name": "Twin",
                "shopify_domain": " Twin.MyShopify.com ",
                "main_domain": "https://Twin.com:443/x",
            }
        }
        assert read(fixture("shop", body)).shops == {"twin.myshopify.com", "twin.com"}

    def test_a_shop_may_go_unnamed(self) -> None:
        notice = read(fixture("shop", FLEXYPE_2026_05 | {"store": []}))
        assert notice.shops == frozenset()
        assert notice.snapshots[0].details.shop is None

"""FlexyPe's published samples, to the letter: what fixtures, demo and tests make their payloads from."""

from typing import Any

Json = dict[str, Any]

FLEXYPE_2025_09: Json = {
    "webhook_id": "wh_123",
    "shopify_domain": "my-store.myshopify.com",
    "cart_items": [],
    "checkout_url": "https://checkout.flexype.io/...",
    "discount": 0,
    "total_payable": 999,
    "session_state": "INITIATED",
    "user": {
        "phone_no": "9876543210",
        "dial_code": "91",
        "name": "John Doe",
        "email": "[email protected] ",
        "address": {},
    },
    "store_link": "https://my-store.com",
    "coupons": [],
    "client_meta": {
        "client_ip": "1.1.1.1",
        "http_referer": "",
        "user_agent": "",
        "browser_fingerprint": "",
    },
    "analytics": {},
    "metadata": {},
}

FLEXYPE_2026_05: Json = {
    "event_time": "2026-05-07T10:00:00Z",
    "event_type": "ACR_CHECKOUT",
    "event_id": "evt_123456789",
    "store": {
        "id": "store_01",
        "name": "My Awesome Store",
        "shopify_domain": "my-store.myshopify.com",
        "main_domain": "my-store.com",
    },
    "payload": {
        "user": {
            "email": "john.doe@example.com",
            "full_name": "John Doe",
            "first_name": "John",
            "last_name": "Doe",
            "dial_code": "91",
            "phone": "9876543210",
            "phone_with_dial_code": "+919876543210",
        },
        "checkout_url": "https://checkout.flexype.com/c/abc123xyz",
        "cart_items": [
            {
                "image": "https://cdn.shopify.com/products/item.jpg",
                "title": "Cool T-Shirt",
                "discount": 0,
                "price": 999,
                "quantity": 1,
                "product_id": 12345,
                "variant_id": 67890,
                "grams": 200,
                "handle": "cool-t-shirt",
                "total_price": 999,
                "sub_total_price": 999,
                "total_discount": 0,
                "single_variant": True,
                "properties": [],
                "variant": {
                    "title": "Large / Red",
                    "price": 999,
                    "variant_id": 67890,
                    "compare_at_price": 1200,
                },
            }
        ],
        "session_state": "PHONE_ENTERED",
        "coupons": [],
        "client_meta": {
            "client_ip": "1.1.1.1",
            "http_referer": "https://google.com",
            "user_agent": "Mozilla/5.0...",
        },
        "metadata": {
            "orig_referer": "https://google.com",
            "referer_host": "google.com",
            "landing_page": "/products/cool-t-shirt",
            "utm": [],
        },
        "analytics": {"fb": {"fbp": "fb.1.12345.6789"}},
    },
}
"""FlexyPe's published sample of 2026-05, to the letter."""

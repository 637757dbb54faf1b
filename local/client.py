"""A small client of the HTTP API, which the demo and the tests share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx

from local.senders import Call


class ApiError(Exception):
    """The API refused a request; the message has the problem's type and fields, no value of the request."""

    def __init__(self, response: httpx.Response) -> None:
        problem = _problem(response)
        fields = ", ".join(str(error.get("field")) for error in problem.get("errors", []))
        super().__init__(f"{response.status_code} {problem.get('type', '')} {fields}".strip())
        self.status = response.status_code
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription as the API answered when it was made."""

    subscription_id: str
    topic: str
    version: str
    events: frozenset[str]
    key: str = field(repr=False)

    @property
    def contract(self) -> str:
        return f"{self.topic} {self.version}"


class Client:
    """Speaks to one stack. No proxy of the environment comes between."""

    def __init__(self, api_url: str, admin_token: str) -> None:
        self._http = httpx.Client(base_url=api_url, trust_env=False, timeout=30.0)
        self._admin_token = admin_token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def request(
        self, method: str, path: str, *, token: str | None = None, json: Any = None
    ) -> httpx.Response:
        """Sends one request of the management API and returns whatever is answered."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self._http.request(method, path, headers=headers, json=json)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Posts bytes as they are."""
        return self._http.post(path, content=body, headers=dict(headers))

    def register(self, store_id: str, **settings: Any) -> "StoreClient":
        """Registers a store with the admin token.

        Raises:
            ApiError: it was refused, or it was there already.
        """
        response = self.request("PUT", f"/v1/stores/{store_id}", token=self._admin_token, json=settings)
        if response.status_code != httpx.codes.CREATED:
            raise ApiError(response)
        return StoreClient(self, store_id, response.json()["store_token"])


class StoreClient:
    """Speaks for one store, with its own token."""

    def __init__(self, client: Client, store_id: str, token: str) -> None:
        self._client = client
        self.store_id = store_id
        self.token = token

    def set_secret(self, provider: str, secret: str, **more: Any) -> None:
        self._call("PUT", f"/providers/{provider}", {"secret": secret, **more})

    def subscribe(self, topic: str, version: str, callback_url: str, **more: Any) -> Subscribed:
        request = {"topic": topic, "version": version, "callback_url": callback_url, **more}
        made = self._call("POST", "/subscriptions", request)
        return Subscribed(
            made["subscription_id"],
            made["topic"],
            made["version"],
            frozenset(made["events"]),
            made["webhook_key"],
        )

    def change(self, subscription_id: str, **changes: Any) -> dict[str, Any]:
        return self._call("PATCH", f"/subscriptions/{subscription_id}", changes)

    def subscription(self, subscription_id: str) -> dict[str, Any]:
        return self._call("GET", f"/subscriptions/{subscription_id}")

    def rotate(self, subscription_id: str) -> str:
        """Gives a subscription a new key, which is returned."""
        return str(self._call("POST", f"/subscriptions/{subscription_id}/rotate", {})["webhook_key"])

    def test(self, subscription_id: str) -> dict[str, Any]:
        """Has a signed sample sent now."""
        return self._call("POST", f"/subscriptions/{subscription_id}/test", {})

    def unsubscribe(self, subscription_id: str) -> None:
        self._call("DELETE", f"/subscriptions/{subscription_id}")

    def deliveries(self, subscription_id: str, **wanted: str) -> list[dict[str, Any]]:
        """A subscription's delivery log, newest first; `wanted` is a state, reason, checkout_id or since."""
        deliveries: list[dict[str, Any]] = []
        while True:
            page = self._call("GET", f"/subscriptions/{subscription_id}/deliveries?{urlencode(wanted)}")
            deliveries += page["deliveries"]
            if page["next_cursor"] is None:
                return deliveries
            wanted["cursor"] = page["next_cursor"]

    def checkout(self, checkout_id: str) -> dict[str, Any]:
        """A checkout as it stands, with what became of its last event."""
        return self._call("GET", f"/checkouts/{quote(checkout_id, safe='')}")

    def send(self, call: Call) -> httpx.Response:
        """Posts what a provider would, or the store's own snapshot or order; returns whatever is answered."""
        if call.provider is None:
            headers = {**call.headers, "authorization": f"Bearer {self.token}"}
            return self._client.post(f"/v1/{call.own_schema}", call.body, headers)
        return self._client.post(f"/v1/webhooks/{call.provider}/{self.store_id}", call.body, call.headers)

    def _call(self, method: str, path: str, json: Any = None) -> dict[str, Any]:
        response = self._client.request(
            method, f"/v1/stores/{self.store_id}{path}", token=self.token, json=json
        )
        if not response.is_success:
            raise ApiError(response)
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}

"""The cache of secrets, against an SSM that counts its calls and can fall silent."""

import contextlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from mypy_boto3_ssm.client import SSMClient

from checkout_recovery.errors import MalformedRequest, Unavailable
from checkout_recovery.secrets import ADMIN_TOKEN, Secret, Secrets, provider_secret, subscription_secret
from checkout_recovery.signing import new_webhook_key

NAME = subscription_secret("my-store", "sub_1")
NOW = datetime(2026, 5, 7, 10, 0, 0, 123456, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
TTL, JITTER = 300, 30


def throttled() -> Exception:
    return ClientError(
        {"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "GetParameters"
    )


def unreachable() -> Exception:
    return ConnectTimeoutError(endpoint_url="https://ssm.test")


def denied() -> Exception:
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetParameters")


def exists_already() -> Exception:
    return ClientError({"Error": {"Code": "ParameterAlreadyExists", "Message": "no"}}, "PutParameter")


@dataclass
class FakeSsm:
    """Holds parameters as SSM does; `fault` is raised by every call while it is set."""

    values: dict[str, str] = field(default_factory=dict)
    reads: list[list[str]] = field(default_factory=list)
    fault: Exception | None = None
    write_fault: Exception | None = None
    """Raised only where a parameter is written."""
    shown_after: int = 0
    """For how many reads more a parameter that is there is not shown yet."""

    def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> dict[str, Any]:  # noqa: N803
        assert WithDecryption
        assert len(Names) <= 10
        self.reads.append(Names)
        self._fail()
        shown = self.values if self.shown_after <= 0 else {}
        self.shown_after -= 1
        return {
            "Parameters": [{"Name": name, "Value": shown[name]} for name in Names if name in shown],
            "InvalidParameters": [name for name in Names if name not in shown],
        }

    def put_parameter(self, *, Name: str, Value: str, Type: str, Overwrite: bool = False) -> None:  # noqa: N803
        assert Type == "SecureString"
        self._fail()
        if self.write_fault:
            raise self.write_fault
        if Name in self.values and not Overwrite:
            raise exists_already()
        self.values[Name] = Value

    def delete_parameters(self, *, Names: list[str]) -> None:  # noqa: N803
        assert len(Names) <= 10
        self._fail()
        for name in Names:
            self.values.pop(name, None)

    def _fail(self) -> None:
        if self.fault:
            raise self.fault


@dataclass
class Clock:
    time: float = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def ssm() -> FakeSsm:
    return FakeSsm()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(ssm: FakeSsm, clock: Clock, random: float = 0.5) -> Secrets:
    return Secrets(cast("SSMClient", ssm), "test", now=clock, random=lambda: random)


@pytest.fixture
def secrets(ssm: FakeSsm, clock: Clock) -> Secrets:
    return made(ssm, clock)


def written(ssm: FakeSsm, name: str, key: str, version: int = 1) -> None:
    ssm.values[f"/test/{name}"] = json.dumps({"keys": [key], "version": version})


def key_of(secrets: Secrets, version: int = 1) -> str | None:
    secret = secrets.get(NAME, version)
    return secret.keys[0] if secret else None


def test_what_is_put_can_be_read_anywhere(ssm: FakeSsm, clock: Clock, secrets: Secrets) -> None:
    secret = Secret(("new", "old"), 2, (NOW,), {"Authorization": "Basic \u00fc"})
    secrets.put(NAME, secret)
    assert list(ssm.values) == ["/test/stores/my-store/subscriptions/sub_1"]
    assert made(ssm, clock).get(NAME, 2) == secret


def test_names_follow_the_stack() -> None:
    assert provider_secret("my-store", "flexype") == "stores/my-store/providers/flexype"


def test_the_admin_token_is_the_whole_parameter(ssm: FakeSsm, secrets: Secrets) -> None:
    ssm.values["/test/admin-token"] = "cra_x"
    admin = secrets.get(ADMIN_TOKEN)
    assert admin
    assert admin.keys == ("cra_x",)


def test_reads_are_batched_by_ten(ssm: FakeSsm, secrets: Secrets) -> None:
    names = [f"stores/s/subscriptions/sub_{number}" for number in range(23)]
    for name in names:
        written(ssm, name, name)
    found = secrets.get_many(dict.fromkeys(names, 1))
    assert {name: secret.keys[0] for name, secret in found.items()} == {name: name for name in names}
    assert [len(batch) for batch in ssm.reads] == [10, 10, 3]


def test_only_what_is_not_cached_is_read(ssm: FakeSsm, secrets: Secrets) -> None:
    written(ssm, "a", "a")
    written(ssm, "b", "b")
    secrets.get("a", 1)
    secrets.get_many({"a": 1, "b": 1})
    assert ssm.reads == [["/test/a"], ["/test/b"]]


@pytest.mark.parametrize(("random", "fresh_for"), [(0.0, TTL - JITTER), (1.0, TTL + JITTER)])
def test_a_secret_is_cached_for_about_five_minutes(
    ssm: FakeSsm, clock: Clock, random: float, fresh_for: int
) -> None:
    secrets = made(ssm, clock, random)
    written(ssm, NAME, "old")
    key_of(secrets)
    written(ssm, NAME, "new")
    clock.time = fresh_for - 0.01
    assert key_of(secrets) == "old"
    clock.time = fresh_for + 0.01
    assert key_of(secrets) == "new"


def test_a_rotation_takes_effect_at_once(ssm: FakeSsm, secrets: Secrets) -> None:
    written(ssm, NAME, "old", 1)
    key_of(secrets)
    written(ssm, NAME, "new", 2)
    assert key_of(secrets, 1) == "old"
    assert key_of(secrets, 2) == "new"


def test_a_version_that_is_being_written_is_looked_for_until_it_is_there(
    ssm: FakeSsm, secrets: Secrets
) -> None:
    written(ssm, NAME, "old", 1)
    assert key_of(secrets, 2) == "old"
    written(ssm, NAME, "new", 2)
    assert key_of(secrets, 2) == "new", "a worker that looked a moment too early refuses nobody"


def test_a_version_whose_write_has_failed_is_not_asked_for_at_every_call(
    ssm: FakeSsm, clock: Clock, secrets: Secrets
) -> None:
    clock.time = 1000.0
    failed, repeated = 970_000, 1_000_000
    written(ssm, NAME, "old", 1)
    assert [key_of(secrets, failed) for _ in range(5)] == ["old"] * 5
    assert len(ssm.reads) == 1
    written(ssm, NAME, "new", repeated)
    assert key_of(secrets, repeated) == "new"


def test_what_does_not_exist_is_absent_and_not_asked_for_again_at_once(
    ssm: FakeSsm, clock: Clock, secrets: Secrets
) -> None:
    assert [key_of(secrets, 0) for _ in range(3)] == [None] * 3
    assert len(ssm.reads) == 1
    written(ssm, NAME, "made")
    clock.time = 10.01
    assert key_of(secrets, 0) == "made"


def test_what_is_known_to_exist_is_never_remembered_as_absent(ssm: FakeSsm, secrets: Secrets) -> None:
    assert secrets.get("a") is secrets.get("a", 1) is secrets.get("b", 1) is None
    written(ssm, "a", "made", 1)
    written(ssm, "b", "made", 1)
    assert secrets.get("a", 1)
    assert secrets.get("b")


def test_a_secret_that_is_put_is_no_longer_absent(secrets: Secrets) -> None:
    assert key_of(secrets) is None
    secrets.put(NAME, Secret(("made",), 1))
    assert key_of(secrets) == "made"


@pytest.mark.parametrize("fault", [throttled, unreachable])
def test_while_ssm_is_down_the_cache_serves_on(
    ssm: FakeSsm, clock: Clock, secrets: Secrets, fault: Any
) -> None:
    written(ssm, NAME, "held")
    key_of(secrets)
    ssm.fault = fault()
    clock.time = 86_400
    assert [key_of(secrets) for _ in range(3)] == ["held"] * 3
    assert len(ssm.reads) == 2, "it is not asked again at every call"
    clock.time += 12
    ssm.fault = None
    written(ssm, NAME, "new")
    assert key_of(secrets) == "new"


def test_a_key_whose_overlap_may_be_over_is_not_served_while_ssm_is_down(
    ssm: FakeSsm, clock: Clock, secrets: Secrets
) -> None:
    written(ssm, NAME, "old", 1)
    key_of(secrets)
    ssm.fault = throttled()
    clock.time = 599
    assert key_of(secrets, 2) == "old"
    clock.time = 700
    with pytest.raises(Unavailable):
        key_of(secrets, 2)


def test_while_ssm_is_down_what_is_not_cached_is_unavailable(ssm: FakeSsm, secrets: Secrets) -> None:
    written(ssm, "held", "held")
    secrets.get("held", 1)
    ssm.fault = throttled()
    with pytest.raises(Unavailable):
        secrets.get_many({NAME: 1})
    assert set(secrets.available({NAME: 1, "held": 1})) == {"held"}
    with pytest.raises(Unavailable):
        secrets.put(NAME, Secret(("k",), 1))
    with pytest.raises(Unavailable):
        secrets.delete([NAME])


def test_a_fault_of_ours_is_not_taken_for_an_outage(ssm: FakeSsm, clock: Clock, secrets: Secrets) -> None:
    written(ssm, NAME, "held")
    key_of(secrets)
    clock.time, ssm.fault = 1000, denied()
    with pytest.raises(ClientError):
        key_of(secrets)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "not json",
        "[]",
        "{}",
        "null",
        '{"keys": ["secret-text"]}',
        '{"keys":[],"version":1}',
        '{"keys":["secret-text","k"],"version":1,"ends":[1]}',
    ],
)
def test_what_cannot_be_read_is_absent_and_does_not_hold_up_the_others(
    ssm: FakeSsm, secrets: Secrets, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    ssm.values["/test/broken"] = value
    written(ssm, NAME, "good")
    assert set(secrets.get_many({"broken": 1, NAME: 1})) == {NAME}
    assert "secret-text" not in caplog.text


def test_what_is_deleted_is_gone(ssm: FakeSsm, secrets: Secrets) -> None:
    names = [f"n{number}" for number in range(12)]
    for name in names:
        secrets.put(name, Secret((name,), 1))
    secrets.delete(names)
    secrets.delete(names)
    assert ssm.values == {}
    assert secrets.get_many(dict.fromkeys(names, 1)) == {}


def test_a_secret_that_no_parameter_can_hold_is_refused(ssm: FakeSsm, secrets: Secrets) -> None:
    with pytest.raises(MalformedRequest) as refused:
        secrets.put(NAME, Secret(("k",), 1, headers={"X-Key": "v" * 4096}))
    assert "vvv" not in str(refused.value)
    assert ssm.values == {}


def test_what_can_be_put_can_be_rotated(secrets: Secrets) -> None:
    fits, key = 0, new_webhook_key()
    for length in range(4096):
        secret = Secret((key,), NOW_MS, headers={"X-Key": "v" * length})
        with contextlib.suppress(MalformedRequest):
            secrets.put(NAME, secret)
            fits = length
    assert fits > 3500
    secret = Secret((key,), NOW_MS, headers={"X-Key": "v" * fits})
    for _ in range(3):
        secret = secret.rotated(new_webhook_key(), NOW_MS, NOW, HOUR)
        secrets.put(NAME, secret)


@pytest.mark.parametrize(
    "secret", [Secret(("a{{b}}",), 1), Secret(("k",), 1, headers={"X-Key": "{{ssm:/a}}"})]
)
def test_a_secret_that_ssm_would_take_for_a_reference_is_refused(
    ssm: FakeSsm, secrets: Secrets, secret: Secret
) -> None:
    with pytest.raises(MalformedRequest) as refused:
        secrets.put(NAME, secret)
    assert "{" not in str(refused.value)
    assert ssm.values == {}


def test_the_cache_is_bounded(ssm: FakeSsm, secrets: Secrets) -> None:
    for number in range(3000):
        written(ssm, f"n{number}", "k")
        secrets.get(f"n{number}", 1)
        secrets.get(f"missing{number}")
    assert len(secrets._cached) <= 2048
    assert len(secrets._missing) <= 256


def test_a_batch_larger_than_the_cache_is_still_read_whole(ssm: FakeSsm, secrets: Secrets) -> None:
    names = [f"n{number}" for number in range(2100)]
    for name in names:
        written(ssm, name, "k")
    assert len(secrets.get_many(dict.fromkeys(names, 1))) == 2100


def test_a_replaced_key_is_valid_until_its_overlap_ends() -> None:
    rotated = Secret(("first",), 1).rotated("second", 2, NOW, HOUR)
    assert rotated.valid_keys(NOW + HOUR - SECOND) == ("second", "first")
    assert rotated.valid_keys(NOW + HOUR) == ("second",)


def test_every_replaced_key_is_valid_until_its_own_end(ssm: FakeSsm, secrets: Secrets) -> None:
    rotated = Secret(("first",), 1).rotated("second", 2, NOW, 24 * HOUR)
    rotated = rotated.rotated("third", 3, NOW + 2 * SECOND, HOUR)
    secrets.put(NAME, rotated)
    assert rotated.valid_keys(NOW + HOUR) == ("third", "second", "first")
    assert rotated.valid_keys(NOW + 2 * HOUR) == ("third", "first")
    assert rotated.valid_keys(NOW + 24 * HOUR) == ("third",)


def test_of_more_keys_than_there_is_room_for_the_oldest_ends_early() -> None:
    secret = Secret(("first",), 1)
    for version, key in enumerate(("second", "third", "fourth"), 2):
        secret = secret.rotated(key, version, NOW, HOUR)
    assert secret.keys == secret.valid_keys(NOW) == ("fourth", "third", "second")


def test_a_key_that_has_ended_takes_no_others_place() -> None:
    secret = Secret(("first",), 1).rotated("second", 2, NOW, 24 * HOUR).rotated("third", 3, NOW, HOUR)
    assert secret.rotated("fourth", 4, NOW + HOUR, HOUR).keys == ("fourth", "third", "first")


def test_a_key_that_comes_back_is_there_once() -> None:
    back = Secret(("first",), 1).rotated("second", 2, NOW, HOUR).rotated("first", 3, NOW, HOUR)
    assert back.valid_keys(NOW) == ("first", "second")
    assert back.valid_keys(NOW + HOUR) == ("first",)


def test_reprs_show_nothing_secret(secrets: Secrets) -> None:
    secret = Secret(("key-text",), 1, headers={"X-Key": "header-text"})
    secrets.put(NAME, secret)
    shown = repr(secret) + repr(secrets) + repr(secrets._cached)
    assert "key-text" not in shown
    assert "header-text" not in shown


class TestTheIndexKey:
    NAME = "/test/index-key"

    def test_whoever_asks_first_makes_it(self, ssm: FakeSsm, secrets: Secrets) -> None:
        key = secrets.index_key()
        assert len(key) == 32
        assert ssm.values == {self.NAME: key.hex()}

    def test_all_others_read_it(self, ssm: FakeSsm, clock: Clock, secrets: Secrets) -> None:
        ssm.values[self.NAME] = "ab" * 32
        assert secrets.index_key() == made(ssm, clock).index_key() == b"\xab" * 32

    def test_each_stack_has_another(self, clock: Clock) -> None:
        assert made(FakeSsm(), clock).index_key() != made(FakeSsm(), clock).index_key()

    def test_it_is_read_once_and_never_changes(self, ssm: FakeSsm, clock: Clock, secrets: Secrets) -> None:
        key = secrets.index_key()
        ssm.values[self.NAME] = "ab" * 32
        clock.time = 10 * 86_400
        ssm.fault = throttled()
        assert secrets.index_key() == key
        assert ssm.reads == [[self.NAME]]

    def test_of_two_who_make_it_at_once_one_wins_and_the_other_takes_it(
        self, ssm: FakeSsm, secrets: Secrets
    ) -> None:
        ssm.values[self.NAME] = "ab" * 32
        ssm.shown_after = 1
        assert secrets.index_key() == b"\xab" * 32
        assert ssm.values == {self.NAME: "ab" * 32}

    def test_one_that_is_not_shown_yet_can_be_asked_for_again(self, ssm: FakeSsm, secrets: Secrets) -> None:
        ssm.values[self.NAME] = "ab" * 32
        ssm.shown_after = 2
        with pytest.raises(Unavailable):
            secrets.index_key()
        assert secrets.index_key() == b"\xab" * 32

    @pytest.mark.parametrize("fault", [throttled, unreachable])
    def test_while_ssm_is_down_there_is_none_and_none_is_made(
        self, ssm: FakeSsm, secrets: Secrets, fault: Any
    ) -> None:
        ssm.fault = fault()
        with pytest.raises(Unavailable):
            secrets.index_key()
        ssm.fault = None
        ssm.values[self.NAME] = "ab" * 32
        assert secrets.index_key() == b"\xab" * 32

    @pytest.mark.parametrize(("fault", "error"), [(denied, ClientError), (throttled, Unavailable)])
    def test_one_that_cannot_be_written_is_not_used(
        self, ssm: FakeSsm, secrets: Secrets, fault: Any, error: type[Exception]
    ) -> None:
        ssm.write_fault = fault()
        with pytest.raises(error):
            secrets.index_key()
        ssm.write_fault = None
        assert ssm.values == {}
        assert secrets.index_key() == bytes.fromhex(ssm.values[self.NAME])

    def test_it_is_shown_nowhere(
        self, ssm: FakeSsm, secrets: Secrets, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        key = secrets.index_key()
        shown = repr(secrets) + str(secrets) + caplog.text
        assert key.hex() not in shown
        assert repr(key) not in shown

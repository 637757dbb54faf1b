import pytest

from checkout_recovery.settings import Settings, SettingsError


def test_what_is_not_set_has_its_default() -> None:
    settings = Settings.from_environment({"STACK_NAME": "s", "DUE_SHARDS": ""})
    assert settings == Settings(stack_name="s")
    assert not settings.allow_local_targets


def test_what_is_set_counts() -> None:
    environment = {
        "STACK_NAME": "s",
        "ALLOW_LOCAL_TARGETS": "true",
        "DUE_SHARDS": "16",
        "SHOPPER_TABLE": "s-shoppers",
    }
    settings = Settings.from_environment(environment)
    assert (settings.allow_local_targets, settings.due_shards) == (True, 16)
    assert settings.shopper_table == "s-shoppers"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STACK_NAME", ""),
        ("ALLOW_LOCAL_TARGETS", "yes"),
        ("DIRECT_AWS", "1"),
        ("DUE_SHARDS", "0"),
        ("DUE_SHARDS", "²"),
        ("CHECKOUT_RETENTION_DAYS", "-1"),
        ("DELIVERY_RETENTION_DAYS", "1.5"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_and_not_quoted(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable) as refused:
        Settings.from_environment({"STACK_NAME": "s", variable: value})
    assert not value or value not in str(refused.value)

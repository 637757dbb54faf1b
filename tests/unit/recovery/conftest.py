import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.recovery.played import TOKEN, PlayedApi


@pytest.fixture(autouse=True)
def _an_operator_in_india(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A folder, a zone and an environment of its own, without AWS."""
    for name in os.environ:
        if name.startswith(("AWS_", "RECOVERY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    monkeypatch.chdir(tmp_path)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def nobody() -> Iterator[PlayedApi]:
    """The API, and nothing that says where it is."""
    with PlayedApi() as played:
        yield played


@pytest.fixture
def api(nobody: PlayedApi, tmp_path: Path) -> PlayedApi:
    """The API of a local cloud that runs."""
    told = {
        "api_url": nobody.url,
        "stack_name": "checkout-recovery-local",
        "region": "ap-south-1",
        "admin_token": TOKEN,
    }
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "stack.json").write_text(json.dumps(told))
    return nobody

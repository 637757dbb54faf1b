"""What the README shows to receivers is run here as it stands."""

import base64
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

README = (Path(__file__).parents[2] / "README.md").read_text()
KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
BODY = '{"name":"Él"}'


def snippet(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def headers(body: str = BODY) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Webhook(KEY).sign("evt_1", now, body)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": f"v1,AAAA {signature}",
    }


CASES = [({}, BODY, True), ({}, BODY + " ", False), ({"webhook-timestamp": "1"}, BODY, False)]


@pytest.mark.parametrize(("changed", "body", "valid"), CASES)
def test_the_python_lines_verify_and_refuse(changed: dict[str, str], body: str, valid: bool) -> None:
    sent = headers() | changed
    names: dict[str, Any] = {}
    exec(snippet("python"), names)  # noqa: S102 - our own README
    assert names["verify"](KEY, sent, body.encode()) is valid


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here to run them with")
@pytest.mark.parametrize(("changed", "body", "valid"), CASES)
def test_the_node_lines_verify_and_refuse(changed: dict[str, str], body: str, valid: bool) -> None:
    sent = headers() | changed
    arguments = ", ".join([json.dumps(KEY), json.dumps(sent), f"Buffer.from({json.dumps(body)})"])
    script = f"{snippet('js')}\nconsole.log(verify({arguments}));"
    result = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)  # noqa: S603, S607 - the same
    assert result.stdout.strip() == str(valid).lower()


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 200

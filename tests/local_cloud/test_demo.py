"""The demo on the deployed template: it ends well, and prints nothing that it should not."""

import re
from io import StringIO

import pytest
from rich.console import Console

from local import demo
from local.cloud import Stack


def test_the_demo_delivers_and_verifies_everything(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    out = StringIO()
    assert demo.run(stack, Console(file=out, width=80)) == 0, out.getvalue()
    counts = re.fullmatch(r"demo: (\d+) delivered, (\d+) verified, 0 failed\n", capsys.readouterr().out)
    assert counts is not None
    assert counts[1] == counts[2] != "0"
    for datum in ("98765432", "john.doe", "John Doe", "whsec_", "http", stack.admin_token):
        assert datum not in out.getvalue()

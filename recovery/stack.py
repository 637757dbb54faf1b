"""Finds a stack by its name: what `make local` runs on this machine, or what CloudFormation has deployed."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recovery.failure import Failure

DEFAULT_STACK = "checkout-recovery"
LOCAL_FILE = Path(".local") / "stack.json"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Stack:
    """Where a stack's HTTP API is, and what proves that we may ask it."""

    name: str
    api_url: str
    token: str = field(repr=False)
    is_local: bool = False


def find(
    name: str | None,
    region: str | None,
    profile: str | None,
    *,
    environment: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> Stack:
    """Finds the stack that is meant.

    Args:
        name: of the stack; else RECOVERY_STACK, else the local cloud if there is one, else the default.
        region: of AWS, by default that of the environment.
        profile: of AWS's configuration, by default that of the environment.
        environment: has RECOVERY_STACK and RECOVERY_TOKEN.
        folder: where `.local/stack.json` is looked for, there and above; by default the working directory.

    Raises:
        Failure: there is no such stack, or nothing that lets us ask it.
    """
    wanted = name or environment.get("RECOVERY_STACK") or None
    token = environment.get("RECOVERY_TOKEN") or None
    local = _local(folder or Path.cwd())
    if local and wanted in (None, local.name):
        return Stack(local.name, local.api_url, token or local.token, is_local=True)
    return _deployed(wanted or DEFAULT_STACK, region, profile, token)


def _local(folder: Path) -> Stack | None:
    file = next((up / LOCAL_FILE for up in (folder, *folder.parents) if (up / LOCAL_FILE).is_file()), None)
    if file is None:
        return None
    try:
        told: Any = json.loads(file.read_text())
        stack = Stack(told["stack_name"], told["api_url"], told["admin_token"], is_local=True)
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(f"{file} is not what `make local` writes: end the local cloud, or delete it.") from None
    # A token must not go to wherever a file that lies about likes.
    if _host(stack.api_url) not in _LOOPBACK:
        raise Failure(f"{file} names an API that is not on this machine; it is not asked.")
    return stack


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _deployed(name: str, region: str | None, profile: str | None, token: str | None) -> Stack:
    # botocore takes a good part of a second to load, which no command of the local cloud has to wait for.
    from recovery.deployed import admin_token, api_url, session  # noqa: PLC0415

    aws = session(region, profile)
    url = api_url(aws, name)
    if not url.startswith("https://") and _host(url) not in _LOOPBACK:
        raise Failure(f"The stack {name} names an API without TLS; the token is not sent there.")
    return Stack(name, url, token or admin_token(aws, name))

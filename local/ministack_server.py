"""Starts ministack, in its own environment, with two things that it lacks.

A child of `local.cloud`, run by the interpreter of .venv-cloud; it imports nothing of the project. It ends when its
standard input closes, so it cannot outlive the process that started it, however that one ends.
"""

import contextvars
import os
import signal
import sys
import threading
from typing import Any

from ministack import app
from ministack.services import apigateway

_body_is_utf8: contextvars.ContextVar[bool] = contextvars.ContextVar("body_is_utf8", default=True)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _keep_body_bytes() -> None:
    """Hands over a body that is not UTF-8 in base64; ministack would replace its bytes, and no signature would fit."""
    invoke = apigateway._invoke_lambda_proxy
    is_text = apigateway._v2_request_body_is_text

    async def invoke_with_body_noted(*args: Any, **kwargs: Any) -> Any:
        body = args[6] if len(args) > 6 else kwargs["body"]
        _body_is_utf8.set(_is_utf8(body or b""))
        return await invoke(*args, **kwargs)

    apigateway._invoke_lambda_proxy = invoke_with_body_noted
    apigateway._v2_request_body_is_text = lambda content_type: is_text(content_type) and _body_is_utf8.get()


def _end_with_parent() -> None:
    def wait_for_parent() -> None:
        sys.stdin.read()
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=wait_for_parent, daemon=True).start()


if __name__ == "__main__":
    _keep_body_bytes()
    _end_with_parent()
    app.main()

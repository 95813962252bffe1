"""A message to a webhook when a run ends. Whether it arrives is never the run's concern.

The body is one JSON object: `text` is a sentence, which chat systems show; the rest is for programs.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

TOKEN_VARIABLE = "NOTIFY_WEBHOOK_TOKEN"  # noqa: S105 - where it is, not what it is
TIMEOUT_S = 10.0
PAUSES_S = (1.0, 4.0, 15.0)  # before each further attempt
WORTH_ANOTHER_ATTEMPT = (408, 425, 429)


def message(run: str, error: Mapping[str, Any] | None, **facts: Any) -> dict[str, Any]:
    """`error`: exit code, message and remedy of what ended the run, or None where it ended well."""
    text = f"{run} failed: {error['message']}" if error else f"{run} is done"
    return {"text": text, "run": run, "ok": error is None, "error": dict(error) if error else None, **facts}


def deliver(
    url: str,
    body: Mapping[str, Any],
    *,
    pauses_s: Sequence[float] = PAUSES_S,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Post the message; why it was not delivered, after all attempts, or None."""
    complaint, may_pass = _attempt(url, body)
    for pause_s in pauses_s:
        if complaint is None or not may_pass:
            break
        sleep(pause_s)
        complaint, may_pass = _attempt(url, body)
    return complaint


def _attempt(url: str, body: Mapping[str, Any]) -> tuple[str | None, bool]:
    """What is wrong, if anything, and whether it may pass."""
    try:
        _post(url, body)
    except HTTPError as error:
        error.close()
        return f"status {error.code}", error.code >= 500 or error.code in WORTH_ANOTHER_ATTEMPT
    except URLError as error:
        return getattr(error.reason, "strerror", None) or str(error.reason), True
    except (OSError, HTTPException) as error:
        return str(error) or type(error).__name__, True
    return None, False


def _post(url: str, body: Mapping[str, Any]) -> None:
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        headers["Authorization"] = f"Bearer {token}"
    request = Request(url, data=json.dumps(body).encode(), headers=headers, method="POST")  # noqa: S310 - http or https
    with urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 - the parameter's kind allows no other scheme
        pass

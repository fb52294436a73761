"""The file in which docker keeps logins."""

from __future__ import annotations

import base64
import json


def save_login(folder, registry, credentials):
    """Write ``config.json`` with a login, and return its folder."""
    folder.mkdir(exist_ok=True)
    text = f"{credentials.username}:{credentials.password}"
    entry = {"auth": base64.b64encode(text.encode()).decode()}
    (folder / "config.json").write_text(json.dumps({"auths": {registry: entry}}))
    return folder

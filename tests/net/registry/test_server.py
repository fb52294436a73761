"""The registry of the tests."""

from __future__ import annotations

import httpx


def test_the_registry_has_a_password(registry_server):
    url = f"{registry_server.url}/v2/"
    assert httpx.get(url).status_code == 401
    login = (registry_server.username, registry_server.password)
    assert httpx.get(url, auth=login).status_code == 200
    assert registry_server.new_repository() != registry_server.new_repository()

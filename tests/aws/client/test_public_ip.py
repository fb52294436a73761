"""The address of this machine, as AWS sees it."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import pytest

from cloudburst.aws.client import public_ip
from support.http_server import http_server

pytestmark = pytest.mark.anyio


class _CheckIp(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"198.51.100.4\n")

    def log_message(self, *_):
        pass


async def test_the_address_of_this_machine_is_asked_past_a_proxy(monkeypatch):
    with http_server(_CheckIp) as server:
        monkeypatch.setattr(public_ip, "CHECKIP_URL", server.url)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")  # nothing listens there
        assert await public_ip.public_address() == "198.51.100.4"

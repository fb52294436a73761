"""Logins for registries come from docker's file, and go to their registry only."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cloudburst.errors import CloudburstError, ConfigurationError
from cloudburst.image.base_image import docker_login
from cloudburst.image.build import build_image
from cloudburst.image.options import ImageOptions
from cloudburst.models.settings import Settings
from cloudburst.net.registry.http import Credentials
from support.docker_config import save_login

SECRET = Credentials("corp-user", "pass:word")


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """The path of ``config.json``."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://registry.example:5000/v2/", "registry.example:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
    ],
)
def test_a_login_belongs_to_its_registry(tmp_path, key, registry):
    save_login(tmp_path, key, SECRET)
    assert docker_login(registry) == SECRET
    assert docker_login("other.example") is None


def test_without_a_file_there_is_no_login():
    assert docker_login("ghcr.io") is None


def test_the_file_is_searched_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    save_login(tmp_path / ".docker", "ghcr.io", SECRET)
    assert docker_login("ghcr.io") == SECRET


@pytest.mark.parametrize(
    "text",
    [
        '{"auths": {"ghcr.io": {}}, "credsStore": "desktop"}',
        '{"credHelpers": {"ghcr.io": "ecr-login"}}',
    ],
)
def test_a_login_in_a_credential_helper_is_reported(config, caplog, text):
    config.write_text(text)
    assert docker_login("ghcr.io") is None
    assert "the login for ghcr.io is in a credential helper" in caplog.text
    assert docker_login("other.example") is None
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"auths": []}', '{"auths": {"a": 1}}', '{"auths": {"ghcr.io": {"auth": 5}}}'],
)
def test_a_damaged_file_is_one_error(config, text):
    config.write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.json: "):
        docker_login("ghcr.io")


@pytest.mark.real
def test_a_base_image_in_the_env_file_gets_no_login_of_another_registry(
    tmp_path, monkeypatch, caplog
):
    headers = []

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self):
            headers.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - the name is that of the base class

        def log_message(self, *_):
            """Print nothing."""

    save_login(tmp_path, "registry.example", SECRET)
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".env").write_text(f"CLOUDBURST_BASE_IMAGE={host}/library/python:3.13\n")
        options = ImageOptions.from_settings(Settings(), architectures=("amd64",))
        with pytest.raises(CloudburstError, match="requires a user name"):
            asyncio.run(build_image(options))
        server.shutdown()
    assert headers
    assert set(headers) == {None}
    assert f"CLOUDBURST_BASE_IMAGE in .env is {host}/library" in caplog.text

"""Keys of a server: in a header, in a cookie, wrong, and from pages of other sites."""

import anyio
import pytest

from cloudburst.errors import ConfigurationError
from cloudburst.serve import keys as module
from cloudburst.serve.keys import COOKIE, Keys, keys_for

pytestmark = pytest.mark.anyio

KEY, NEXT = "a-key-of-32-characters-or-more-1", "a-key-of-32-characters-or-more-2"


@pytest.fixture(autouse=True)
def short_delay(monkeypatch):
    monkeypatch.setattr(module, "DELAY", 0.05)


def bearer(key):
    return {"authorization": f"Bearer {key}"}


async def test_key_is_needed_for_everything_but_the_page(standing):
    async with standing(KEY, NEXT) as http:
        assert (await http.get("/")).status_code == 200
        for path in ("/api/jobs", "/api/jobs/1/film"):
            answer = await http.get(path)
            assert answer.status_code == 401, path
            assert answer.json()["message"] == "expected a valid key of the server"
        assert (await http.get("/api/jobs", headers=bearer(KEY))).status_code == 200
        assert (await http.get("/api/jobs", headers=bearer(NEXT))).status_code == 200
        headers = {"authorization": f"bearer {KEY}"}
        assert (await http.get("/api/jobs", headers=headers)).status_code == 200
        for wrong in (KEY[:-1], "", "é", COOKIE):
            headers = {"authorization": f"Bearer {wrong}".encode()}
            assert (await http.get("/api/jobs", headers=headers)).status_code == 401


async def test_session_is_a_cookie_without_the_key(standing):
    async with standing(KEY) as http:
        assert (await http.post("/session", json={"key": "wrong"})).status_code == 401
        for body in (b"[]", b'{"key": "\\ud800"}', b"[" * 1_000):
            assert (await http.post("/session", content=body)).status_code == 400, body
        answer = await http.post("/session", json={"key": KEY})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert KEY not in cookie
        assert (await http.get("/api/jobs")).status_code == 200
        await http.delete("/session")
        assert (await http.get("/api/jobs")).status_code == 401
        headers = {"cookie": f"{COOKIE}={'0' * 64}"}
        assert (await http.get("/api/jobs", headers=headers)).status_code == 401


async def test_cookie_of_an_https_server_is_secure(standing):
    async with standing(KEY, public_url="https://example.com") as http:
        answer = await http.post("/session", json={"key": KEY})
        assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("origin", "status"), [("http://localhost", 202), ("http://localhost:1", 403), ("null", 403)]
)
async def test_change_by_a_page_of_another_site_needs_more_than_the_cookie(
    origin, status, standing
):
    async with standing(KEY) as http:
        await http.post("/session", json={"key": KEY})
        headers = {"origin": origin}
        answer = await http.post("/api/jobs", json={"open": True}, headers=headers)
        assert answer.status_code == status
        answer = await http.post("/api/jobs", json={"open": True}, headers=headers | bearer(KEY))
        assert answer.status_code == 202


async def test_wrong_keys_are_delayed_and_few_at_once(standing, monkeypatch):
    monkeypatch.setattr(module, "MAX_DELAYED", 3)
    statuses = []

    async def guess(http):
        statuses.append((await http.get("/api/jobs", headers=bearer("wrong"))).status_code)

    async with standing(KEY) as http:
        begin = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(guess, http)
        assert anyio.current_time() - begin >= module.DELAY
        assert sorted(statuses) == [401, 401, 401, 429, 429]
        assert (await http.get("/api/jobs", headers=bearer(KEY))).status_code == 200
        await guess(http)
        assert statuses[-1] == 401, "the others have ended"


@pytest.mark.parametrize(
    ("host", "public_url", "needed"),
    [
        ("127.0.0.1", "", False),
        ("::1", "", False),
        ("localhost", "", False),
        ("127.0.0.1", "https://example.com", True),
        ("0.0.0.0", "", True),
        ("::", "", True),
        ("example.com", "", True),
    ],
)
def test_key_is_made_where_others_reach_the_server(host, public_url, needed):
    made = keys_for(host, public_url, [])
    assert len(made) == needed
    assert made != keys_for(host, public_url, []) or not needed
    assert keys_for(host, public_url, [KEY]) == [KEY]


@pytest.mark.parametrize("key", ["", "short", "with spaces in it, which is wrong", "schlüssel" * 3])
def test_key_that_is_short_or_cannot_be_sent_is_refused(key):
    with pytest.raises(ConfigurationError, match=r"--key: .* expected at least 16 printable ASCII"):
        Keys([key], "")

"""Films that the service makes of videos in its store, with the real film process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support import hostile_servers as servers
from support.film_scenes import scene_video, sine
from support.hostile_servers import serving
from support.service_caller import OpenCaller
from support.video_probe import probe

pytestmark = [pytest.mark.anyio, pytest.mark.real]

SUBTITLES = b"1\n00:00:00,100 --> 00:00:00,300\nHello\n"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("scene") / "scene"
    picture = Image.new("RGB", (32, 18), "teal")
    scene = scene_video(folder, picture, sine(0, 24_000), size="426x240")
    return Path(scene.video).read_bytes()


async def test_a_film_of_stored_videos_is_made_and_written(
    caller: OpenCaller, video: bytes
) -> None:
    async with caller() as to:
        scene = {"name": "one", "title": "One", "video": await to.put(video)}
        body: dict[str, Any] = {
            "scenes": [scene | {"subtitle": await to.put(SUBTITLES)}, scene | {"name": "two"}]
        }
        answer = await to.http.post("/films", json=body, headers={"Idempotency-Key": "0" * 32})
        again = await to.http.post("/films", json=body, headers={"Idempotency-Key": "0" * 32})
        assert (answer.status_code, again.status_code) == (201, 200)
        ident = answer.json()["id"]
        state = await to.until(ident, "done", "failed")
        assert state["error"] is None
        done = state["done"]
        assert (done["width"], done["height"]) == (426, 240)
        film = probe(to.video(ident))
        assert film.seconds == pytest.approx(done["seconds"], abs=0.05)
        names = {path.name: path.stat().st_size for path in to.video(ident).parent.iterdir()}
        assert names == {
            "video.mp4": done["size"],
            "cover.jpg": done["cover"]["size"],
            "subtitles.srt": done["subtitles"]["size"],
        }, "the inputs are gone"
        created = b'HTTP/1.1 200 OK\r\nETag: "abc"\r\n'
        async with serving(servers.answer(created), None) as server:
            url = f"http://127.0.0.1:{server.port}/bucket/film.srt"
            part = {"url": url, "size": names["subtitles.srt"]}
            upload = {"file": "subtitles", "parts": [part]}
            written = await to.http.post(f"/jobs/{ident}/uploads", json=upload)
            assert '"etags":["\\"abc\\""]' in written.text.replace(" ", "")
        assert (await to.http.delete(f"/jobs/{ident}")).status_code == 204


async def test_a_film_that_cannot_be_made_says_why_and_leaves_nothing(
    caller: OpenCaller, video: bytes
) -> None:
    async with caller() as to:
        scene = {"name": "one", "title": "", "video": "0" * 64}
        missing = await to.http.post("/films", json={"scenes": [scene]})
        assert (missing.status_code, missing.json()["missing"]) == (409, ["0" * 64])
        assert (await to.http.post("/films", json={"scenes": []})).status_code == 400
        text = scene | {"video": await to.put(b"no video")}
        answer = await to.http.post("/films", json={"scenes": [text]})
        state = await to.until(answer.json()["id"], "done", "failed")
        assert (state["state"], state["error"]["field"]) == ("failed", "film")
        assert "one: scene-0.mp4" in state["error"]["found"]
        assert str(to.service.folder) not in state["error"]["found"]
        assert all(path.startswith("files/") for path in to.files())

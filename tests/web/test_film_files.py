"""What is beside the film of a job: cover, subtitles and chapters."""

from urllib.parse import unquote

import pytest

from cloudburst.media.subtitles import Cue, read_subtitles
from cloudburst.media.subtitles.subrip_webvtt import to_subrip
from support.web_apps import finished, open_jobs, submit, upload

pytestmark = pytest.mark.anyio


async def test_a_film_has_a_cover_subtitles_in_webvtt_form_and_chapters(
    cloud, make_scene, tmp_path
):
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        image = await upload(http, make_scene("p")["image_path"])
        scenes = [
            {"name": "a", "image": image, "duration": 2, "transition": "crossfade"},
            {"name": "b", "image": image, "duration": 3, "options": {"title": "二 <&> 章"}},
            {"name": "c", "image": image, "duration": 1, "title": "Three"},
        ]
        job = (await submit(http, *scenes, film=True, transition_seconds=0.1)).json()
        await finished(http, job)
        url, path = job["links"]["film"], jobs.queue.files(job["id"]).film
        for name in ("cover", "subtitles.vtt", "chapters.vtt"):
            assert (await http.get(f"{url}/{name}")).status_code == 404, "no film"
        path.write_bytes(b"film")
        await check_cover(http, url, path)
        await check_subtitles(http, url, path)
        await check_chapters(http, url)


async def test_a_film_is_saved_under_the_name_of_its_run(cloud, make_scene, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (jobs, http):
        image = await upload(http, make_scene("p")["image_path"])
        scene = {"name": "a", "image": image, "duration": 1}
        for name in ("灯塔 1/2", ""):
            job = (await submit(http, scene, film=True, name=name)).json()
            await finished(http, job)
            jobs.queue.files(job["id"]).film.write_bytes(b"film")
            answer = await http.get(f"{job['links']['film']}?download")
            assert answer.headers["content-type"] == "video/mp4"
            saved = unquote(answer.headers["content-disposition"])
            assert f"{name or job['id']}.mp4" in saved
            assert saved.startswith("attachment; filename")


async def check_cover(http, url, path):
    assert (await http.get(f"{url}/cover")).status_code == 404
    path.with_suffix(".jpg").write_bytes(b"cover")
    answer = await http.get(f"{url}/cover")
    assert (answer.content, answer.headers["content-type"]) == (b"cover", "image/jpeg")
    assert answer.headers["content-disposition"].startswith("inline")


async def check_subtitles(http, url, path):
    assert (await http.get(f"{url}/subtitles.vtt")).text == "WEBVTT\n\n", "no subtitles"
    cues = [
        Cue(1_500, 3_000, "<i>你好</i> a < b\n--> & more", 8),
        Cue(3_600_000, 3_601_000, '<font color="#ff0000">red</font> {an9}'),
    ]
    path.with_suffix(".srt").write_text(to_subrip(cues), "utf-8")
    answer = await http.get(f"{url}/subtitles.vtt")
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
    found = read_subtitles(answer.content).cues
    assert [(cue.start, cue.end) for cue in found] == [(1_500, 3_000), (3_600_000, 3_601_000)]
    plain = [cue.text.replace("\u2060", "") for cue in found]
    assert plain == ["你好 a < b\n--> & more", "red {an9}"]
    assert "&lt; b" in answer.text


async def check_chapters(http, url):
    answer = await http.get(f"{url}/chapters.vtt")
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
    assert answer.text.startswith("WEBVTT\n\n")
    assert "00:00:01.900 --> 00:00:04.900\n二 &lt;&amp;&gt; 章" in answer.text
    assert "00:00:04.900 --> 00:00:05.900\nThree" in answer.text
    cues = read_subtitles(answer.content).cues
    assert [(cue.start, cue.end) for cue in cues] == [(0, 2000), (1900, 4900), (4900, 5900)]

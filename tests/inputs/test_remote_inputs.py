"""Files in S3 and on web servers, checked before a run with few bytes of each."""

from __future__ import annotations

import asyncio
import io
import os
import random
import threading
import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from PIL import Image

from cloudburst.client.run_inputs import RunInputs, check_inputs, check_objects
from cloudburst.errors import CredentialsError, InvalidScenesError
from cloudburst.inputs.media_checks import check_audio, check_picture
from cloudburst.inputs.media_file import open_media_file
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.remote_inputs import (
    BLOCK_BYTES,
    MAX_CHECKED_BYTES,
    MAX_RANGE_BYTES,
    CheckStoppedError,
    RemoteInputs,
)
from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import MAX_SUBTITLE_BYTES
from cloudburst.models.limits import Limits
from cloudburst.models.locations import HttpsUrl, RemoteLocation, S3Object
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import CheckedScene
from cloudburst.outputs.destinations import FolderDestination
from support.fingerprints import fingerprints_of
from support.remote_store import BUCKET, RemoteStore
from support.sample_media import CUES, tone

LIMITS = Limits()
SECRET = "sig=do-not-show"


def noise(width: int, height: int) -> Image.Image:
    data = random.Random(1).randbytes(width * height * 3)
    return Image.frombytes("RGB", (width, height), data)


def picture(kind: str, width: int = 200, height: int = 400, **saved: Any) -> bytes:
    file = io.BytesIO()
    noise(width, height).save(file, kind, **saved)
    return file.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown upright
    return exif


def wav(seconds: float = 2.0) -> bytes:
    size = int(seconds * 8000) * 2
    head = b"RIFF" + (size + 36).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += bytes.fromhex("01000100401f0000803e000002001000")
    return head + b"data" + size.to_bytes(4, "little") + bytes(size)


@pytest.fixture
def store() -> RemoteStore:
    store = RemoteStore()
    store.put("a.png", picture("PNG"))
    store.put("a.wav", wav(60))
    store.put("a.srt", CUES.encode())
    return store


def scene(**fields: Any) -> dict[str, Any]:
    files = {"image": f"s3://{BUCKET}/a.png", "audio": f"s3://{BUCKET}/a.wav"}
    return {"name": "one"} | files | fields


def check(store: RemoteStore, *scenes: Mapping[str, Any], **options: Any) -> list[CheckedScene]:
    store.ranges.clear()
    with store.inputs() as remote:
        checked = check_scenes(scenes, RenderOptions(**options), LIMITS, remote=remote)
        assert remote.bytes_read == sum(map(store.bytes_of, store.files))
    assert not +store.opened
    return list(checked)


def faults(store: RemoteStore, *scenes: Mapping[str, Any], **options: Any) -> list[str]:
    with pytest.raises(InvalidScenesError) as caught:
        check(store, *scenes, **options)
    assert SECRET not in str(caught.value)
    return [str(fault) for fault in caught.value.faults]


PICTURES: dict[str, Callable[[], bytes]] = {
    "png": lambda: picture("PNG"),
    "png with 200 kB of text": lambda: with_png_text(picture("PNG"), 200_000),
    "wide png": lambda: picture("PNG", 400, 200),
    "png that EXIF turns": lambda: picture("PNG", 400, 200, exif=turned()),
    "jpeg": lambda: picture("JPEG", quality=95),
    "wide jpeg that EXIF turns": lambda: picture("JPEG", 400, 200, quality=95, exif=turned()),
    "jpeg with a profile of 200 kB": lambda: picture(
        "JPEG", 400, 200, quality=95, exif=turned(), icc_profile=os.urandom(200_000)
    ),
    "progressive jpeg": lambda: picture("JPEG", quality=95, progressive=True),
    "webp": lambda: picture("WEBP", lossless=True),
    "wide webp": lambda: picture("WEBP", 400, 200, lossless=True),
    "avif": lambda: picture("AVIF", quality=100),
    "wide avif that is turned": lambda: picture("AVIF", 400, 200, quality=100, exif=turned()),
    "gif": lambda: picture("GIF"),
    "bmp": lambda: picture("BMP"),
    "tiff": lambda: picture("TIFF"),
}


def with_png_text(data: bytes, size: int) -> bytes:
    content = b"tEXt" + b"Comment\0" + bytes(size - 8)
    chunk = size.to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
    return data[:33] + chunk + data[33:]


@pytest.mark.few(7, spread=True)
@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_are_known_by_their_start(store: RemoteStore, kind: str, tmp_path: Path) -> None:
    data = PICTURES[kind]()
    assert len(data) > 64 * 1024
    (tmp_path / "x").write_bytes(data)
    at = store.put("x", data)
    (checked,) = check(store, scene(image=str(at)))
    assert checked.image_bytes == len(data)
    with open_media_file(tmp_path / "x", "", LIMITS) as media:
        assert checked.upright == check_picture(media, LIMITS).upright
    assert store.bytes_of(at) <= (MAX_CHECKED_BYTES if " kB" in kind else 64 * 1024)
    assert store.requests_for(at) <= (9 if "profile" in kind else 3)


def test_a_picture_with_too_much_metadata_has_a_known_kind_only(
    store: RemoteStore,
) -> None:
    data = picture("JPEG", quality=95, icc_profile=os.urandom(500_000))
    at = store.put("x", data)
    (checked,) = check(store, scene(image=str(at)))
    assert (checked.image_bytes, checked.upright) == (len(data), False)
    assert store.bytes_of(at) <= MAX_CHECKED_BYTES


SOUNDS: dict[str, tuple[tuple[str, ...], bool]] = {
    "mp3": (("-f", "mp3", "-b:a", "128k"), True),
    "mp3 without a header": (("-f", "mp3", "-b:a", "128k", "-write_xing", "0"), True),
    "wav": (("-f", "wav"), True),
    "m4a with its header at the end": (("-f", "ipod", "-c:a", "aac"), True),
    "m4a": (("-f", "ipod", "-c:a", "aac", "-movflags", "faststart"), True),
    "ogg": (("-f", "ogg", "-c:a", "libvorbis"), False),
    "opus": (("-f", "ogg", "-c:a", "libopus"), False),
    "flac": (
        (
            "-f",
            "flac",
        ),
        True,
    ),
    "aiff": (("-f", "aiff"), True),
    "caf": (("-f", "caf"), False),
    "aac": (("-f", "adts", "-c:a", "aac"), False),
    "webm": (("-f", "webm", "-c:a", "libopus"), False),
}


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("kind", SOUNDS)
def test_sounds_are_measured_by_their_header(store: RemoteStore, kind: str, tmp_path: Path) -> None:
    options, known = SOUNDS[kind]
    tone(tmp_path / "x", *options, seconds=12)
    at = store.put("x", (tmp_path / "x").read_bytes())
    (checked,) = check(store, scene(audio=str(at)))
    assert checked.audio_known == known
    if known:
        with open_media_file(tmp_path / "x", "", LIMITS) as media:
            assert checked.audio_seconds == check_audio(media, LIMITS).seconds
    assert not known or checked.audio_seconds == pytest.approx(12, abs=0.1)
    assert store.bytes_of(at) <= MAX_CHECKED_BYTES
    assert store.requests_for(at) <= 3


def test_bytes_after_the_last_page_of_an_ogg_file_are_no_sound(tmp_path: Path) -> None:
    """Its last page counts, even if the mark of a page is in the sound behind it."""
    tone(tmp_path / "x", "-f", "ogg", "-c:a", "libvorbis", seconds=2)
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data + b"OggS" + bytes(40))
    with open_media_file(tmp_path / "x", "", LIMITS) as media:
        assert check_audio(media, LIMITS).seconds == pytest.approx(2, abs=0.01)


def test_a_length_that_is_nowhere_is_guessed(store: RemoteStore) -> None:
    """Frames of different bit rates, without a header: tinytag would read half a megabyte."""
    frames = [bytes((0xFF, 0xFB, rate, 0x64)) for rate in (0x90, 0xB0)]
    sizes = (417, 626)
    pair = b"".join(f + bytes(size - 4) for f, size in zip(frames, sizes, strict=True))
    data = pair * 1000
    at = store.put("vbr.mp3", data)
    (checked,) = check(store, scene(audio=str(at)))
    assert not checked.audio_known
    assert checked.audio_seconds == pytest.approx(len(data) / 16_000)
    assert store.bytes_of(at) <= MAX_CHECKED_BYTES


def test_small_files_are_checked_to_their_end(store: RemoteStore) -> None:
    data = picture("PNG", 40, 40)
    assert len(data) < BLOCK_BYTES
    at = store.put("x", data[:-20])
    assert "ends too early" in faults(store, scene(image=str(at)))[0]


def test_subtitles_are_read_whole(store: RemoteStore) -> None:
    lines = [f"[{n // 60:02}:{n % 60:02}.00]{'x' * 50}\n" for n in range(2000)]
    at = store.put("long.lrc", "".join(lines).encode())
    check(store, scene(subtitle=str(at)))
    size = len(store.files[at])
    assert size <= store.bytes_of(at) <= size + BLOCK_BYTES


@pytest.mark.parametrize("data", [picture("PNG"), b"x" * (MAX_SUBTITLE_BYTES + 1)])
def test_what_are_no_subtitles_is_not_read(store: RemoteStore, data: bytes) -> None:
    at = store.put("x.srt", data)
    assert f": s3://{BUCKET}/x.srt; expected" in faults(store, scene(subtitle=str(at)))[0]
    assert store.bytes_of(at) <= MAX_RANGE_BYTES + BLOCK_BYTES


def test_fonts_watermarks_and_music(store: RemoteStore) -> None:
    font = store.put("f.ttf", b"\0\1\0\0\0\1" + bytes(6) + b"cmap" + bytes(8) + bytes(200_000))
    check_of = faults(store, scene(options={"font": str(font), "music": f"s3://{BUCKET}/a.png"}))
    assert check_of[0] == (
        "one: music: a PNG picture: s3://bucket/a.png; expected an audio file: "
        "mp3, wav, m4a, ogg, flac, aiff, caf, aac or webm"
    )
    assert "one: font: a broken font" in check_of[1]
    assert store.bytes_of(font) <= MAX_CHECKED_BYTES
    check(store, scene(), watermark=f"s3://{BUCKET}/a.png", music=f"s3://{BUCKET}/a.wav")


def test_all_faults_of_local_and_remote_files_are_in_one_error(
    store: RemoteStore, tmp_path: Path
) -> None:
    (tmp_path / "empty.png").touch()
    store.put("empty.wav", b"")
    denied = store.put_url(f"https://example.com/a.wav?{SECRET}", wav())
    store.broken[denied] = InvalidInputError("refused", "a file for everybody")
    found = faults(
        store,
        scene(name="a", image=tmp_path / "empty.png"),
        scene(name="b", image=f"s3://{BUCKET}/none.png", audio=denied),
        scene(name="c", audio=f"s3://{BUCKET}/empty.wav", subtitle=f"s3://{BUCKET}/a.png"),
        scene(name="d", image="s3://Not_A_Bucket/x.png"),
        scene(name="e", image=f"https://user:{SECRET}@example.com/x.png?{SECRET}"),
        scene(name="f", image=f"http://example.com/x.png?{SECRET}"),
        scene(name="g", image={"bucket": "b", "key": "k"}),
        scene(name="h", image=Path(f"s3://{BUCKET}/a.png")),
        watermark=f"s3://{BUCKET}/a.wav",
    )
    assert [fault.partition(";")[0] for fault in found] == [
        f"a: image: an empty file: {tmp_path}/empty.png",
        "b: image: no such file: s3://bucket/none.png",
        "b: audio: refused: https://example.com/a.wav?…",
        "c: audio: an empty file: s3://bucket/empty.wav",
        "c: subtitle: a PNG picture: s3://bucket/a.png",
        "d: image: not the name of a bucket: 's3://Not_A_Bucket/x.png'",
        "e: image: not a valid URL: 'https://example.com/x.png'",
        "f: image: a URL: 'http://example.com/x.png'",
        "g: image: {'bucket': 'b', 'key': 'k'}",
        "h: image: a URL in a path: s3://bucket/a.png",
        "options: watermark: a wav file: s3://bucket/a.wav",
    ]
    assert found[1].endswith("expected a picture: JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP or TIFF")
    assert found[2].endswith("; expected a file for everybody")


def test_a_file_that_is_too_large_or_too_long(store: RemoteStore) -> None:
    huge = store.put_url("https://example.com/huge", wav())
    assert faults(store, scene(audio=str(store.put("long.wav", wav(15_000))))) == [
        "one: audio: 15000 seconds: s3://bucket/long.wav; expected at most 14400 seconds"
    ]
    with (
        store.inputs() as remote,
        pytest.raises(InvalidInputError, match=r"at most 0\.0 MB"),
        remote.open(huge, "", Limits(file_bytes=100)),
    ):
        pass


def test_a_file_that_changes_while_it_is_read(store: RemoteStore) -> None:
    at = store.put("x", picture("PNG"))
    with store.inputs() as remote:
        remote.read(at, 0, 10)
        store.put("x", picture("JPEG"))
        with pytest.raises(InvalidInputError, match="changed while it was read"):
            remote.read(at, 10, 20)


def test_answers_that_end_too_early(store: RemoteStore) -> None:
    at = store.put("x", picture("PNG"))

    class Short(RemoteStore):
        async def read(self, location: Any, start: int, end: int) -> Any:
            return await store.read(location, start, end - 1 if start else 100)

    assert "an answer that ends too early" in faults_of(Short(files=store.files), at)


def faults_of(store: RemoteStore, at: S3Object) -> str:
    with store.inputs() as remote, pytest.raises(InvalidScenesError) as caught:
        check_scenes([scene(image=str(at))], RenderOptions(), LIMITS, remote=remote)
    return str(caught.value)


def test_servers_without_sizes_and_ranges(store: RemoteStore) -> None:
    store.without_size = store.only_starts = True
    store.put("a.srt", CUES.encode())
    (checked,) = check(store, scene(subtitle=f"s3://{BUCKET}/a.srt"))
    assert checked.upright
    assert (checked.image_bytes, checked.audio_seconds, checked.audio_known) == (0, 60.0, False)
    assert len(store.ranges) == 3
    store.put("a.wav", b"")
    assert "an empty file" in faults(store, scene())[0]


@pytest.mark.parametrize("without_size", [False, True])
def test_subtitles_of_which_a_server_sends_only_the_start(
    store: RemoteStore, without_size: bool
) -> None:
    store.only_starts, store.without_size = True, without_size
    at = store.put("long.lrc", b"[00:01.00]words\n" * 70_000)
    found = faults(store, scene(subtitle=str(at)))[0]
    assert "more than 1,048,576 bytes on a server that does not send parts of files" in found


def test_missing_credentials_end_the_check(store: RemoteStore) -> None:
    at = S3Object(BUCKET, "a.png")
    store.broken[at] = CredentialsError("no credentials")
    with store.inputs() as remote, pytest.raises(CredentialsError):
        check_scenes([scene()], RenderOptions(), LIMITS, remote=remote)
    assert not +store.opened


def test_credentials_that_expire_while_a_file_is_read(store: RemoteStore) -> None:
    """The file does not count as broken."""
    sound, junk = wav(20.0), bytes(100_000)  # the samples begin far from the start
    junk = b"junk" + len(junk).to_bytes(4, "little") + junk
    at = store.put("long.wav", sound[:12] + junk + sound[12:])

    class Expiring(RemoteStore):
        async def read(self, location: Any, start: int, end: int) -> Any:
            if start and location == at:
                raise CredentialsError("the credentials have expired")
            return await store.read(location, start, end)

    with (
        Expiring(files=store.files).inputs() as remote,
        pytest.raises(CredentialsError, match="have expired"),
    ):
        check_scenes([scene(audio=str(at))], RenderOptions(), LIMITS, remote=remote)


def test_many_files_are_read_at_once_and_shared_ones_once(store: RemoteStore) -> None:
    store.latency = 0.02
    scenes = [
        scene(name=f"{n}", image=str(store.put(f"{n}.png", picture("PNG", 4, 4))))
        for n in range(96)
    ]
    check(store, *scenes)
    assert 16 <= store.at_once["most"] <= 32
    assert store.requests_for(S3Object(BUCKET, "a.wav")) == 1


def test_local_scenes_open_no_connection(store: RemoteStore, tmp_path: Path) -> None:
    before = threading.active_count()
    noise(8, 8).save(tmp_path / "x.png")
    with store.inputs() as remote:
        check_scenes(
            [{"name": "a", "image": tmp_path / "x.png", "duration": 1}],
            RenderOptions(),
            LIMITS,
            remote=remote,
        )
        assert threading.active_count() == before
    assert not store.opened


def test_a_stopped_check_ends_at_once(store: RemoteStore) -> None:
    store.latency = 60
    remote = store.inputs()
    timer = threading.Timer(0.1, remote.stop)
    timer.start()
    with remote, pytest.raises(CheckStoppedError):
        check_scenes([scene()], RenderOptions(), LIMITS, remote=remote)
    timer.join()
    assert (store.at_once["now"], +store.opened) == (0, {})


class StoppingPortal:
    """Portal whose event loop stops the check at the moment at which a request starts."""

    def __init__(self, portal: BlockingPortal, *, closed: bool) -> None:
        self._portal = portal
        self._closed = closed
        self.wrap_async_context_manager = portal.wrap_async_context_manager
        self.stop: Callable[[], None] | None = None

    def start_task_soon(self, function: Callable[[], Any]) -> Any:
        assert self.stop is not None
        self._portal.start_task_soon(self.stop).result(timeout=5)
        if self._closed:
            raise RuntimeError("This portal is not running")
        return self._portal.start_task_soon(function)


@pytest.mark.parametrize("closed", [False, True])
def test_a_check_that_is_stopped_while_a_request_starts(
    store: RemoteStore, *, closed: bool
) -> None:
    """The thread of the check waits for the event loop then, so that this must not wait for it."""
    store.latency = 60
    with start_blocking_portal() as loop, store.inputs() as remote:
        portal = StoppingPortal(loop, closed=closed)
        portal.stop = remote.stop
        remote.s3_portal = cast("BlockingPortal", portal)
        with pytest.raises(CheckStoppedError):
            remote.read(S3Object(BUCKET, "a.wav"), 0, 10)
    assert (store.at_once["now"], +store.opened) == (0, {})


def test_a_file_whose_check_was_stopped_is_not_broken(
    store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = store.files[S3Object(BUCKET, "a.wav")]
    chunk = (
        b"JUNK" + (40_000).to_bytes(4, "little") + bytes(40_000)
    )  # the parser reads on behind it
    store.put("a.wav", sound[:12] + chunk + sound[12:])
    read = RemoteInputs.read

    def read_until_stopped(
        remote: RemoteInputs, location: RemoteLocation, start: int, end: int
    ) -> Any:
        if start and str(location).endswith(".wav"):
            remote.stop()
        return read(remote, location, start, end)

    check(store, scene())
    monkeypatch.setattr(RemoteInputs, "read", read_until_stopped)
    with pytest.raises(CheckStoppedError):
        check(store, scene())


async def inputs_of(scenes: list[Any], store: RemoteStore, folder: Path) -> RunInputs:
    return await check_inputs(
        scenes,
        destination=FolderDestination(folder),
        options=RenderOptions(),
        limits=LIMITS,
        film=None,
        remote=store.inputs(),
    )


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("native", [False, True])
async def test_a_cancelled_check_ends_at_once(
    store: RemoteStore, tmp_path: Path, *, native: bool
) -> None:
    store.latency = 60
    scope = anyio.CancelScope()

    async def run_check() -> None:
        with scope:
            await inputs_of([scene()], store, tmp_path)

    await anyio.to_thread.run_sync(import_module, "cloudburst.inputs.preflight")  # loads Pillow
    with anyio.fail_after(30):
        task = asyncio.create_task(run_check())
        while not store.at_once["now"]:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        (task if native else scope).cancel()
        await asyncio.wait([task])
        assert (task.cancelled(), scope.cancelled_caught) == (native, not native)
        while native and +store.opened:  # noqa: ASYNC110 - the thread of the check ends by itself
            await anyio.sleep(0.01)
    assert (store.at_once["now"], +store.opened) == (0, {})


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_inputs_of_a_run_know_their_remote_files(store: RemoteStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidScenesError):  # not in a group
        await inputs_of([], store, tmp_path)
    inputs = await inputs_of([scene()], store, tmp_path)
    assert set(inputs.remote_files) == {S3Object(BUCKET, "a.png"), S3Object(BUCKET, "a.wav")}
    assert inputs.bytes_checked == sum(map(store.bytes_of, store.files))


def test_no_object_of_a_run_replaces_an_input(store: RemoteStore) -> None:
    store.put("a.jpg", picture("JPEG"))
    sound = store.put("in/b.mp4", wav())
    scenes = [scene(name="a", image=f"s3://{BUCKET}/a.jpg"), scene(name="b", audio=sound)]
    for folder, replaced in (("", "a.jpg"), ("in/", "in/b.mp4")):
        with pytest.raises(InvalidScenesError) as caught:
            check_objects(
                check(store, *scenes, cover=True),
                lambda name, folder=folder: S3Object(BUCKET, f"{folder}{name}.mp4"),
            )
        [fault] = caught.value.faults
        assert fault.found == f"an input at its place: s3://{BUCKET}/{replaced}"
    check_objects(check(store, *scenes), lambda name: S3Object(BUCKET, f"{name}.mp4"))


def fingerprints(store: RemoteStore, **fields: Any) -> str:
    with store.inputs() as remote:
        checked = check_scenes([scene(**fields)], RenderOptions(), LIMITS, remote=remote)
        (one,) = fingerprints_of(checked, remote.files)
    return one


def test_versions_of_files_are_in_fingerprints(store: RemoteStore) -> None:
    first = fingerprints(store)
    assert first == fingerprints(store)
    copy = store.put("b.png", store.files[S3Object(BUCKET, "a.png")])
    assert first == fingerprints(store, image=str(copy))
    url = store.put_url(f"https://example.com/b.png?{SECRET}", store.files[copy])
    newer = store.put_url("https://example.com/b.png?sig=newer", store.files[copy])
    assert first != fingerprints(store, image=url) == fingerprints(store, image=newer)
    store.put("b.png", picture("PNG", 20, 30))
    assert first != fingerprints(store, image=str(copy))


def test_inputs_that_are_closed(store: RemoteStore) -> None:
    with store.inputs() as remote:
        remote.read(S3Object(BUCKET, "a.png"), 0, 10)
    for location in (S3Object(BUCKET, "a.png"), HttpsUrl("https://example.com")):
        with pytest.raises(CheckStoppedError):
            remote.read(location, 0, 10)
    assert isinstance(remote, RemoteInputs)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_reads_s3_on_its_own_loop(store: RemoteStore, tmp_path: Path) -> None:
    """A session of boto may be used on one event loop only."""
    here, loops = asyncio.get_running_loop(), set()
    read = store.read

    async def watched(location: RemoteLocation, start: int, end: int) -> Any:
        loops.add((isinstance(location, S3Object), asyncio.get_running_loop() is here))
        return await read(location, start, end)

    store.read = watched  # type: ignore[method-assign]
    sound = store.put_url("https://example.com/a.wav", wav())
    await inputs_of([scene(audio=str(sound))], store, tmp_path)
    assert loops == {(True, True), (False, False)}

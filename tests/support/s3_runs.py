"""Whole runs from S3 to S3 in an emulated account, and what must hold after each of them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from cloudburst import Client, Limits, RenderOptions, Report, Settings, Timeouts, endpoints
from cloudburst.aws.client import client as aws_client
from cloudburst.aws.s3 import request_waits
from cloudburst.engine import attempt_context
from cloudburst.events import Event
from cloudburst.files import state_folder
from cloudburst.models.limits import Backoff
from cloudburst.testing import Call
from cloudburst.workers.http import retries as transfer_retries
from support.emulator_calls import client, new_client
from support.fargate_backend import session_keys
from support.s3_account import BUCKET, settings_of
from support.service_caller import service_settings
from support.service_inputs import tone
from support.short_waits import repeat_quickly

KEY = "k-3f7"
STILL = RenderOptions(effects=(), size="240x240", fps=24)
HURRIED = Timeouts(call=5, scene=60, silence=10)
SECRETS = ("X-Amz-Signature", "x-amz-signature")
"""Part of every presigned URL, which nothing may show."""
MIN_PRESIGNED = 2
"""Number of secrets of one presigned URL: its signature and its session token."""
"""Number of seeds from which on a test run may take long."""
QUICK = (sys.executable, str(Path(__file__).parent / "serve_quick.py"))
"""Service whose render process is `quick_render`."""


@contextmanager
def running_service(folder: Path, *command: str, **variables: str) -> Iterator[str]:
    """Run a render service in a process of its own, and yield its address.

    Its log is in the file ``service.log``.
    """
    settings = service_settings(folder / "service", KEY, encoders="4", parent_fd="0")
    environment = {"PATH": os.environ["PATH"], **settings, **variables}
    (folder / "service").mkdir()
    with (
        (folder / "service.log").open("wb") as log,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.wait(30)


def impatient(monkeypatch: Any) -> None:
    """Let runs repeat requests after hundredths of a second, and give up after seconds."""
    short = Backoff(first=0.02, factor=2.0, cap=0.1)
    repeat_quickly(monkeypatch, short)
    monkeypatch.setattr(attempt_context, "WRITE_BACKOFF", short)
    for module, name in (
        (transfer_retries, "TRANSFER_TIMEOUT"),
        (request_waits, "TRANSFER_TIMEOUT"),
        (request_waits, "CREDENTIALS_TIMEOUT"),
        (attempt_context, "WRITE_TIMEOUT"),
    ):
        monkeypatch.setattr(module, name, 3.0)
    monkeypatch.setattr(aws_client, "RENEWAL_INTERVAL", 0.05)


def small_media() -> tuple[bytes, bytes]:
    """Return a picture and a sound."""
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder, "sound.wav")
        tone(sound, 0.3)
        picture = io.BytesIO()
        Image.new("RGB", (64, 36), "teal").save(picture, "PNG")
        return picture.getvalue(), sound.read_bytes()


_KEYS: dict[str, dict[str, str]] = {}


def kept_session_keys(emulator: Any) -> dict[str, str]:
    """Return temporary credentials, which the tests of an emulator share."""
    owner = emulator.environment["AWS_ACCESS_KEY_ID"]
    if owner not in _KEYS:
        _KEYS[owner] = session_keys(emulator)
    return _KEYS[owner]


def secrets_seen(emulator: Any) -> set[str]:
    """Return a set to which the emulator adds the signature and token of each presigned URL."""
    identity = emulator._inside.account.identity
    check_key = type(identity).check_key
    seen = set[str]()

    def noted(signature: Any) -> None:
        if signature.lasts is not None:
            seen.update(filter(None, (signature.value, signature.token)))
        check_key(identity, signature)

    identity.check_key = noted
    return seen


@dataclass
class Told:
    """Everything that a run has told."""

    events: list[Event] = field(default_factory=list)
    report: Report | None = None

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def errors(self) -> dict[str, str]:
        return {entry.scene: entry.error for entry in self.report.scenes if entry.error}


@dataclass
class World:
    """An account, a worker, and folders of one test in the bucket."""

    emulator: Any
    address: str
    """Address of the worker; empty if the runs have the backend `backend`."""
    name: str
    media: tuple[bytes, bytes] = field(default_factory=small_media)
    bucket: str = BUCKET
    s3: Any = None
    """Client of S3 with which the test looks at the bucket."""
    backend: Any = None
    keys: dict[str, str] = field(default_factory=dict)
    """Temporary credentials of the runs, so that each presigned URL has a session token."""

    def __post_init__(self) -> None:
        self.s3 = self.s3 or client(self.emulator, "s3")
        self.keys = self.keys or kept_session_keys(self.emulator)
        self.secrets = secrets_seen(self.emulator)
        self.clear_faults()
        self._first = len(self.emulator.calls)

    def clear_faults(self) -> None:
        self.emulator._inside.api.faults._pending.clear()

    @property
    def calls(self) -> list[Call]:
        """Calls of S3 since the scenes were written."""
        return [call for call in self.emulator.calls[self._first :] if call.service == "s3"]

    @property
    def film_calls(self) -> list[Call]:
        """Calls of S3 since a worker has fetched the first video for the film."""
        of_videos = [
            number
            for number, call in enumerate(self.calls)
            if call.operation == "GetObject" and call.presigned and call.resource.endswith(".mp4")
        ]
        return self.calls[of_videos[0] :] if of_videos else []

    @property
    def folder(self) -> str:
        return f"{self.name}/out/"

    @property
    def to(self) -> str:
        return f"s3://{self.bucket}/{self.folder}"

    def scenes(self, count: int, *names: str, **more: Any) -> list[dict[str, Any]]:
        """Write the inputs of scenes to the bucket; no two files have the same content."""
        image, audio = self.media
        made = []
        for number, name in enumerate(names or [f"scene {n}" for n in range(count)]):
            key = f"{self.name}/in/{number}"
            self.s3.put_object(Bucket=self.bucket, Key=f"{key}.png", Body=image + b"\0" * number)
            self.s3.put_object(
                Bucket=self.bucket, Key=f"{key}.wav", Body=audio + b"\0" * 2 * number
            )
            files = {
                "image_path": f"s3://{self.bucket}/{key}.png",
                "audio_path": f"s3://{self.bucket}/{key}.wav",
            }
            made.append({"scene_name": name, **files, **more})
        self._first = len(self.emulator.calls)
        return made

    def expire_credentials(self) -> dict[str, str]:
        """End all keys; return new temporary ones, which runs do not know yet."""
        self.emulator.expire_credentials()
        key = self.emulator.new_key()
        pair = {"key": key["AWS_ACCESS_KEY_ID"], "secret": key["AWS_SECRET_ACCESS_KEY"]}
        self.s3 = new_client(self.emulator, "s3", **pair)
        return session_keys(self.emulator)

    def open_client(self, *, settings: Settings | None = None, **more: Any) -> Client:
        return Client(
            self.backend or endpoints(self.address, key=KEY, protocol="native", encoders=4),
            options=more.pop("options", STILL),
            settings=settings or settings_of(self.emulator, **self.keys),
            timeouts=more.pop("timeouts", HURRIED),
            limits=more.pop("limits", Limits(workers=1)),
        )

    async def run(
        self,
        scenes: list[dict[str, Any]],
        *,
        watch: Callable[[Event], object] = lambda _: None,
        told: Told | None = None,
        settings: Settings | None = None,
        **more: Any,
    ) -> Told:
        told = told or Told()
        async with (
            self.open_client(settings=settings) as opened,
            opened.stream(scenes, to=self.to, **more) as run,
        ):
            async for event in run:
                told.events.append(event)
                watch(event)
            told.report = await run.report()
        return told

    def listed(self) -> list[str]:
        """Keys in the folder of the videos."""
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=self.folder)
        return [entry["Key"].removeprefix(self.folder) for entry in found.get("Contents", ())]

    def written(self) -> Counter[str]:
        """Number of times that workers have written each object, also without an answer."""
        return Counter(
            call.resource.removeprefix(f"{self.bucket}/{self.folder}")
            for call in self.calls
            if call.operation == "PutObject"
            and call.presigned
            and (call.status == 200 or call.note == "lost")
        )

    def hold(self, told: Told, names: Iterable[str], *, failed: Iterable[str] = ()) -> None:
        """Every video is there once and whole, and nothing else is there."""
        done = sorted(set(names) - set(failed))
        assert sorted(told.errors) == sorted(failed), told.errors
        assert sorted(video.scene for video in told.report.videos) == done
        self.hold_objects(told.report)
        self.hold_clean({f"{name}.mp4" for name in done})
        assert max(self.written().values(), default=1) == 1, self.written()
        self.hold_met()

    def hold_met(self) -> None:
        """Every fault was met at least once."""
        pending = self.emulator._inside.api.faults._pending
        assert not [one.fault for one in pending if not one.hit], "a fault was not met"

    def hold_objects(self, report: Report) -> None:
        for video in report.videos:
            got = self.s3.get_object(Bucket=self.bucket, Key=video.path.key)
            data = got["Body"].read()
            assert len(data) == video.size
            assert hashlib.sha256(data).hexdigest() == video.sha256
            assert got["Metadata"]["cloudburst-sha256"] == video.sha256

    def hold_clean(self, keys: Iterable[str]) -> None:
        """Nothing but these objects is left: no multipart upload."""
        assert set(self.listed()) == set(keys)
        parts = self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())
        assert not [one["Key"] for one in parts if one["Key"].startswith(self.folder)]

    def hold_secrets(self, *texts: str) -> None:
        """No presigned URL is in the texts, or in a file that runs have left on this machine.

        Neither is a signature or a token of a URL that was used, in whichever form.
        """
        secrets = (*SECRETS, *self.secrets)
        assert len(secrets) >= len(SECRETS) + MIN_PRESIGNED, "otherwise there is nothing to hide"
        for text in texts:
            for secret in secrets:
                assert secret not in text, text[max(0, text.find(secret) - 500) :][:1000]
        for path in state_folder().rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not [secret for secret in secrets if secret.encode() in data], path

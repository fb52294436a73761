"""Reports of runs that never were, and texts that a page must show as they are."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from cloudburst.models.report import Cost, Prediction, Report, SceneReport, Status, WorkerReport
from cloudburst.models.scene import Video

HOSTILE = {
    "script": "</script><script>alert(1)</script>",
    "quotes": "\"onload=alert(1) 'x' `y` {{ 7*7 }} {% raw %}",
    "right to left": "\u202egnp.exe\u2066",
    "long": "長" * 10_000,
    "comment": "<!--<script>",
    "not UTF-8": "a\udcffb",
    "control": "a\x1b[31mb\nc",
}


def video(folder, name, **more):
    facts = {"task": "t1", "size": 1_234_567, "sha256": "ab", "seconds": 6.25} | more
    return Video(scene=name, path=facts.pop("path", folder / f"{name}.mp4"), **facts)


def scene(folder, name, number=0, **more):
    facts = {
        "video": video(folder, name),
        "task": "t1",
        "attempts": 1,
        "upload_at": 1.0,
        "upload_seconds": 0.5,
        "encode_at": 1.5,
        "encode_seconds": 5.0 + number,
        "download_at": 7.0,
        "download_seconds": 0.25,
        "usd": Decimal("0.0012") + number,
    }
    return SceneReport(scene=name, **(facts | more))


def report(folder, count=3, **more):
    cost = Cost(
        encoding=Decimal("0.012"), idle=Decimal("0.003"), wasted=Decimal("0.001"), final=True
    )
    worker = WorkerReport(
        task="t1", backend="fargate", size="2 vCPU, 4 GB", launched_at=0.0, ready_at=0.9, cost=cost
    )
    facts = {
        "run": "5d0c6a1f7f52",
        "status": Status.COMPLETE,
        "began_at": dt.datetime(2026, 11, 24, 20, 58, tzinfo=dt.UTC),
        "wall_seconds": 98.5,
        "scenes": tuple(scene(folder, f"s{n:04}", n) for n in range(count)),
        "workers": (worker,),
        "cost": cost,
        "predicted": Prediction(wall_seconds=90.0, usd_high=Decimal("0.02")),
    }
    return Report(**(facts | more))


def failed(folder, names, error):
    text = f"{type(error).__name__}: {error}"
    return [scene(folder, name, video=None, error=text, usd=None) for name in names]

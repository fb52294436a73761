"""Container health checks are run, and their exit code decides."""

from __future__ import annotations

import sys
import time

import pytest

from support.emulator_calls import CLUSTER, WATCHDOG, client, overriding, reach, run, seen, until

pytestmark = pytest.mark.real
SERVICE = [sys.executable, "-m", "cloudburst.service"]
OURS = ["CMD", "python", "-m", "cloudburst.service.health"]
FETCH = ["CMD-SHELL", "curl -fsS http://127.0.0.1:5000/health || exit 1"]


def checked(emulate, command, *, worker=(), environment=None, **check):
    protocol = "native" if worker else "onestep"
    emulator = emulate(worker=worker, protocol=protocol)
    check = {"command": command, "interval": 0.3, "retries": 2, **check}
    emulator.register(container={"healthCheck": check})
    [task] = run(emulator, overrides=overriding(environment=environment or {}))
    return emulator, reach(emulator, task, "RUNNING")


def told(emulator):
    return [task.healthy for task in emulator.tasks]


def test_a_check_that_succeeds_is_shown(emulate):
    emulator, task = checked(emulate, ["CMD", "true"])
    until(lambda: told(emulator) == [True])
    seen(emulator, task)
    [shown] = client(emulator, "ecs").describe_tasks(cluster=CLUSTER, tasks=[task.arn])["tasks"]
    assert shown["healthStatus"] == "HEALTHY"
    assert {one["name"]: one["healthStatus"] for one in shown["containers"]} == {
        task.main: "HEALTHY",
        WATCHDOG: "UNKNOWN",
    }


def test_our_check_speaks_tls_with_the_certificate_of_the_task(emulate):
    from cloudburst.workers.http.certificates import new_secrets

    made = new_secrets()
    secrets = {
        "AUTHENTICATION_KEY": made.key,
        "CLOUDBURST_CERTIFICATE": made.certificate,
        "CLOUDBURST_PRIVATE_KEY": made.private_key,
    }
    emulator, _ = checked(emulate, OURS, worker=SERVICE, environment=secrets, timeout=10)
    until(lambda: told(emulator) == [True], seconds=20)


def test_a_worker_that_answers_503_is_unhealthy(emulate):
    emulator = emulate(worker_environment={"STUB_NEVER_HEALTHY": "1"})
    emulator.register(container={"healthCheck": {"command": FETCH, "interval": 0.3, "retries": 2}})
    run(emulator)
    until(lambda: told(emulator) == [False])


@pytest.mark.parametrize(("command", "healthy"), [("exit 0", True), ("exit 1", False)])
def test_the_exit_code_decides(emulate, command, healthy):
    emulator, _ = checked(emulate, ["CMD-SHELL", command])
    until(lambda: told(emulator) == [healthy])


def test_failures_of_the_start_period_do_not_count(emulate):
    emulator, task = checked(emulate, ["CMD-SHELL", "exit 1"], startPeriod=60)
    time.sleep(1.5)
    assert told(emulator) == [None]
    client(emulator, "ecs").stop_task(cluster=CLUSTER, task=task.arn)
    reach(emulator, task, "STOPPED")


def test_a_check_that_takes_too_long_has_failed(emulate):
    emulator, task = checked(emulate, FETCH, timeout=0.5)
    emulator.freeze(task, 60)
    until(lambda: told(emulator) == [False], seconds=30)


def test_a_check_can_end_its_own_processes(emulate):
    """SIGTERM has its default effect in a check, although the worker beside it ignores it."""
    script = "sleep 60 & kill $!; wait $!; test $? = 143"
    emulator, _ = checked(emulate, ["CMD-SHELL", script])
    until(lambda: told(emulator) == [True])

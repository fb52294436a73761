"""A task's way from PROVISIONING to STOPPED, with real processes."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from cloudburst.testing import TaskFault
from support.emulator_calls import (
    CLUSTER,
    MAIN,
    QUICK,
    WATCHDOG,
    ask,
    client,
    lasts,
    logged,
    network,
    now,
    overriding,
    reach,
    run,
    seen,
    spot,
    stop,
    until,
)


def describe(emulator, task, *include):
    seen(emulator, task)
    answer = client(emulator, "ecs").describe_tasks(
        cluster=CLUSTER, tasks=[task.arn], include=list(include)
    )
    return answer["tasks"][0]


def details(shown):
    return {item["name"]: item["value"] for item in shown["attachments"][0]["details"]}


def test_passes_through_the_states_of_ecs_in_order(emulate):
    emulator = emulate(task_faults={0: TaskFault(start_delay=0.05)})
    seen = []
    emulator.on_change(lambda task: seen.append((task.last_status, task.desired_status)))
    [task] = run(emulator)
    reach(emulator, task, "RUNNING")
    stop(emulator, task, reason="done")
    task = reach(emulator, task, "STOPPED")
    states = [status for n, (status, _) in enumerate(seen) if not n or seen[n - 1][0] != status]
    assert states == [
        "PROVISIONING",
        "PENDING",
        "ACTIVATING",
        "RUNNING",
        "STOPPING",
        "DEPROVISIONING",
        "STOPPED",
    ]
    times = [
        task.created,
        task.pull_started,
        task.pull_stopped,
        task.started,
        task.stopping,
        task.execution_stopped,
        task.stopped,
    ]
    assert times == sorted(times)
    assert (task.stop_code, task.stopped_reason) == ("UserInitiated", "done")


def test_has_its_network_interface_while_it_is_provisioning(emulate):
    emulator = emulate(provisioning=2.0)
    [task] = run(emulator)
    time.sleep(0.45)  # the attachment comes a moment after the task
    assert "networkInterfaceId" not in details(describe(emulator, task))
    task = until(lambda: now(emulator, task).address and now(emulator, task))
    shown = describe(emulator, task)
    assert shown["lastStatus"] == "PROVISIONING"
    assert shown["attachments"][0]["status"] == "ATTACHED"
    assert details(shown)["privateIPv4Address"] == task.private_address
    assert details(shown)["networkInterfaceId"] == task.interface


def test_takes_the_seconds_that_it_was_told(emulate):
    emulator = emulate(provisioning=0.3, pending=0.6)
    [task] = run(emulator)
    task = reach(emulator, task, "RUNNING")
    assert lasts(task.pull_started - task.created, 0.3)
    assert lasts(task.started - task.pull_started, 0.6)


def test_worker_has_what_definition_and_request_say(emulator):
    emulator.register(environment={"AUTHENTICATION_KEY": "old", "STUB_VIDEO_BYTES": "5000"})
    [task] = run(emulator, overrides=overriding(environment={"AUTHENTICATION_KEY": "k1"}))
    task = reach(emulator, task, "RUNNING")
    assert task.environment == {"AUTHENTICATION_KEY": "k1", "STUB_VIDEO_BYTES": "5000"}
    assert ask(task)[0] == 200
    assert ask(task, "/cleanup", key="old")[0] == 401
    assert ask(task, "/cleanup", key="k1")[0] == 200
    shown = describe(emulator, task)["overrides"]["containerOverrides"]
    assert shown == overriding(environment={"AUTHENTICATION_KEY": "k1"})["containerOverrides"]


def test_variables_for_the_files_of_an_image_do_not_break_the_worker(emulate):
    emulator = emulate(worker=["sh", "-c", 'echo "$HOME $GIVEN"; sleep 60'])
    given = {"PATH": "/image", "HOME": "/image", "TMPDIR": "/image", "GIVEN": "1"}
    [task] = run(emulator, overrides=overriding(environment=given))
    reach(emulator, task, "RUNNING")
    until(lambda: logged(emulator) == [f"{os.environ['HOME']} 1"])


def test_the_command_of_a_second_container_is_run(emulate):
    emulator = emulate()
    [task] = run(emulator, overrides=overriding(WATCHDOG, command=["sh", "-c", "exit 6"]))
    assert reach(emulator, task, "STOPPED").exit_codes[WATCHDOG] == 6


def test_is_gone_when_it_has_stopped(emulator):
    [task] = run(emulator)
    task = reach(emulator, task, "RUNNING")
    ask(task)
    stop(emulator, task)
    assert [one.number for one in emulator.live] == []
    reach(emulator, task, "STOPPED")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((task.address, 5000), timeout=1)
    time.sleep(emulator.config.interface_lingers)
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError, match="InvalidNetworkInterfaceID"):
        client(emulator, "ec2").describe_network_interfaces(NetworkInterfaceIds=[task.interface])


@pytest.mark.parametrize(("init", "code"), [(True, 143), (False, 137)])
def test_a_first_process_ignores_sigterm_unless_there_is_an_init(emulate, init, code):
    emulator = emulate(watchdog=False)
    emulator.register(init=init, stop_timeout=15 if init else 1)
    [task] = run(emulator)
    task = reach(emulator, task, "RUNNING")
    ask(task)
    stop(emulator, task)
    task = reach(emulator, task, "STOPPED")
    assert task.exit_code == code
    waited = task.execution_stopped - task.stopping
    assert waited < 15 if init else lasts(waited, 1.0)


def test_a_worker_that_handles_sigterm_may_finish(emulate):
    emulator = emulate(worker_environment={"STUB_TERM": "drain"})
    [task] = run(emulator)
    task = reach(emulator, task, "RUNNING")
    ask(task)
    stop(emulator, task)
    assert reach(emulator, task, "STOPPED").exit_code == 0


def test_watchdog_ends_the_task_when_its_time_has_come(emulator):
    [task] = run(emulator, overrides=overriding(WATCHDOG, command=["sleep", "0.4"]))
    reach(emulator, task, "RUNNING")
    task = reach(emulator, task, "STOPPED")
    assert task.stop_code == "EssentialContainerExited"
    assert task.exit_codes == {WATCHDOG: 0, MAIN: 143}
    assert lasts(task.stopping - task.started, 0.4)


def test_crash_ends_the_task(emulator):
    [task] = run(emulator)
    task = reach(emulator, task, "RUNNING")
    emulator.crash()
    task = reach(emulator, task, "STOPPED")
    assert (task.stop_code, task.exit_code) == ("EssentialContainerExited", 137)
    assert describe(emulator, task)["stoppedReason"] == "Essential container in task exited"


def test_spot_gives_notice_and_then_takes_it_back(emulate):
    emulator = emulate(worker_environment={"STUB_TERM": "ignore"}, interruption_lag=0)
    first, _ = run(emulator), run(emulator, **spot())
    for task in emulator.tasks:
        reach(emulator, task, "RUNNING")
        ask(now(emulator, task))
    taken = emulator.interrupt(notice=1.5)
    assert taken.number == 1, "the one that runs on Spot"
    shown = describe(emulator, taken)
    assert (shown["lastStatus"], shown["desiredStatus"]) == ("STOPPING", "STOPPED")
    assert shown["stopCode"] == "SpotInterruption"
    assert shown["capacityProviderName"] == "FARGATE_SPOT"
    assert ask(taken)[0] == 200, "it works on until its end"
    taken = reach(emulator, taken, "STOPPED")
    assert lasts(taken.execution_stopped - taken.stopping, 1.5)
    assert now(emulator, first[0]).live


def test_spot_does_not_take_back_a_task_on_demand(emulator):
    [task] = run(emulator)
    task = reach(emulator, task, "RUNNING")
    for named in (task, task.id, task.arn, task.number):
        with pytest.raises(
            ValueError, match="task 0 is on demand; expected a task on FARGATE_SPOT"
        ):
            emulator.interrupt(named)
    assert emulator.tasks[0].live


def test_tags_are_gone_with_the_task(emulator):
    [task] = run(emulator, tags=[{"key": "Scene", "value": "one"}])
    assert describe(emulator, task, "TAGS")["tags"] == [{"key": "Scene", "value": "one"}]
    assert describe(emulator, task)["tags"] == []
    reach(emulator, task, "RUNNING")
    stop(emulator, task)
    task = reach(emulator, task, "STOPPED")
    assert describe(emulator, task, "TAGS")["tags"] == []


def test_a_task_that_stops_early_never_runs(emulate):
    emulator = emulate(pending=30)
    [task] = run(emulator)
    reach(emulator, task, "PENDING")
    stop(emulator, task)
    task = reach(emulator, task, "STOPPED")
    assert task.pull_started
    assert not task.started
    assert not task.pids


def test_a_public_task_does_not_answer_at_its_private_address(emulator):
    [task] = run(emulator)
    task = reach(emulator, task, "RUNNING")
    assert ask(task)[0] == 200
    [interface] = client(emulator, "ec2").describe_network_interfaces(
        NetworkInterfaceIds=[task.interface]
    )["NetworkInterfaces"]
    private = interface["PrivateIpAddress"]
    assert interface["Association"]["PublicIp"] == task.address != private
    assert details(describe(emulator, task))["privateIPv4Address"] == private
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((private, 5000), timeout=1)


def test_private_tasks_have_no_public_address(emulate):
    emulator = emulate(way_out="nat")
    [task] = run(emulator, networkConfiguration=network(emulator, assignPublicIp="DISABLED"))
    task = reach(emulator, task, "RUNNING")
    [interface] = client(emulator, "ec2").describe_network_interfaces(
        NetworkInterfaceIds=[task.interface]
    )["NetworkInterfaces"]
    assert "Association" not in interface
    assert interface["PrivateIpAddress"] == task.private_address == task.address
    assert ask(task)[0] == 200


def test_a_young_task_is_missing(emulate):
    emulator = emulate(new_task_invisible=1.0, disagreement=0)
    ecs = client(emulator, "ecs")
    [task] = run(emulator, startedBy="me")
    answer = ecs.describe_tasks(cluster=CLUSTER, tasks=[task.arn])
    assert answer["tasks"] == []
    assert answer["failures"] == [{"arn": task.arn, "reason": "MISSING"}]
    assert ecs.list_tasks(cluster=CLUSTER, startedBy="me")["taskArns"] == []
    time.sleep(1.1)
    assert ecs.describe_tasks(cluster=CLUSTER, tasks=[task.arn])["failures"] == []
    assert ecs.list_tasks(cluster=CLUSTER, startedBy="me")["taskArns"] == [task.arn]


def test_a_stopped_task_is_forgotten(emulate):
    emulator = emulate(stopped_visible=1.0)
    [task] = run(emulator)
    stop(emulator, task)
    task = reach(emulator, task, "STOPPED")
    assert describe(emulator, task)["lastStatus"] == "STOPPED"
    time.sleep(1.1)
    answer = client(emulator, "ecs").describe_tasks(cluster=CLUSTER, tasks=[task.arn])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]


def test_without_its_log_group_no_task_starts(emulator):
    client(emulator, "logs").delete_log_group(logGroupName="/ecs/cloudburst")
    [task] = run(emulator)
    task = reach(emulator, task, "STOPPED")
    assert task.stop_code == "TaskFailedToStart"
    assert "log group does not exist" in task.stopped_reason


def test_container_health_check_asks_the_worker(emulate):
    emulator = emulate(worker_environment={"STUB_BOOT_SECONDS": "1.5"})
    ask = "curl -f http://127.0.0.1:5000/health || exit 1"
    check = {"command": ["CMD-SHELL", ask], "interval": 0.5, "retries": 1}
    emulator.register(container={"healthCheck": check})
    [task] = run(emulator)
    task = reach(emulator, task, "RUNNING")
    assert describe(emulator, task)["healthStatus"] == "UNKNOWN"
    until(lambda: now(emulator, task).healthy is False)
    until(lambda: now(emulator, task).healthy)
    assert describe(emulator, task)["healthStatus"] == "HEALTHY"


class TestFaults:
    """What a `TaskFault` does, and only to the task that it is for."""

    def start(self, emulate, fault, **more):
        emulator = emulate(task_faults={0: fault}, **more)
        return emulator, *run(emulator, count=2)

    @pytest.mark.parametrize(
        ("fault", "reason", "pulled"),
        [
            (TaskFault(registry_unreachable=True), "CannotPullContainerError", True),
            (TaskFault(no_network_interface=True), "network interface", False),
        ],
    )
    def test_never_starts(self, emulate, fault, reason, pulled):
        emulator, task, other = self.start(emulate, fault)
        task = reach(emulator, task, "STOPPED")
        assert task.stop_code == "TaskFailedToStart"
        assert reason in task.stopped_reason
        assert bool(task.pull_started) is pulled
        assert not task.started
        assert reason in describe(emulator, task)["containers"][0]["reason"]
        reach(emulator, other, "RUNNING")

    def test_no_public_address(self, emulate):
        emulator, task, other = self.start(emulate, TaskFault(no_public_address=True))
        ids = [reach(emulator, one, "RUNNING").interface for one in (task, other)]
        answer = client(emulator, "ec2").describe_network_interfaces(NetworkInterfaceIds=ids)
        assert ["Association" in one for one in answer["NetworkInterfaces"]] == [False, True]

    def test_black_hole(self, emulate):
        emulator, task, other = self.start(emulate, TaskFault(black_hole=True))
        with pytest.raises(TimeoutError):
            socket.create_connection((reach(emulator, task, "RUNNING").address, 5000), timeout=0.7)
        assert ask(reach(emulator, other, "RUNNING"))[0] == 200
        assert now(emulator, task).pid, "its worker does run"

    def test_never_healthy(self, emulate):
        emulator, task, other = self.start(emulate, TaskFault(never_healthy=True))
        assert ask(reach(emulator, task, "RUNNING"))[0] == 503
        assert ask(reach(emulator, other, "RUNNING"))[0] == 200

    def test_another_worker_than_the_stub_is_frozen(self, emulate):
        emulator, task, _ = self.start(
            emulate, TaskFault(never_healthy=True), worker=["sleep", "60"]
        )
        frozen = Path(f"/proc/{reach(emulator, task, 'RUNNING').pid}/stat")
        until(lambda: frozen.read_text().split()[2] == "T")

    def test_start_delay(self, emulate):
        emulator, task, other = self.start(emulate, TaskFault(start_delay=0.6))
        late, soon = reach(emulator, task, "RUNNING"), reach(emulator, other, "RUNNING")
        assert lasts(late.started - late.pull_stopped, 0.6)
        assert soon.started - soon.pull_stopped < late.started - late.pull_stopped

    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            (TaskFault(crash_after=0.2), "EssentialContainerExited"),
            (TaskFault(interrupt_after=0.2), "SpotInterruption"),
        ],
    )
    def test_ends_by_itself(self, emulate, fault, code):
        emulator, task, other = self.start(emulate, fault)
        task = reach(emulator, task, "STOPPED")
        assert task.stop_code == code
        assert lasts(task.stopping - task.started, 0.2)
        assert now(emulator, other).live

    def test_freeze(self, emulate):
        emulator, task, _ = self.start(emulate, TaskFault(freeze=(0.3, 2.0)))
        task = reach(emulator, task, "RUNNING")
        ask(task)
        time.sleep(0.4)
        began = time.monotonic()
        assert ask(task, timeout=20)[0] == 200
        assert time.monotonic() - began > 0.3

    def test_slow(self, emulate):
        emulator, task, other = self.start(
            emulate,
            TaskFault(slow=4.0),
            worker=["sh", "-c", "while :; do :; done"],
            watchdog=False,
        )
        pids = [reach(emulator, one, "RUNNING").pid for one in (task, other)]
        before = [cpu_seconds(pid) for pid in pids]
        time.sleep(2.0)
        slow, fast = (cpu_seconds(pid) - b for pid, b in zip(pids, before, strict=True))
        assert 0 < slow < 0.6 * fast

    def test_environment(self, emulate):
        emulator, task, other = self.start(
            emulate, TaskFault(environment={"AUTHENTICATION_KEY": "only mine"})
        )
        assert ask(reach(emulator, task, "RUNNING"), "/cleanup")[0] == 401
        assert ask(reach(emulator, other, "RUNNING"), "/cleanup")[0] == 200


def cpu_seconds(pid):
    from pathlib import Path

    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize(
    "rules",
    [
        {"worker_sources": ()},
        {"worker_sources": ("203.0.113.0/24", "127.0.0.2/32")},
        {"worker_sources": ("127.0.0.1/32",), "client_address": "203.0.113.7"},
    ],
    ids=["closed", "other addresses", "a client that moved"],
)
def test_packets_that_no_security_group_lets_in_are_dropped(emulate, rules):
    emulator = emulate(**rules)
    [task] = run(emulator)
    with pytest.raises(TimeoutError):
        socket.create_connection((reach(emulator, task, "RUNNING").address, 5000), timeout=0.3)


def test_a_security_group_lets_in_the_addresses_of_its_rules(emulate):
    emulator = emulate(
        worker_sources=("192.0.2.1/32", "203.0.113.0/24"), client_address="203.0.113.7"
    )
    [task] = run(emulator)
    assert ask(reach(emulator, task, "RUNNING"))[0] == 200


def test_unnamed_tasks_are_looked_for(emulator):
    with pytest.raises(LookupError):
        emulator.crash()
    with pytest.raises(LookupError):
        emulator.interrupt()
    [task] = run(emulator)
    reach(emulator, task, "RUNNING")
    for name in (task, task.id, task.arn, 0):
        assert emulator.freeze(name, 0.01).id == task.id
    with pytest.raises(LookupError):
        emulator.crash(7)


def test_outside_of_with_there_is_no_emulator(emulate):
    from cloudburst.testing import EmulatorConfig, FargateEmulator

    emulator = FargateEmulator(EmulatorConfig.quick(**QUICK))
    with pytest.raises(RuntimeError):
        _ = emulator.url
    with emulator:
        assert emulator.url
    for touch in (lambda: emulator.tasks, emulator.register):
        with pytest.raises(RuntimeError):
            touch()

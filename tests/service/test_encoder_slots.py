"""Encoder slots: their order, their use for shared encoding, and that none is lost."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from anyio import CancelScope, create_task_group
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from cloudburst.service.encoder_slots import EncoderSlots

pytestmark = pytest.mark.anyio


class Users:
    """Tasks that hold slots until they are released, and the order in which they got them."""

    def __init__(self, slots: EncoderSlots, tasks: TaskGroup) -> None:
        self.slots = slots
        self.tasks = tasks
        self.holding: list[str] = []
        self.ended: list[str] = []
        self.scopes: dict[str, CancelScope] = {}
        self.releases: dict[str, anyio.Event] = {}

    def start(self, name: str, *, shared: bool = False) -> None:
        self.scopes[name], self.releases[name] = CancelScope(), anyio.Event()
        self.tasks.start_soon(self._use, name, shared)

    async def _use(self, name: str, shared: bool) -> None:
        use = self.slots.for_shared_encoding if shared else self.slots.for_job
        with self.scopes[name]:
            async with use():
                self.holding.append(name)
                try:
                    await self.releases[name].wait()
                finally:
                    self.holding.remove(name)
        self.ended.append(name)

    async def release(self, name: str) -> None:
        self.releases[name].set()
        await settled()

    async def cancel(self, name: str) -> None:
        self.scopes[name].cancel()
        await settled()


async def settled() -> None:
    for _ in range(20):
        await checkpoint()


async def free_slots(slots: EncoderSlots, most: int = 5) -> int:
    """Return how many jobs can have a slot at once now."""
    found: list[int] = []
    async with create_task_group() as tasks:
        users = Users(slots, tasks)
        for number in range(most):
            users.start(str(number))
        await settled()
        found.append(len(users.holding))
        tasks.cancel_scope.cancel()
    return found[0]


async def test_jobs_get_slots_in_the_order_in_which_they_ask() -> None:
    slots = EncoderSlots(1)
    async with create_task_group() as tasks:
        users = Users(slots, tasks)
        for name in "abcd":
            users.start(name)
        await settled()
        for name in "abcd":
            assert users.holding == [name]
            await users.release(name)
        assert users.ended == list("abcd")
    assert await free_slots(slots) == 1


async def test_a_new_job_does_not_overtake_one_that_waits() -> None:
    async with create_task_group() as tasks:
        users = Users(EncoderSlots(1), tasks)
        users.start("a")
        users.start("b")
        await settled()
        users.releases["a"].set()
        users.start("c")
        await settled()
        assert users.holding == ["b"]
        await users.release("b")
        assert users.holding == ["c"]
        await users.release("c")


async def test_a_job_that_is_cancelled_while_it_waits_is_skipped() -> None:
    slots = EncoderSlots(1)
    async with create_task_group() as tasks:
        users = Users(slots, tasks)
        for name in "abc":
            users.start(name)
        await settled()
        await users.cancel("b")
        assert users.ended == ["b"]
        await users.release("a")
        assert users.holding == ["c"]
        await users.release("c")
    assert await free_slots(slots) == 1


async def test_only_a_slot_that_stays_idle_is_used_for_shared_encoding() -> None:
    slots = EncoderSlots(2, idle_seconds=0.05)
    async with create_task_group() as tasks:
        users = Users(slots, tasks)
        users.start("a")
        users.start("s", shared=True)
        await settled()
        assert users.holding == ["a"]
        users.start("b")  # needs the slot before it was idle for long enough
        await anyio.sleep(0.1)
        assert users.holding == ["a", "b"]
        await users.release("b")
        await anyio.sleep(0.1)
        assert users.holding == ["a", "s"]
        tasks.cancel_scope.cancel()
    assert await free_slots(slots) == 2


async def test_a_job_takes_the_slot_of_the_latest_shared_encoding() -> None:
    slots = EncoderSlots(3, idle_seconds=0)
    async with create_task_group() as tasks:
        users = Users(slots, tasks)
        users.start("a")
        for name in "st":
            users.start(name, shared=True)
            await settled()
        assert users.holding == ["a", "s", "t"]
        users.start("b")
        await settled()
        assert users.ended == ["t"]
        assert sorted(users.holding) == ["a", "b", "s"]
        users.start("c")
        await settled()
        assert users.ended == ["t", "s"]
        users.start("d")
        await settled()
        assert sorted(users.holding) == ["a", "b", "c"]
        for name in "abcd":
            await users.release(name)
    assert await free_slots(slots) == 3


async def test_a_job_takes_a_slot_after_another_shared_encoding_has_ended() -> None:
    slots = EncoderSlots(3, idle_seconds=0)
    async with create_task_group() as tasks:
        users = Users(slots, tasks)
        users.start("a")
        for name in "st":
            users.start(name, shared=True)
            await settled()
        await users.release("t")
        for name in "bc":
            users.start(name)
            await settled()
        assert sorted(users.holding) == ["a", "b", "c"]
        tasks.cancel_scope.cancel()
    assert await free_slots(slots) == 3


class CountingSlots(EncoderSlots):
    """Slots that count how often a task looks for an idle one."""

    looks = 0

    async def _is_idle(self) -> bool:
        self.looks += 1
        return await super()._is_idle()


async def test_shared_encoding_looks_for_a_slot_only_when_one_was_released() -> None:
    slots = CountingSlots(1, idle_seconds=0)
    async with create_task_group() as tasks:
        users = Users(slots, tasks)
        users.start("a")
        await settled()
        users.start("s", shared=True)
        await users.release("a")
        assert users.holding == ["s"]
        users.start("b")
        await settled()
        users.start("t", shared=True)
        before = slots.looks
        for _ in range(10):
            await settled()
        assert slots.looks - before <= 1
        tasks.cancel_scope.cancel()


async def test_every_shared_encoding_that_waits_gets_a_slot() -> None:
    slots = EncoderSlots(2, idle_seconds=0)
    async with create_task_group() as tasks:
        users = Users(slots, tasks)
        for name in "ab":
            users.start(name)
        await settled()
        for name in "st":  # of two jobs; both wait at the same time
            users.start(name, shared=True)
        await settled()
        for name in "ab":
            await users.release(name)
        assert sorted(users.holding) == ["s", "t"]
        tasks.cancel_scope.cancel()
    assert await free_slots(slots) == 2


async def test_a_job_waits_until_the_cancelled_process_has_ended() -> None:
    slots = EncoderSlots(1, idle_seconds=0)
    ended = anyio.Event()
    events: list[str] = []

    async def share() -> None:
        async with slots.for_shared_encoding():
            try:
                await anyio.sleep_forever()
            finally:
                with CancelScope(shield=True):
                    await ended.wait()
                events.append("ended")
        events.append("after")

    async def encode() -> None:
        async with slots.for_job():
            events.append("job")

    async with create_task_group() as tasks:
        tasks.start_soon(share)
        await settled()
        tasks.start_soon(encode)
        await settled()
        assert events == []
        ended.set()
    assert sorted(events) == ["after", "ended", "job"]
    assert events.index("ended") < events.index("job")


CANCELLED: list[Callable[[Users], None]] = [
    lambda users: users.scopes["b"].cancel(),
    lambda users: users.scopes["s"].cancel(),
    lambda users: users.scopes["a"].cancel(),
]


@pytest.mark.parametrize("checkpoints", range(12))
@pytest.mark.parametrize("cancel", CANCELLED, ids=["waiting", "sharing", "running"])
async def test_an_encoder_slot_is_returned_after_a_cancellation_at_any_await(
    cancel: Callable[[Users], None], checkpoints: int
) -> None:
    slots = EncoderSlots(2, idle_seconds=0)
    async with create_task_group() as tasks:
        users = Users(slots, tasks)
        users.start("a")
        users.start("s", shared=True)
        await settled()
        users.start("b")  # takes the slot of "s"
        users.start("c")
        for _ in range(checkpoints):
            await checkpoint()
        cancel(users)
        await settled()
        for name in "abcs":
            await users.release(name)
        assert sorted(users.ended) == ["a", "b", "c", "s"]
    assert await free_slots(slots) == 2

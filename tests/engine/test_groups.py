"""What leaves a task group of ours."""

from __future__ import annotations

import pytest

from cloudburst.engine.groups import unwrapped

pytestmark = pytest.mark.anyio


async def test_a_lone_error_leaves_as_itself():
    with pytest.raises(KeyError), unwrapped():
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [KeyError()])])


async def test_several_stay_together():
    with pytest.raises(ExceptionGroup, match="both"), unwrapped():
        raise ExceptionGroup("both", [KeyError(), ValueError()])


async def test_an_interrupt_leaves_asyncio_s_loop_only_once(anyio_backend_name):
    stays = anyio_backend_name == "asyncio"
    expected = BaseExceptionGroup if stays else KeyboardInterrupt
    with pytest.raises(expected), unwrapped():
        raise BaseExceptionGroup("", [KeyboardInterrupt()])

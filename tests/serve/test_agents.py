"""Agents with the official client: over HTTP, and with a process of their own."""

import os
import signal
import sys

import anyio
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(90)]

LOCAL = ("--backend", "local")


@pytest.mark.nightly
async def test_signal_ends_the_process_of_an_agent_that_keeps_its_input_open(tmp_path, watch):
    words = [sys.executable, "-m", "cloudburst", "mcp", "--root", str(tmp_path), *LOCAL]
    async with await anyio.open_process(words, env=os.environ | watch.environment) as process:
        hello = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
        await process.stdin.send(hello)
        assert b'"id":1' in await process.stdout.receive()
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(10):
            await process.wait()
    assert watch.left_after(5) == {}

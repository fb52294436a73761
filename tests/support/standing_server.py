"""``cloudburst serve`` as a process, as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx


class Standing:
    """A running server: its process, its URL, what it has printed, and its key."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        while not (self.lines and "The page is at" in self.lines[-1]):
            line = process.stdout.readline()
            assert line, f"it has ended: {self.lines}"
            self.lines.append(line)
        if "--host" in process.args:
            self.lines.append(process.stdout.readline())
        self.url = re.search(r"http://\S+", "".join(self.lines))[0]
        self.key = next((line.split()[-1] for line in self.lines if "key" in line), None)
        self._reader = threading.Thread(target=lambda: self.lines.extend(process.stdout))
        self._reader.start()

    def http(self):
        """Return an HTTP client, with the key if there is one."""
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def end(self, signum=signal.SIGTERM):
        """Send a signal unless it has ended; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        code = self.process.wait(timeout=20)
        self._reader.join()
        return code


@contextmanager
def standing_server(folder, *options, port=0, **variables):
    """Run a server in a folder until the end of the block."""
    command = [sys.executable, "-m", "cloudburst", "serve", "--port", str(port), *options]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    with process:
        try:
            server = Standing(process)
            yield server
            server.end()
        finally:
            process.kill()

"""A server on loopback that answers calls of AWS's JSON protocol with what a test says."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from cloudburst.aws.client.client import open_aws
from cloudburst.models.settings import Settings
from support.setup_accounts import session

JSON = "application/x-amz-json-1.1"


@dataclass(frozen=True)
class Answer:
    """An HTTP response; a body that is no bytes is sent as JSON."""

    body: object
    status: int = 200
    content_type: str = JSON

    @property
    def data(self):
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        head = (
            f"HTTP/1.1 {self.status} X\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class Answers:
    """Answers by the names of boto's methods, and the calls so far."""

    answers: dict
    calls: list = field(default_factory=list)
    aws: object = None

    async def _serve(self, reader, writer):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(re.findall(r"(?m)^([\w-]+): *(.*)\r$", head))
                await reader.readexactly(int(headers.get("Content-Length", 0)))
                name = headers["X-Amz-Target"].rpartition(".")[2]
                operation = re.sub("(?<!^)(?=[A-Z])", "_", name).lower()
                self.calls.append(operation)
                found = self.answers[operation]
                answer = found if isinstance(found, Answer) else Answer(found)
                writer.write(answer.data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def answering(answers, account="123456789012"):
    """Yield answers with a client that gets them."""
    found = Answers(answers)
    async with await asyncio.start_server(found._serve, "127.0.0.1", limit=1 << 20) as server:
        host, port = server.sockets[0].getsockname()
        session()._session.set_credentials("AKIAEXAMPLE", "not-secret")
        settings = Settings(
            _env_file=None, AWS_ENDPOINT_URL=f"http://{host}:{port}", AWS_REGION="us-east-1"
        )
        async with open_aws(settings, session=session()) as aws:
            aws._account = account  # the API of STS has another protocol
            found.aws = aws
            yield found

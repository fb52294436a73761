"""A registry in memory behind `httpx.MockTransport`, with the peculiarities of real ones."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import parse_qs

import httpx

URL = "https://registry.example"
TOKENS = "https://login.example/token"
STORAGE = "https://storage.example"


class FakeRegistry:
    """Attributes are its peculiarities; `requests` are those that it has received."""

    def __init__(self, **peculiarities):
        self.login = None
        """``basic`` or ``bearer``."""
        self.challenge = f'Bearer realm="{TOKENS}",service="registry.example"'
        self.token_answer = None
        """Answer of the token server; ``None``: a new token for an hour."""
        self.valid_tokens = set()
        self.redirect = None
        """URL before the digest to which blobs are redirected."""
        self.location = "{path}?state=a%2Bb"
        """Header ``Location`` of uploads."""
        self.faults = []
        """Answers in place of the right ones, or exceptions to raise; ``None``: the right one."""
        self.blobs, self.manifests, self.uploads = {}, {}, []
        self.requests = []
        vars(self).update(peculiarities)

    @property
    def transport(self):
        return httpx.MockTransport(self.handle)

    def add_blob(self, data):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return digest

    def sent(self, method):
        return [request for request in self.requests if request.method == method]

    async def handle(self, request):
        await request.aread()
        self.requests.append(request)
        if self.faults and (fault := self.faults.pop(0)) is not None:
            if isinstance(fault, Exception):
                raise fault
            return fault
        if request.url.host == "login.example":
            return self._token(request)
        if request.url.host == "storage.example":
            return self._stored(request)
        if self.login and (refused := self._refuse(request)):
            return refused
        for pattern, answer in self._routes():
            if found := re.fullmatch(pattern, request.url.path):
                return answer(request, *found.groups())
        return error(404, "NAME_UNKNOWN")

    def _routes(self):
        return [
            (r"/v2/.+/manifests/(.+)", self._manifest),
            (r"/v2/(.+)/blobs/uploads/", self._begin),
            (r"/v2/.+/blobs/uploads/(\d+)", self._upload),
            (r"/v2/.+/blobs/(sha256:.+)", self._blob),
        ]

    def _refuse(self, request):
        given = request.headers.get("Authorization", "")
        if self.login == "basic":
            if given == httpx.BasicAuth("user", "password")._auth_header:
                return None
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        if given.removeprefix("Bearer ") in self.valid_tokens:
            return None
        return httpx.Response(401, headers={"WWW-Authenticate": self.challenge})

    def _token(self, request):
        if self.token_answer is not None:
            return self.token_answer
        token = f"token-{len(self.valid_tokens)}"
        self.valid_tokens.add(token)
        return httpx.Response(200, json={"token": token, "expires_in": 3600})

    def _manifest(self, request, reference):
        if request.method == "PUT":
            data = request.content
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            self.manifests[reference] = self.manifests[digest] = (
                data,
                request.headers["Content-Type"],
            )
            return httpx.Response(201, headers={"Docker-Content-Digest": digest})
        if reference not in self.manifests:
            return error(404, "MANIFEST_UNKNOWN")
        data, kind = self.manifests[reference]
        return httpx.Response(200, content=data, headers={"Content-Type": kind})

    def _blob(self, request, digest):
        if digest not in self.blobs:
            return error(404, "BLOB_UNKNOWN")
        if self.redirect:
            return httpx.Response(307, headers={"Location": f"{self.redirect}/{digest}"})
        return streamed(self.blobs[digest])

    def _stored(self, request):
        found = self.blobs.get(request.url.path.removeprefix("/"))
        if found is None:
            headers = {"WWW-Authenticate": 'Basic realm="x"'}
            return httpx.Response(401, headers=headers)
        return streamed(found)

    def _begin(self, request, name):
        number = str(len(self.requests))
        self.uploads.append(number)
        path = f"/v2/{name}/blobs/uploads/{number}"
        return httpx.Response(202, headers={"Location": self.location.format(path=path)})

    def _upload(self, request, number):
        if number not in self.uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        assert request.method == "PUT"
        query = parse_qs(request.url.query.decode())
        assert query["state"] == ["a+b"], "the query of the location is kept"
        self.uploads.remove(number)
        digest = f"sha256:{hashlib.sha256(request.content).hexdigest()}"
        if query["digest"] != [digest]:
            return error(400, "DIGEST_INVALID")
        self.add_blob(request.content)
        return httpx.Response(201)


def error(status, code, message="refused"):
    return httpx.Response(status, json={"errors": [{"code": code, "message": message}]})


class Pieces(httpx.AsyncByteStream):
    """A body that arrives piece by piece."""

    def __init__(self, data):
        self.data = data

    async def __aiter__(self):
        for start in range(0, len(self.data), 100_000):
            yield self.data[start : start + 100_000]


def streamed(data):
    return httpx.Response(200, stream=Pieces(data))

"""Names of images."""

from __future__ import annotations

import pytest

from cloudburst.net.registry.errors import InvalidImageError
from cloudburst.net.registry.names import ImageReference

SHA = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("python", ("docker.io", "library/python", None, None)),
        ("python:3.13-slim", ("docker.io", "library/python", "3.13-slim", None)),
        ("docker.io/python", ("docker.io", "library/python", None, None)),
        ("betashow/api:1", ("docker.io", "betashow/api", "1", None)),
        ("localhost/a", ("localhost", "a", None, None)),
        ("127.0.0.1:5000/a/b:c", ("127.0.0.1:5000", "a/b", "c", None)),
        ("[::1]:5000/a", ("[::1]:5000", "a", None, None)),
        (f"public.ecr.aws/docker/x@{SHA}", ("public.ecr.aws", "docker/x", None, SHA)),
        (f"h.example:1/x_y/z-1:T.2@{SHA}", ("h.example:1", "x_y/z-1", "T.2", SHA)),
        ("index.docker.io/python", ("docker.io", "library/python", None, None)),
    ],
)
def test_names_have_parts_and_are_written_again(text, parts):
    name = ImageReference.parse(text)
    assert (name.registry, name.repository, name.tag, name.digest) == parts
    assert ImageReference.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "@", "/", "a//b", "A", "a/B", "a:", "a: b", "a:-x", "-h.example/a", "a b"),
        *("a@sha256:12", "a@sha512:" + "0" * 128, f"a@{SHA.upper()}", "h.example/", "http://h/a"),
        *("h:port/a", "../a", "a/../b", "h.example/a?b", "a\n", "a:" + "t" * 129),
        *("localhost:65536/a", "h.example:99999/a:1", "[::1]:70000/a"),
    ],
)
def test_text_that_is_no_name_is_rejected(text):
    with pytest.raises(InvalidImageError, match="not the name of an image"):
        ImageReference.parse(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("host:5000/B@sha256:0", ("host:5000", "B", None, "sha256:0")),
        (f"{'x' * 600}:1", ("docker.io", f"library/{'x' * 600}", "1", None)),
        ("", ("docker.io", "library/", None, None)),
    ],
)
def test_names_that_another_program_has_accepted_are_not_checked(text, parts):
    name = ImageReference.split(text)
    assert (name.registry, name.repository, name.tag, name.digest) == parts


def test_urls_and_references():
    assert ImageReference.parse("python").url == "https://registry-1.docker.io"
    assert ImageReference.parse("public.ecr.aws/x/y").url == "https://public.ecr.aws"
    assert ImageReference.parse("127.0.0.1:5000/a").url == "http://127.0.0.1:5000"
    assert ImageReference.parse("[::1]:5000/a").url == "http://[::1]:5000"
    assert ImageReference.parse("127.0.0.1.example.org/a").url == "https://127.0.0.1.example.org"
    assert ImageReference.parse("python").reference == "latest"
    assert ImageReference.parse(f"h.example/a:1@{SHA}").name == "h.example/a"
    assert ImageReference.parse(f"python:3@{SHA}").reference == SHA

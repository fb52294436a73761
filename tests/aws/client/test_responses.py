"""Members that a response of AWS must have."""

from __future__ import annotations

import pytest

from cloudburst.aws.client.responses import check_response
from cloudburst.errors import NoAnswerError


@pytest.mark.parametrize(
    ("operation", "answer", "missing"),
    [
        ("get_download_url_for_layer", {"layerDigest": "sha256:0"}, "downloadUrl"),
        ("batch_get_image", {"failures": []}, "images"),
        ("batch_get_image", {"images": [{"imageId": {}}]}, "images[].imageId.imageDigest"),
        (
            "batch_get_image",
            {"images": [{"imageId": {"imageDigest": "sha256:0"}}]},
            "images[].imageManifest",
        ),
    ],
)
def test_an_answer_about_an_image_that_lacks_something_is_no_answer(operation, answer, missing):
    with pytest.raises(NoAnswerError) as caught:
        check_response(operation, {}, answer, shape=None)
    assert str(caught.value).endswith(f"{missing} is missing")


def test_a_web_page_is_the_answer_of_no_call_but_may_be_an_object():
    page = {"ResponseMetadata": {"HTTPHeaders": {"content-type": "text/html; charset=utf-8"}}}
    for operation in ("list_objects_v2", "put_object", "describe_tasks"):
        with pytest.raises(NoAnswerError, match="it is a web page"):
            check_response(operation, {}, page, shape=None)
    for operation in ("get_object", "head_object"):
        check_response(operation, {}, {**page, "ContentLength": 1, "ETag": "e"}, shape=None)
        with pytest.raises(NoAnswerError, match="ETag is missing"):
            check_response(operation, {}, {**page, "ContentLength": 1}, shape=None)

"""Responses that are not AWS's, and members that are missing in them."""

from __future__ import annotations

import pytest

from cloudburst.aws.client.responses import checked_response, translate_errors
from cloudburst.errors import AWSError, NoAnswerError

NUMBER = {"ResponseMetadata": {"RequestId": "42"}}


def test_response_missing_member_is_no_answer_when_read():
    answer = {"Subnets": [{"VpcId": "v"}], **NUMBER}
    response = checked_response("describe_subnets", answer, {"Subnets"})
    assert response == answer
    for read in (lambda: response["NextToken"], lambda: response["Subnets"][0]["SubnetId"]):
        with pytest.raises(NoAnswerError, match=r"not from AWS: \w+ is missing \(request 42\)"):
            read()
    assert "NextToken" not in response
    assert response["Subnets"][0].get("SubnetId") is None


def test_response_empty_is_no_answer():
    with pytest.raises(NoAnswerError) as caught:
        checked_response("describe_clusters", NUMBER, {"clusters", "failures"})
    assert str(caught.value) == (
        "describe_clusters: the response is not from AWS: it is empty (request 42)"
    )


@pytest.mark.parametrize("operation", ["abort_multipart_upload", "delete_object", "tag_resource"])
def test_response_that_may_be_empty_is_an_answer(operation):
    members = () if operation == "tag_resource" else {"RequestCharged"}
    assert checked_response(operation, {}, members) == {}


def test_response_web_page_is_no_answer_but_may_be_an_object():
    page = {"ResponseMetadata": {"HTTPHeaders": {"content-type": "text/html; charset=utf-8"}}}
    for operation in ("list_objects_v2", "put_object", "describe_tasks"):
        with pytest.raises(NoAnswerError, match="it is a web page"):
            checked_response(operation, page, ())
    for operation in ("get_object", "head_object"):
        response = checked_response(operation, {**page, "ContentLength": 1}, ())
        with pytest.raises(NoAnswerError, match="ETag is missing"):
            response["ETag"]


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), RecursionError("x")], ids=repr)
def test_translate_errors_of_a_parser_are_no_answer(error):
    with (
        pytest.raises(NoAnswerError, match=r"stop_task: .* cannot be read"),
        translate_errors("stop_task"),
    ):
        raise error


def test_translate_errors_own_error_stays():
    mine = AWSError("mine", code="Mine")
    with pytest.raises(AWSError) as caught, translate_errors("stop_task"):
        raise mine
    assert caught.value is mine

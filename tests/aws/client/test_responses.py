"""Members that a response of AWS must have."""

from __future__ import annotations

import pytest

from cloudburst.aws.client.responses import check_response, named_members
from cloudburst.errors import NoAnswerError

TASK = {"taskArn": "arn", "lastStatus": "RUNNING"}


@pytest.mark.parametrize(
    ("operation", "answer", "defect"),
    [
        ("describe_tasks", {"failures": []}, "tasks is missing"),
        ("describe_tasks", {"tasks": [TASK, {}]}, "tasks[].taskArn is missing"),
        ("run_task", {"tasks": [{"taskArn": "arn"}]}, "tasks[].lastStatus is missing"),
        ("run_task", {"failures": [{}]}, "failures[].reason is missing"),
        ("stop_task", {"task": {}}, "task.taskArn is missing"),
        ("list_clusters", {"nextToken": "n"}, "clusterArns is missing"),
        ("describe_clusters", {}, "it is empty"),
    ],
)
def test_a_response_without_a_member_in_use_is_no_answer(operation, answer, defect):
    answer = {"ResponseMetadata": {"RequestId": "42"}, **answer}
    members = {"clusterArns", "failures", "nextToken", "task", "tasks"}
    required = ("clusterArns",) if operation == "list_clusters" else ()
    with pytest.raises(NoAnswerError) as caught:
        check_response(operation, answer, members=members, required=required)
    assert str(caught.value) == (
        f"{operation}: the response is not from AWS: {defect} (request 42)"
    )


def test_reading_a_missing_member_is_one_error_with_the_request():
    answer = {"Subnets": [{"VpcId": "v"}], "ResponseMetadata": {"RequestId": "42"}}
    response = named_members("describe_subnets", answer)
    assert response == answer
    for read in (lambda: response["NextToken"], lambda: response["Subnets"][0]["SubnetId"]):
        with pytest.raises(NoAnswerError, match=r"not from AWS: \w+ is missing \(request 42\)"):
            read()
    assert "NextToken" not in response
    assert response["Subnets"][0].get("SubnetId") is None


@pytest.mark.parametrize("operation", ["abort_multipart_upload", "delete_object", "tag_resource"])
def test_a_response_that_may_be_empty_is_an_answer(operation):
    members = () if operation == "tag_resource" else {"RequestCharged"}
    check_response(operation, {}, members=members)


def test_a_web_page_is_the_answer_of_no_call_but_may_be_an_object():
    page = {"ResponseMetadata": {"HTTPHeaders": {"content-type": "text/html; charset=utf-8"}}}
    for operation in ("list_objects_v2", "put_object", "describe_tasks"):
        with pytest.raises(NoAnswerError, match="it is a web page"):
            check_response(operation, page, members=())
    for operation in ("get_object", "head_object"):
        check_response(operation, {**page, "ContentLength": 1, "ETag": "e"}, members=())
        with pytest.raises(NoAnswerError, match="ETag is missing"):
            check_response(operation, {**page, "ContentLength": 1}, members=())

"""Who is answered: only callers with the emulator's own key."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.emulator_calls import (
    client,
    new_client,
    refused,
)

ECS_TARGET = "AmazonEC2ContainerServiceV20141113.ListClusters"
ASKED = {
    "ecs": lambda aws: aws.list_clusters(),
    "logs": lambda aws: aws.describe_log_groups(),
    "ec2": lambda aws: aws.describe_vpcs(),
    "sts": lambda aws: aws.get_caller_identity(),
    "iam": lambda aws: aws.list_roles(),
    "s3": lambda aws: aws.list_buckets(),
}


def signed(emulator, *, body=b"{}", at=None, region="us-east-1", service="ecs", host=None):
    """A request of ListClusters as its right owner signs it, at some time."""
    environment = emulator.environment
    keys = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    asked = AWSRequest("POST", emulator.url + "/", {"X-Amz-Target": ECS_TARGET}, body)
    if host:
        asked.headers["Host"] = host
    at = at or datetime.now(UTC)
    auth = SigV4Auth(Credentials(*keys), service, region)
    asked.context["timestamp"] = asked.headers["X-Amz-Date"] = at.strftime("%Y%m%dT%H%M%SZ")
    text = auth.string_to_sign(asked, auth.canonical_request(asked))
    auth._inject_signature_to_request(asked, auth.signature(text, asked))
    return asked


def send(emulator, asked, **headers):
    """Status and code of the answer to a signed request."""
    request = urllib.request.Request(
        emulator.url + "/", data=asked.body, headers={**asked.headers, **headers}
    )
    try:
        with urllib.request.urlopen(request) as got:
            return got.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("x-amzn-ErrorType", "")


class TestSignature:
    """Signature Version 4, checked against what botocore itself signs."""

    def test_the_right_one_is_taken(self, emulator):
        assert send(emulator, signed(emulator)) == (200, "")

    @pytest.mark.parametrize(
        ("service", "code"),
        [
            ("ecs", "InvalidSignatureException"),
            ("logs", "InvalidSignatureException"),
            ("ec2", "AuthFailure"),
            ("sts", "SignatureDoesNotMatch"),
            ("iam", "SignatureDoesNotMatch"),
            ("s3", "SignatureDoesNotMatch"),
        ],
    )
    def test_another_secret_is_refused_as_each_service_does(self, emulator, service, code):
        with refused(code):
            ASKED[service](new_client(emulator, service, secret="x" * 40))

    @pytest.mark.parametrize(
        ("service", "code"),
        [
            ("ecs", "UnrecognizedClientException"),
            ("ec2", "AuthFailure"),
            ("sts", "InvalidClientTokenId"),
            ("s3", "InvalidAccessKeyId"),
        ],
    )
    def test_an_unknown_key_is_refused_as_each_service_does(self, emulator, service, code):
        with refused(code):
            ASKED[service](new_client(emulator, service, key="AKIAEMULATOR00000001"))
        assert emulator.calls == (), "strangers do not fill the list of calls"

    def test_each_emulator_has_its_own_key(self, emulate):
        one, other = emulate(), emulate()
        keys = {one.environment["AWS_ACCESS_KEY_ID"], other.environment["AWS_ACCESS_KEY_ID"]}
        assert len(keys) == 2
        with refused("UnrecognizedClientException"):
            new_client(other, "ecs", key=one.environment["AWS_ACCESS_KEY_ID"]).list_clusters()

    def test_another_key_of_the_account_is_taken(self, emulator):
        made = emulator.new_key()
        ecs = new_client(
            emulator, "ecs", key=made["AWS_ACCESS_KEY_ID"], secret=made["AWS_SECRET_ACCESS_KEY"]
        )
        assert ecs.list_clusters()["clusterArns"]

    def test_a_changed_body_or_operation_is_refused(self, emulator):
        asked = signed(emulator)
        changed = signed(emulator)
        changed.data = b'{"maxResults": 1}'
        stop = {"X-Amz-Target": ECS_TARGET.replace("ListClusters", "StopTask")}
        for request, headers in ((changed, {}), (asked, stop)):
            assert send(emulator, request, **headers) == (400, "InvalidSignatureException")

    def test_an_unsigned_operation_is_refused(self, emulator):
        asked = signed(emulator)
        authorization = asked.headers["Authorization"]
        asked.headers.replace_header("Authorization", authorization.replace(";x-amz-target", ""))
        assert send(emulator, asked)[0] == 400

    @pytest.mark.parametrize("minutes", [-6, 6])
    def test_a_signature_of_another_time_is_refused(self, emulator, minutes):
        asked = signed(emulator, at=datetime.now(UTC) + timedelta(minutes=minutes))
        assert send(emulator, asked) == (400, "InvalidSignatureException")

    def test_a_signature_for_another_region_is_refused(self, emulator):
        asked = signed(emulator, region="eu-west-1")
        assert send(emulator, asked) == (400, "InvalidSignatureException")

    @pytest.mark.parametrize(
        "authorization",
        ["Basic eDp5", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b/c, Signature=d"],
    )
    def test_a_signature_that_cannot_be_read_is_refused(self, emulator, authorization):
        asked = signed(emulator)
        asked.headers.replace_header("Authorization", authorization)
        assert send(emulator, asked) == (400, "IncompleteSignatureException")


class TestSessions:
    """Credentials of AssumeRole."""

    def given(self, emulator):
        sts = client(emulator, "sts")
        role = f"arn:aws:iam::{emulator.config.account}:role/me"
        return sts.assume_role(RoleArn=role, RoleSessionName="here")["Credentials"]

    def test_need_their_own_token(self, emulator):
        first, second = self.given(emulator), self.given(emulator)
        mine = {"key": first["AccessKeyId"], "secret": first["SecretAccessKey"]}
        for token in (second["SessionToken"], None, "x"):
            with refused("UnrecognizedClientException"):
                new_client(emulator, "ecs", **mine, token=token).list_clusters()
        right = new_client(emulator, "ecs", **mine, token=first["SessionToken"])
        assert right.list_clusters()["clusterArns"]

    def test_a_long_term_key_has_no_token(self, emulator):
        with refused("UnrecognizedClientException"):
            new_client(emulator, "ecs", token="x").list_clusters()


class TestHost:
    """A page in a browser must not reach the API under a name of its own."""

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1"])
    def test_foreign_names_are_not_answered(self, emulator, host):
        asked = signed(emulator, host=host.format(port=emulator.url.rpartition(":")[2]))
        assert send(emulator, asked)[0] == 421
        assert emulator.calls == ()

    @pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
    def test_names_of_this_machine_are(self, emulator, name):
        asked = signed(emulator, host=f"{name}:{emulator.url.rpartition(':')[2]}")
        assert send(emulator, asked)[0] == 200


@pytest.mark.real
@pytest.mark.timeout(60)
class TestMoto:
    """Services that moto answers for are not open either."""

    def test_signatures_are_checked_before_moto_is_asked(self, with_moto):
        assert client(with_moto, "sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
        with refused("InvalidSignatureException"):
            new_client(with_moto, "sqs", secret="x").list_queues()


def test_only_this_address_is_listened_at(emulator):
    import socket

    port = int(emulator.url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=1)


@pytest.mark.parametrize("year", [1, 9999])
def test_a_signature_of_any_year_is_merely_refused(emulator, year):
    at = datetime(year, 1, 1, tzinfo=UTC)
    asked = signed(emulator)
    day = f"{at.year:04}0101"
    asked.headers.replace_header("X-Amz-Date", f"{day}T000000Z")
    authorization = asked.headers["Authorization"]
    today = datetime.now(UTC).strftime("%Y%m%d")
    asked.headers.replace_header("Authorization", authorization.replace(f"/{today}/", f"/{day}/"))
    status, _ = send(emulator, asked)
    assert 400 <= status < 500


def test_a_large_body_is_not_held_for_whoever_knows_the_key_id(emulator):
    status, _ = send(emulator, signed(emulator, body=b" " * (17 << 20)))
    assert status == 413

"""Service Quotas: the vCPUs of Fargate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.refusal import RefusedError

DEFAULT_VCPUS = 6.0
"""Of a new account: "Service quotas" of Fargate in the AWS General Reference (2026-11)."""
ON_DEMAND, SPOT = "L-3032A538", "L-36FBB829"


class Quotas:
    """What the account may use at once."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self.operations = {
            "GetServiceQuota": self._get,
            "GetAWSDefaultServiceQuota": self._get_default,
            "ListServiceQuotas": self._list,
        }

    def _get(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        config = self._config
        value = {ON_DEMAND: config.vcpu_quota, SPOT: config.spot_vcpu_quota}
        return {"Quota": self._shown(asked, value.get(asked["QuotaCode"]))}

    def _get_default(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"Quota": self._shown(asked, None)}

    def _list(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        codes = [{**asked, "QuotaCode": code} for code in (ON_DEMAND, SPOT)]
        return {"Quotas": [self._get(one)["Quota"] for one in codes]}

    def _shown(self, asked: Mapping[str, Any], value: float | None) -> dict[str, Any]:
        service, code = asked["ServiceCode"], asked["QuotaCode"]
        if service != "fargate" or code not in {ON_DEMAND, SPOT}:
            raise RefusedError(
                "NoSuchResourceException", "The specified service quota does not exist."
            )
        kind = "On-Demand" if code == ON_DEMAND else "Spot"
        config = self._config
        return {
            "ServiceCode": "fargate",
            "ServiceName": "AWS Fargate",
            "QuotaArn": f"arn:aws:servicequotas:{config.region}:{config.account}:fargate/{code}",
            "QuotaCode": code,
            "QuotaName": f"Fargate {kind} vCPU resource count",
            "Value": DEFAULT_VCPUS if value is None else value,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }

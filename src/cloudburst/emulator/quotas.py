"""Emulated Service Quotas API, with the vCPU quotas of Fargate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.errors import ApiError

DEFAULT_VCPUS = 6.0
"""vCPU quota of a new account, for On-Demand and for Spot: "Service quotas" of Fargate in the AWS
General Reference (2026-11)."""
ON_DEMAND_QUOTA_CODE, SPOT_QUOTA_CODE = "L-3032A538", "L-36FBB829"


class ServiceQuotas:
    """vCPU quotas of the emulated account, and the operations that return these quotas."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self.operations = {
            "GetServiceQuota": self._get,
            "GetAWSDefaultServiceQuota": self._get_default,
        }

    def _get(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        config = self._config
        value = {ON_DEMAND_QUOTA_CODE: config.vcpu_quota, SPOT_QUOTA_CODE: config.spot_vcpu_quota}
        return {"Quota": self._shown(parameters, value.get(parameters["QuotaCode"], 0.0))}

    def _get_default(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"Quota": self._shown(parameters, DEFAULT_VCPUS)}

    def _shown(self, parameters: Mapping[str, Any], value: float) -> dict[str, Any]:
        service, code = parameters["ServiceCode"], parameters["QuotaCode"]
        if service != "fargate" or code not in {ON_DEMAND_QUOTA_CODE, SPOT_QUOTA_CODE}:
            raise ApiError("NoSuchResourceException", "The specified service quota does not exist.")
        return {
            "ServiceCode": service,
            "QuotaCode": code,
            "Value": value,
        }

"""Error for an input file that cannot be rendered."""

from __future__ import annotations

from cloudburst.errors import FaultCode


class InvalidInputError(Exception):
    """Error for an invalid input file, with the fault and the expected content."""

    # The client reports it as a scene fault, the render service as an error of the job.

    def __init__(self, found: str = "", expected: str = "", code: FaultCode = "unreadable") -> None:
        super().__init__(found, expected, code)
        self.found = found
        self.expected = expected
        self.code: FaultCode = code

    def __str__(self) -> str:
        return f"{self.found}; expected {self.expected}"

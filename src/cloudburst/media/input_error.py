"""Error for an input file that cannot be rendered."""

from __future__ import annotations


class InvalidInputError(Exception):
    """Error for an invalid input file, with the fault and the expected content."""

    # The client reports it as a scene fault, the render service as an error of the job.

    def __init__(self, found: str = "", expected: str = "") -> None:
        super().__init__(found, expected)
        self.found = found
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.found}; expected {self.expected}"

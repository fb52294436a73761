"""Fakes that keep the promises of the ports, for our tests and for those of our users."""

from cloudburst.testing.clock import VirtualClockLoop
from cloudburst.testing.fake import FakeCloud

__all__ = ["FakeCloud", "VirtualClockLoop"]

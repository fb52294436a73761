"""Errors of concurrent steps."""

from __future__ import annotations

import pytest

from cloudburst.registry import DigestError, RegistryError
from cloudburst.registry.errors import first_error


def test_the_first_of_the_expected_errors_comes_out():
    errors = [ExceptionGroup("inner", [OSError("one")]), DigestError("two")]
    with pytest.raises(OSError, match="one"), first_error(OSError):
        raise ExceptionGroup("outer", errors)
    with pytest.raises(RegistryError, match="two"), first_error():
        raise ExceptionGroup("outer", errors[1:])


def test_a_defect_comes_before_expected_errors():
    group = ExceptionGroup("outer", [DigestError("one"), ExceptionGroup("in", [KeyError("two")])])
    with pytest.raises(KeyError, match="two") as caught, first_error(OSError):
        raise group
    assert caught.value.__cause__ is group

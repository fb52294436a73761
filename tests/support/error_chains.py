"""Everything that a tool for error reports can show of an error."""

from __future__ import annotations

from collections.abc import Iterator


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, the errors that led to it, and those of its group."""
    pending, seen = [error], set[int]()
    for one in pending:
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            pending += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def shown(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield the place and text of each value: attributes, and local variables of tracebacks.

    Frames of tests are left out.
    """
    for one in chain(error):
        kind = type(one).__name__
        yield kind, f"{one} {one!r} {vars(one)!r}"
        traceback = one.__traceback__
        while traceback is not None:
            frame, traceback = traceback.tb_frame, traceback.tb_next
            if "/tests/" in frame.f_code.co_filename:
                continue
            for name, value in list(frame.f_locals.items()):
                yield f"{kind}: {frame.f_code.co_qualname}: {name}", repr(value)


def places_of(secrets: tuple[str, ...], error: BaseException) -> list[str]:
    """Return the places at which an error shows one of these texts."""
    return [place for place, text in shown(error) if any(secret in text for secret in secrets)]

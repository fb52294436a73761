"""What this machine needs to render."""

from __future__ import annotations

from importlib.util import find_spec

from cloudburst.renderer.kernel.targets import LIBRARIES, MISSING_KERNEL, local_targets

MODULES = ("av", "starlette", "uvicorn")  # modules of the extra ``cloudburst-sdk[local]``
_SYSTEM_MODULES = ("fcntl", "resource")  # modules that Python has on Linux and macOS


def missing_requirements(*modules: str) -> str:
    """Return what is missing for rendering with these modules, and what to do; empty if nothing."""
    if not all(map(find_spec, _SYSTEM_MODULES)):
        return "rendering needs Linux or macOS; on Windows, use WSL, or render on Fargate"
    if missing := [name for name in modules if find_spec(name) is None]:
        return f"{', '.join(missing)} missing; pip install 'cloudburst-sdk[local]'"
    targets = local_targets()
    if not targets:
        return "the renderer has no kernel for this platform; render on Fargate"
    if not (LIBRARIES / targets[0].file_name).exists():
        return MISSING_KERNEL
    return ""

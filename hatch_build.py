"""Build hooks: the metadata that names the publisher, and the pixel kernel of the wheel.

The kernel is a small shared library in C.

Without settings, the kernel is compiled for this machine, and the wheel is for this platform. If no
C compiler is found, zig's is used, which the package ziglang contains. If it cannot be compiled,
the build succeeds with a warning, because a client that only uses AWS needs no kernel.

The environment variable ``CLOUDBURST_KERNEL`` changes this:

``all``
    Compile for all platforms, with zig, into a wheel for all platforms. Errors fail the build.
``none``
    Compile nothing, and do not require ziglang.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

KERNEL = "src/cloudburst/renderer/kernel"
IN_WHEEL = "cloudburst/renderer/kernel/libs"
VARIABLE = "CLOUDBURST_KERNEL"

# Links and pictures of the README that lead to files of the repository.
NEAR_LINK = re.compile(r"""(?<=\]\()(?![a-z]+:|#)|(?<=src=")(?![a-z]+:)""")
PICTURES = (".webp", ".png", ".jpg", ".svg")


class PublisherHook(MetadataHookInterface):
    """Metadata hook that adds the authors, the URLs, and the README with absolute links."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the fields, from the table ``tool.cloudburst`` of ``pyproject.toml``."""
        project = tomllib.loads(Path(self.root, "pyproject.toml").read_text("utf-8"))
        publisher = project["tool"]["cloudburst"]
        repository = publisher["repository"]
        metadata["authors"] = [{"name": publisher["author"], "email": publisher["email"]}]
        metadata["urls"] = {
            "Documentation": publisher["site"],
            "Source": repository,
            "Issues": f"{repository}/issues",
            "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        }
        text = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_absolute_links(text, repository, f"v{metadata['version']}"),
        }


def with_absolute_links(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose links to files of the repository are absolute, as PyPI needs them."""

    def absolute(match: re.Match[str]) -> str:
        target = re.split(r"[)\"#]", text[match.end() :], maxsplit=1)[0]
        return f"{repository}/{'raw' if target.endswith(PICTURES) else 'blob'}/{tag}/"

    return NEAR_LINK.sub(absolute, text)


class KernelBuildHook(BuildHookInterface[BuilderConfig]):
    """Build hook that adds the shared libraries of the kernel to a wheel."""

    def dependencies(self) -> list[str]:
        """Return ziglang if the build needs it."""
        compiler, targets = _load(self.root, "compiler"), _load(self.root, "targets")
        if _mode() == "none":
            return []
        if _mode() == "all":
            return [compiler.ZIGLANG]
        # ziglang has wheels for the platforms in TARGETS; elsewhere the requirement would fail.
        wanted = set(targets.local_targets()) & set(targets.TARGETS)
        found = compiler.find_compiler(os.environ)
        return [compiler.ZIGLANG] if wanted and (found is None or found.is_zig) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernel: into the source folder for an editable installation."""
        editable = version == "editable"
        self._folder = Path(tempfile.mkdtemp(prefix="cloudburst-kernel-"))
        libraries = [] if _mode() == "none" else self._compile(self._folder)
        if editable:
            target = Path(self.root, KERNEL, "libs")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(self._folder, target)
        else:
            build_data["force_include"].update(
                {str(path): f"{IN_WHEEL}/{path.name}" for path in libraries}
            )
        if libraries and _mode() != "all":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{_platform_tag()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        del version, build_data, artifact_path
        shutil.rmtree(self._folder, ignore_errors=True)

    def _compile(self, folder: Path) -> list[Path]:
        """Return the libraries, or nothing, after a warning, if they cannot be compiled."""
        compiler, targets = _load(self.root, "compiler"), _load(self.root, "targets")
        if _mode() == "all":
            zig = compiler.find_zig()
            if zig is None:
                msg = f"{VARIABLE}=all needs the package ziglang"
                raise compiler.KernelCompileError(msg)
            paths: list[Path] = compiler.compile_libraries(zig, targets.TARGETS, folder)
            return paths
        if not targets.local_targets():
            return []  # Windows: the client renders on Fargate only
        try:
            found = compiler.find_compiler(os.environ)
            if found is None:
                msg = "no C compiler was found, and ziglang is not installed"
                raise compiler.KernelCompileError(msg)  # noqa: TRY301 - one warning for all causes
            paths = compiler.compile_libraries(found, targets.local_targets(), folder)
        except compiler.KernelCompileError as exc:
            self.app.display_warning(
                "cloudburst: the pixel kernel was not compiled, so nothing can be rendered on this"
                " machine. Install a C compiler or the package ziglang, then install cloudburst"
                f" again. Cause: {exc}"
            )
            return []
        return paths


def _mode() -> str:
    """Return the value of the environment variable."""
    mode = os.environ.get(VARIABLE, "")
    if mode not in {"", "all", "none"}:
        msg = f"{VARIABLE}: {mode!r}; expected 'all', 'none' or no value"
        raise ValueError(msg)
    return mode


def _platform_tag() -> str:
    """Return the platform tag of a wheel for this machine."""
    if sys.platform == "darwin":
        from packaging.tags import platform_tags  # noqa: PLC0415 - a dependency of hatchling

        return next(iter(platform_tags()))
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _load(root: str, name: str) -> Any:
    """Import a module of the kernel from the source folder.

    The package ``cloudburst`` cannot be imported here, because its dependencies are not installed.
    """
    package = "cloudburst_kernel_build"
    if package not in sys.modules:
        folder = Path(root, KERNEL)
        spec = importlib.util.spec_from_file_location(
            package, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[package] = module
        spec.loader.exec_module(module)
    return importlib.import_module(f"{package}.{name}")

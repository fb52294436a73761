"""The pixel kernel in an image: taken from the installation if it fits, otherwise compiled."""

from __future__ import annotations

import pytest

from cloudburst.errors import ImageError
from cloudburst.image import kernels
from cloudburst.image.cache import ImageCache
from cloudburst.image.kernels import find_kernels, has_kernels, image_targets
from cloudburst.image.options import ARCHITECTURES
from cloudburst.renderer.kernel.compiler import compile_library, find_zig
from cloudburst.renderer.kernel.targets import SOURCES, local_targets, source_hash


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "LIBRARIES", tmp_path / "installed")
    (tmp_path / "installed").mkdir()
    return ImageCache(tmp_path / "cache")


@pytest.fixture
def zig():
    found = find_zig()
    if found is None:
        pytest.skip("not installed: ziglang")
    return found


def without_compilers(monkeypatch):
    monkeypatch.setattr(kernels, "find_zig", lambda: None)
    monkeypatch.setattr(kernels, "find_compiler", lambda environ: None)


@pytest.mark.few(1)
@pytest.mark.real
@pytest.mark.parametrize("architecture", ["arm64", "amd64"])
def test_libraries_are_compiled_once(cache, architecture, monkeypatch, zig):
    paths = find_kernels(architecture, cache)
    targets = image_targets(architecture)
    assert [path.name for path in paths] == [target.file_name for target in targets]
    without_compilers(monkeypatch)
    assert find_kernels(architecture, cache) == paths
    paths[0].unlink()
    with pytest.raises(ImageError, match=r"not in this installation.*run pip install ziglang"):
        find_kernels(architecture, cache)


@pytest.mark.nightly
@pytest.mark.real
def test_an_installed_library_of_another_source_is_not_used(cache, tmp_path, monkeypatch, zig):
    """A checkout has libraries of this machine, perhaps of an earlier source."""
    local = [name for name in ARCHITECTURES if set(image_targets(name)) & set(local_targets())]
    if not local:
        pytest.skip("this machine does not run Linux")
    stale = tmp_path / "stale.c"
    stale.write_text(SOURCES[1].read_text() + "\n/* another version */\n")
    for target in image_targets(local[0]):
        compile_library(zig, target, tmp_path / "installed", (SOURCES[0], stale))
    without_compilers(monkeypatch)
    assert not has_kernels(local[0])
    monkeypatch.setattr(kernels, "source_hash", lambda: source_hash((SOURCES[0], stale)))
    assert has_kernels(local[0])
    assert {path.parent.name for path in find_kernels(local[0], cache)} == {"installed"}


def test_the_libraries_of_a_wheel_for_another_processor_are_used(cache, tmp_path, monkeypatch):
    without_compilers(monkeypatch)
    monkeypatch.setattr(kernels, "local_targets", lambda: image_targets("amd64"))
    assert not has_kernels("arm64")
    (tmp_path / "installed" / "kernel-linux-aarch64.so").touch()
    assert has_kernels("arm64")


def test_a_compiler_of_this_machine_is_not_used_for_another_processor(cache, monkeypatch):
    monkeypatch.setattr(kernels, "find_zig", lambda: None)
    monkeypatch.setattr(kernels, "local_targets", lambda: image_targets("amd64"))
    monkeypatch.setattr(kernels, "find_compiler", lambda environ: "a compiler")
    assert kernels._compiler(image_targets("amd64")[0]) == "a compiler"
    with pytest.raises(ImageError, match=r"kernel for aarch64 \(kernel-linux-aarch64.so\)"):
        find_kernels("arm64", cache)


@pytest.mark.real
def test_an_error_of_the_compiler_is_reported(cache, monkeypatch):
    from cloudburst.renderer.kernel.compiler import CCompiler

    monkeypatch.setattr(kernels, "find_zig", lambda: CCompiler(("false",), is_zig=True))
    with pytest.raises(ImageError, match="the pixel kernel was not compiled"):
        find_kernels("amd64", cache)

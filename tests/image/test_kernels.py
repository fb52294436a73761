"""The pixel kernel in an image: taken from the installation if it fits, otherwise compiled."""

from __future__ import annotations

import pytest

from cloudburst.errors import ImageError
from cloudburst.image import kernels
from cloudburst.image.cache import ImageCache
from cloudburst.image.kernels import find_kernels, image_targets, is_compiled_from
from cloudburst.renderer.kernel.compiler import compile_library, find_zig
from cloudburst.renderer.kernel.targets import SOURCE, source_hash

HASH = source_hash(SOURCE.read_bytes())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "LIBRARIES", tmp_path / "installed")
    (tmp_path / "installed").mkdir()
    return ImageCache(tmp_path / "cache")


@pytest.mark.real
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_libraries_are_compiled_once_and_known_by_the_hash_of_their_source(
    cache, tmp_path, architecture, monkeypatch
):
    if find_zig() is None:
        pytest.skip("not installed: ziglang")
    paths = find_kernels(architecture, cache)
    targets = image_targets(architecture)
    assert [path.name for path in paths] == [target.file_name for target in targets]
    for path, target in zip(paths, targets, strict=True):
        assert is_compiled_from(path, target, HASH)
        assert not is_compiled_from(path, target, HASH ^ 1)
        assert not is_compiled_from(path, target, HASH ^ 1 << 40)
    monkeypatch.setattr(kernels, "find_zig", lambda: None)
    monkeypatch.setattr(kernels, "find_compiler", lambda environ: None)
    assert find_kernels(architecture, cache) == paths
    paths[0].write_bytes(paths[0].read_bytes()[:-1] + b"x")
    with pytest.raises(ImageError, match=r"not in this installation"):
        find_kernels(architecture, cache)
    # A library of another source, such as one of an earlier version, is not used.
    stale = tmp_path / "stale.c"
    stale.write_text(SOURCE.read_text() + "\n/* another version */\n")
    zig = find_zig()
    compile_library(zig, targets[0], tmp_path / "installed", stale)
    paths[0].unlink()
    with pytest.raises(ImageError, match=r"not in this installation.*run pip install ziglang"):
        find_kernels(architecture, cache)
    (tmp_path / "installed" / targets[0].file_name).unlink()
    compile_library(zig, targets[0], tmp_path / "installed")
    assert find_kernels(architecture, cache)[0].parent.name == "installed"


def test_a_compiler_of_this_machine_is_not_used_for_another_processor(cache, monkeypatch):
    monkeypatch.setattr(kernels, "find_zig", lambda: None)
    monkeypatch.setattr(kernels, "local_targets", lambda: image_targets("amd64"))
    monkeypatch.setattr(kernels, "find_compiler", lambda environ: "a compiler")
    assert kernels._compiler(image_targets("amd64")[0]) == "a compiler"
    with pytest.raises(ImageError, match=r"kernel for aarch64 \(kernel-linux-aarch64.so\)"):
        find_kernels("arm64", cache)


@pytest.mark.real
def test_an_error_of_the_compiler_is_reported(cache, monkeypatch):
    from cloudburst.renderer.kernel.compiler import Compiler

    monkeypatch.setattr(kernels, "find_zig", lambda: Compiler(("false",), is_zig=True))
    with pytest.raises(ImageError, match="the pixel kernel was not compiled"):
        find_kernels("amd64", cache)


def test_files_of_another_kind_are_not_libraries(tmp_path):
    target = image_targets("amd64")[0]
    path = tmp_path / target.file_name
    assert not is_compiled_from(path, target, HASH)
    path.write_bytes(b"not ELF" + HASH.to_bytes(8, "little"))
    assert not is_compiled_from(path, target, HASH)

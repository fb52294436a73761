"""Which kernel a process loads, and what happens if its library is missing or does not fit."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from cloudburst.errors import ConfigurationError
from cloudburst.renderer.kernel import library
from cloudburst.renderer.kernel.compiler import (
    CCompiler,
    KernelCompileError,
    compile_command,
    compile_library,
    find_compiler,
)
from cloudburst.renderer.kernel.library import (
    Kernel,
    KernelLoadError,
    open_kernel,
)
from cloudburst.renderer.kernel.targets import (
    SOURCES,
    TARGETS,
    V3,
    KernelTarget,
    local_targets,
    source_hash,
    targets_for,
)
from support.kernel_builds import kernels, libraries

needs_compiler = pytest.mark.skipif(len(kernels()) == 1, reason="this machine has no C compiler")


@needs_compiler
def test_the_fastest_variant_is_loaded():
    for targets, expected in (
        (local_targets(), list(kernels())[-1]),
        (local_targets()[:1], "baseline"),
    ):
        assert open_kernel(targets, libraries()).name == kernels()[expected].name


@needs_compiler
@pytest.mark.parametrize("content", [None, b"", b"no library"])
def test_without_a_library_the_error_says_what_to_install(tmp_path, content):
    """Also if only that for newer processors is missing, which are half as fast without it."""
    for target in local_targets():
        shutil.copy(libraries() / target.file_name, tmp_path)
    (path,) = tmp_path.glob(f"{list(kernels().values())[-1].name}.*")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="kernel of the renderer is missing: install a C"):
        open_kernel(local_targets(), tmp_path)


def test_on_an_unknown_platform_nothing_is_rendered(tmp_path):
    with pytest.raises(ConfigurationError, match="no kernel for this platform"):
        open_kernel((), tmp_path)


@needs_compiler
def test_a_library_of_another_source_is_not_used(monkeypatch):
    monkeypatch.setattr(library, "source_hash", lambda: source_hash() ^ 1)
    with pytest.raises(KernelLoadError, match="compiled from other sources; install"):
        Kernel(libraries() / local_targets()[0].file_name)


def test_the_hash_of_the_sources_is_that_of_all_their_bytes(tmp_path):
    changed = tmp_path / "vectors.c"
    changed.write_bytes(SOURCES[1].read_bytes() + b"\n")
    assert source_hash((SOURCES[0], changed)) != source_hash()


def test_loading_the_kernel_imports_no_large_module():
    code = (
        "from cloudburst.renderer.kernel.library import load_kernel; load_kernel();"
        "import sys; print({'numpy', 'cv2', 'pydantic', 'subprocess'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_targets_of_a_machine():
    x86 = KernelTarget("linux", "x86_64"), KernelTarget("linux", "x86_64", V3)
    assert targets_for("linux", "x86_64") == x86
    assert targets_for("win32", "amd64") == ()
    assert targets_for("darwin", "arm64") == (KernelTarget("macos", "aarch64"),)
    assert targets_for("linux", "riscv64") == (KernelTarget("linux", "riscv64"),)
    assert targets_for("freebsd14", "amd64") == ()
    assert set(local_targets()) <= {*TARGETS, *targets_for(sys.platform, "other")} | set(x86)
    assert len({target.file_name for target in TARGETS}) == len(TARGETS) == 5
    assert x86[1].file_name == "kernel-linux-x86_64-v3.so"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.file_name)
def test_command_lines(target, tmp_path):
    output = tmp_path / "x"
    zig = compile_command(CCompiler(("zig", "cc"), is_zig=True), target, SOURCES, output)
    native = compile_command(CCompiler(("cc", "-m64")), target, SOURCES, output)
    assert zig[:2] == ["zig", "cc"]
    assert native[:2] == ["cc", "-m64"]
    triple = zig[zig.index("-target") + 1]
    assert triple.startswith(f"{target.machine}-{target.system}")
    assert ("-mcpu=x86_64_v3" in zig) is ("-mavx2" in native) is (target.variant == V3)
    definition = f"-DKERNEL_SOURCE_HASH=0x{source_hash():016x}u"
    for command in (zig, native):
        assert definition in command
        assert command[-4:] == ["-o", str(output), *map(str, SOURCES)]
        assert ("-nostdlib" in command) is (target.system != "macos")


def test_the_compiler_is_the_one_that_is_named(tmp_path, monkeypatch):
    for name in ("cc", "clang", "mine"):
        (tmp_path / name).touch(mode=0o755)
    path = {"PATH": str(tmp_path)}
    found = find_compiler({**path, "CC": "mine -m64"})
    assert found == CCompiler((str(tmp_path / "mine"), "-m64"))
    assert find_compiler(path) == CCompiler((str(tmp_path / "cc"),))
    (tmp_path / "cc").unlink()
    assert find_compiler({**path, "CC": "missing"}) == CCompiler((str(tmp_path / "clang"),))
    (tmp_path / "clang").unlink()
    zig = find_compiler(path)
    assert zig is None or zig.is_zig


def test_errors_of_a_compiler_name_the_library(tmp_path):
    target = KernelTarget("linux", "x86_64")
    for command in ((sys.executable, "-c", "import sys; sys.exit('no')"), ("/missing/cc",)):
        with pytest.raises(KernelCompileError, match=target.file_name):
            compile_library(CCompiler(command), target, tmp_path)
    assert list(tmp_path.iterdir()) == []

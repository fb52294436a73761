"""Compilers, instruction sets and sanitizers: all builds of the kernel compute the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloudburst.renderer.kernel.compiler import CCompiler, compile_libraries, compile_library
from cloudburst.renderer.kernel.library import Kernel
from cloudburst.renderer.kernel.targets import SOURCES, TARGETS, V3, KernelTarget, local_targets
from support import doc_pages
from support.kernel_builds import GuardedPlane, compilers, kernels, libraries

SUPPORT = doc_pages.ROOT / "tests" / "support"
PIXELS, VECTORS = SOURCES
FUZZ = {PIXELS: SUPPORT / "kernel_fuzz.c", VECTORS: SUPPORT / "vectors_fuzz.c"}
ROUNDS = "300"
"""Calls of each function by the fuzz program; with sanitizers they take 0.3 s."""
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
NO_SANITIZERS = "this machine has no C compiler with sanitizers, such as gcc with libc6-dev"
HAS_V3 = "v3" in kernels()
VARIANTS = ({"v3": ("-mavx2",)} if HAS_V3 else {}) | {
    "baseline": (),
    "portable": ("-DKERNEL_PORTABLE",),
}
"""Flags of the variants; the first one has the widest vectors, and is the one that is used."""
needs_compiler = pytest.mark.skipif(not compilers(), reason="this machine has no C compiler")
needs_zig = pytest.mark.skipif("zig" not in compilers(), reason="ziglang is not installed")


def compile_fuzz(
    output: Path,
    compiler: CCompiler | None,
    *flags: str,
    program: Path = FUZZ[PIXELS],
    source: Path = PIXELS,
) -> bool:
    """Compile a fuzz program, and return whether the compiler could."""
    if compiler is None:
        return False
    define = f'-DKERNEL_FILE="{source}"'
    command = [*compiler.command, "-std=c11", *flags, define, "-o", str(output), str(program)]
    return not subprocess.run(command, capture_output=True, check=False).returncode


def sanitizing_compiler() -> CCompiler | None:
    """Return the C compiler of this machine. It is not zig, which ignores `SANITIZERS`."""
    native = compilers().get("native")
    return None if native is None or native.is_zig else native


def checksum(*command: str) -> str:
    done = subprocess.run([*command, ROUNDS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> str:
    """Return the checksum of the fuzz program without vector instructions."""
    program = tmp_path_factory.mktemp("fuzz") / "portable"
    assert compile_fuzz(program, next(iter(compilers().values())), "-O1", "-DKERNEL_PORTABLE")
    return checksum(str(program))


@pytest.mark.few(1)
@needs_compiler
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_access_outside_of_memory(variant, expected, tmp_path):
    program = tmp_path / "fuzz"
    if not compile_fuzz(program, sanitizing_compiler(), *SANITIZERS, *VARIANTS[variant]):
        pytest.skip(NO_SANITIZERS)
    assert checksum(str(program)) == expected


@pytest.mark.nightly
@needs_compiler
def test_the_sanitizers_find_an_error(tmp_path):
    """A kernel that reads one sample beyond the end of a row is found."""
    source, program = tmp_path / "kernel.c", tmp_path / "fuzz"
    text = PIXELS.read_text("utf-8")
    broken = text.replace("x + LANES <= width; x += LANES", "x + LANES <= width + 1; x += LANES")
    assert broken != text
    source.write_text(broken, "utf-8")
    if not compile_fuzz(program, sanitizing_compiler(), *SANITIZERS, source=source):
        pytest.skip(NO_SANITIZERS)
    done = subprocess.run([program, ROUNDS], capture_output=True, text=True, check=False)
    assert "AddressSanitizer" in done.stderr


@needs_compiler
def test_b_pictures_are_the_same_with_less_and_more_optimisation_and_stay_in_their_memory(tmp_path):
    compiler = sanitizing_compiler()
    found = set()
    for flags in (("-O3",), SANITIZERS):
        program = tmp_path / f"fuzz{flags[0]}"
        if not compile_fuzz(program, compiler, *flags, program=FUZZ[VECTORS], source=VECTORS):
            pytest.skip(NO_SANITIZERS)
        found.add(checksum(str(program)))
    assert len(found) == 1


@pytest.mark.nightly
@needs_compiler
def test_the_sanitizers_find_a_b_picture_that_leaves_its_memory(tmp_path):
    source, program = tmp_path / "vectors.c", tmp_path / "fuzz"
    text = VECTORS.read_text("utf-8")
    broken = text.replace("c->size < c->room", "c->size <= c->room")
    assert broken != text
    source.write_text(broken, "utf-8")
    if not compile_fuzz(
        program, sanitizing_compiler(), *SANITIZERS, program=FUZZ[VECTORS], source=source
    ):
        pytest.skip(NO_SANITIZERS)
    done = subprocess.run([program, ROUNDS], capture_output=True, text=True, check=False)
    assert "AddressSanitizer" in done.stderr


@needs_zig
@pytest.mark.nightly  # compiles for many platforms: 10 s or more of CPU time
@pytest.mark.needs("qemu-aarch64")
@pytest.mark.timeout(300)  # the first use of zig compiles a C library
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_arm_computes_the_same(source, tmp_path):
    found = set()
    here, arm = tmp_path / "here", tmp_path / "arm"
    targets = {here: ("-O1",), arm: ("-O3", "-static", "-target", "aarch64-linux-musl")}
    for program, flags in targets.items():
        zig, fuzz = compilers()["zig"], FUZZ[source]
        assert compile_fuzz(program, zig, *flags, program=fuzz, source=source)
        found.add(checksum(*(["qemu-aarch64"] if program == arm else []), str(program)))
    assert len(found) == 1


@needs_compiler
@pytest.mark.parametrize("name", list(compilers())[1:])  # the first one compiled `kernels`
def test_each_compiler_computes_the_same(name, tmp_path):
    samples = os.urandom(700 * 60)
    source = GuardedPlane(700, 60, samples=samples)
    results = []
    for target in local_targets() if HAS_V3 else local_targets()[:1]:
        kernel = Kernel(compile_library(compilers()[name], target, tmp_path))
        for zoom in (1, 1.03, 1.1, 1.9):
            drawn = []
            for one in (kernel, kernels()["baseline"]):
                result = GuardedPlane(700, 60)
                one.zoom(source.plane, result.plane, 2 * zoom - 2, zoom - 1, zoom)
                drawn.append(result.samples())
            assert drawn[0] == drawn[1]
            results.append(drawn[0])
    assert len(set(results)) == 4


@pytest.mark.nightly
@needs_compiler
@pytest.mark.parametrize("name", compilers())
def test_libraries_are_reproducible(name, tmp_path, monkeypatch):
    built = []
    for folder in ("one", "another"):
        monkeypatch.setenv("ZIG_LOCAL_CACHE_DIR", str(tmp_path / folder / "cache"))
        path = compile_library(compilers()[name], local_targets()[0], tmp_path / folder)
        built.append(path.read_bytes())
    assert built[0] == built[1]


@needs_compiler
@pytest.mark.parametrize("target", local_targets(), ids=lambda target: target.file_name)
def test_libraries_name_no_folder_of_the_build(target):
    path = libraries() / target.file_name
    assert str(libraries()).encode() not in path.read_bytes()


@needs_compiler
@pytest.mark.skipif(sys.platform != "linux", reason="looks at libraries of Linux")
@pytest.mark.needs("nm")
@pytest.mark.parametrize("target", local_targets(), ids=lambda target: target.file_name)
def test_libraries_need_no_other(target):
    command = ["nm", "--dynamic", "--undefined-only", libraries() / target.file_name]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.nightly
@needs_zig
@pytest.mark.timeout(120)  # the first use of zig takes longer
def test_zig_compiles_for_another_system(tmp_path):
    path = compile_library(compilers()["zig"], KernelTarget("macos", "aarch64"), tmp_path)
    assert path.read_bytes().startswith(b"\xcf\xfa\xed\xfe")
    assert b"kernel_zoom" in path.read_bytes()


@needs_zig
@pytest.mark.nightly  # compiles for many platforms: 10 s or more of CPU time
@pytest.mark.timeout(300)
def test_zig_compiles_all_targets(tmp_path):
    paths = compile_libraries(compilers()["zig"], TARGETS, tmp_path / "libs")
    heads = {".so": b"\x7fELF", ".dylib": b"\xcf\xfa\xed\xfe"}
    assert [path.name for path in paths] == [target.file_name for target in TARGETS]
    for path in paths:
        assert path.read_bytes().startswith(heads[path.suffix])
        assert path.stat().st_size < 100_000
        assert b"kernel_zoom" in path.read_bytes()
    assert sorted(path.name for path in (tmp_path / "libs").iterdir()) == sorted(
        target.file_name for target in TARGETS
    )
    assert {target.variant for target in TARGETS} == {"", V3}

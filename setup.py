"""Builds the two native parts: the cffi extension `faultlib._core` and the preload shim beside it."""

from __future__ import annotations

import os
import platform
import re
import shlex
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, ExecError, LinkError

SHIM = "faultlib.libfaultlib_preload"
CONTROLLER_ONLY = {"await.c", "control.c", "follow.c", "guard.c", "lend.c", "names.c", "spill.c"}
# What runs in every new process comes first: fewer pages to map.
AT_START = {"attach.c", "elf.c", "place.c", "slot.c", "string.c", "x86_64_patch.c"}
# The shim has no use for Python's own flags: it is built by the bare compiler, for any target.
# Every exec in a session loads it: fewer mappings and pages are worth more there than what relro would guard.
SHIM_FLAGS = """-std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wno-cast-function-type -Wno-array-parameter
    -fPIC -shared -fvisibility=hidden -ftls-model=initial-exec -fno-plt
    -fno-strict-aliasing -fno-tree-slp-vectorize -fno-builtin -fno-stack-protector -fomit-frame-pointer -fcf-protection=branch
    -Icsrc -ffunction-sections -fdata-sections -Wl,--gc-sections
    -Wl,-z,initfirst -Wl,-z,now -Wl,-z,norelro -Wl,-z,noseparate-code -Wl,-z,noexecstack
    -Wl,-Bsymbolic-functions -nostartfiles""".split()

NEEDS = "faultlib is built from C: a compiler, libc's headers and Python's are needed (Debian: gcc libc6-dev python3-dev)"
NO_BUILD_PATHS = f"-ffile-prefix-map={Path.cwd()}=."


def shim_sources() -> list[str]:
    sources = sorted(str(p) for d in ("csrc", "csrc/effects", "csrc/wrap") for p in Path(d).glob("*.c"))
    arch = sorted(str(p) for p in Path("csrc/arch").glob(f"{platform.machine()}*.[cS]"))
    ours = [source for source in [*arch, *sources] if Path(source).name not in CONTROLLER_ONLY]
    return sorted(ours, key=lambda source: Path(source).name not in AT_START)


def version_script(folder: Path) -> Path:
    """Writes the list of exported symbols, which is the list of intercepted ones."""
    rows = re.findall(r"^FL_(?:SYM|OWN)\((\w+),", Path("csrc/ops.def").read_text(), re.MULTILINE)
    script = folder / "exports.map"
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text("{ global:\n" + "".join(f"  {name};\n" for name in rows) + "  local: *;\n};\n")
    return script


class BuildNative(build_ext):
    """Builds the shim with its plain file name and nothing of Python in it."""

    def get_ext_filename(self, fullname: str) -> str:
        if fullname.rsplit(".", 1)[-1] == SHIM.rsplit(".", 1)[-1]:
            return str(Path(*fullname.split("."))) + ".so"
        return str(super().get_ext_filename(fullname))

    def run(self) -> None:
        try:
            super().run()
        except (CompileError, ExecError, LinkError) as error:
            raise type(error)(f"{error}\n{NEEDS}") from error

    def build_extension(self, ext: Extension) -> None:
        if ext.name != SHIM:
            if os.environ.get("FAULTLIB_WERROR"):
                ext.extra_compile_args.append("-Werror")
            ext.extra_compile_args.append(NO_BUILD_PATHS)
            super().build_extension(ext)
            return
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = [*SHIM_FLAGS, NO_BUILD_PATHS, f"-Wl,--version-script={version_script(Path(self.build_temp))}"]
        if os.environ.get("FAULTLIB_WERROR"):
            flags.append("-Werror")
        flags += shlex.split(os.environ.get("FAULTLIB_SHIM_FLAGS", ""))
        self.spawn([*shlex.split(os.environ.get("CC", "cc")), *flags, "-o", str(target), *ext.sources])


shim = Extension(
    SHIM,
    sources=shim_sources(),
    depends=[str(p) for p in Path("csrc").rglob("*") if p.suffix in (".h", ".def")],
)

# The licence stands here because old and new setuptools do not agree on how it is written in pyproject.toml.
setup(
    license="MIT",
    cffi_modules=["csrc/build_core.py:ffi"],
    ext_modules=[shim],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

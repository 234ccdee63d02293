"""Programs that cannot load a shim."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outside:
    """`build` makes the program at $OUT from hello.c or hello.go. `reason` is part of what faultlib says."""

    name: str
    build: str
    reason: str
    needs: tuple[str, ...]


# An ELF32 file of one segment whose only instructions are exit(5): mov $1,%eax; mov $5,%ebx; int $0x80.
TINY = (
    r"\177ELF\1\1\1\0\0\0\0\0\0\0\0\0\2\0\3\0\1\0\0\0\124\200\4\10\64\0\0\0\0\0\0\0\0\0\0\0\64\0\40\0\1\0\0\0\0\0\0\0"
    r"\1\0\0\0\0\0\0\0\0\200\4\10\0\200\4\10\140\0\0\0\140\0\0\0\5\0\0\0\0\20\0\0"
    r"\270\1\0\0\0\273\5\0\0\0\315\200"
)

OUTSIDE = [
    Outside("static C", "gcc -static -o $OUT hello.c", "it is statically linked: no shim can be loaded into it", ("gcc",)),
    Outside("static-pie C", "gcc -static-pie -o $OUT hello.c", "it is statically linked: no shim can be loaded into it", ("gcc",)),
    Outside("musl", "musl-gcc -o $OUT hello.c", "it is loaded by /lib/ld-musl-x86_64.so.1, which is not glibc's loader", ("musl-gcc",)),
    Outside("Go", "GO111MODULE=off CGO_ENABLED=0 GOCACHE=$TMP/cache go build -o $OUT hello.go", "it is statically linked: no shim can be loaded into it", ("go",)),
    Outside("32-bit", f"printf '{TINY}' > $OUT", "it is a 32-bit program, and the shim is a 64-bit library", ()),
    Outside("setuid", "gcc -o $OUT hello.c && chown nobody $OUT && chmod u+s $OUT", "it is setuid: the loader ignores LD_PRELOAD there", ("gcc",)),
]

"""Callers in programs that are not Python: the right function and line, or none; whatever lies on their stacks."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faultlib.inject import dwarf, native, symbols
from faultlib.inject.events import Event
from faultlib.inject.recording import Recording
from faultlib.inject.session import Session
from faultlib.inject.stacks import Frame, own_frame
from faultlib.inject.trace import Journal
from tests.conftest import Run

Build = Callable[..., Path]
OPERATIONS = ("open", "write", "rename", "unlink", "vfork", "mkdir")


@pytest.fixture(autouse=True)
def nothing_is_known_of_files() -> Iterator[None]:
    """Files change between tests, and within some."""
    caches = (symbols.image, symbols.debug_image, symbols._functions, dwarf._source, native._of)
    for cache in caches:
        cache.cache_clear()
    yield


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Writes a source file and compiles it."""

    def compiled(source: str, *flags: str, name: str = "program") -> Path:
        (tmp_path / f"{name.partition('.')[0]}.c").write_text(source)
        command = ["cc", *flags, "-pthread", "-o", name, f"{name.partition('.')[0]}.c", *(f for f in flags if f.startswith(("-l", "-Wl")))]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return tmp_path / name

    return compiled


def recorded(folder: Path, *command: str | Path) -> list[Event]:
    with Session(cwd=folder, recording=Recording()) as session, Journal(session) as journal:
        done = session.run(list(map(str, command)), cwd=folder)
        assert done.returncode == 0
        journal.finish()
        return [journal.decoder.event(record) for batch in journal.batches() for record in batch]


def functions(events: list[Event], operation: str, file: str = "") -> list[list[str]]:
    """The functions of each such call, innermost first."""
    found = [event for event in events if event.operation == operation and (event.path or "").endswith(file)]
    return [[re.split(r"[+.]", frame.function)[0] for frame in event.frames] for event in found]


def line_of(source: str, mark: str) -> int:
    (number,) = [n for n, line in enumerate(source.splitlines(), 1) if line.endswith(f"/* {mark} */")]
    return number


DECOY = r"""
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
static void __attribute__((noinline)) decoy(int depth)
{
    char room[depth * 8 + 8];
    for (int i = 0; i < depth * 8 + 8; i++)
        ((volatile char *)room)[i] = 1;
    getppid();
    if (depth)
        decoy(depth - 1);
    for (int i = depth; i; i--)
        getppid();
}
static void __attribute__((noinline)) direct(void) { open("direct", O_CREAT | O_WRONLY, 0600); __asm__(""); }
static void __attribute__((noinline)) buffered(void)
{
    FILE *f = fopen("buffered", "w");
    decoy(40);
    fputs("x", f);
    fclose(f);
    __asm__("");
}
int main(void)
{
    for (int i = 0; i < 40; i++) {
        decoy(i);
        direct();
        buffered();
    }
    return 0;
}
"""


@pytest.mark.parametrize("flags", [("-O0",), ("-O2",), ("-O2", "-fomit-frame-pointer", "-no-pie")], ids=" ".join)
def test_a_stale_return_address_is_nobody_s_call(build: Build, tmp_path: Path, flags: tuple[str, ...]) -> None:
    events = recorded(tmp_path, build(DECOY, *flags))
    assert functions(events, "open", "direct") == [["direct", "main"]] * 40
    assert functions(events, "open", "buffered") == [["buffered", "main"]] * 40
    assert functions(events, "write", "buffered") == [["buffered", "main"]] * 40


LINES = r"""
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static inline __attribute__((always_inline)) void put(FILE *f)
{
    fflush(f); /* write */
}
static void __attribute__((noinline)) save(void)
{
    FILE *f = fopen("saved", "w"); /* open */
    fprintf(f, "x");
    put(f); /* put */
    fclose(f);
    __asm__("");
}
void *work(void *x)
{
    unlink("none"); /* unlink */
    return x;
}
int main(void)
{
    pthread_t thread;
    save(); /* save */
    rename("saved", "other"); /* rename */
    pthread_create(&thread, 0, work, 0);
    pthread_join(thread, 0);
    if (!vfork()) /* vfork */
        _exit(0);
    wait(0);
    return 0;
}
"""
DEBUG_FLAGS = [("-O0",), ("-O2",), ("-O2", "-no-pie"), ("-gdwarf-4",), ("-gdwarf-3", "-O2"), ("-O2", "-gz")]
EXPECTED = {
    "open": [("open", "save"), ("save", "main")],
    "write": [("write", "put"), ("put", "save"), ("save", "main")],
    "rename": [("rename", "main")],
    "unlink": [("unlink", "work")],
    "vfork": [("vfork", "main")],
}


@pytest.mark.parametrize("flags", DEBUG_FLAGS, ids=" ".join)
def test_file_and_line_where_there_is_debug_information(build: Build, tmp_path: Path, flags: tuple[str, ...]) -> None:
    events = recorded(tmp_path, build(LINES, "-g", *flags))
    source = str(tmp_path / "program.c")
    for operation, places in EXPECTED.items():
        (event,) = [event for event in events if event.operation == operation and event.actor.thread.count(".") < 2]
        assert list(event.frames) == [Frame(source, line_of(LINES, mark), name) for mark, name in places]
        assert event.where == event.frames[0]


def test_a_stripped_program_has_offsets(build: Build, tmp_path: Path) -> None:
    program = build(LINES, "-O2")
    named = symbols.image(str(program)).functions
    subprocess.run(["strip", "-o", tmp_path / "stripped", program], check=True)
    for operation, places in EXPECTED.items():
        frames = next(event.frames for event in recorded(tmp_path, tmp_path / "stripped") if event.operation == operation)
        assert {frame.file for frame in frames} == {str(tmp_path / "stripped")}
        inside = [next(name for at, (size, name) in named.items() if at < int(frame.function, 16) <= at + size) for frame in frames]
        assert inside == [name for _, name in places if name != "put"]


def test_an_exported_neighbour_does_not_lend_its_name(build: Build, tmp_path: Path) -> None:
    program = build(LINES, "-O2", "-rdynamic")
    subprocess.run(["strip", program], check=True)
    events = recorded(tmp_path, program)
    assert functions(events, "unlink") == [["work"]]
    ((inner, outer),) = functions(events, "open", "saved")
    assert re.fullmatch("0x[0-9a-f]+", inner), "save is static and not among the dynamic symbols"
    assert outer == "main"


def test_a_symbol_without_a_size_names_nothing(build: Build, tmp_path: Path) -> None:
    source = '__asm__(".text\\n.globl before\\nbefore: nop");\n' + LINES
    program = build(source, "-O2", "-g0", "-rdynamic", "-Wl,--build-id")
    subprocess.run(["strip", program], check=True)
    assert "before" not in [name for _, name in symbols.image(str(program)).functions.values()]


def split(program: Path, debug: Path) -> None:
    number = symbols.image(str(program)).build_id.hex()
    (debug / number[:2]).mkdir(parents=True)
    target = debug / number[:2] / f"{number[2:]}.debug"
    subprocess.run(["objcopy", "--only-keep-debug", program, target], check=True)
    subprocess.run(["strip", program], check=True)
    symbols.image.cache_clear()


def test_debug_information_that_was_split_off(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, debug = build(LINES, "-g", "-O2", "-Wl,--build-id"), tmp_path / "debug"
    split(program, debug)
    monkeypatch.setattr(symbols, "DEBUG", debug)
    (event,) = [event for event in recorded(tmp_path, program) if event.operation == "rename"]
    assert event.where == Frame(str(tmp_path / "program.c"), line_of(LINES, "rename"), "main")


def test_only_symbols_were_split_off(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, debug = build(LINES, "-O2", "-Wl,--build-id"), tmp_path / "debug"
    split(program, debug)
    monkeypatch.setattr(symbols, "DEBUG", debug)
    assert functions(recorded(tmp_path, program), "unlink") == [["work"]]


def test_another_build_of_the_program_gives_no_names(build: Build, tmp_path: Path) -> None:
    program = build(LINES, "-g", "-Wl,--build-id")
    with Session(cwd=tmp_path, recording=Recording()) as session, Journal(session) as journal:
        session.run([str(program)], cwd=tmp_path)
        program.unlink()
        build(DECOY, "-g", "-Wl,--build-id")
        journal.finish()
        events = [journal.decoder.event(record) for batch in journal.batches() for record in batch]
    (event,) = [event for event in events if event.operation == "rename"]
    assert event.where and event.where.file == str(program)
    assert not event.where.line
    assert re.fullmatch("0x[0-9a-f]+", event.where.function)


LIBRARY = r"""
#include <unistd.h>
void each(void (*f)(void)) { f(); __asm__(""); }
void drop(void)
{
    unlink("none"); /* unlink */
    __asm__("");
}
"""
USER = r"""
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
void each(void (*f)(void));
void drop(void);
static int compare(const void *a, const void *b) { (void)a, (void)b; mkdir("made", 0700); return 0; }
static void back(void) { rename("a", "b"); __asm__(""); }
int rename(const char *, const char *);
int main(void)
{
    int two[2] = {0};
    each(back);
    drop(); /* drop */
    qsort(two, 2, sizeof *two, compare);
    return 0;
}
"""


def test_libraries_of_the_program_s_own(build: Build, tmp_path: Path) -> None:
    build(LIBRARY, "-g", "-shared", "-fPIC", "-O2", name="libmine.so")
    user = USER.replace("static int compare", "int rename(const char *, const char *);\nstatic int compare", 1)
    events = recorded(tmp_path, build(user, "-g", "-O2", f"-Wl,-rpath,{tmp_path}", f"-L{tmp_path}", "-lmine"))
    assert functions(events, "rename") == [["back", "each", "main"]]
    assert functions(events, "mkdir") == [["compare", "main"]], "libc's frames are left out"
    (event,) = [event for event in events if event.operation == "unlink"]
    assert event.where == Frame(str(tmp_path / "libmine.c"), line_of(LIBRARY, "unlink"), "drop")
    assert event.frames[1] == Frame(str(tmp_path / "program.c"), line_of(user, "drop"), "main")


def test_a_library_of_the_system_is_not_where() -> None:
    inner = Frame("/usr/lib/x86_64-linux-gnu/libsqlite3.so.0.8.6", 0, "sqlite3_step+0x1a")
    header = Frame("/usr/include/c++/12/bits/basic_ios.h", 12, "clear")
    outer = Frame("/home/me/shop.c", 7, "main")
    assert own_frame((inner, header, outer)) == outer
    assert own_frame((inner,)) == inner


@pytest.mark.skipif(not shutil.which("sqlite3"), reason="sqlite3 is not installed")
def test_a_real_library(tmp_path: Path) -> None:
    program = Path(str(shutil.which("sqlite3"))).resolve()
    events = recorded(tmp_path, program, "db", "create table t(a); insert into t values (1);")
    writes = [event for event in events if event.operation == "pwrite"]
    assert writes
    assert {event.where and event.where.file for event in writes} == {str(program)}
    if b"libsqlite3.so" in program.read_bytes():
        assert all("libsqlite3.so" in event.frames[0].file for event in writes)


def test_what_libc_does_after_main(build: Build, tmp_path: Path) -> None:
    source = '#include <stdio.h>\nint main(void) { fputs("x", fopen("left", "w")); return 0; }\n'
    events = recorded(tmp_path, build(source, "-g"))
    assert functions(events, "write", "left") == [["_start"]]


STACKS = r"""
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>
static ucontext_t back, routine;
static void __attribute__((noinline)) handler(int n) { (void)n; unlink("handler"); __asm__(""); }
static void __attribute__((noinline)) coroutine(void) { mkdir("coroutine", 0700); raise(SIGUSR1); __asm__(""); }
static int __attribute__((noinline)) deep(int n) { volatile char room[9000]; room[n] = 0; if (n) deep(n - 1); else rename("deep", "x"); return room[n]; }
static void *thread(void *x) { deep(200); coroutine(); return x; }
static void *stack(size_t bytes)
{
    char *p = mmap(0, bytes + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(p + 4096, bytes, PROT_READ | PROT_WRITE);
    return p + 4096;
}
int main(void)
{
    stack_t alternate = {.ss_sp = stack(65536), .ss_size = 65536};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaltstack(&alternate, 0);
    sigaction(SIGUSR1, &action, 0);
    for (int i = 0; i < 30; i++) {
        size_t bytes = i % 2 ? 65536 : 32768;
        getcontext(&routine);
        routine.uc_stack.ss_sp = stack(bytes);
        routine.uc_stack.ss_size = bytes;
        routine.uc_link = &back;
        makecontext(&routine, coroutine, 0);
        swapcontext(&back, &routine);
        munmap((char *)routine.uc_stack.ss_sp - 4096, bytes + 8192);
        deep(i);
    }
    pthread_t t;
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
    return 0;
}
"""


@pytest.mark.parametrize("flags", [("-O0",), ("-O2", "-fno-optimize-sibling-calls")], ids=" ".join)
def test_any_stack(build: Build, tmp_path: Path, flags: tuple[str, ...]) -> None:
    events = recorded(tmp_path, build(STACKS, *flags))
    assert {found[0] for found in functions(events, "unlink", "handler")} == {"handler"}
    assert {tuple(found) for found in functions(events, "mkdir", "coroutine")} == {("coroutine",), ("coroutine", "thread")}
    assert len(functions(events, "mkdir", "coroutine")) == 31
    renames = functions(events, "rename")
    assert [found[:1] for found in renames] == [["deep"]] * 31
    assert max(map(len, renames)) == 16, "no more are kept"
    assert [found[-1] for found in renames[:15]] == ["main"] * 15


THREADS = r"""
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
static void __attribute__((noinline)) handler(int n) { (void)n; rmdir("handler"); __asm__(""); }
static void __attribute__((noinline)) first(void) { unlink("first"); __asm__(""); }
static void __attribute__((noinline)) second(void) { unlink("second"); __asm__(""); }
static void __attribute__((noinline)) deep(int n) { volatile char room[600]; room[0] = 0; if (n) deep(n - 1); else first(); room[1] = 0; }
static void *work(void *x)
{
    long depth = (long)x;
    for (int i = 0; i < 20; i++) {
        deep(i % 2 ? depth : 0);
        second();
    }
    return x;
}
int main(void)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {0};
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &often, 0);
    for (int i = 0; i < 60; i++) {
        pthread_t threads[3];
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 65536 << i % 3);
        for (long n = 0; n < 3; n++)
            pthread_create(&threads[n], &attributes, work, (void *)(n * 10));
        for (int n = 0; n < 3; n++)
            pthread_join(threads[n], 0);
    }
    setitimer(ITIMER_REAL, &never, 0);
    return 0;
}
"""


def test_threads_come_and_go_and_handlers_come_in_between(build: Build, tmp_path: Path) -> None:
    events = recorded(tmp_path, build(THREADS, "-O1", "-fno-optimize-sibling-calls"))
    first = [tuple(found) for found in functions(events, "unlink", "first")]
    assert {(found[:2], found[-1]) for found in first} <= {(("first", "deep"), "work"), (("first", "deep"), "deep")}
    assert {len(found) for found in first} == {3, 13, 16}
    assert functions(events, "unlink", "second") == [["second", "work"]] * 3600
    assert {found[0] for found in functions(events, "rmdir", "handler")} == {"handler"}


LYING = r"""
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>
/* Says that its frame ends at a frame pointer, which leads astray. */
void lie(void *frame);
__asm__(".text\n.type lie, @function\nlie:\n.cfi_startproc\npush %rbp\nmov %rdi, %rbp\n.cfi_def_cfa %rbp, 16\n"
        "call honest\npop %rbp\nret\n.cfi_endproc\n.size lie, . - lie\n");
__attribute__((used, noinline)) static void honest(void) { unlink("none"); __asm__(""); }
static void *frame;
static void run(void) { lie(frame); }
int main(void)
{
    static ucontext_t back, routine;
    char *p = mmap(0, 1 << 17, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(p + 65536, 4096, PROT_NONE);
    for (unsigned i = 0; i < 8; i++) {
        void *frames[] = {0, p + 65536, p + 65536 - 16, p + 65536 - 8, p + 70000, p + 69632, (void *)~7ul, (void *)0x7ffffffff000};
        frame = frames[i];
        getcontext(&routine);
        routine.uc_stack.ss_sp = p;
        routine.uc_stack.ss_size = 65536;
        routine.uc_link = &back;
        makecontext(&routine, run, 0);
        swapcontext(&back, &routine);
    }
    return 0;
}
"""


def test_unwind_information_that_leads_astray_is_survived(build: Build, tmp_path: Path) -> None:
    events = recorded(tmp_path, build(LYING, "-O1"))
    assert functions(events, "unlink") == [["honest", "lie"]] * 8


def test_without_unwind_information_the_innermost_is_known(build: Build, tmp_path: Path) -> None:
    flags = ("-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fno-exceptions")
    events = recorded(tmp_path, build(DECOY, *flags))
    assert functions(events, "open", "direct") == [["direct"]] * 40
    assert functions(events, "write", "buffered") == [["buffered"]] * 40


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_give_fewer_names_and_no_error(build: Build, tmp_path: Path, seed: int) -> None:
    program = build(LINES, "-g", "-O2", "-Wl,--build-id=none")
    addresses = sorted(symbols.image(str(program)).functions)
    data, dice = bytearray(program.read_bytes()), random.Random(seed)
    for _ in range(60):
        data[dice.randrange(64 if seed % 2 else 0, len(data))] = dice.randrange(256)
    program.write_bytes(data[: dice.choice([len(data), dice.randrange(len(data))])])
    symbols.image.cache_clear()
    text = native.MARK + b"".join(b"%b\0000\0%x\0" % (str(program).encode(), address + 20) for address in addresses)
    assert len(list(native.places(text))) >= len(addresses)


def test_all_say_the_same_words(build: Build, tmp_path: Path, faultlib: Run) -> None:
    """The summary of a run, the live line, a trace, its counts, and the finding of a campaign."""
    build(LINES, "-g", "-O1")
    where = f"program.c:{line_of(LINES, 'rename')}"
    done = faultlib("run", "-v", "-e", "rename:error=EACCES:path=*", "--", "./program")
    assert done.stderr.count(f"at {where}") == 2
    for options in ((), ("-c",)):
        done = faultlib("trace", *options, "--op", "rename", "-o", "trace", "--", "./program")
        assert where in (tmp_path / "trace").read_text()
    done = faultlib("crash", "--json", "--check", "test ! -e other -o -s other", "--", "./program")
    (culprits,) = [
        {one["lost"]["place"], one["kept"]["place"]} for one in json.loads(done.stdout)["findings"] if one["kind"] == "rename before data"
    ]
    assert culprits == {f"program.c:{line_of(LINES, 'write')}", where}

"""Ways to make a child, each of which must stay in the session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Way:
    """`command` makes a child that writes `out`."""

    name: str
    how: str
    command: tuple[str, ...]


def c(name: str, how: str) -> Way:
    return Way(name, how, ("{children}", name))


SUBPROCESS = "import subprocess, sys; sys.exit(subprocess.run(['bash', '-c', 'echo hi > out'], {}).returncode)"
SCRIPT = "printf '#!/bin/bash\\necho hi > out\\n' > s; chmod +x s; "

MULTIPROCESSING = (
    "import multiprocessing as m, subprocess, sys; p = m.get_context('HOW').Process(target=subprocess.check_call, "
    "args=(['bash', '-c', 'echo hi > out'],)); p.start(); p.join(); sys.exit(p.exitcode)"
)

WAYS = [
    c("system", "system()"),
    c("clearenv-system", "clearenv() and system()"),
    c("popen", "popen()"),
    c("posix_spawn", "posix_spawn() with an empty environment"),
    c("posix_spawnp", "posix_spawnp()"),
    c("vfork", "vfork() and execve()"),
    c("clone", "clone(CLONE_VM | CLONE_VFORK) and execve()"),
    c("clone-fork", "clone(SIGCHLD) and execve()"),
    c("syscall-clone", "syscall(SYS_clone) and execve()"),
    c("execl", "fork() and execl()"),
    c("execlp", "fork() and execlp()"),
    c("execle", "fork() and execle() with an environment of its own"),
    c("execv", "fork() and execv()"),
    c("execvp", "fork() and execvp()"),
    c("execvpe", "fork() and execvpe() with an environment of its own"),
    c("execve-empty", "fork() and execve() with an empty environment"),
    c("execve-null", "fork() and execve() with a null environment"),
    c("fexecve", "fork() and fexecve()"),
    c("execveat", "fork() and execveat()"),
    c("syscall-execve", "fork() and syscall(SYS_execve)"),
    Way("env -i", "env -i bash", ("env", "-i", "bash", "-c", "echo hi > out")),
    Way("a subshell", "( ) in bash", ("bash", "-c", "(unset LD_PRELOAD; echo hi > out)")),
    Way("a pipe", "cat | bash in dash", ("dash", "-c", "echo 'echo hi > out' | LD_PRELOAD= bash")),
    Way("a script", "a file that begins with #!", ("dash", "-c", SCRIPT + "exec ./s")),
    Way("Python subprocess", "subprocess.run(…, env={})", ("{python}", "-c", SUBPROCESS.replace(", {})", ", env={})"))),
    Way("Python os.fork", "os.fork()", ("{python}", "-c", "import os, sys; p = os.fork(); sys.exit(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1])) if p else os.execvpe('bash', ['bash', '-c', 'echo hi > out'], {})")),
    Way("Python os.posix_spawn", "os.posix_spawn()", ("{python}", "-c", "import os, sys; p = os.posix_spawn('/bin/bash', ['bash', '-c', 'echo hi > out'], {}); sys.exit(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]))")),
    Way("perl system", "system in perl", ("perl", "-e", "delete $ENV{LD_PRELOAD}; exit(system('bash', '-c', 'echo hi > out') >> 8)")),
    Way("node spawnSync", "spawnSync in node", ("node", "-e", "process.exit(require('child_process').spawnSync('bash', ['-c', 'echo hi > out'], {env: {}, stdio: 'inherit'}).status)")),
    Way("Java ProcessBuilder", "ProcessBuilder in Java, with an empty environment", ("java", "-cp", "{java}", "Files1", "command", "echo hi > out")),
    Way("Rust Command", "std::process::Command in Rust, with env_clear()", ("{rust}", "command", "echo hi > out")),
    *(Way(f"multiprocessing {how}", f"multiprocessing in Python, by {how}", ("{python}", "-c", MULTIPROCESSING.replace("HOW", how))) for how in ("fork", "spawn", "forkserver")),
    Way("git alias", "a shell alias of git", ("git", "-c", "alias.x=!bash -c 'echo hi > out'", "x")),
    Way("xargs", "xargs", ("xargs", "-I{}", "bash", "-c", "echo hi > out")),
    Way("setsid", "setsid, a new session", ("setsid", "-w", "bash", "-c", "echo hi > out")),
]

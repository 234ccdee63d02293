#!/usr/bin/env python3
"""Coordinate workers through the files of one shared directory.

A leader fills a graph of tasks; workers claim the best ready task, run it and report back.

exit status: 0 done, 1 refused or failed, 2 usage, 3 no task is ready, 4 the lease is somebody else's,
5 a file is damaged (run recover), 6 the system refused a file operation
"""
# How it stays whole: every change is first one checksummed, synced line of the log (the commit point) and
# only then a new tasks.json; whoever comes next rolls forward what is missing. One lock file, never removed,
# is held over each read-modify-write. Ages are taken on the boot clock, which nobody can set.
from __future__ import annotations

import argparse
import collections
import contextlib
import fcntl
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zlib
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

Json = Dict[str, Any]
Command = Callable[["Store", argparse.Namespace], Optional[str]]

STATE_DIR = ".coordination"
ACTIVE = ("claimed", "running")
HEARTBEAT_SECONDS = 2.0
STALE_SECONDS = 15.0
LEASE_SECONDS = 30.0
MAX_ATTEMPTS = 3
KEEP_CHECKPOINTS = 5


class CoordinationError(Exception):
    """A request that cannot be met; the message is for the user."""

    exit_code = 1


class NothingReady(CoordinationError):
    exit_code = 3


class LeaseHeld(CoordinationError):
    exit_code = 4


class Damaged(CoordinationError):
    exit_code = 5


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


def checksum(data: Json) -> int:
    return zlib.crc32(json.dumps(data, sort_keys=True).encode())


def encode(data: Json) -> bytes:
    return json.dumps({**data, "crc": checksum(data)}, sort_keys=True).encode() + b"\n"


def decode(raw: bytes, origin: str) -> Json:
    """What `encode` made; data without a checksum is accepted if it is whole."""
    try:
        data = json.loads(raw)
        crc = data.pop("crc", None)
        if crc not in (None, checksum(data)):
            raise ValueError("wrong checksum")
    except (ValueError, AttributeError) as exc:
        raise Damaged(f"{origin} is damaged ({exc})") from exc
    return data


def read_bytes(path: str) -> Optional[bytes]:
    """The content of a file, or None if there is none; any other trouble is the caller's to see."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def read_json(path: str) -> Json:
    raw = read_bytes(path)
    return {} if raw is None else decode(raw, path)


def write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = os.write(fd, rest)
        if written == 0:
            raise OSError("nothing was written")
        rest = rest[written:]


def sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: str, data: bytes) -> None:
    """Replace a file, whole in any crash. The lock is held, so the temporary name can be a fixed one."""
    fd = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(path + ".tmp", path)
    sync_directory(os.path.dirname(path))


def boot_stamp() -> Json:
    """Now, on the clock that the processes of one boot share and that nobody can set."""
    with open("/proc/sys/kernel/random/boot_id") as handle:
        return {"boot": handle.read().strip(), "at": time.clock_gettime(time.CLOCK_BOOTTIME)}


def age(stamp: Optional[Json]) -> float:
    """Seconds since a stamp; infinite if there is none, or if the machine has booted since."""
    now = boot_stamp()
    if not stamp or stamp["boot"] != now["boot"]:
        return math.inf
    return now["at"] - stamp["at"]


def apply(state: Json, record: Json) -> None:
    """Change the state as a record says. Commands and recovery both come here."""
    state["seq"] = record["seq"]
    if "tasks" in record:
        state["tasks"] = record["tasks"]
    elif "change" in record:
        state["tasks"].setdefault(record["task"], {}).update(record["change"])
    for name, amount in record.get("count", {}).items():
        state["metrics"][name] = state["metrics"].get(name, 0) + amount


def roll_forward(state: Json, records: List[Json]) -> int:
    """Apply the records that the state does not contain yet. Returns how many."""
    missing = [record for record in records if record["seq"] > state["seq"]]
    for record in missing:
        if record["seq"] != state["seq"] + 1:
            raise Damaged(f"the log continues at {record['seq']}, the state ends at {state['seq']}")
        apply(state, record)
    return len(missing)


class Store:
    """The files of one coordination directory."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.tasks_file = os.path.join(self.root, "tasks.json")
        self.log_file = os.path.join(self.root, "transactions.log")
        self.lease_file = os.path.join(self.root, "lease.json")
        self.workers_dir = os.path.join(self.root, "workers")
        self.results_dir = os.path.join(self.root, "results")
        self.checkpoints_dir = os.path.join(self.root, "checkpoints")
        self.log_end = 0  # length of the log's sound part, valid while the lock is held

    @contextlib.contextmanager
    def locked(self, flags: int = 0) -> Iterator[None]:
        try:
            fd = os.open(os.path.join(self.root, "lock"), os.O_RDWR | flags, 0o644)
        except FileNotFoundError:
            raise CoordinationError(f"{self.root} is not initialised, run 'leader init' first") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def create(self) -> str:
        for directory in (self.root, self.workers_dir, self.results_dir, self.checkpoints_dir):
            os.makedirs(directory, exist_ok=True)
            sync_directory(os.path.dirname(directory))
        with self.locked(os.O_CREAT):
            if read_bytes(self.tasks_file) is not None or read_bytes(self.log_file):
                raise CoordinationError(f"{self.root} is initialised already")
            self.save({"seq": 0, "tasks": {}, "metrics": {}})
        return f"initialised {self.root}"

    def read_state(self) -> Json:
        state = read_json(self.tasks_file)
        if "tasks" not in state or "seq" not in state:
            raise Damaged(f"{self.tasks_file} is missing or not a state")
        return {"metrics": {}, **state}

    def read_log(self) -> List[Json]:
        """The records of the log. A torn last line was never acknowledged and does not count."""
        *lines, tail = (read_bytes(self.log_file) or b"").split(b"\n")
        records: List[Json] = []
        self.log_end = 0
        for number, line in enumerate(lines, 1):
            try:
                records.append(decode(line, f"line {number} of {self.log_file}"))
            except Damaged:
                if number < len(lines) or tail:
                    raise
                break
            self.log_end += len(line) + 1
        return records

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Json]:
        """The state as of the last record of the log, locked."""
        with self.locked():
            state = self.read_state()
            roll_forward(state, self.read_log())
            yield state

    def save(self, state: Json) -> None:
        write_file(self.tasks_file, encode(state))

    def append(self, record: Json) -> None:
        fd = os.open(self.log_file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.ftruncate(fd, self.log_end)
            os.lseek(fd, self.log_end, os.SEEK_SET)
            write_all(fd, encode(record))
            os.fsync(fd)
            if self.log_end == 0:
                sync_directory(self.root)
        except OSError:
            os.ftruncate(fd, self.log_end)  # what is reported as failed must not come true later
            raise
        finally:
            os.close(fd)
        self.log_end += len(encode(record))

    def commit(self, state: Json, op: str, **fields: Any) -> None:
        record = {"seq": state["seq"] + 1, "time": time.time(), "op": op, **fields}
        self.append(record)
        apply(state, record)
        try:
            self.save(state)
        except OSError as exc:
            warn(f"{self.tasks_file} lags behind the log: {exc}")

    def worker_file(self, worker: str, suffix: str = ".json") -> str:
        return os.path.join(self.workers_dir, worker + suffix)


def get_task(state: Json, task_id: str) -> Json:
    if task_id not in state["tasks"]:
        raise CoordinationError(f"there is no task {task_id}")
    return state["tasks"][task_id]


def owned_task(state: Json, worker: str, task_id: str, attempt: Optional[int], *allowed: str) -> Json:
    """The task, if `worker` may still report on it: a worker that was taken for dead may not."""
    task = get_task(state, task_id)
    if task["worker"] != worker or attempt not in (None, task["attempts"]):
        raise CoordinationError(f"task {task_id} does not belong to {worker}")
    if task["status"] not in allowed:
        raise CoordinationError(f"task {task_id} is {task['status']}")
    return task


def reaches(tasks: Json, start: str, goal: str) -> bool:
    """Whether `start` depends on `goal`, directly or not."""
    chain = [start]
    for current in chain:  # grows while it is walked
        chain.extend(other for other in tasks[current]["depends"] if other not in chain)
    return goal in chain


def add_task(store: Store, args: argparse.Namespace) -> str:
    task = {"title": args.title, "priority": args.priority, "depends": args.depends, "command": args.command,
            "status": "pending", "worker": None, "attempts": 0, "error": None, "created_at": time.time()}
    with store.transaction() as state:
        if args.id in state["tasks"]:
            raise CoordinationError(f"there is a task {args.id} already")
        for dependency in task["depends"]:
            get_task(state, dependency)
        numbers = itertools.count(state["seq"] + 1)
        task_id = args.id or next(f"t{n}" for n in numbers if f"t{n}" not in state["tasks"])
        store.commit(state, "add", task=task_id, change={**task, "order": state["seq"] + 1})
    return task_id


def add_dependency(store: Store, task_id: str, on: str) -> None:
    with store.transaction() as state:
        task = get_task(state, task_id)
        get_task(state, on)
        if reaches(state["tasks"], on, task_id):
            raise CoordinationError(f"{task_id} -> {on} would close a cycle")
        if on not in task["depends"]:
            store.commit(state, "depend", task=task_id, change={"depends": task["depends"] + [on]})


def ready_tasks(state: Json) -> List[str]:
    """Ids of the tasks that may be claimed, the best first."""
    tasks = state["tasks"]
    ready = [task_id for task_id, task in tasks.items() if task["status"] == "pending"
             and all(tasks[d]["status"] == "completed" for d in task["depends"])]
    return sorted(ready, key=lambda i: (-tasks[i]["priority"], tasks[i].get("order", 0), i))


def claim_task(store: Store, worker: str) -> Json:
    with store.transaction() as state:
        ready = ready_tasks(state)
        if not ready:
            raise NothingReady("no task is ready")
        task = state["tasks"][ready[0]]
        # the stamp counts as a sign of life, so the claim is safe before the first heartbeat
        change = {"status": "claimed", "worker": worker, "attempts": task["attempts"] + 1,
                  "claimed_at": time.time(), "stamp": boot_stamp()}
        store.commit(state, "claim", task=ready[0], worker=worker, change=change, count={"claimed": 1})
    return {"id": ready[0], **task}


def start_task(store: Store, worker: str, task_id: str, attempt: Optional[int] = None) -> None:
    with store.transaction() as state:
        owned_task(state, worker, task_id, attempt, "claimed")
        change = {"status": "running", "started_at": time.time(), "stamp": boot_stamp()}
        store.commit(state, "start", task=task_id, worker=worker, change=change)


def complete_task(store: Store, worker: str, task_id: str, result: Optional[str],
                  attempt: Optional[int] = None) -> None:
    with store.transaction() as state:
        task = owned_task(state, worker, task_id, attempt, *ACTIVE)
        seconds = age(task["stamp"]) if task["status"] == "running" and "stamp" in task else 0.0
        if result is not None:
            # first, so that no task is completed without its result
            write_file(os.path.join(store.results_dir, f"{task_id}.txt"), result.encode() + b"\n")
        store.commit(state, "complete", task=task_id, worker=worker,
                     change={"status": "completed", "finished_at": time.time()},
                     count={"completed": 1, "busy_seconds": seconds if seconds < math.inf else 0.0})


def fail_task(store: Store, worker: str, task_id: str, reason: str, attempt: Optional[int] = None) -> str:
    """Give the task another attempt, or give it up. Returns its new status."""
    with store.transaction() as state:
        task = owned_task(state, worker, task_id, attempt, *ACTIVE)
        status = "pending" if task["attempts"] < MAX_ATTEMPTS else "failed"
        store.commit(state, "fail", task=task_id, worker=worker, count={"failed": 1},
                     change={"status": status, "worker": None, "error": reason})
    return status


def requeue(store: Store, state: Json, wanted: Callable[[Json], bool]) -> List[str]:
    """Put the active tasks that are `wanted` back into the queue."""
    found = [i for i, task in sorted(state["tasks"].items()) if task["status"] in ACTIVE and wanted(task)]
    for task_id in found:
        store.commit(state, "requeue", task=task_id, worker=state["tasks"][task_id]["worker"],
                     change={"status": "pending", "worker": None}, count={"requeued": 1})
    return found


def beat(store: Store, worker: str) -> None:
    with store.locked():
        data = {"worker": worker, "pid": os.getpid(), "time": time.time(), "stamp": boot_stamp()}
        write_file(store.worker_file(worker), encode(data))


def worker_ages(store: Store) -> Dict[str, float]:
    """Seconds since the last heartbeat of every known worker."""
    names = sorted(name for name in os.listdir(store.workers_dir) if name.endswith(".json"))
    return {name[: -len(".json")]: age(read_json(os.path.join(store.workers_dir, name)).get("stamp"))
            for name in names}


def reap(store: Store, limit: float, leader: Optional[str]) -> List[str]:
    """Put the tasks of workers that fell silent back into the queue."""
    with store.transaction() as state:
        if leader is not None:
            require_lease(store, leader)
        ages = worker_ages(store)
        return requeue(store, state, lambda task: min(ages.get(task["worker"], math.inf),
                                                      age(task.get("stamp"))) > limit)


def lease_is_free(lease: Json) -> bool:
    return not lease.get("holder") or age(lease.get("stamp")) >= lease.get("ttl", 0)


def write_lease(store: Store, holder: str, token: int, ttl: float) -> str:
    lease = {"holder": holder, "token": token, "expires_at": time.time() + ttl}
    write_file(store.lease_file, encode({**lease, "ttl": ttl, "stamp": boot_stamp()}))
    return str(token)


def acquire_lease(store: Store, holder: str, ttl: float) -> str:
    with store.transaction() as state:
        lease = read_json(store.lease_file)
        if lease.get("holder") != holder and not lease_is_free(lease):
            raise LeaseHeld(f"{lease['holder']} holds the lease")
        store.commit(state, "lease", worker=holder)
        # the sequence number never goes back, not even when the lease file is lost
        return write_lease(store, holder, state["seq"], ttl)


def require_lease(store: Store, holder: str) -> Json:
    lease = read_json(store.lease_file)
    if lease.get("holder") != holder or lease_is_free(lease):
        raise LeaseHeld(f"{holder} does not hold the lease")
    return lease


def renew_lease(store: Store, holder: str, ttl: float) -> str:
    with store.locked():
        return write_lease(store, holder, require_lease(store, holder)["token"], ttl)


def release_lease(store: Store, holder: str) -> None:
    with store.locked():
        write_file(store.lease_file, encode({**require_lease(store, holder), "holder": None}))


def sound_checkpoints(store: Store) -> List[Tuple[int, str, Json]]:
    """Sequence number, name and state of every checkpoint that can be trusted, the newest last."""
    found = []
    for name in sorted(os.listdir(store.checkpoints_dir)):
        if name.startswith("checkpoint-") and name.endswith(".json"):
            try:
                state = read_json(os.path.join(store.checkpoints_dir, name))
                found.append((state["seq"], name, {"metrics": {}, "tasks": state["tasks"], **state}))
            except (Damaged, KeyError) as exc:
                warn(f"checkpoint {name} is skipped: {exc}")
    return sorted(found, key=lambda entry: entry[:2])


def create_checkpoint(store: Store, label: Optional[str]) -> str:
    """Save a copy of the state; the log keeps what leads from the oldest kept copy to now."""
    with store.transaction() as state:
        store.save(state)
        name = f"checkpoint-{state['seq']:08d}" + (f"-{label}" if label else "") + ".json"
        write_file(os.path.join(store.checkpoints_dir, name), encode(state))
        found = sound_checkpoints(store)
        kept = found[-KEEP_CHECKPOINTS:]
        if len(kept) > 1:
            records = [record for record in store.read_log() if record["seq"] > kept[0][0]]
            write_file(store.log_file, b"".join(map(encode, records)))
        for _, old, _ in found[:-KEEP_CHECKPOINTS]:
            os.remove(os.path.join(store.checkpoints_dir, old))
    return name


def restore_checkpoint(store: Store, name: Optional[str]) -> str:
    """Go back to a checkpoint. This is a record of the log like any other, so it can be recovered."""
    with store.transaction() as state:
        found = [entry for entry in sound_checkpoints(store) if name in (None, entry[1])]
        if not found:
            raise CoordinationError(f"there is no sound checkpoint {name or ''}".rstrip())
        store.commit(state, "restore", tasks=found[-1][2]["tasks"])
    return f"restored {found[-1][1]}"


def set_damaged_aside(store: Store) -> None:
    """Keep unreadable files for people to look at, out of the way of the commands."""
    beats = [os.path.join(store.workers_dir, name) for name in os.listdir(store.workers_dir)]
    for path in [store.tasks_file, store.lease_file] + [path for path in beats if path.endswith(".json")]:
        try:
            read_json(path)
        except Damaged:
            os.replace(path, path + ".damaged")
            warn(f"{path} is damaged, it is kept as {path}.damaged")


def recover(store: Store) -> int:
    """Repair the state after a crash; doing it again changes nothing. Returns the records replayed."""
    with store.locked():
        records = store.read_log()
        try:
            state = store.read_state()
        except Damaged:
            found = sound_checkpoints(store)
            state = found[-1][2] if found else {"seq": 0, "tasks": {}, "metrics": {}}
        replayed = roll_forward(state, records)
        write_file(store.log_file, (read_bytes(store.log_file) or b"")[: store.log_end])
        set_damaged_aside(store)
        store.save(state)
    return replayed


class Worker:
    """One `worker run`: claims and runs tasks until none is ready, or until SIGTERM."""

    def __init__(self, store: Store, args: argparse.Namespace) -> None:
        self.store, self.name, self.args = store, args.worker, args
        self.signal, self.finished = 0, threading.Event()

    def note_signal(self, signum: int, frame: object) -> None:
        self.signal = signum  # `check_signal` acts upon it, where no lock is held

    def check_signal(self) -> None:
        if self.signal:
            sys.exit(128 + self.signal)

    @contextlib.contextmanager
    def only_instance(self) -> Iterator[None]:
        """Holds the lock of the pid file; the kernel drops it with the process."""
        fd = os.open(self.store.worker_file(self.name, ".pid"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            write_all(fd, str(os.getpid()).encode())
            yield
        except BlockingIOError:
            raise CoordinationError(f"worker {self.name} runs already") from None
        finally:
            os.close(fd)

    def keep_beating(self) -> None:
        while True:
            try:
                beat(self.store, self.name)
            except (OSError, CoordinationError) as exc:
                warn(f"heartbeat of {self.name} failed, will try again: {exc}")
            if self.finished.wait(self.args.interval):
                return

    def execute(self, task: Json) -> Optional[str]:
        """Do the work of a task. Returns what went wrong, or None."""
        process = subprocess.Popen(task["command"], shell=True) if task["command"] else None
        end = time.monotonic() + self.args.work_seconds
        try:
            while True:
                status = process.poll() if process else (0 if time.monotonic() >= end else None)
                if status is not None:
                    return f"exit status {status}" if status else None
                self.check_signal()
                time.sleep(0.02)
        finally:
            if process and process.poll() is None:
                process.terminate()
                process.wait()

    def run_task(self, task: Json) -> None:
        mine = (self.store, self.name, task["id"])
        start_task(*mine, attempt=task["attempts"])
        error = self.execute(task)
        if error is None:
            complete_task(*mine, None, attempt=task["attempts"])
            print(f"{task['id']} completed", flush=True)
        else:
            status = fail_task(*mine, error, attempt=task["attempts"])
            print(f"{task['id']} failed ({error}), now {status}", flush=True)

    def work(self) -> int:
        done, deadline = 0, time.monotonic() + self.args.wait
        while self.args.max is None or done < self.args.max:
            self.check_signal()
            try:
                task = claim_task(self.store, self.name)
            except NothingReady:
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.1)
                continue
            try:
                self.run_task(task)
            except CoordinationError as exc:
                warn(f"{task['id']} lost: {exc}")
            done, deadline = done + 1, time.monotonic() + self.args.wait
        return done

    def give_back(self) -> None:
        with self.store.transaction() as state:
            requeue(self.store, state, lambda task: task["worker"] == self.name)

    def run(self) -> str:
        signal.signal(signal.SIGTERM, self.note_signal)
        with self.only_instance():
            self.give_back()  # what an earlier life left behind
            heart = threading.Thread(target=self.keep_beating, daemon=True)
            heart.start()
            try:
                return f"ran {self.work()} tasks"
            finally:
                self.finished.set()
                heart.join()
                self.give_back()


def collect_status(store: Store, limit: float) -> Json:
    with store.transaction() as state:
        lease, ages = read_json(store.lease_file), worker_ages(store)
    counts = collections.Counter(task["status"] for task in state["tasks"].values())
    workers = {worker: {"age": seconds if seconds < math.inf else None, "stale": seconds > limit}
               for worker, seconds in ages.items()}
    return {"counts": counts, "leader": None if lease_is_free(lease) else lease["holder"],
            "tasks": state["tasks"], "workers": workers, "metrics": state["metrics"]}


def show_status(store: Store, args: argparse.Namespace) -> str:
    status = collect_status(store, args.stale_after)
    if args.json:
        return json.dumps(status, indent=2, sort_keys=True)
    lines = [f"leader: {status['leader'] or '-'}"]
    for task_id, task in sorted(status["tasks"].items()):
        lines.append(f"{task_id:<16} {task['status']:<10} priority {task['priority']:<4} "
                     f"{task['worker'] or '-':<10} {task['title']}")
    lines += [f"worker {worker:<9} {'stale' if info['stale'] else 'alive'}"
              for worker, info in sorted(status["workers"].items())]
    return "\n".join(lines)


def identifier(text: str) -> str:
    """Names become file names, so they are kept plain."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a plain name")
    return text


def duration(default: float, text: str) -> Json:
    return {"type": float, "default": default, "metavar": "S", "help": f"{text} (default: {default:g} s)"}


ARGUMENTS: Dict[str, Json] = {
    "title": {}, "task": {}, "worker": {"type": identifier}, "name": {"type": identifier},
    "on": {"help": "the task that has to be completed first"},
    "checkpoint": {"nargs": "?", "help": "its name (default: the newest)"},
    "--id": {"type": identifier}, "--label": {"type": identifier}, "--json": {"action": "store_true"},
    "--priority": {"type": int, "default": 0, "help": "higher is claimed first"},
    "--depends": {"action": "append", "default": [], "metavar": "ID"},
    "--command": {"help": "shell command that does the work"},
    "--leader": {"metavar": "NAME", "help": "only if NAME holds the lease"},
    "--result": {"help": "text to keep with the task"}, "--reason": {"default": "failed"},
    "--max": {"type": int, "metavar": "N", "help": "stop after N tasks"},
    "--ttl": duration(LEASE_SECONDS, "how long the lease lasts"),
    "--stale-after": duration(STALE_SECONDS, "silence after which a worker is stale"),
    "--work-seconds": duration(0.0, "how long a task without a command takes"),
    "--wait": duration(0.0, "how long to wait for a ready task"),
    "--interval": duration(HEARTBEAT_SECONDS, "time between heartbeats"),
}

COMMANDS: List[Tuple[str, str, str, Command]] = [
    ("leader init", "", "create the state directory", lambda s, a: s.create()),
    ("leader add-task", "title --id --priority --depends --command", "add a task, print its id", add_task),
    ("leader add-dep", "task on", "add a dependency", lambda s, a: add_dependency(s, a.task, a.on)),
    ("leader status", "--json --stale-after", "show tasks, workers and the leader", show_status),
    ("leader reap", "--stale-after --leader", "requeue the tasks of stale workers, print them",
     lambda s, a: "\n".join(reap(s, a.stale_after, a.leader))),
    ("leader acquire", "name --ttl", "take the lease", lambda s, a: acquire_lease(s, a.name, a.ttl)),
    ("leader renew", "name --ttl", "extend the lease", lambda s, a: renew_lease(s, a.name, a.ttl)),
    ("leader release", "name", "release the lease", lambda s, a: release_lease(s, a.name)),
    ("leader metrics", "", "print the counters",
     lambda s, a: json.dumps(collect_status(s, STALE_SECONDS)["metrics"], indent=2, sort_keys=True)),
    ("leader checkpoint", "--label", "save a copy of the state", lambda s, a: create_checkpoint(s, a.label)),
    ("leader restore", "checkpoint", "go back to a copy", lambda s, a: restore_checkpoint(s, a.checkpoint)),
    ("worker claim", "worker", "claim a task, print its id", lambda s, a: claim_task(s, a.worker)["id"]),
    ("worker start", "worker task", "start a claimed task", lambda s, a: start_task(s, a.worker, a.task)),
    ("worker complete", "worker task --result", "report a task as done",
     lambda s, a: complete_task(s, a.worker, a.task, a.result)),
    ("worker fail", "worker task --reason", "report a task as failed, print its new status",
     lambda s, a: fail_task(s, a.worker, a.task, a.reason)),
    ("worker heartbeat", "worker", "show that a worker is alive", lambda s, a: beat(s, a.worker)),
    ("worker run", "worker --max --work-seconds --wait --interval", "claim and run tasks until none is ready",
     lambda s, a: Worker(s, a).run()),
    ("recover", "", "repair the state after a crash", lambda s, a: f"replayed {recover(s)} records"),
]


def build_parser() -> argparse.ArgumentParser:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--dir", default=STATE_DIR, help="state directory (default: %(default)s)")
    groups = {"": cli.add_subparsers(required=True, metavar="COMMAND")}
    for group, text in (("leader", "manage tasks, lease and checkpoints"), ("worker", "claim and run tasks")):
        groups[group] = groups[""].add_parser(group, help=text).add_subparsers(required=True, metavar="VERB")
    for name, arguments, text, run in COMMANDS:
        group, _, verb = name.rpartition(" ")
        command = groups[group].add_parser(verb, help=text, description=text)
        command.set_defaults(run=run)
        for argument in arguments.split():
            command.add_argument(argument, **ARGUMENTS[argument])
    return cli


def main(argv: Optional[List[str]] = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        output = args.run(Store(args.dir), args)
        print(output or "", end="\n" if output else "", flush=True)
    except (CoordinationError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return getattr(exc, "exit_code", 6)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Coordinate workers through the files of one shared directory.

A leader fills a graph of tasks; workers claim the best ready task, run it and report back.

exit status: 0 done, 1 refused or failed, 2 usage, 3 no task is ready, 4 the lease is somebody else's
"""
from __future__ import annotations

import argparse
import collections
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

Json = Dict[str, Any]
Command = Callable[["Store", argparse.Namespace], Optional[str]]

STATE_DIR = ".coordination"
ACTIVE = ("claimed", "running")
HEARTBEAT_SECONDS = 2.0
STALE_SECONDS = 15.0
WORKER_STEPS = ("claim", "start", "complete", "fail")
LEASE_SECONDS = 30.0
LOCK_SECONDS = 10.0
MAX_ATTEMPTS = 3
KEEP_CHECKPOINTS = 5


class CoordinationError(Exception):
    """A request that cannot be met; the message is for the user."""

    exit_code = 1


class NothingReady(CoordinationError):
    exit_code = 3


class LeaseHeld(CoordinationError):
    exit_code = 4


def read_json(path: str, default: Json) -> Json:
    """The content of a JSON file, or `default` if there is none yet."""
    if not os.path.exists(path):
        return default
    with open(path) as handle:
        try:
            return json.load(handle)
        except ValueError:
            return default


def write_json(path: str, data: Json) -> None:
    with open(path, "w") as handle:
        json.dump(data, handle, indent=2, sort_keys=True)


def replace_json(path: str, data: Json) -> None:
    """Write beside the file and move it into place, so that readers see the old or the new one."""
    temporary = path + ".tmp"
    with open(temporary, "w") as handle:
        json.dump(data, handle, indent=2, sort_keys=True)
    try:
        os.replace(temporary, path)
    except OSError:
        # some network mounts refuse to replace a file that somebody has open
        shutil.copyfile(temporary, path)


def sync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError:
        pass  # not every file system supports it
    finally:
        os.close(fd)


def append_record(path: str, record: Json) -> None:
    line = json.dumps(record, sort_keys=True) + "\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(fd, line.encode())
        os.close(fd)
    except OSError:
        pass  # only `recover` needs the log, no command should fail because of it


def read_records(path: str) -> List[Json]:
    if not os.path.exists(path):
        return []
    with open(path) as handle:
        return [json.loads(line) for line in handle if line.strip()]


class FileLock:
    """An exclusive advisory lock on a file, with the interface of threading.Lock."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def acquire(self, blocking: bool = True) -> bool:
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        os.close(self.fd)
        self.fd = -1

    def __enter__(self) -> "FileLock":
        self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class TimedLock:
    """A lock file that is waited for only so long and cleaned up after use."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> "TimedLock":
        deadline = time.time() + LOCK_SECONDS
        self.handle = open(self.path, "w")
        while True:
            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except OSError:
                if time.time() > deadline:
                    raise CoordinationError(f"{self.path} is locked by another process")
                time.sleep(0.05)

    def __exit__(self, *exc_info: object) -> None:
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        self.handle.close()


class Store:
    """The files of one coordination directory."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.tasks_file = os.path.join(root, "tasks.json")
        self.log_file = os.path.join(root, "transactions.log")
        self.lease_file = os.path.join(root, "lease.json")
        self.metrics_file = os.path.join(root, "metrics.json")
        self.workers_dir = os.path.join(root, "workers")
        self.results_dir = os.path.join(root, "results")
        self.checkpoints_dir = os.path.join(root, "checkpoints")
        self.lock = FileLock(os.path.join(root, "tasks.lock"))
        self.lease_lock = FileLock(self.lease_file)
        self.checkpoint_lock = TimedLock(os.path.join(root, "checkpoint.lock"))

    def create(self) -> str:
        if os.path.exists(self.tasks_file):
            raise CoordinationError(f"{self.root} is initialised already")
        for directory in (self.root, self.workers_dir, self.results_dir, self.checkpoints_dir):
            if not os.path.exists(directory):
                os.makedirs(directory)
        replace_json(self.tasks_file, {"seq": 0, "tasks": {}})
        return f"initialised {self.root}"

    def load(self) -> Json:
        return read_json(self.tasks_file, {"seq": 0, "tasks": {}})

    def commit(self, state: Json, op: str, **fields: Any) -> None:
        """Save the state and note in the log how it came about."""
        state["seq"] += 1
        if op in WORKER_STEPS:  # frequent, and the lock is held: the plain write will do
            write_json(self.tasks_file, state)
        else:
            replace_json(self.tasks_file, state)
        append_record(self.log_file, {"seq": state["seq"], "time": time.time(), "op": op, **fields})

    def worker_file(self, worker: str, suffix: str = ".json") -> str:
        return os.path.join(self.workers_dir, worker + suffix)


def get_task(state: Json, task_id: str) -> Json:
    if task_id not in state["tasks"]:
        raise CoordinationError(f"there is no task {task_id}")
    return state["tasks"][task_id]


def owned_task(state: Json, worker: str, task_id: str, *allowed: str) -> Json:
    task = get_task(state, task_id)
    if task["worker"] != worker:
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
    with store.lock:
        state = store.load()
        if args.id in state["tasks"]:
            raise CoordinationError(f"there is a task {args.id} already")
        for dependency in task["depends"]:
            get_task(state, dependency)
        task_id = args.id or f"t{int(time.time() * 1000)}"
        state["tasks"][task_id] = task
        store.commit(state, "add", task=task_id, body=dict(task))
    return task_id


def add_dependency(store: Store, task_id: str, on: str) -> None:
    state = store.load()
    task = get_task(state, task_id)
    get_task(state, on)
    if reaches(state["tasks"], on, task_id):
        raise CoordinationError(f"{task_id} -> {on} would close a cycle")
    if on not in task["depends"]:
        task["depends"].append(on)
        with store.lock:
            store.commit(state, "depend", task=task_id, on=on)


def ready_tasks(state: Json) -> List[str]:
    """Ids of the tasks that may be claimed, the best first."""
    tasks = state["tasks"]
    ready = [task_id for task_id, task in tasks.items() if task["status"] == "pending"
             and all(tasks[d]["status"] == "completed" for d in task["depends"])]
    return sorted(ready, key=lambda i: (-tasks[i]["priority"], tasks[i]["created_at"]))


def claim_task(store: Store, worker: str) -> Json:
    with store.lock:
        state = store.load()
        ready = ready_tasks(state)
        if not ready:
            raise NothingReady("no task is ready")
        task = state["tasks"][ready[0]]
        task.update(status="claimed", worker=worker, attempts=task["attempts"] + 1, claimed_at=time.time())
        store.commit(state, "claim", task=ready[0], worker=worker)
    beat(store, worker)
    bump_metrics(store, claimed=1)
    return {"id": ready[0], **task}


def start_task(store: Store, worker: str, task_id: str) -> None:
    store.lock.acquire()
    state = store.load()
    task = owned_task(state, worker, task_id, "claimed")
    task.update(status="running", started_at=time.time())
    store.commit(state, "start", task=task_id, worker=worker)
    store.lock.release()


def complete_task(store: Store, worker: str, task_id: str, result: Optional[str]) -> None:
    with store.lock:
        state = store.load()
        task = owned_task(state, worker, task_id, *ACTIVE)
        finished = time.time()
        seconds = finished - task.get("started_at", finished)
        task.update(status="completed", finished_at=finished)
        store.commit(state, "complete", task=task_id, worker=worker)
    if result is not None:
        with open(os.path.join(store.results_dir, f"{task_id}.txt"), "w") as handle:
            handle.write(result + "\n")
    bump_metrics(store, completed=1, busy_seconds=seconds)


def fail_task(store: Store, worker: str, task_id: str, reason: str) -> str:
    """Give the task another attempt, or give it up. Returns its new status."""
    with store.lock:
        state = store.load()
    task = owned_task(state, worker, task_id, *ACTIVE)
    status = "pending" if task["attempts"] < MAX_ATTEMPTS else "failed"
    task.update(status=status, worker=None, error=reason)
    with store.lock:
        store.commit(state, "fail", task=task_id, worker=worker, status=status, error=reason)
    bump_metrics(store, failed=1)
    return status


def give_back(store: Store, worker: str, task_id: str) -> None:
    with store.lock:
        state = store.load()
        owned_task(state, worker, task_id, *ACTIVE).update(status="pending", worker=None)
        store.commit(state, "requeue", task=task_id, worker=worker)


def beat(store: Store, worker: str, task_id: Optional[str] = None) -> None:
    now = time.time()
    data = {"worker": worker, "pid": os.getpid(), "time": now, "task": task_id}
    write_json(store.worker_file(worker), data)
    if task_id is not None:
        state = store.load()
        if task_id in state["tasks"]:
            state["tasks"][task_id]["heartbeat_at"] = now
            replace_json(store.tasks_file, state)


class Heartbeat(threading.Thread):
    """Beats for a worker in the background while it works."""

    def __init__(self, store: Store, worker: str, interval: float) -> None:
        super().__init__(daemon=True)
        self.store = store
        self.worker = worker
        self.interval = interval
        self.task_id: Optional[str] = None

    def run(self) -> None:
        due = time.time()
        while True:
            if time.time() >= due:
                beat(self.store, self.worker, self.task_id)
                due += self.interval
            time.sleep(0.02)


def worker_ages(store: Store) -> Dict[str, float]:
    """Seconds since the last heartbeat of every known worker."""
    ages = {}
    for name in os.listdir(store.workers_dir):
        if name.endswith(".json"):
            last = read_json(os.path.join(store.workers_dir, name), {})
            ages[name[: -len(".json")]] = time.time() - last.get("time", 0)
    return ages


def reap(store: Store, limit: float, leader: Optional[str]) -> List[str]:
    """Put the tasks of workers that fell silent back into the queue."""
    if leader is not None:
        require_lease(store, leader)
    stale = [worker for worker, age in worker_ages(store).items() if age > limit]
    requeued = []
    # a sweep must not hold up the workers, the next one comes soon
    store.lock.acquire(blocking=False)
    try:
        state = store.load()
        for task_id, task in state["tasks"].items():
            if task["status"] in ACTIVE and task["worker"] in stale:
                requeued.append(task_id)
                task.update(status="pending", worker=None)
                store.commit(state, "requeue", task=task_id, worker=None)
    finally:
        store.lock.release()
    if requeued:
        bump_metrics(store, requeued=len(requeued))
    return requeued


def lease_is_free(lease: Json) -> bool:
    return not lease.get("holder") or lease["expires_at"] <= time.time()


def acquire_lease(store: Store, holder: str, ttl: float) -> str:
    with store.lease_lock:
        lease = read_json(store.lease_file, {})
        if lease.get("holder") != holder and not lease_is_free(lease):
            raise LeaseHeld(f"{lease['holder']} holds the lease")
        expires_at = time.time() + ttl
        lease = {"holder": holder, "token": lease.get("token", 0) + 1, "expires_at": expires_at}
        replace_json(store.lease_file, lease)
    return str(lease["token"])


def require_lease(store: Store, holder: str) -> Json:
    lease = read_json(store.lease_file, {})
    if lease.get("holder") != holder or lease_is_free(lease):
        raise LeaseHeld(f"{holder} does not hold the lease")
    return lease


def renew_lease(store: Store, holder: str, ttl: float) -> str:
    lease = require_lease(store, holder)
    lease["expires_at"] = time.time() + ttl
    write_json(store.lease_file, lease)
    return str(lease["token"])


def release_lease(store: Store, holder: str) -> None:
    require_lease(store, holder)
    os.remove(store.lease_file)


def bump_metrics(store: Store, **deltas: float) -> None:
    metrics = read_json(store.metrics_file, {})
    for name, delta in deltas.items():
        metrics[name] = metrics.get(name, 0) + delta
    with open(store.metrics_file, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        json.dump(metrics, handle, indent=2, sort_keys=True)


def checkpoint_number(name: str) -> int:
    return int(name.split("-")[1].split(".")[0])


def list_checkpoints(store: Store) -> List[str]:
    return [n for n in os.listdir(store.checkpoints_dir) if n.startswith("checkpoint-")]


def newest_checkpoint(store: Store) -> str:
    names = list_checkpoints(store)
    if not names:
        raise CoordinationError("there is no checkpoint")
    return max(names, key=checkpoint_number)


def create_checkpoint(store: Store, label: Optional[str]) -> str:
    """Save a copy of the state; the log starts afresh from there."""
    name = f"checkpoint-{int(time.time())}" + (f"-{label}" if label else "") + ".json"
    path = os.path.join(store.checkpoints_dir, name)
    with store.lock, store.checkpoint_lock:
        for old in sorted(list_checkpoints(store), key=checkpoint_number)[: 1 - KEEP_CHECKPOINTS]:
            os.remove(os.path.join(store.checkpoints_dir, old))
        write_json(path, store.load())
        open(store.log_file, "w").close()
        sync_file(path)
    return name


def restore_checkpoint(store: Store, name: Optional[str]) -> str:
    with store.checkpoint_lock, store.lock:
        name = name or newest_checkpoint(store)
        path = os.path.join(store.checkpoints_dir, name)
        if not os.path.exists(path):
            raise CoordinationError(f"there is no checkpoint {name}")
        os.remove(store.tasks_file)
        shutil.copyfile(path, store.tasks_file)
        open(store.log_file, "w").close()
    return f"restored {name}"


def replay(state: Json, record: Json) -> None:
    """Apply one record of the log to the state."""
    tasks, op = state["tasks"], record["op"]
    if op == "add":
        tasks.setdefault(record["task"], record["body"])
        return
    task = tasks[record["task"]]
    if op == "depend" and record["on"] not in task["depends"]:
        task["depends"].append(record["on"])
    elif op == "claim":
        task.update(status="claimed", worker=record["worker"], claimed_at=record["time"])
        task["attempts"] += 1
    elif op == "start":
        task.update(status="running", started_at=record["time"])
    elif op == "complete":
        task.update(status="completed", finished_at=record["time"])
    elif op == "fail":
        task.update(status=record["status"], worker=None, error=record["error"])
    elif op == "requeue":
        task.update(status="pending", worker=None)


def recover(store: Store) -> int:
    """Rebuild the state after a crash. Returns the number of records replayed."""
    with store.lock:
        state = store.load()
        if not state["tasks"] and list_checkpoints(store):
            path = os.path.join(store.checkpoints_dir, newest_checkpoint(store))
            state = read_json(path, {"seq": 0, "tasks": {}})
        records = sorted(read_records(store.log_file), key=lambda record: record["time"])
        for record in records:
            replay(state, record)
            state["seq"] = max(state["seq"], record["seq"])
        replace_json(store.tasks_file, state)
    return len(records)


def write_pid_file(store: Store, worker: str) -> None:
    path = store.worker_file(worker, ".pid")
    if os.path.exists(path):
        with open(path) as handle:
            pid = int(handle.read())
        if os.path.exists(f"/proc/{pid}"):
            raise CoordinationError(f"worker {worker} runs already, as process {pid}")
    with open(path, "w") as handle:
        handle.write(str(os.getpid()))


def execute(task: Json, work_seconds: float) -> Optional[str]:
    """Do the work of a task. Returns what went wrong, or None."""
    if not task["command"]:
        time.sleep(work_seconds)
        return None
    status = subprocess.call(task["command"], shell=True)
    if status > 0:
        return f"exit status {status}"
    return None


def run_task(store: Store, worker: str, task: Json, work_seconds: float) -> None:
    start_task(store, worker, task["id"])
    error = execute(task, work_seconds)
    if error is None:
        complete_task(store, worker, task["id"], None)
        print(f"{task['id']} completed", flush=True)
    else:
        status = fail_task(store, worker, task["id"], error)
        print(f"{task['id']} failed ({error}), now {status}", flush=True)


def work(store: Store, args: argparse.Namespace, heartbeat: Heartbeat) -> int:
    done, deadline = 0, time.time() + args.wait
    while args.max is None or done < args.max:
        try:
            task = claim_task(store, args.worker)
        except NothingReady:
            if time.time() >= deadline:
                break
            time.sleep(0.1)
            continue
        heartbeat.task_id = task["id"]
        try:
            run_task(store, args.worker, task, args.work_seconds)
        except CoordinationError as exc:
            print(f"{task['id']} lost: {exc}", file=sys.stderr)
        heartbeat.task_id = None
        done, deadline = done + 1, time.time() + args.wait
    return done


def run_worker(store: Store, args: argparse.Namespace) -> str:
    worker = args.worker
    write_pid_file(store, worker)
    heartbeat = Heartbeat(store, worker, args.interval)

    def terminate(signum: int, frame: object) -> None:
        if heartbeat.task_id is not None:
            give_back(store, worker, heartbeat.task_id)
        os.remove(store.worker_file(worker, ".pid"))
        os._exit(128 + signum)

    signal.signal(signal.SIGTERM, terminate)
    heartbeat.start()
    done = work(store, args, heartbeat)
    os.remove(store.worker_file(worker, ".pid"))
    return f"ran {done} tasks"


def collect_status(store: Store, limit: float) -> Json:
    tasks, lease = store.load()["tasks"], read_json(store.lease_file, {})
    counts = collections.Counter(task["status"] for task in tasks.values())
    workers = {worker: {"age": age, "stale": age > limit} for worker, age in worker_ages(store).items()}
    return {"counts": counts, "leader": None if lease_is_free(lease) else lease["holder"], "tasks": tasks,
            "workers": workers, "metrics": read_json(store.metrics_file, {})}


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
     run_worker),
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
    store = Store(args.dir)
    try:
        output = args.run(store, args)
    except FileNotFoundError as exc:
        print(f"error: {exc.filename} is missing, was 'leader init' run?", file=sys.stderr)
        return 1
    except (CoordinationError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return getattr(exc, "exit_code", 1)
    if output:
        print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

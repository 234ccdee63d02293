"""The house target: both twins do the same work, and the hardened one lacks the defects of the other."""
import ast
import fcntl
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1] / "experiments" / "coordination"
TWINS = ("coordination", "hardened")
STATE = Path(".coordination")
TASKS, LOG, CHECKPOINTS = STATE / "tasks.json", STATE / "transactions.log", STATE / "checkpoints"
FRESH, STALE = "--stale-after=3600", "--stale-after=-1"


def load_twin(name):
    spec = importlib.util.spec_from_file_location(f"coordination_target_{name}", HOUSE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Cli:
    """Calls one twin's command line: in this process, or in one of its own.

    The latter is for commands that leave a lock or a thread behind for the end of the process.
    """

    def __init__(self, name, capsys):
        self.name = name
        self.module = load_twin(name)
        self.capsys = capsys
        self.error = ""

    def __call__(self, *argv, code=0):
        self.capsys.readouterr()
        status = self.module.main(list(argv))
        output, self.error = self.capsys.readouterr()
        assert status == code, self.error
        return output.strip()

    def process(self, *argv, code=0):
        command = [sys.executable, str(HOUSE / f"{self.name}.py"), *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.error = done.stderr
        assert done.returncode == code, self.error
        return done.stdout.strip()

    def status(self, *argv):
        return json.loads(self("leader", "status", "--json", *argv))

    def states(self):
        return {task_id: task["status"] for task_id, task in self.status()["tasks"].items()}


@pytest.fixture
def make_cli(tmp_path, monkeypatch, capsys):
    def make(name):
        directory = tmp_path / name
        directory.mkdir()
        monkeypatch.chdir(directory)
        cli = Cli(name, capsys)
        cli("leader", "init")
        return cli
    return make


@pytest.fixture(params=TWINS)
def cli(request, make_cli):
    return make_cli(request.param)


@pytest.fixture
def buggy(make_cli):
    return make_cli("coordination")


@pytest.fixture
def hardened(make_cli):
    return make_cli("hardened")


def add(cli, task_id, *options):
    assert cli("leader", "add-task", f"task {task_id}", "--id", task_id, *options) == task_id


def set_clock(monkeypatch, cli, seconds):
    monkeypatch.setattr(cli.module.time, "time", lambda: seconds)


# What both of them do


def test_needs_init_and_only_one(cli, tmp_path):
    cli("--dir", str(tmp_path / "nowhere"), "leader", "status", code=1)
    assert "leader init" in cli.error
    cli("leader", "init", code=1)
    assert "already" in cli.error


def test_dir_overrides_the_default(cli, tmp_path):
    other = str(tmp_path / "other")
    cli("--dir", other, "leader", "init")
    cli("--dir", other, "leader", "add-task", "elsewhere", "--id", "x")
    assert cli("--dir", other, "worker", "claim", "w1") == "x"
    assert cli.states() == {}


@pytest.mark.parametrize("argv", [[], ["leader"], ["worker"], ["worker", "run"], ["recover"]])
def test_help(cli, argv):
    with pytest.raises(SystemExit) as stop:
        cli.module.main([*argv, "--help"])
    assert stop.value.code == 0


@pytest.mark.parametrize("argv", [[], ["leader"], ["worker", "claim"], ["worker", "claim", "../w1"]])
def test_usage_errors(cli, argv):
    with pytest.raises(SystemExit) as stop:
        cli.module.main(argv)
    assert stop.value.code == 2


def test_claim_order_is_priority_then_age_among_the_ready(cli):
    add(cli, "old")
    add(cli, "young")
    add(cli, "urgent", "--priority", "9")
    add(cli, "blocked", "--priority", "99", "--depends", "old")
    assert [cli("worker", "claim", "w1") for _ in range(3)] == ["urgent", "old", "young"]
    cli("worker", "claim", "w1", code=3)
    assert "no task is ready" in cli.error
    cli("worker", "complete", "w1", "old")
    assert cli("worker", "claim", "w2") == "blocked"


def test_ids_are_made_up(cli):
    assert cli("leader", "add-task", "nameless") in cli.states()


def test_unknown_and_double_tasks_are_refused(cli):
    add(cli, "a")
    cli("leader", "add-task", "again", "--id", "a", code=1)
    cli("leader", "add-task", "b", "--depends", "ghost", code=1)
    assert "ghost" in cli.error
    assert list(cli.states()) == ["a"]


def test_cycles_are_refused(cli):
    add(cli, "a")
    add(cli, "b", "--depends", "a")
    add(cli, "c", "--depends", "b")
    for on in ("a", "b", "c"):
        cli("leader", "add-dep", "a", on, code=1)
        assert "cycle" in cli.error
    cli("leader", "add-dep", "c", "a")
    assert cli.status()["tasks"]["c"]["depends"] == ["b", "a"]


def test_life_of_a_task(cli):
    add(cli, "a")
    cli("worker", "claim", "w1")
    cli("worker", "start", "w1", "a")
    assert cli.states() == {"a": "running"}
    cli.process("worker", "start", "w1", "a", code=1)
    assert "task a is running" in cli.error
    cli("worker", "complete", "w2", "a", code=1)
    assert "does not belong" in cli.error
    cli("worker", "complete", "w1", "a", "--result", "42")
    assert cli.states() == {"a": "completed"}
    assert (STATE / "results/a.txt").read_text() == "42\n"


def test_a_task_fails_for_good_after_three_attempts(cli):
    add(cli, "a")
    outcomes = []
    for _ in range(3):
        cli("worker", "claim", "w1")
        outcomes.append(cli("worker", "fail", "w1", "a", "--reason", "broken"))
    assert outcomes == ["pending", "pending", "failed"]
    assert cli.status()["tasks"]["a"]["error"] == "broken"


def test_stale_workers_lose_their_tasks(cli):
    add(cli, "a")
    cli("worker", "claim", "w1")
    cli("worker", "heartbeat", "w1")
    assert not cli.status(FRESH)["workers"]["w1"]["stale"]
    assert cli.status(STALE)["workers"]["w1"]["stale"]
    assert cli("leader", "reap", FRESH) == ""
    assert cli("leader", "reap", STALE) == "a"
    assert cli.states() == {"a": "pending"}
    cli("worker", "complete", "w1", "a", code=1)
    assert cli("worker", "claim", "w2") == "a"


def test_lease(cli):
    token = int(cli("leader", "acquire", "anna"))
    cli("leader", "acquire", "bert", code=4)
    assert "anna" in cli.error
    cli("leader", "renew", "bert", code=4)
    assert int(cli("leader", "renew", "anna")) == token
    assert cli.status()["leader"] == "anna"
    cli("leader", "reap", "--leader", "bert", code=4)
    cli("leader", "release", "anna")
    assert cli.status()["leader"] is None
    cli("leader", "acquire", "bert")


def test_an_expired_lease_is_free(cli):
    token = int(cli("leader", "acquire", "anna", "--ttl", "0"))
    cli("leader", "renew", "anna", code=4)
    assert int(cli("leader", "acquire", "bert")) > token


def test_checkpoint_and_restore(cli):
    cli("leader", "restore", code=1)
    add(cli, "a")
    name = cli("leader", "checkpoint", "--label", "monday")
    add(cli, "b")
    cli("leader", "restore", "checkpoint-1.json", code=1)
    assert sorted(cli.states()) == ["a", "b"]
    assert name in cli("leader", "restore", name)
    assert sorted(cli.states()) == ["a"]
    add(cli, "c")
    cli("leader", "restore")
    assert sorted(cli.states()) == ["a"]


def test_recover_keeps_a_sound_state(cli):
    add(cli, "a")
    add(cli, "b", "--depends", "a")
    cli("worker", "claim", "w1")
    cli("worker", "complete", "w1", "a")
    cli("worker", "claim", "w1")
    assert "replayed" in cli("recover")
    assert cli.states() == {"a": "completed", "b": "claimed"}


def test_metrics(cli):
    add(cli, "a")
    cli("worker", "claim", "w1")
    cli("worker", "fail", "w1", "a")
    cli("worker", "claim", "w1")
    cli("leader", "reap", STALE)
    cli("worker", "claim", "w1")
    cli("worker", "complete", "w1", "a")
    metrics = json.loads(cli("leader", "metrics"))
    metrics.pop("busy_seconds")
    assert metrics == {"claimed": 3, "failed": 1, "requeued": 1, "completed": 1}


def test_status_for_people_names_everything(cli):
    add(cli, "a")
    cli("leader", "acquire", "anna")
    cli("worker", "heartbeat", "w1")
    text = cli("leader", "status")
    assert all(word in text for word in ("anna", "task a", "pending", "w1", "alive"))


def test_worker_runs_what_is_ready(cli):
    add(cli, "first", "--command", "echo done > proof")
    add(cli, "second", "--depends", "first", "--priority", "5")
    add(cli, "broken", "--command", "exit 7", "--priority", "-1")
    output = cli.process("worker", "run", "w1", "--max", "2")
    assert output.splitlines() == ["first completed", "second completed", "ran 2 tasks"]
    assert Path("proof").read_text() == "done\n"
    assert "ran 3 tasks" in cli.process("worker", "run", "w1")
    assert cli.states() == {"first": "completed", "second": "completed", "broken": "failed"}
    assert cli.status()["tasks"]["broken"]["error"] == "exit status 7"
    assert "ran 0 tasks" in cli.process("worker", "run", "w1", "--wait", "0.01")


# What only the hardened one survives


def tear_log():
    with LOG.open("a") as log:
        log.write('{"op": "claim", "seq": 99, "ta')


def test_torn_log_tail_ends_the_recovery(buggy):
    add(buggy, "a")
    tear_log()
    with pytest.raises(ValueError):
        buggy("recover")


def test_torn_log_tail_is_cut_off(hardened):
    add(hardened, "a")
    tear_log()
    add(hardened, "b")
    tear_log()
    hardened("recover")
    assert hardened.states() == {"a": "pending", "b": "pending"}
    assert all(json.loads(line) for line in LOG.read_text().splitlines())


def test_damage_inside_the_log_is_refused(hardened):
    add(hardened, "a")
    add(hardened, "b")
    LOG.write_text(LOG.read_text().replace("task a", "task z", 1))
    hardened("recover", code=5)
    assert "line 1" in hardened.error


def truncate(path):
    path.write_bytes(path.read_bytes()[:40])


def test_truncated_tasks_count_as_none(buggy):
    add(buggy, "a")
    truncate(TASKS)
    assert buggy.states() == {}


@pytest.mark.parametrize("checkpoint", [False, True])
def test_truncated_tasks_are_refused_and_recovered(hardened, checkpoint):
    add(hardened, "a")
    if checkpoint:
        hardened("leader", "checkpoint")
    add(hardened, "b")
    truncate(TASKS)
    for argv in (["leader", "status"], ["worker", "claim", "w1"], ["leader", "checkpoint"]):
        hardened(*argv, code=5)
        assert "damaged" in hardened.error
    hardened("recover")
    assert sorted(hardened.states()) == ["a", "b"]


def test_missing_tasks_are_recovered_from_the_log(hardened):
    add(hardened, "a")
    TASKS.unlink()
    hardened("leader", "status", code=5)
    hardened("leader", "init", code=1)
    hardened("recover")
    assert sorted(hardened.states()) == ["a"]


def test_an_unsaved_change_is_rolled_forward(hardened):
    add(hardened, "a")
    before = TASKS.read_bytes()
    hardened("worker", "claim", "w1")
    TASKS.write_bytes(before)
    hardened("worker", "claim", "w2", code=3)
    assert hardened.status()["tasks"]["a"]["worker"] == "w1"


def test_damaged_checkpoint_is_restored(buggy):
    add(buggy, "a")
    truncate(CHECKPOINTS / buggy("leader", "checkpoint"))
    buggy("leader", "restore")
    assert buggy.states() == {}


def test_damaged_checkpoint_is_skipped(hardened):
    add(hardened, "a")
    hardened("leader", "checkpoint")
    add(hardened, "b")
    newest = hardened("leader", "checkpoint")
    truncate(CHECKPOINTS / newest)
    hardened("leader", "restore", newest, code=1)
    hardened("leader", "restore")
    assert "skipped" in hardened.error
    assert sorted(hardened.states()) == ["a"]


def test_old_checkpoints_go_and_the_log_still_leads_from_the_oldest(hardened):
    for number in range(8):
        add(hardened, f"a{number}")
        hardened("leader", "checkpoint")
    checkpoints = sorted(CHECKPOINTS.iterdir())
    assert len(checkpoints) == 5
    for path in checkpoints[1:]:
        truncate(path)
    truncate(TASKS)
    hardened("recover")
    assert len(hardened.states()) == 8


def test_recovery_of_a_restore_does_not_undo_it(hardened):
    add(hardened, "a")
    hardened("leader", "checkpoint")
    add(hardened, "b")
    hardened("leader", "restore")
    TASKS.unlink()
    hardened("recover")
    assert sorted(hardened.states()) == ["a"]


def test_recovery_counts_attempts_twice(buggy):
    add(buggy, "a")
    buggy("worker", "claim", "w1")
    buggy("recover")
    buggy("recover")
    assert buggy.status()["tasks"]["a"]["attempts"] == 3


def test_recovery_is_idempotent(hardened):
    add(hardened, "a")
    hardened("worker", "claim", "w1")
    files = [TASKS, LOG]
    before = [file.read_bytes() for file in files]
    hardened("recover")
    hardened("recover")
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_a_clock_step_changes_no_lease_and_no_staleness(hardened, monkeypatch, jump):
    hardened("leader", "acquire", "anna")
    hardened("worker", "heartbeat", "w1")
    set_clock(monkeypatch, hardened, hardened.module.time.time() + jump)
    assert hardened.status(FRESH)["leader"] == "anna"
    assert not hardened.status(FRESH)["workers"]["w1"]["stale"]
    assert hardened.status(STALE)["workers"]["w1"]["stale"]


def test_a_clock_step_frees_the_lease(buggy, monkeypatch):
    buggy("leader", "acquire", "anna")
    buggy("worker", "heartbeat", "w1")
    set_clock(monkeypatch, buggy, buggy.module.time.time() + 86400)
    assert buggy.status(FRESH)["leader"] is None
    assert buggy.status(FRESH)["workers"]["w1"]["stale"]


@pytest.mark.parametrize("name, tasks", [("coordination", 1), ("hardened", 2)])
def test_ids_under_a_frozen_clock(make_cli, monkeypatch, name, tasks):
    cli = make_cli(name)
    set_clock(monkeypatch, cli, 1_700_000_000.0)
    cli("leader", "add-task", "one")
    cli("leader", "add-task", "two")
    assert len(cli.states()) == tasks


@pytest.mark.parametrize("name, state", [("coordination", "completed"), ("hardened", "pending")])
def test_a_command_that_dies_by_a_signal(make_cli, name, state):
    cli = make_cli(name)
    add(cli, "a", "--command", "kill -9 $$")
    cli.process("worker", "run", "w1", "--max", "1")
    assert cli.states() == {"a": state}


@pytest.mark.parametrize("name, whole", [("coordination", False), ("hardened", True)])
def test_short_writes(make_cli, monkeypatch, name, whole):
    cli = make_cli(name)
    real_write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real_write(fd, bytes(data)[: len(data) // 2 or 1]))
        add(cli, "a")
    assert LOG.read_bytes().endswith(b"}\n") is whole


@pytest.mark.parametrize("name, leaked", [("coordination", True), ("hardened", False)])
def test_lock_after_an_exception(make_cli, name, leaked):
    cli = make_cli(name)
    store = cli.module.Store(".coordination")
    with pytest.raises(cli.module.CoordinationError):
        cli.module.start_task(store, "w1", "ghost")
    lock = "tasks.lock" if name == "coordination" else "lock"
    with (STATE / lock).open() as handle:
        if leaked:
            with pytest.raises(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(store.lock.fd)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_empty_pid_file_stops_the_worker_for_ever(buggy):
    (STATE / "workers/w1.pid").touch()
    buggy.process("worker", "run", "w1", code=1)
    assert "ValueError" in buggy.error


def test_only_a_living_worker_keeps_its_name(hardened):
    pid_file = STATE / "workers/w1.pid"
    pid_file.touch()
    hardened.process("worker", "run", "w1")
    with pid_file.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        hardened.process("worker", "run", "w1", code=1)
        assert "runs already" in hardened.error


def test_a_restarted_worker_gives_back_what_it_held(hardened):
    add(hardened, "a")
    hardened("worker", "claim", "w1")
    assert "a completed" in hardened.process("worker", "run", "w1")


def test_a_terminated_worker_gives_its_task_back(hardened):
    add(hardened, "a", "--command", "echo $$ > child; exec sleep 60")
    command = [sys.executable, str(HOUSE / "hardened.py"), "worker", "run", "w1"]
    with subprocess.Popen(command) as worker:
        while not (Path("child").exists() and Path("child").read_text().endswith("\n")):
            assert worker.poll() is None
            time.sleep(0.01)
        worker.terminate()
    assert worker.returncode == 143
    assert hardened.states() == {"a": "pending"}
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("child").read_text()), 0)


def test_failed_log_write_leaves_nothing_behind(hardened, monkeypatch):
    add(hardened, "a")
    before = LOG.read_bytes()

    def full_disk(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        hardened("worker", "claim", "w1", code=6)
    assert "No space left" in hardened.error
    assert LOG.read_bytes() == before
    assert hardened.states() == {"a": "pending"}


def test_hardened_reads_a_directory_of_the_other_twin(buggy):
    add(buggy, "a")
    buggy("worker", "claim", "w1")
    buggy("leader", "acquire", "anna", "--ttl", "0")
    (STATE / "lock").touch()
    other = Cli("hardened", buggy.capsys)
    assert other.states() == {"a": "claimed"}
    other("worker", "complete", "w1", "a")
    other("leader", "acquire", "bert")
    assert other.states() == {"a": "completed"}


def test_concurrent_workers_claim_each_task_once(hardened):
    store = hardened.module.Store(".coordination")
    with store.transaction() as state:
        for number in range(40):
            body = {"title": "", "priority": 0, "depends": [], "command": None, "status": "pending",
                    "worker": None, "attempts": 0, "error": None, "order": number}
            store.commit(state, "add", task=f"t{number}", change=body)
    command = [sys.executable, str(HOUSE / "hardened.py"), "worker", "run"]
    workers = [subprocess.Popen([*command, f"w{n}"], stdout=subprocess.PIPE, text=True) for n in range(8)]
    output = "".join(worker.communicate()[0] for worker in workers)
    assert [worker.returncode for worker in workers] == [0] * 8
    assert Counter(re.findall(r"(t\d+) completed", output)) == Counter(f"t{n}" for n in range(40))
    records = map(json.loads, LOG.read_text().splitlines())
    claims = Counter(record["task"] for record in records if record["op"] == "claim")
    assert set(claims.values()) == {1} and len(claims) == 40
    assert json.loads(hardened("leader", "metrics"))["completed"] == 40


# The table


def read_table():
    for line in (HOUSE / "DEFECTS.md").read_text().splitlines():
        if re.match(r"\| C\d", line):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def function_spans(node, prefix=""):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            name = prefix + child.name
            yield name, (child.body[0].lineno, child.end_lineno)
            yield from function_spans(child, name + ".")


def test_the_table_of_defects_is_true():
    rows = list(read_table())
    source = (HOUSE / "coordination.py").read_text()
    spans = dict(function_spans(ast.parse(source)))
    assert [row[0] for row in rows] == [f"C{n:02}" for n in range(1, len(rows) + 1)]
    assert len(rows) >= 25
    assert len({(row[2], row[3]) for row in rows}) == len(rows)
    for number, _, function, line, *texts in rows:
        first, last = spans[function.strip("`")]
        assert first <= int(line) <= last, f"{number}: line {line} is not in {function}"
        assert source.splitlines()[int(line) - 1].strip(), number
        assert len(texts) == 3 and all(texts), number

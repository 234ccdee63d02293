"""Waits in every way that Python's library knows, each in a thread: prints "ready", then name, outcome and elapsed milliseconds."""

from __future__ import annotations

import asyncio
import os
import queue
import select
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable

SECONDS = float(sys.argv[1])
CHILD = subprocess.Popen(["sleep", "1000000"])


def condition() -> object:
    with (cond := threading.Condition()):
        return cond.wait(SECONDS)


def get() -> object:
    try:
        return queue.Queue[int]().get(timeout=SECONDS)
    except queue.Empty:
        return False


def acquire() -> object:
    lock = threading.Lock()
    lock.acquire()
    return lock.acquire(timeout=SECONDS)


def asyncio_sleep() -> object:
    return asyncio.run(asyncio.sleep(SECONDS, False))


def asyncio_wait_for() -> object:
    async def never() -> object:
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().create_future(), SECONDS)
        except TimeoutError:
            return False

    return asyncio.run(never())


def selectors_select() -> object:
    with selectors.DefaultSelector() as selector:
        selector.register(os.pipe()[0], selectors.EVENT_READ)
        return bool(selector.select(SECONDS))


def poll() -> object:
    poller = select.poll()
    poller.register(os.pipe()[0], select.POLLIN)
    return bool(poller.poll(SECONDS * 1000))


def process() -> object:
    try:
        return CHILD.wait(SECONDS)
    except subprocess.TimeoutExpired:
        return False
    finally:
        CHILD.kill()


WAITS: dict[str, Callable[[], object]] = {
    "sleep": lambda: bool(time.sleep(SECONDS)),
    "condition": condition,
    "event": lambda: threading.Event().wait(SECONDS),
    "queue": get,
    "lock": acquire,
    "join": lambda: bool(threading.main_thread().join(SECONDS)),
    "asyncio.sleep": asyncio_sleep,
    "asyncio.wait_for": asyncio_wait_for,
    "select": lambda: any(select.select([os.pipe()[0]], [], [], SECONDS)),
    "selectors": selectors_select,
    "poll": poll,
    "process": process,
}


def run(name: str) -> None:
    before = time.monotonic_ns()
    outcome = WAITS[name]()
    elapsed_ms = (time.monotonic_ns() - before) / 1e6
    os.write(1, f"{name} {outcome} {elapsed_ms}\n".encode())  # whole lines


threads = [threading.Thread(target=run, args=(name,)) for name in WAITS]
for thread in threads:
    thread.start()
print("ready", flush=True)
for thread in threads:
    thread.join()

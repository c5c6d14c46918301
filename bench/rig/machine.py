"""Processes: started pinned to a core, accounted for by the kernel, ended by pid."""
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

TICK = os.sysconf("SC_CLK_TCK")


class Process:
    """A server and all its children. What it says goes to a file, which is shown when it does not start."""

    def __init__(self, name, command, port, says, core=None, env=None):
        self.name = name
        self.says = says
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        with open(says, "ab") as out:
            self.child = subprocess.Popen(
                [*pinned, *map(str, command)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **(env or {})}
            )
        self.wait_for(port)

    def wait_for(self, port):
        """Until something listens there, for half a minute at most."""
        for _ in range(600):
            if self.child.poll() is not None:
                break
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.05)
        said = pathlib.Path(self.says).read_text(errors="replace")[-2000:]
        self.stop()
        sys.exit(f"bench: {self.name} does not listen on {port}; it said:\n{said}")

    def pids(self):
        return tree(self.child.pid)

    def cpu_nanoseconds(self):
        """Run time of every thread of the tree."""
        total = 0
        for pid in self.pids():
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total += int(task.read_text().split()[0])
        return total

    def resident(self):
        """Bytes of memory that the tree holds, shared pages counted once for each process."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                found = re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
                total += int(found.group(1)) * 1024 if found else 0
        return total

    def stop(self):
        """Asks it to end, and does not ask twice."""
        if self.child.poll() is not None:
            return
        whole = self.pids()
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            for pid in whole:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def tree(pid):
    """A process and all below it."""
    try:
        below = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in below for each in tree(int(child)))]


def idle_bytes(process, port, count):
    """What the process grew by for each of so many connections that asked once and wait."""
    before, held = process.resident(), []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(4096)
            held.append(connection)
        time.sleep(1)
        return (process.resident() - before) / count
    finally:
        for connection in held:
            connection.close()

"""A service manager for the tests: it reads what a daemon tells it (sd_notify(3)), and holds single threads still.

Manager      the socket; environment() makes a daemon speak to it
held         while in it, one thread of a process does not run (ptrace(2)); the others do
"""
import contextlib
import ctypes
import os
import select
import shutil
import socket
import tempfile
import time
import unittest

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # __WALL of wait(2): threads, too


class Manager:
    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-notify-")
        self.path = os.path.join(self.folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.told = []  # (when, {name: value})
        return self

    def __exit__(self, *unused):
        self.socket.close()
        shutil.rmtree(self.folder)

    def environment(self, watchdog_ms=None):
        found = {"NOTIFY_SOCKET": self.path}
        if watchdog_ms:
            found["WATCHDOG_USEC"] = str(int(watchdog_ms * 1000))
        return found

    def read(self, for_s=0.0):
        """Take what has come, and what comes within that time; returns what was told anew."""
        before, end = len(self.told), time.monotonic() + for_s
        while select.select([self.socket], [], [], max(0.0, end - time.monotonic()))[0]:
            text = self.socket.recv(65536).decode()
            self.told.append((time.monotonic(), dict(line.split("=", 1) for line in text.splitlines())))
        return [message for _, message in self.told[before:]]

    def wait(self, wanted, timeout, what):
        """The first message from now on for which wanted(message) holds."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for message in self.read(min(0.1, max(0.0, end - time.monotonic()))):
                if wanted(message):
                    return message
        raise AssertionError(f"not told within {timeout} s: {what}; so far: {[message for _, message in self.told[-8:]]}")

    def wait_status(self, wanted, timeout=10.0):
        """The last status told, when wanted(its text)."""
        end = time.monotonic() + timeout
        while True:
            self.read(0.05)
            line = self.status()
            if line is not None and wanted(line):
                return line
            if time.monotonic() > end:
                raise AssertionError(f"no such status within {timeout} s; the last one is {line!r}")

    def status(self):
        lines = [message["STATUS"] for _, message in self.told if "STATUS" in message]
        return lines[-1] if lines else None


def threads(pid):
    """{name: thread id}; the main thread is called main."""
    found = {}
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as file:
            found["main" if tid == pid else file.read().strip()] = tid
    return found


@contextlib.contextmanager
def held(tid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(PTRACE_SEIZE, tid, None, None) != 0:
        raise unittest.SkipTest(f"no thread can be held here: ptrace: {os.strerror(ctypes.get_errno())}")
    if libc.ptrace(PTRACE_INTERRUPT, tid, None, None) != 0:
        raise AssertionError(os.strerror(ctypes.get_errno()))
    os.waitpid(tid, WALL)
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, tid, None, None)  # in vain when its process is gone
        with contextlib.suppress(ChildProcessError):
            os.waitpid(tid, WALL | os.WNOHANG)

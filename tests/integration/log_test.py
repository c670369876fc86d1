"""The log: standard error that is slow, full, gone or was never there. Nobody waits for it, nothing dies of it, nothing is
written elsewhere, and that lines were lost is told."""
import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import Client, daemon_path, main, seconds, wait_until

N = 300


class Log(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.server = servers.Server().__enter__()
        self.addCleanup(self.server.__exit__)

    def start(self, stderr, user=None, closed=()):
        self.path = os.path.join(self.folder, "s")

        def prepare():
            for fd in closed:
                os.close(fd)
        process = subprocess.Popen([daemon_path(), "--config", "/dev/null", "--socket", self.path, "--set", "log.level=debug"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, user=user,
                                   preexec_fn=prepare if closed else None)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.process = process

        def accepts():
            self.assertIsNone(process.poll())
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(self.path) == 0
        wait_until(accepts, what="the start")
        return process

    def work(self):
        """Many lines for the log; each request is answered at once."""
        with Client(self.path) as client:
            for at in range(N):
                began = time.monotonic()
                number = client.connect(self.server.port)
                client.call("TCPSend", [number, f"{at}\n"])
                self.assertEqual(client.call("TCPReceive", socket=number, until="\n")["data"], f"{at}\n")
                client.call("TCPClose", [number])
                self.assertLess(time.monotonic() - began, seconds(8))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(seconds(10)), 0)

    def pipe(self):
        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 16384)
        return ours, theirs

    def full_pipe(self, user=None):
        ours, theirs = self.pipe()
        self.start(theirs, user)
        self.work()
        self.assertEqual(fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK, 0, "others write to it, too")
        os.close(theirs)
        text = os.read(ours, 65536)
        self.work()
        text += os.read(ours, 65536)
        self.assertRegex(text.decode(), r"warning \d+ lines of the log before this one were lost")
        for line in text.decode().splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT[\d:.]+Z (error|warning|notice|info|debug) ")
        self.stop()

    def test_a_pipe_that_nobody_reads(self):
        self.full_pipe()

    def test_a_pipe_of_somebody_else(self):
        """It cannot be opened anew."""
        if os.getuid() != 0:
            self.skipTest("needs root")
        os.chmod(self.folder, 0o777)
        self.full_pipe(pwd.getpwnam("nobody").pw_uid)

    def test_a_pipe_whose_reader_has_gone(self):
        ours, theirs = os.pipe()
        self.start(theirs)
        os.close(theirs)
        os.close(ours)
        self.work()
        self.stop()

    def test_a_socket_that_nobody_reads(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            self.start(theirs)
            self.work()
            text = ours.recv(1 << 20)
            self.work()
            text += ours.recv(1 << 20)
            self.assertRegex(text.decode(), r"lines of the log before this one were lost")
            self.stop()

    def test_no_room(self):
        with open("/dev/full", "wb") as full:
            self.start(full)
            self.work()
            self.stop()

    def test_closed(self):
        """What is opened first must not become standard error."""
        self.start(None, closed=(0, 1, 2))
        self.work()
        for fd in (0, 1, 2):
            self.assertEqual(os.readlink(f"/proc/{self.process.pid}/fd/{fd}"), "/dev/null")
        self.stop()

    def test_a_file(self):
        path = os.path.join(self.folder, "log")
        with open(path, "ab") as file:
            self.start(file)
        self.work()
        self.stop()
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertGreaterEqual(sum(1 for line in lines if re.search(r" socket \d+ closed: ", line)), N)
        self.assertNotIn("were lost", "".join(lines))


if __name__ == "__main__":
    main()

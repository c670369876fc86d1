"""A service manager's file descriptor store, as small as can be: a NOTIFY_SOCKET that keeps what FDSTORE=1 brings, and a
start of the daemon with LISTEN_FDS, as systemd does it. So restarts can be tested anywhere.

Store        the store; as a context
StoredDaemon a harness.Daemon that is started anew by again(), with the same control socket and the same store
"""
import array
import os
import select
import signal
import socket
import subprocess
import sys
import threading

from harness import Daemon, seconds, wait_until

FDS_START = 3
# Puts the descriptors given by number at 3 and following, says so, and becomes the daemon.
HELPER = """
import fcntl, os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 1000) for fd in fds]
for place, fd in enumerate(high, 3):
    os.dup2(fd, place, inheritable=True)
for fd in fds:
    if fd >= 3 + len(fds):
        os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(fds))
os.environ["LISTEN_FDNAMES"] = sys.argv[2]
os.execv(sys.argv[3], sys.argv[3:])
"""


class Store:
    def __init__(self, folder, size=1000):
        self.path = os.path.join(folder, "notify")
        self.size = size
        self.kept = {}  # name: [fd]
        self.lock = threading.Lock()
        self.notes = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind(self.path)
        self.end_read, self.end_write = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            ready, _, _ = select.select([self.socket, self.end_read], [], [])
            if self.socket not in ready:
                return
            self.take(*self.receive())

    def receive(self):
        data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * 253))
        fds = array.array("i")
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[:len(content) - len(content) % 4])
        return data.decode(), list(fds)

    def take(self, text, fds):
        lines = dict(line.split("=", 1) for line in text.splitlines())
        with self.lock:
            self.notes.append(text)
            name = lines.get("FDNAME", "stored")
            if lines.get("FDSTOREREMOVE") == "1":
                for fd in self.kept.pop(name, []):
                    os.close(fd)
            elif lines.get("FDSTORE") == "1":
                for fd in fds:
                    if sum(map(len, self.kept.values())) >= self.size:
                        os.close(fd)
                    else:
                        self.kept.setdefault(name, []).append(fd)
                return
        for fd in fds:  # BARRIER=1: its end is what is waited for
            os.close(fd)

    def names(self):
        with self.lock:
            return sorted(name for name, fds in self.kept.items() for _ in fds)

    def items(self):
        """[(name, a copy of the fd)], in the order they came: names that begin with s- are of sockets."""
        with self.lock:
            return [(name, os.dup(fd)) for name, fds in self.kept.items() for fd in fds]

    def replace(self, name, fd):
        """Another content under that name."""
        with self.lock:
            for old in self.kept.pop(name, []):
                os.close(old)
            self.kept[name] = [fd]

    def empty(self):
        with self.lock:
            for fds in self.kept.values():
                for fd in fds:
                    os.close(fd)
            self.kept.clear()

    def close(self):
        os.write(self.end_write, b"x")
        self.thread.join()
        self.socket.close()
        self.empty()
        os.close(self.end_read)
        os.close(self.end_write)


class StoredDaemon(Daemon):
    def __init__(self, *args, size=1000, env=None, **kw):
        super().__init__(*args, **kw)
        self.store = Store(self.folder, size)
        self.environment.update({"NOTIFY_SOCKET": self.store.path, "TCPBROKER_FDSTORE": str(size)}, **(env or {}))
        self.control = socket.socket(socket.AF_UNIX)
        self.control.bind(self.socket_path)
        self.control.listen(512)
        self.daemon_command = self.command
        self.logs = ""

    def start(self):
        items = [("control", os.dup(self.control.fileno()))] + self.store.items()
        fds, names = [fd for _, fd in items], [name for name, _ in items]
        command = [sys.executable, "-c", HELPER, ",".join(map(str, fds)), ":".join(names), *self.daemon_command]
        try:
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=fds,
                                                env=self.environment, start_new_session=True)
        finally:
            for fd in fds:
                os.close(fd)

    def wait_started(self, n):
        def started():
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log()}")
            return sum("READY=1" in note for note in self.store.notes) >= n
        wait_until(started, 15, "READY=1")

    def __enter__(self):
        try:
            self.start()
            self.wait_started(1)
        except BaseException:
            self.kill()
            self.close()
            raise
        return self

    def close(self):
        self.control.close()
        self.store.close()

    def stop(self, sig=signal.SIGTERM, status=0):
        """End it; the store and the control socket stay."""
        self.process.send_signal(sig)
        ended = self.process.wait(seconds(45))
        if ended != status:
            raise AssertionError(f"the daemon ended with {ended}, not {status}:\n{self.log()[-5000:]}")

    def again(self, *args, sig=signal.SIGTERM, status=0):
        """A restart; args: more of them for the new daemon."""
        n = sum("READY=1" in note for note in self.store.notes)
        self.stop(sig, status)
        self.daemon_command = self.command + list(args)
        self.start()
        self.wait_started(n + 1)

    def killed(self, *args):
        self.again(*args, sig=signal.SIGKILL, status=-signal.SIGKILL)

    def __exit__(self, *error):
        try:
            return super().__exit__(*error)
        finally:
            self.close()

"""Other users: connections that a process of another uid has made, and then handed over. Needs root, and a daemon whose sockets
everybody may use (listen.mode 0777).

User     uid; connect(path) gives a connected socket, client(daemon) and raw(daemon) what harness makes of one.
"""
import os
import socket
import subprocess
import sys

from harness import Client, Raw, seconds

# one line in, the path; one descriptor out
PROGRAM = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
out = socket.socket(fileno=int(sys.argv[2]))
for path in sys.stdin:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path.rstrip("\\n"))
    socket.send_fds(out, [b"x"], [connection.fileno()])
    connection.close()
"""


class User:
    def __init__(self, uid):
        self.uid = uid

    def __enter__(self):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(seconds(10))
        self.process = subprocess.Popen([sys.executable, "-B", "-c", PROGRAM, str(self.uid), str(theirs.fileno())],
                                        stdin=subprocess.PIPE, text=True, pass_fds=[theirs.fileno()], cwd="/")
        theirs.close()
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        self.process.wait(seconds(10))
        self.socket.close()
        return False

    def connect(self, path):
        self.process.stdin.write(path + "\n")
        self.process.stdin.flush()
        _, descriptors, _, _ = socket.recv_fds(self.socket, 1, 1)
        return socket.socket(fileno=descriptors[0])

    def client(self, daemon, **kw):
        return Client(daemon, sock=self.connect(daemon.socket_path), **kw)

    def raw(self, daemon, **kw):
        return Raw(daemon, sock=self.connect(daemon.socket_path), **kw)


def open_to_all(daemon):
    """The folder of its socket is its own otherwise."""
    os.chmod(daemon.folder, 0o755)
    return daemon

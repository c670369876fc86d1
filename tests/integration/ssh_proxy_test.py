#!/usr/bin/env python3
"""tcpbroker ssh-proxy with a real ssh and a real sshd on loopback."""
import hashlib
import os
import pwd
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import servers  # noqa: E402
from ca import certificates  # noqa: E402
from harness import TestCase, daemon_path, main, seconds, wait_until  # noqa: E402

COMMAND = os.environ.get("TCPBROKER", os.path.join(os.path.dirname(daemon_path()), "..", "cli", "tcpbroker"))
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@unittest.skipUnless(os.getuid() == 0, "sshd wants to be root")
@unittest.skipUnless(SSHD and shutil.which("ssh"), "no sshd or no ssh: install openssh-server and openssh-client")
class SshProxy(TestCase):
    DAEMON_ARGS = ("--cacerts", certificates().cacerts)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.mkdtemp(prefix="tcpbroker-ssh-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", cls.path(name)], check=True, timeout=seconds(20))
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        cls.port = servers.closed_port()
        with open(cls.path("sshd_config"), "w", encoding="ascii") as file:
            file.write(f"ListenAddress 127.0.0.1\nPort {cls.port}\nHostKey {cls.path('host')}\nPidFile none\n"
                       f"AuthorizedKeysFile {cls.path('user')}.pub\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
                       "PasswordAuthentication no\nKbdInteractiveAuthentication no\nX11Forwarding no\n")
        with open(cls.path("sshd.log"), "wb") as log:
            cls.sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", cls.path("sshd_config")], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=log)
        cls.addClassCleanup(cls.end_sshd)

        def listens():
            if cls.sshd.poll() is not None:
                with open(cls.path("sshd.log"), encoding="utf-8", errors="replace") as file:
                    raise unittest.SkipTest("sshd does not start here: " + file.read()[-300:])
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", cls.port)) == 0
        wait_until(listens, what="sshd listening")

    @classmethod
    def end_sshd(cls):
        cls.sshd.terminate()
        cls.sshd.wait(seconds(10))

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    def ssh(self, command, options="", port=None, data=b""):
        return subprocess.run(
            ["ssh", "-F", "none", "-i", self.path("user"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={self.path('known')}", "-o", "LogLevel=ERROR",
             "-o", f"ProxyCommand={COMMAND} --socket {self.daemon.socket_path} ssh-proxy {options} %h %p",
             "-o", "ProxyUseFdpass=yes", "-p", str(port or self.port),
             pwd.getpwuid(os.getuid()).pw_name + "@localhost", command],
            input=data, capture_output=True, timeout=seconds(60))

    def test_a_command(self):
        before = self.client.call("Broker.Stats")["attached"]
        done = self.ssh("echo hello; echo told >&2; exit 7")
        self.assertEqual((done.stdout, done.returncode), (b"hello\n", 7), done.stderr)
        self.assertEqual(done.stderr, b"told\n")
        self.assertEqual(self.client.call("Broker.Stats")["attached"], before + 1)
        self.assertEqual(self.client.call("Broker.List")["sockets"], [], "the broker keeps nothing of it")

    def test_much_data_both_ways(self):
        data = os.urandom(8 << 20)
        done = self.ssh("cat", "--family ipv4 --timeout 5", data=data)
        self.assertEqual((hashlib.sha256(done.stdout).digest(), done.returncode), (hashlib.sha256(data).digest(), 0), done.stderr)

    def test_through_tls(self):
        """sshd behind a TLS server: the stream is relayed, long after the command has ended."""
        def forward(connection):
            with socket.create_connection(("127.0.0.1", self.port), seconds(10)) as inner:
                connection.settimeout(seconds(30))
                while True:
                    ready = select.select([connection, inner], [], [], seconds(30))[0]
                    if connection in ready or connection.pending():
                        data = connection.recv(65536)
                        if not data:
                            return
                        inner.sendall(data)
                    if inner in ready:
                        data = inner.recv(65536)
                        if not data:
                            return
                        connection.sendall(data)
        with servers.Server(forward, tls=servers.tls_context()) as server:
            done = self.ssh("sleep 0.2; cat", "--tls", port=server.port, data=b"inside TLS")
            self.assertEqual((done.stdout, done.returncode), (b"inside TLS", 0), done.stderr)

    def test_refused(self):
        done = self.ssh("true", port=servers.closed_port())
        self.assertEqual(done.returncode, 255)
        self.assertIn(b"nothing listens there", done.stderr)


if __name__ == "__main__":
    main()

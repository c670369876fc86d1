"""Servers that are programs of their own: OpenSSL's behind a plain-text dialogue, a mail server, PostgreSQL, Redis.

TlsEcho      `openssl s_server -rev`: sends every line back reversed.
MailFront    speaks SMTP or IMAP in plain text until the client has asked for STARTTLS, then passes all bytes on to a TlsEcho
             (s_server itself knows no such dialogue, s_client only).
MailServer   aiosmtpd, an SMTP server with STARTTLS; a message that it takes stands on its standard output.
PostgreSQL   a cluster in a temporary folder with ssl=on; it runs as an unprivileged user.
Redis        with TLS only, and nothing kept on disk.
TlsFront     stunnel: takes TLS and passes the bytes on to a port of this host.
"""
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from ca import certificates
from harness import seconds, wait_until
from servers import Listener, closed_port


def connects(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process, number=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(seconds(20))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class TlsEcho:
    def __init__(self, *options, certificate="good"):
        chain, key = certificates().pem(certificate)
        self.port = closed_port()
        self.command = ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", chain, "-cert_chain", chain,
                        "-key", key, "-rev", "-quiet", *options]
        self.output = subprocess.DEVNULL

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output)
        try:
            wait_until(lambda: self.process.poll() is not None or connects(self.port), 15, "openssl s_server listening")
            if self.process.poll() is not None:
                raise AssertionError(f"openssl s_server ended with {self.process.returncode}")
        except BaseException:
            end(self.process)
            raise
        return self

    def __exit__(self, *unused):
        end(self.process)
        return False


class MailFront(Listener):
    """Dialogue: what is said first, then answers to lines; None: the answer after which TLS begins."""

    SMTP = (b"220 mail.example ESMTP\r\n", {b"EHLO": b"250-mail.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n"},
            b"220 2.0.0 Ready to start TLS\r\n")
    IMAP = (b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n",
            {b"a1 CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS\r\na1 OK done\r\n"}, b"a2 OK Begin TLS negotiation now\r\n")

    def __init__(self, dialogue, backend_port, **kw):
        super().__init__(**kw)
        self.banner, self.answers, self.ready = dialogue
        self.backend_port = backend_port

    def on_connection(self, connection):
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(self.banner)
            while b"STARTTLS" not in (line := self._line(connection)).upper():
                connection.sendall(next(answer for start, answer in self.answers.items() if line.startswith(start)))
            backend = socket.create_connection(("127.0.0.1", self.backend_port))
            with self.lock:
                self.connections.add(backend)
            connection.sendall(self.ready)
            threading.Thread(target=self._pass_on, args=(backend, connection), daemon=True).start()
            self._pass_on(connection, backend)
        except (OSError, StopIteration):
            connection.close()

    @staticmethod
    def _line(connection):
        line = b""
        while not line.endswith(b"\n"):
            byte = connection.recv(1)
            if not byte:
                raise OSError("the client has left")
            line += byte
        return line

    @staticmethod
    def _pass_on(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class MailServer:
    python = "/usr/bin/python3"  # the distribution's, as the package is

    def __init__(self):
        asked = subprocess.run([self.python, "-c", "import aiosmtpd"], capture_output=True, check=False)
        if asked.returncode:
            raise unittest.SkipTest("aiosmtpd is not installed; apt-get install python3-aiosmtpd would make this run")
        chain, key = certificates().pem("good")
        self.port = closed_port()
        self.command = [self.python, "-u", "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{self.port}", "--tlscert", chain,
                        "--tlskey", key]

    def __enter__(self):
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: self.process.poll() is not None or connects(self.port), 15, "aiosmtpd listening")
            if self.process.poll() is not None:
                raise AssertionError(f"aiosmtpd ended with {self.process.returncode}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def received(self):
        self.output.seek(0)
        return self.output.read().decode()

    def __exit__(self, *unused):
        end(self.process)
        self.output.close()
        return False


class PostgreSQL:
    """user: of the database; everybody may log in, with TLS only, or as well without it (plain)."""

    user = "tester"

    def __init__(self, plain=False):
        self.kind = "host" if plain else "hostssl"
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb")]
        if not found[-1]:
            raise unittest.SkipTest("PostgreSQL's server is not installed; apt-get install postgresql would make this run")
        self.bin = os.path.dirname(found[-1])
        self.port = closed_port()
        self.process = None

    def _as_nobody(self):
        """PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return {}
        entry = pwd.getpwnam("nobody")
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-postgresql-")
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self):
        who = self._as_nobody()
        files = {"server.crt": certificates().pem("good")[0], "server.key": certificates().pem("good")[1]}
        for name, source in files.items():
            path = os.path.join(self.folder, name)
            shutil.copyfile(source, path)
            os.chmod(path, 0o600)
        if who:
            for path in (self.folder, *(os.path.join(self.folder, name) for name in files)):
                os.chown(path, who["user"], who["group"])
        data = os.path.join(self.folder, "data")
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        command = [os.path.join(self.bin, "initdb"), "-D", data, "-U", self.user, "-E", "UTF8", "--auth=trust", "--no-sync"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.folder, check=False, **who)
        if done.returncode:
            raise AssertionError(f"initdb: {done.stderr}")
        with open(os.path.join(data, "pg_hba.conf"), "w", encoding="ascii") as file:
            file.write(f"{self.kind} all all 127.0.0.1/32 trust\n")
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
                    "ssl": "on", "ssl_cert_file": os.path.join(self.folder, "server.crt"),
                    "ssl_key_file": os.path.join(self.folder, "server.key"),
                    "shared_buffers": "1MB", "max_connections": 10, "dynamic_shared_memory_type": "mmap"}
        command = [os.path.join(self.bin, "postgres"), "-D", data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                            cwd=self.folder, **who)
        wait_until(lambda: self.process.poll() is not None or self._ready(data), 30, "PostgreSQL being ready")
        if self.process.poll() is not None:
            raise AssertionError(f"postgres ended with {self.process.returncode}: {self.log()}")

    @staticmethod
    def _ready(data):
        """It listens earlier than it lets anybody in; the last line of its file says how far it is (as pg_ctl reads it)."""
        try:
            with open(os.path.join(data, "postmaster.pid"), encoding="ascii") as file:
                return file.read().splitlines()[-1].strip() == "ready"
        except (FileNotFoundError, IndexError):
            return False

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def __exit__(self, *unused):
        if self.process:
            end(self.process, signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)
        return False


class Program:
    """A program that listens on self.port; subclasses say how it is started, in self.folder."""

    package = ""

    def __init__(self):
        self.port = closed_port()
        self.process = None

    def command(self):
        """(arguments, path of the program)"""
        raise NotImplementedError

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-program-")
        try:
            arguments, path = self.command()
            if not path or not os.path.exists(path):
                raise unittest.SkipTest(f"{arguments[0]} is not installed; apt-get install {self.package} would make this run")
            with open(os.path.join(self.folder, "log"), "wb") as log:
                self.process = subprocess.Popen(arguments, executable=path, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                cwd=self.folder)
            wait_until(lambda: self.process.poll() is not None or connects(self.port), 15, f"{arguments[0]} listening")
            if self.process.poll() is not None:
                with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
                    raise AssertionError(f"{arguments[0]} ended with {self.process.returncode}: {file.read()}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *unused):
        if self.process:
            end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
        return False


class Redis(Program):
    package = "redis-tools"

    def __init__(self, client_certificates=False):
        super().__init__()
        self.client_certificates = client_certificates

    def command(self):
        chain, key = certificates().pem("good")
        options = {"bind": "127.0.0.1", "port": "0", "tls-port": str(self.port), "tls-cert-file": chain, "tls-key-file": key,
                   "tls-ca-cert-file": certificates().ca_file(), "tls-auth-clients": "yes" if self.client_certificates else "no",
                   "save": "", "appendonly": "no", "dir": self.folder}
        # the server is in the package of the tools: it is the same program, by another name
        return ["redis-server", *(part for name, value in options.items() for part in ("--" + name, value))], "/usr/bin/redis-check-rdb"


class TlsFront(Program):
    package = "stunnel4"

    def __init__(self, to):
        super().__init__()
        self.to = to

    def command(self):
        chain, key = certificates().pem("good")
        config = os.path.join(self.folder, "stunnel.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"foreground = yes\npid =\nsyslog = no\ndebug = err\n[front]\naccept = 127.0.0.1:{self.port}\n"
                       f"connect = 127.0.0.1:{self.to}\ncert = {chain}\nkey = {key}\n")
        return ["stunnel4", config], shutil.which("stunnel4")

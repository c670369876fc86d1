"""Starts the daemon on a private socket and speaks its protocol.

Daemon   a running tcpbrokerd; leaving its context stops it and looks at how it ended and what it logged.
Client   one connection; any number of threads may call over it.
Raw      one connection, lines as they are; for tests of the framing and for timing.
TestCase unittest.TestCase with a daemon, a client and the certificate factory at hand.
OwnDaemonTestCase    the same without a daemon: each test starts one of its own.

Everything has a deadline; seconds() stretches it by $TCPBROKER_TEST_SLOW (sanitizers, valgrind).
"""
import atexit
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SLOW = float(os.environ.get("TCPBROKER_TEST_SLOW", "1"))
DEFAULT_TIMEOUT = 10.0
BAD_LOG = re.compile(r"Sanitizer|runtime error|[Aa]ssert|does not hold|stack smashing|buffer overflow detected")


def seconds(value):
    """A time that a test allows, stretched on slow builds."""
    return value * SLOW


def daemon_path():
    path = os.environ.get("TCPBROKERD", os.path.join(ROOT, "build", "release", "daemon", "tcpbrokerd"))
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"no daemon at {path}; build it or set TCPBROKERD")
    return path


def wait_until(condition, timeout=DEFAULT_TIMEOUT, what="the condition", step=0.01):
    """Poll until condition() is true; its value is returned."""
    end = time.monotonic() + seconds(timeout)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {timeout} s (times {SLOW})")
        time.sleep(step)


_slow_resolver = None


def slow_resolver():
    """The preload library of slow_resolver.c: the built one, else one compiled now."""
    global _slow_resolver
    if _slow_resolver:
        return _slow_resolver
    built = [os.environ.get("TCPBROKER_SLOW_RESOLVER", ""),
             os.path.join(os.path.dirname(daemon_path()), "..", "tests", "support", "libslow_resolver.so")]
    source = os.path.join(HERE, "slow_resolver.c")
    for path in built:
        if path and os.path.exists(path) and os.path.getmtime(path) >= os.path.getmtime(source):
            _slow_resolver = os.path.abspath(path)
            return _slow_resolver
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise unittest.SkipTest("no libslow_resolver.so and no C compiler; build the target slow_resolver")
    folder = tempfile.mkdtemp(prefix="tcpbroker-resolver-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = os.path.join(folder, "libslow_resolver.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", path, source, "-ldl"], check=True)
    _slow_resolver = path
    return path


class RpcError(Exception):
    """An error answer."""

    def __init__(self, error, method=None):
        self.error = error
        self.code = error.get("code")
        self.message = error.get("message", "")
        self.data = error.get("data") or {}
        self.symbol = self.data.get("symbol")
        self.stage = self.data.get("stage")
        self.retryable = self.data.get("retryable")
        super().__init__(f"{method or 'request'}: {json.dumps(error)}")


class Closed(Exception):
    """The daemon closed the connection."""


class Daemon:
    """config: text or {"section.key": value} of a configuration file. resolver: preload the resolver stub.
    log_ok: regular expression of lines that are fine although they look bad. exit_status: what leaving expects."""

    def __init__(self, *args, config=None, env=None, resolver=False, exit_status=0, wait=True, socket_path=None,
                 log_ok=None):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-test-")
        self.socket_path = socket_path or os.path.join(self.folder, "broker.sock")
        self.log_path = os.path.join(self.folder, "log")
        self.exit_status = exit_status
        self.log_ok = log_ok
        self.release_path = os.path.join(self.folder, "release-lookups")
        config_path = os.path.join(self.folder, "tcpbroker.conf")
        with open(config_path, "w", encoding="utf-8") as file:
            file.write(config_text(config))
        self.command = [daemon_path(), "--config", config_path, "--socket", self.socket_path, *args]
        self.environment = dict(os.environ)
        for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "JOURNAL_STREAM",
                     "SSL_CERT_FILE", "SSL_CERT_DIR"):
            self.environment.pop(name, None)
        self.environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        self.environment.setdefault("TSAN_OPTIONS", "halt_on_error=0")
        if resolver:
            self.environment["LD_PRELOAD"] = slow_resolver()
            self.environment["SLOW_RESOLVER_RELEASE"] = self.release_path
            self.environment["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        self.environment.update(env or {})
        self.process = None
        self.wait_for_socket = wait

    def __enter__(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment, start_new_session=True)
        if self.wait_for_socket:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                shutil.rmtree(self.folder, ignore_errors=True)
                raise
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log()}")
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(self.socket_path)
                    return True
                except OSError:
                    return False
        wait_until(ready, 15, f"{self.socket_path} accepting")

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_log(self, pattern, timeout=DEFAULT_TIMEOUT):
        return wait_until(lambda: re.search(pattern, self.log()), timeout, f"a log line like {pattern!r}")

    def alive(self):
        return self.process.poll() is None

    def fds(self):
        """{fd: what it is}"""
        found = {}
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found[int(name)] = os.readlink(f"/proc/{self.pid}/fd/{name}")
            except FileNotFoundError:
                pass
        return found

    def n_sockets(self):
        """How many of its fds are sockets (the listener and the clients are among them)."""
        return sum(1 for target in self.fds().values() if target.startswith("socket:"))

    def status(self, key):
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise KeyError(key)

    def rss_kib(self):
        return self.status("VmRSS")

    def threads(self):
        return self.status("Threads")

    def sanitized(self):
        """Built with a sanitizer: memory figures say nothing then."""
        with open(f"/proc/{self.pid}/maps", encoding="ascii", errors="replace") as file:
            return re.search(r"lib[at]san|libclang_rt", file.read()) is not None or SLOW > 1

    def client(self, **kw):
        return Client(self, **kw)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait_exit(self, timeout=DEFAULT_TIMEOUT):
        return self.process.wait(seconds(timeout))

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __exit__(self, kind, error, trace):
        try:
            if self.process.poll() is None:
                # hung look-ups of the stub end now: they would hold the stop up
                with open(self.release_path, "w", encoding="ascii"):
                    pass
                self.terminate()
            try:
                status = self.wait_exit(45)
            except subprocess.TimeoutExpired:
                self.kill()
                status = "nothing: it did not end within 45 s of SIGTERM"
            log = self.log()
            bad = [line for line in log.splitlines()
                   if BAD_LOG.search(line) and not (self.log_ok and re.search(self.log_ok, line))]
            problems = []
            if status != self.exit_status:
                problems.append(f"the daemon ended with {status}, not {self.exit_status}")
            if bad:
                problems.append("the daemon's log is not clean: " + bad[0])
            if problems or kind is not None and os.environ.get("TCPBROKER_TEST_LOG"):
                sys.stderr.write(f"---- log of {self.command[0]}\n{log[-20000:]}\n----\n")
            if problems and kind is None:
                raise AssertionError("; ".join(problems))
            if problems:
                sys.stderr.write("; ".join(problems) + "\n")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return False


def config_text(config):
    if config is None:
        return ""
    if isinstance(config, str):
        return config
    sections = {}
    for name, value in config.items():
        section, key = name.split(".", 1)
        sections.setdefault(section, []).append(f"{key} = {value}\n")
    return "".join(f"[{section}]\n{''.join(lines)}" for section, lines in sections.items())


def path_of(target):
    return target.socket_path if isinstance(target, Daemon) else target


def connected(target, timeout):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(seconds(timeout))
    sock.connect(path_of(target))
    return sock


class Raw:
    """One connection; bytes and lines. sock: one that is there already."""

    def __init__(self, target, timeout=DEFAULT_TIMEOUT, sock=None):
        self.sock = sock or connected(target, timeout)
        self.buffer = bytearray()

    def write(self, data):
        self.sock.sendall(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)

    def write_line(self, line):
        self.write((line if isinstance(line, bytes) else line.encode()) + b"\n")

    def read_line(self, timeout=None):
        """The next line without its end, as bytes; None at the end of file."""
        end = time.monotonic() + seconds(DEFAULT_TIMEOUT if timeout is None else timeout)
        while True:
            at = self.buffer.find(b"\n")
            if at >= 0:
                line = bytes(self.buffer[:at])
                del self.buffer[:at + 1]
                return line
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no line came")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                if self.buffer:
                    raise AssertionError(f"the last line has no end: {bytes(self.buffer)!r}")
                return None
            self.buffer += data

    def read(self, timeout=None):
        """The next message; None at the end of file."""
        line = self.read_line(timeout)
        return None if line is None else json.loads(line.decode("utf-8"))

    def ask(self, line, timeout=None):
        self.write_line(line if isinstance(line, (str, bytes)) else json.dumps(line))
        return self.read(timeout)

    def rest(self, timeout=None):
        """All messages until the end of file."""
        found = []
        while (message := self.read(timeout)) is not None:
            found.append(message)
        return found

    def quiet(self, time_s=0.15):
        """Nothing arrives for a while? (A silence can only be watched for some time.)"""
        if self.buffer:
            return False
        self.sock.settimeout(time_s)
        try:
            self.buffer += self.sock.recv(65536)
            return False
        except TimeoutError:
            return True

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Client:
    """Calls over one connection, from any number of threads. sock: one that is there already."""

    def __init__(self, target, timeout=DEFAULT_TIMEOUT, sock=None):
        self.timeout = timeout
        self.sock = sock or connected(target, timeout)
        self.sock.settimeout(None)
        self.lock = threading.Lock()
        self.write_lock = threading.Lock()
        self.waiting = {}
        self.next_id = 1
        self.strays = []
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        buffer = bytearray()
        try:
            while data := self.sock.recv(1 << 18):
                buffer += data
                if b"\n" not in data:
                    continue
                *lines, rest = bytes(buffer).split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    self._deliver(json.loads(line.decode("utf-8")))
        except (OSError, ValueError) as error:
            if not isinstance(error, OSError):
                self.strays.append(repr(error))
        with self.lock:
            self.ended = True
            waiting = list(self.waiting.values())
        for slot in waiting:
            slot.put(None)

    def _deliver(self, message):
        if isinstance(message, list):
            for member in message:
                self._deliver(member)
            return
        key = message.get("id")
        with self.lock:
            slot = self.waiting.get(key) if isinstance(key, (str, int)) else None
            if slot is None:
                self.strays.append(message)
                return
        slot.put(message)

    def send(self, method, params=None, id=None, **kw):
        """Send a request, return its id. params: a list by position, a dict by name; or keywords."""
        with self.lock:
            if self.ended:
                raise Closed("the daemon has closed the connection")
            if id is None:
                id = self.next_id
                self.next_id += 1
            self.waiting[id] = queue.SimpleQueue()
        message = {"jsonrpc": "2.0", "id": id, "method": method}
        if params is not None or kw:
            message["params"] = params if params is not None else kw
        self.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        return id

    def write(self, data):
        with self.write_lock:
            self.sock.sendall(data)

    def answer(self, id, timeout=None):
        """The answer message as it came."""
        slot = self.waiting[id]
        try:
            message = slot.get(timeout=seconds(self.timeout if timeout is None else timeout))
        except queue.Empty:
            raise TimeoutError(f"request {id} was not answered") from None
        if message is None:
            raise Closed(f"the daemon closed the connection before it answered {id}")
        with self.lock:
            while not slot.empty():
                more = slot.get()
                if more is not None:  # None: the connection has ended meanwhile
                    self.strays.append("a second answer: " + repr(more))
            del self.waiting[id]
        return message

    def answered(self, id):
        """Has the answer come (and was not taken yet)?"""
        return not self.waiting[id].empty()

    def wait(self, id, timeout=None):
        message = self.answer(id, timeout)
        if "error" in message:
            raise RpcError(message["error"])
        return message["result"]

    def call(self, method, params=None, answer_timeout=None, **kw):
        try:
            return self.wait(self.send(method, params, **kw), answer_timeout)
        except RpcError as error:
            raise RpcError(error.error, method) from None

    def error(self, method, params=None, answer_timeout=None, **kw):
        """The error that the call must give."""
        try:
            result = self.call(method, params, answer_timeout, **kw)
        except RpcError as error:
            return error
        raise AssertionError(f"{method} {params or kw} succeeded: {str(result)[:300]}")

    def connect(self, port, host="127.0.0.1", **kw):
        """A connected socket's number."""
        return self.call("TCPConnect", hostname=host, port=port, **kw)["socket"]

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.reader.join(seconds(5))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *unused):
        self.close()
        if kind is None and self.strays:
            raise AssertionError(f"answers nobody asked for: {self.strays[:3]}")


class TestCase(unittest.TestCase):
    """One daemon for the tests of a class (DAEMON_ARGS, DAEMON_OPTIONS); self.client is a fresh connection."""

    DAEMON_ARGS = ()
    DAEMON_OPTIONS = {}
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = Daemon(*cls.DAEMON_ARGS, **cls.DAEMON_OPTIONS)
        cls.daemon.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.client = self.open_client()

    def open_client(self, **kw):
        client = Client(self.daemon, **kw)
        self.addCleanup(self._close_client, client)
        return client

    def _close_client(self, client):
        client.close()
        self.assertEqual(client.strays, [], "answers nobody asked for")

    def open_raw(self, **kw):
        raw = Raw(self.daemon, **kw)
        self.addCleanup(raw.close)
        return raw

    def use(self, context):
        """Enter a context (a server) until the end of the test."""
        self.addCleanup(context.__exit__, None, None, None)
        return context.__enter__()

    def check_error(self, error, code, symbol, stage=None, retryable=None):
        """An error of this kind, complete in shape."""
        body = error.error if isinstance(error, RpcError) else error
        text = json.dumps(body)
        self.assertEqual(body.get("code"), code, text)
        self.assertIsInstance(body.get("message"), str, text)
        self.assertGreater(len(body["message"]), 8, text)
        data = body.get("data")
        self.assertIsInstance(data, dict, text)
        self.assertEqual(data.get("symbol"), symbol, text)
        self.assertIn(data.get("stage"), ("request", "policy", "resolve", "connect", "tls", "io", "broker"), text)
        self.assertIsInstance(data.get("retryable"), bool, text)
        if stage is not None:
            self.assertEqual(data["stage"], stage, text)
        if retryable is not None:
            self.assertEqual(data["retryable"], retryable, text)
        return data

    def fails(self, code, symbol, method, params=None, stage=None, retryable=None, **kw):
        """Call, and the answer must be this error; its data is returned."""
        return self.check_error(self.client.error(method, params, **kw), code, symbol, stage, retryable)

    def check_end(self, result):
        """The answer to a receive after the peer's orderly end."""
        self.assertEqual((result["received"], result.get("closed")), (0, True), result)
        self.assertIn(result.get("data", result.get("data_base64", "")), ("", None))

    def check_stats(self, name, value):
        wait_until(lambda: self.client.call("Broker.Stats")[name] == value, 5, f"{name} being {value}")


class Elapsed:
    """with Elapsed() as t: …; t.ms"""

    def __enter__(self):
        self.start = time.monotonic()
        return self

    def __exit__(self, *unused):
        self.ms = (time.monotonic() - self.start) * 1000
        return False


class OwnDaemonTestCase(TestCase):
    """Each test starts a daemon of its own, with use(), as self.daemon; and a client, if it wants one."""

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        pass


def main():
    unittest.main(verbosity=1)

#!/usr/bin/env python3
"""Every allocation of the daemon fails once: at the start, in every method, at the end. The daemon may refuse to start (and say
so), answer with an error, or close that one connection; it may not crash, hang, answer twice or leave a request open.

TCPBROKER_FULL=1 lets each single allocation fail; otherwise a sample is taken, all of the first and then every seventh."""
import glob
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
from ca import certificates  # noqa: E402
from partners import Partners, section  # noqa: E402

LIMIT = 20.0


def preload():
    build = os.path.join(os.path.dirname(harness.daemon_path()), "..")
    found = glob.glob(os.path.join(build, "tests", "support", "*fail_malloc.so"))
    return found[0] if found else None


class Echo:
    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            pass
        finally:
            connection.close()


@unittest.skipIf(preload() is None, "the build has no tests/support/fail_malloc (build all targets)")
@unittest.skipIf(harness.SLOW > 1, "a sanitizer has its own malloc; run it with the release build")
class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.echo = Echo()
        cls.chain, cls.key = certificates().pem("mutual")
        cls.folder = tempfile.TemporaryDirectory(prefix="tcpbroker-test-")

    @classmethod
    def tearDownClass(cls):
        cls.echo.socket.close()
        cls.folder.cleanup()

    def start(self, at):
        path = os.path.join(self.folder.name, f"{at}.sock")
        log = open(path + ".log", "w+b")
        environment = dict(os.environ, LD_PRELOAD=preload(), FAIL_MALLOC_AT=str(at))
        process = subprocess.Popen([harness.daemon_path(), "--socket", path, "--set", "threads.io=1", "--set", "threads.dial=1",
                                    "--set", "threads.resolver=1", "--set", "stop.drain_timeout=2s",
                                    "--set", "log.level=debug", "--set", "tls.system_store=no",
                                    "--set", "tls.cacerts=" + certificates().cacerts, "--set", "connect.timeout=500ms",
                                    "--set", 'identity "server".certificate=' + self.chain, "--set", f'identity "server".key={self.key}',
                                    "--set", f'identity "server".users={os.getuid()}', "--set", "admin.users=root 4242",
                                    "--set", f'pool "p".connect=localhost:{self.echo.port}', *self.more_options()],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        return process, path, log

    def more_options(self):
        return []

    def requests(self):
        """A generator that is sent the result of each request, {} when it has none."""
        port = self.echo.port
        yield "Broker.Hello", {"client": "memory"}
        yield "TCPConnect", {"hostname": "127.0.0.1", "port": port, "thread": "t", "trace": "of this test"}
        yield "Broker.Events", {"off": True}
        yield "TCPConnect", {"hostname": "localhost", "port": port, "alpn": ["a", "b"], "secure": True, "timeout_ms": 300}
        yield "TCPSend", {"socket": 1, "data": "x" * 3000 + "\n", "thread": "t"}
        yield "TCPReceive", {"socket": 1, "exact": 1000, "thread": "t", "timeout_ms": 500}
        yield "TCPReceive", {"socket": 1, "until": "\n", "encoding": "base64", "thread": "t", "timeout_ms": 500}
        yield "TCPSend", {"socket": 1, "data_base64": "AAAA", "thread": "t"}
        yield "TCPReceive", {"socket": 1, "thread": "t", "encoding": "base64", "timeout_ms": 300}
        yield "TCPReceive", {"socket": 1, "thread": "t", "timeout_ms": 50}
        yield "TCPBlock", {"socket": 1, "option": 1, "thread": "t"}
        yield "TCPGetMyAddr", {"socket": 1, "thread": "t"}
        yield "TCPName2Addr", ["localhost"]
        yield "TCPAddr2Name", ["127.0.0.1"]
        yield "Broker.List", []
        yield "Broker.Stats", []
        yield "Broker.Errors", []
        yield "Broker.List", {"all": True, "uid": os.getuid(), "state": "connected"}
        for option in (0, 2):
            other = (yield "TCPConnect", {"hostname": "127.0.0.1", "port": port}).get("socket", 1000)
            yield "Broker.Close", [other, option]
        other = (yield "TCPConnect", {"hostname": "127.0.0.1", "port": port}).get("socket", 1000)
        yield "TCPOffer", [other]
        yield "Broker.Close", [other]
        yield "Broker.Log", ["debug"]
        yield "Broker.Doors", []
        yield "Broker.Pools", []
        yield "Broker.Drain", {"stop": False}
        yield "Broker.Drain", {"off": True}
        yield "rpc.discover", []
        yield "TCPClose", {"socket": 1, "thread": "t"}
        serving = (yield "TCPSocket", {"family": "ipv4"}).get("socket", 1000)
        port = (yield "TCPBind", {"socket": serving, "port": 0, "address": "127.0.0.1"}).get("port", 9)
        yield "TCPBind", {"socket": (yield "TCPSocket", {}).get("socket", 1000), "port": "domain", "timeout_ms": 500}
        yield "TCPListen", [serving]
        yield "TCPConnect", {"hostname": "127.0.0.1", "port": port}
        accepted = (yield "TCPAccept", {"socket": serving, "timeout_ms": 300}).get("socket", 1000)
        yield "TCPAccept", {"socket": serving, "timeout_ms": 30}
        # both halves of a handshake; the client's is a notification, so that it runs beside
        mutual = {"identity": "server", "alpn": ["a"], "timeout_ms": 500}
        yield "notify TCPConnect", {"hostname": "localhost", "port": port, "secure": True, "explain": True, "thread": "n"} | mutual
        yield "TCPAccept", {"socket": serving, "secure": True, "client_certificate": "optional"} | mutual
        yield "TCPTransfer", [accepted, "u"]
        token = (yield "TCPOffer", {"socket": accepted, "thread": "u", "timeout_ms": 5000}).get("token", "o")
        yield "TCPClaim", {"token": token, "thread": "v"}
        yield "TCPSend", {"socket": accepted, "thread": "v", "data": "x"}
        yield "TCPOffer", {"socket": accepted, "thread": "v", "timeout_ms": 1}
        plain = (yield "TCPConnect", {"hostname": "127.0.0.1", "port": self.echo.port}).get("socket", 1000)
        yield "TCPStartTLS", {"socket": plain, "server_name": "localhost", "timeout_ms": 300, "alpn": ["a"], "verify": False}
        yield "TCPSend", [plain, "x"]
        yield "TCPConnect", {"hostname": "127.0.0.1", "port": self.echo.port, "attach": True}
        # with bytes read ahead it is relayed, and its descriptor closed at once, as nobody receives it
        ahead = (yield "TCPConnect", {"hostname": "127.0.0.1", "port": self.echo.port}).get("socket", 1000)
        yield "TCPSend", [ahead, "hello"]
        yield "TCPReceive", {"socket": ahead, "exact": 1, "timeout_ms": 500}
        yield "TCPAttach", [ahead]
        for _ in range(2):
            pooled = (yield "TCPConnect", {"hostname": "localhost", "port": self.echo.port}).get("socket", 1000)
            yield "TCPClose", {"socket": pooled, "reuse": True, "timeout_ms": 500}
        yield "TCPPing", {"hostname": "localhost", "timeout": 50}
        yield "Session.Set", {"receive_timeout_ms": 20}
        token = (yield "Session.Open", [60000]).get("token", "s")
        yield "Broker.List", []
        yield None, None
        yield "Session.Join", [token]
        yield "TCPGetMyPort", [serving]
        yield "Session.Join", [token]
        yield "Session.Close", []

    def listen(self, path):
        """A connection that wants to be told of events, and reads none."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(LIMIT)
        connection.connect(path)
        try:
            connection.sendall(b'{"jsonrpc":"2.0","id":1,"method":"Broker.Events","params":{"all":true}}\n')
            connection.recv(1000)
        except ConnectionError:
            pass  # it may have been closed for want of memory
        return connection

    def talk(self, path):
        """Requests one by one, on new connections when one was closed. Returns how many were answered with an error."""
        connection = file = None
        refused = id = 0
        requests, result = self.requests(), None
        while True:
            try:
                method, params = requests.send(result)
            except StopIteration:
                break
            id += 1
            result = {}
            if method is None:
                # a new connection
                if connection:
                    file.close()
                    connection.close()
                    connection = None
                continue
            if connection is None:
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(LIMIT)
                connection.connect(path)
                file = connection.makefile("rb")
            notified = method.startswith("notify ")
            if notified:
                try:
                    connection.sendall(json.dumps({"jsonrpc": "2.0", "method": method.split()[1], "params": params}).encode() + b"\n")
                except (BrokenPipeError, ConnectionResetError):
                    pass
                continue
            line = json.dumps([{"jsonrpc": "2.0", "id": id, "method": method, "params": params}] if id % 5 == 0 else
                              {"jsonrpc": "2.0", "id": id, "method": method, "params": params})
            try:
                connection.sendall(line.encode() + b"\n")
                answer = file.readline()
            except (BrokenPipeError, ConnectionResetError):
                answer = b""
            if not answer:
                file.close()
                connection.close()
                connection = None
                continue
            answer = json.loads(answer)
            if isinstance(answer, list):
                self.assertEqual(len(answer), 1)
                answer = answer[0]
            self.assertIn(answer["id"], (id, None))
            self.assertEqual(("result" in answer) + ("error" in answer), 1)
            refused += "error" in answer
            result = answer.get("result", {})
        if connection:
            file.close()
            connection.close()
        return refused

    def wait_started(self, process, log):
        """It says so itself: the socket is there earlier, and a start may fail after that."""
        end = time.monotonic() + LIMIT
        while process.poll() is None and time.monotonic() < end:
            with open(log.name, "rb") as file:
                if re.search(rb" tcpbrokerd \S+ listens on ", file.read()):
                    return True
            time.sleep(0.002)
        return False

    def one(self, at):
        process, path, log = self.start(at)
        try:
            refused = None
            if self.wait_started(process, log):
                with self.listen(path):
                    refused = self.talk(path)
                self.assertIsNone(process.poll(), f"it ended with {process.returncode}")
                process.send_signal(signal.SIGTERM)
            status = process.wait(LIMIT)
            self.assertEqual(status, 0 if refused is not None else 1)
            return refused
        except BaseException:
            log.seek(0)
            sys.stderr.write(f"allocation {at} failed; the daemon said:\n" +
                             log.read().decode(errors="replace")[-1500:] + "\n")
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            log.close()

    def test_each_fails_once(self):
        usual = self.one(10 ** 9)
        step = 1 if os.environ.get("TCPBROKER_FULL") else 7
        at, injected, not_started, told, last = 1, 0, 0, 0, 0
        # the last allocation is behind us when so many in a row made no difference
        while at - last < 250 and at < 5000:
            with self.subTest(at=at):
                refused = self.one(at)
                injected += 1
                not_started += refused is None
                told += refused is not None and refused > usual
                last = last if refused == usual else at
            at += 1 if at < 40 else step
        print(f"  {injected} allocations failed, {not_started} at the start, {told} told by an error; no crash", flush=True)
        self.assertGreater(not_started, 5)
        self.assertGreater(told, 5)

    def test_each_fails_once_while_the_configuration_is_read(self):
        path = os.path.join(self.folder.name, "named.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write("""[tls "a"]\ncacerts = /a\nalpn = h2 http/1.1\ncrl = /x\n[tls "b"]\nciphers = DEFAULT
[identity "c"]\ncertificate = cred:c\nusers = alice 1001\ndestinations = *.example.com:443\n[tls]\nciphers = HIGH
[tunnel "d"]\nlisten = /x\nconnect = h:1\nsecure = no\n[socks]\nsocket = /s\n""")
        failed = 0
        for at in range(1, 1000):
            done = subprocess.run([harness.daemon_path(), "--check-config", path], capture_output=True, text=True, timeout=LIMIT,
                                  env=dict(os.environ, LD_PRELOAD=preload(), FAIL_MALLOC_AT=str(at)))
            if "/a" in done.stderr:  # a folder that is not there: all was read
                break
            self.assertEqual(done.returncode, 1, f"{at}: {done.stderr}")
            failed += 1
        # one for each text of the defaults and of three sections, at least
        self.assertGreater(failed, 25)
        self.assertLess(failed, 500)
        self.assertEqual(done.returncode, 2)

    def check_config(self, path, at, library=""):
        return subprocess.run([harness.daemon_path(), "--check-config", path], capture_output=True, text=True, timeout=LIMIT,
                              env=dict(os.environ, LD_PRELOAD=preload(), FAIL_MALLOC_AT=str(at), FAIL_MALLOC_LIBRARY=library),
                              check=False)

    def partners(self):
        """A configuration whose profile and identity have files, all of them sound."""
        made = Partners(tempfile.mkdtemp(dir=self.folder.name))
        lists = made.write("lists.pem", made.maker.crl(made.one).pem + made.maker.crl(made.root).pem)
        return made.write("partners.conf", made.trust() + section(
            "tls", "p", crl=lists, crl_check="chain", pins="sha256:" + made.one.key.pin.hex(), alpn="h2 http/1.1",
            cacerts=made.cacerts) + made.identity("i", users="nobody 4242", groups="nogroup",
                                                  destinations="*.x.test:443 [::1]:1 10.0.0.1"))

    def test_each_fails_once_while_profiles_and_identities_are_loaded(self):
        path = self.partners()
        failed = 0
        for at in range(1, 1000):
            done = self.check_config(path, at)
            if done.returncode == 0:
                break
            self.assertEqual(done.returncode, 1, f"{at}: {done.stderr}")
            self.assertNotIn(" damaged", done.stderr)
            failed += 1
        self.assertGreater(failed, 40)
        self.assertIn("no errors", done.stdout)

    def test_the_library_has_no_memory(self):
        """OpenSSL does not always say that it was that; but files are never passed over in silence."""
        path = self.partners()
        outcomes = {0: 0, 1: 0, 2: 0}
        for at in range(1, 40000, 11 if os.environ.get("TCPBROKER_FULL") else 149):
            done = self.check_config(path, at, "libcrypto")
            self.assertIn(done.returncode, outcomes, f"{at}: {done.stderr}")
            outcomes[done.returncode] += 1
            if done.returncode == 0:
                self.assertNotIn("ignored", done.stderr)
                self.assertNotIn("skipped", done.stderr)
        self.assertGreater(outcomes[0], outcomes[1])


class Doors(Memory):
    """The same with programs that come in by tunnels and SOCKS: each is served, or its connection is closed."""

    test_each_fails_once_while_the_configuration_is_read = None

    def more_options(self):
        options = []
        for name, option in (("t", f"connect=127.0.0.1:{self.echo.port}"), ("t", "secure=no"), ("n", f"connect=localhost:{self.echo.port}"),
                             ("n", "identity=server"), ("n", "timeout=300ms"), ("r", "connect=127.0.0.1:9"), ("r", "secure=no")):
            options += ["--set", f'tunnel "{name}".{option}', "--set", f'tunnel "{name}".listen={self.folder.name}/{name}']
        return [*options, "--set", f"socks.socket={self.folder.name}/s", "--set", "socks.handshake_timeout=5s"]

    def enter(self, name, *parts):
        """What came back after each part."""
        got = []
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(LIMIT)
            try:
                sock.connect(os.path.join(self.folder.name, name))
                for part in parts:
                    sock.sendall(part)
                    got.append(sock.recv(100))
            except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
                pass
        return got

    def talk(self, path):
        port = self.echo.port.to_bytes(2, "big")
        failed = self.enter("t", b"hello") != [b"hello"]
        failed += self.enter("n", b"hello") not in ([], [b""])
        self.assertIn(self.enter("r", b"hello"), ([], [b""]))
        for request in (b"\5\1\0\1\x7f\0\0\1" + port, b"\5\1\0\3\x09localhost" + port):
            got = self.enter("s", b"\5\1\0", request, b"hello")
            failed += len(got) != 3 or got[0] != b"\5\0" or got[1][1:2] != b"\0" or got[2] != b"hello"
        self.enter("s", b"\5\1\0", b"\5\1\0\1\x7f\0\0\1\0\x09")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(LIMIT)
            sock.connect(path)
            try:
                sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"Broker.Reload"}\n{"jsonrpc":"2.0","id":2,"method":"Broker.List"}\n')
                file = sock.makefile("rb")
                lines = file.readline(), file.readline()
                failed += any(b'"error"' in line or not line for line in lines)
            except (BrokenPipeError, ConnectionResetError):
                failed += 1
        # whatever has failed, the next one is served, or the one after that when it was this one's turn
        if self.enter("t", b"again") != [b"again"]:
            failed += 1
            self.assertEqual(self.enter("t", b"again"), [b"again"])
        return failed


if __name__ == "__main__":
    unittest.main()

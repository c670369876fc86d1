"""The command: against a broker of a few lines that says what a test wants to hear, and against the real daemon."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import harness  # noqa: E402
import servers  # noqa: E402
from ca import certificates  # noqa: E402


def command_path():
    path = os.environ.get("TCPBROKER")
    if not path:
        daemon = os.environ.get("TCPBROKERD", os.path.join(harness.ROOT, "build", "release", "daemon", "tcpbrokerd"))
        path = os.path.join(os.path.dirname(daemon), "..", "cli", "tcpbroker")
    if not os.access(path, os.X_OK):
        raise unittest.SkipTest(f"no command at {path}; build it or set TCPBROKER")
    return path


def environment():
    return {name: value for name, value in os.environ.items()
            if name not in ("TCPBROKER_SOCKET", "XDG_RUNTIME_DIR", "TCPBROKER_SESSION")}


def run(socket_path, *words, stdin=b"", **variables):
    return subprocess.run([command_path(), "--socket", socket_path, *words], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=harness.seconds(20), env={**environment(), **variables})


class Failure(Exception):
    def __init__(self, code, symbol, stage, message="it did not work"):
        super().__init__(message)
        self.error = {"code": code, "message": message,
                      "data": {"symbol": symbol, "stage": stage, "retryable": False, "attempts": []}}


class FakeBroker:
    """handlers: {method: function(params) -> result}; each request has its own thread."""

    def __init__(self, **handlers):
        self.handlers = handlers
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-cli-")
        self.path = os.path.join(self.folder, "s")
        self.seen = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)

    def __enter__(self):
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()
        return self

    def __exit__(self, *unused):
        # it must have seen the end before the number of its descriptor can be that of the next broker's
        self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join(harness.seconds(10))
        self.listener.close()
        shutil.rmtree(self.folder)

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        lock, threads = threading.Lock(), []
        for line in client.makefile("rb"):
            threads.append(threading.Thread(target=self.answer, args=(client, json.loads(line), lock), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
        client.close()

    def answer(self, client, request, lock):
        params = request.get("params")
        self.seen.append((request["method"], params))
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            answer["result"] = self.handlers[request["method"].replace(".", "_")](params)
        except Failure as failure:
            answer["error"] = failure.error
        fds = [answer["result"].pop("fd")] if "fd" in answer.get("result", {}) else []
        with lock:
            try:
                socket.send_fds(client, [json.dumps(answer).encode() + b"\n"], fds)
            except OSError:
                pass  # the command has ended; it need not wait for all answers
        for fd in fds:
            os.close(fd)


CONNECTED = {"socket": 5, "remote_address": "127.0.0.1", "remote_port": 9, "local_address": "127.0.0.1",
             "local_port": 1000, "timing_us": {"resolve": 1, "connect": 2, "handshake": 3, "total": 6}}


class Stream:
    """A stream that is handed out; serve(sock, data) plays the broker's end of it. data: what arrived before."""

    def __init__(self, serve=None, direct=False):
        self.serve, self.direct = serve or self.echo, direct

    @staticmethod
    def echo(sock):
        while data := sock.recv(65536):
            sock.sendall(data)

    def connect(self, params):
        ours, theirs = socket.socketpair()

        def run():
            with ours:
                self.serve(ours)
        threading.Thread(target=run, daemon=True).start()
        facts = {name: value for name, value in CONNECTED.items() if name != "socket" or not self.direct}
        return facts | {"fds": 1, "direct": self.direct, "fd": theirs.detach()}

    def receive(self, params):
        raise Failure(-10038, "ENOTSOCK", "request")

    def broker(self, **more):
        return FakeBroker(**{"TCPConnect": self.connect, "TCPReceive": self.receive, **more})



class Call(unittest.TestCase):
    def sent(self, *words):
        with FakeBroker(TCPConnect=lambda params: {}, Broker_Cancel=lambda params: {}) as broker:
            done = run(broker.path, "call", *words)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"{}\n", b""))
            return broker.seen[0][1]

    def test_words_are_typed_by_the_table(self):
        self.assertEqual(self.sent("TCPConnect", "hostname=h", "port=7", "secure=yes", "verify=false", "timeout_ms=20",
                                   "alpn=h2,http/1.1", "family=ipv6", "thread=9"),
                         {"hostname": "h", "port": "7", "secure": True, "verify": False, "timeout_ms": 20,
                          "alpn": ["h2", "http/1.1"], "family": "ipv6", "thread": "9"})
        self.assertEqual(self.sent("TCPConnect", "hostname=a=b", "service=smtp", "thread:=9", "alpn:=[\"x\"]"),
                         {"hostname": "a=b", "port": "smtp", "thread": 9, "alpn": ["x"]})
        self.assertEqual(self.sent("Broker.Cancel", "id=12"), {"id": 12})
        self.assertEqual(self.sent("Broker.Cancel", "id=x12"), {"id": "x12"})
        self.assertEqual(self.sent("TCPConnect", "--json", '{"hostname": "h",\n "port": 7}'), {"hostname": "h", "port": 7})

    def test_wrong_words_are_not_sent(self):
        with FakeBroker() as broker:
            for words, text in ((["TCPConect"], b"TCPConnect?"), (["TCPConnect", "hostnme=x"], b"hostname?"),
                                (["TCPConnect", "secure=maybe"], b"true or false"), (["TCPConnect", "timeout_ms=1.5"], b"1.5"),
                                (["TCPConnect", "family=ipv5"], b"ipv5"), (["TCPConnect", "x"], b"name=value"),
                                (["TCPConnect", "port=1", "service=2"], b"twice"), (["TCPConnect", "port:={"], b"JSON"),
                                (["TCPConnect", "port=1", "--json", "{}"], b"either"), ([], b"METHOD"),
                                (["TCPConnect", "--jsn"], b"--jsn"), (["-", "x"], b"standard input")):
                done = run(broker.path, "call", *words)
                self.assertEqual((done.returncode, done.stdout), (2, b""), words)
                self.assertIn(text, done.stderr, words)
            self.assertEqual(broker.seen, [])

    def test_wrong_names_in_json_are_not_sent(self):
        with FakeBroker() as broker:
            for method, params, text in (("TCPConnect", '{"hostnme": "x"}', b'"hostnme"; did you mean hostname?'),
                                         ("TCPConnect", '{"servce": 1}', b"did you mean service?"),
                                         ("TCPConnect", '{"Hostname": "x"}', b"hostname?"),
                                         ("Broker.List", '{"quite": 1}', b"tcpbroker help Broker.List"),
                                         ("TCPConnect", '{"family": 1, "ipv4": 1}', b'"ipv4"'),
                                         ("TCPConnect", '{"port": 1, "port": 2}', b"port"),
                                         ("TCPConnect", '{"port": ', b"JSON"), ("TCPConnect", "7", b"object"),
                                         ("TCPConect", "{}", b"TCPConnect?"), ("TCPConnect", "", b"JSON")):
                done = run(broker.path, "call", method, "--json", params)
                self.assertEqual((done.returncode, done.stdout), (2, b""), params)
                self.assertIn(text, done.stderr, params)
            self.assertEqual(broker.seen, [])

    def test_what_else_is_wrong_is_the_brokers_business(self):
        for params in ({"port": "x" * 99}, {"hostname": 7, "service": None}, {"port": 1, "service": 2}, [1, 2, 3, 4, 5, 6], {}):
            with FakeBroker(TCPConnect=lambda params: {}) as broker:
                self.assertEqual(run(broker.path, "call", "TCPConnect", "--json", json.dumps(params)).returncode, 0)
                self.assertEqual(broker.seen, [("TCPConnect", params)])

    def test_names_that_are_nearly_right(self):
        for words, text in ((["conect"], b"connect?"), (["help", "conect"], b"connect?"), (["help", "TCPSnd"], b"TCPSend?"),
                            (["help", "sesion"], b"session?"), (["quite", "else"], b"no verb quite\n")):
            done = run("/nowhere", *words)
            self.assertEqual((done.returncode, done.stdout), (2, b""))
            self.assertIn(text, done.stderr)

    def test_lines_are_passed_through(self):
        with FakeBroker(Broker_List=lambda params: {"n": params["n"]}) as broker:
            lines = [json.dumps({"jsonrpc": "2.0", "id": n, "method": "Broker.List", "params": {"n": n}}) for n in range(50)]
            done = run(broker.path, "call", "-", stdin="\n".join(lines).encode())
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            answers = sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda answer: answer["id"])
            self.assertEqual([answer["result"]["n"] for answer in answers], list(range(50)))


class Session(unittest.TestCase):
    TOKEN = "0123456789abcdef0123456789abcdef"

    def fake(self, **handlers):
        def join(params):
            if params != {"token": self.TOKEN}:
                raise Failure(-33006, "BAD_TOKEN", "request", "the token is wrong")
            return {"sockets": [], "session": 7}
        return FakeBroker(**{"Session_Join": join, "Session_Close": lambda params: {"status": 0},
                             "Session_Open": lambda params: {"token": self.TOKEN, "session": 7},
                             "Broker_List": lambda params: {"sockets": []}, "Broker_Stats": lambda params: {}, **handlers})

    def test_open(self):
        for words, lease_ms in (([], 600000), (["--lease", "90s"], 90000), (["--lease=500ms"], 500), (["--lease", "1h"], 3600000),
                                (["--lease", "10m"], 600000), (["--lease=168h"], 604800000)):
            with self.fake() as broker:
                done = run(broker.path, "session", "open", *words, TCPBROKER_SESSION=self.TOKEN)
                self.assertEqual((done.returncode, done.stdout.decode(), done.stderr), (0, self.TOKEN + "\n", b""))
                self.assertEqual(broker.seen, [("Session.Open", {"lease_ms": lease_ms})], "and a session of its own")
        with self.fake() as broker:
            self.assertEqual(json.loads(run(broker.path, "session", "open", "--json").stdout), {"token": self.TOKEN, "session": 7})

    def test_wrong_use(self):
        with self.fake() as broker:
            for words, text in (([], b"open | close"), (["opn"], b"session open"), (["open", "x"], b"too much"),
                                (["close"], b"set TCPBROKER_SESSION"), (["close", "--lease", "1s"], b"session open"),
                                *((["open", "--lease", time], b"10m")
                                  for time in ("", "10", "m", "-1s", "1.5s", "0s", "1d", "1 s", "169h", "9" * 30 + "h", "s1"))):
                done = run(broker.path, "session", *words)
                self.assertEqual((done.returncode, done.stdout), (2, b""), words)
                self.assertIn(text, done.stderr, words)
            self.assertEqual(run(broker.path, "session", "close", TCPBROKER_SESSION="").returncode, 2)
            self.assertEqual(broker.seen, [])

    def test_an_answer_that_does_not_fit(self):
        with self.fake(Session_Open=lambda params: {"tokens": [self.TOKEN]}) as broker:
            done = run(broker.path, "session", "open")
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertNotIn(self.TOKEN.encode(), done.stderr)

    def test_close(self):
        with self.fake() as broker:
            done = run(broker.path, "session", "close", TCPBROKER_SESSION=self.TOKEN)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
            self.assertEqual(broker.seen, [("Session.Join", {"token": self.TOKEN}), ("Session.Close", {})])
            self.assertEqual(json.loads(run(broker.path, "session", "close", "--json", TCPBROKER_SESSION=self.TOKEN).stdout),
                             {"status": 0})

    def test_who_joins(self):
        line = b'{"jsonrpc":"2.0","id":1,"method":"Broker.List"}\n'
        for words, stdin, joins in ((["call", "Broker.List"], b"", True), (["ls"], b"", True), (["call", "-"], line, True),
                                    (["stats"], b"", False)):
            for token in (self.TOKEN, ""):
                with self.fake() as broker:
                    run(broker.path, *words, stdin=stdin, TCPBROKER_SESSION=token)
                    methods = [method for method, _ in broker.seen]
                    self.assertEqual(methods.count("Session.Join"), 1 if joins and token else 0, words)
                    if joins and token:
                        self.assertEqual(methods, ["Session.Join", "Broker.List"])
        with Stream().broker() as broker:
            self.assertEqual(run(broker.path, "connect", "h", "9", stdin=b"x", TCPBROKER_SESSION=self.TOKEN).stdout, b"x")

    def test_lines_after_joining(self):
        with self.fake(Broker_List=lambda params: {"n": params["n"]}) as broker:
            lines = [json.dumps({"jsonrpc": "2.0", "id": n, "method": "Broker.List", "params": {"n": n}}) for n in range(50)]
            done = run(broker.path, "call", "-", stdin="\n".join(lines).encode(), TCPBROKER_SESSION=self.TOKEN)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(sorted(json.loads(line)["result"]["n"] for line in done.stdout.splitlines()), list(range(50)))

    def test_refused(self):
        wrong = "f" * 32
        for words in (["call", "Broker.List"], ["ls"], ["call", "-"], ["session", "close"]):
            with self.fake() as broker:
                done = run(broker.path, *words, stdin=b"{}\n", TCPBROKER_SESSION=wrong)
                self.assertEqual((done.returncode, done.stdout), (1, b""))
                for text in (b"TCPBROKER_SESSION", b"the token is wrong", b"session open", b"unset", b"[BAD_TOKEN, request]"):
                    self.assertIn(text, done.stderr)
                self.assertNotIn(wrong.encode(), done.stderr)
                self.assertEqual([method for method, _ in broker.seen], ["Session.Join"])
                error = json.loads(run(broker.path, "--json", *words, TCPBROKER_SESSION=wrong).stderr)["error"]
                self.assertEqual((error["code"], error["data"]["symbol"]), (-33006, "BAD_TOKEN"))
                self.assertIn("TCPBROKER_SESSION", error["message"])

    def test_what_is_no_token_is_not_sent(self):
        with self.fake() as broker:
            for token in ("x" * 65, "x" * 100000, b"\xff\xfe"):
                done = run(broker.path, "ls", TCPBROKER_SESSION=token)
                self.assertEqual((done.returncode, done.stdout), (1, b""))
                self.assertIn(b"unset TCPBROKER_SESSION", done.stderr)
                self.assertLess(len(done.stderr), 300)
            self.assertEqual(broker.seen, [])

    def test_a_call_speaks_for_the_unnamed_thread(self):
        with self.fake(TCPSend=lambda params: {"sent": 1}) as broker:
            for words, params in ((["socket=1", "data=x"], {"socket": 1, "data": "x"}), (["--json", '[1,"x"]'], [1, "x"]),
                                  (["--json", '{"socket":1,"thread":"t"}'], {"socket": 1, "thread": "t"})):
                run(broker.path, "call", "TCPSend", *words, TCPBROKER_SESSION=self.TOKEN)
                self.assertEqual(broker.seen[-1], ("TCPSend", params))


class ExitStatus(unittest.TestCase):
    def test_by_stage(self):
        for failure, status in ((Failure(-10013, "EACCES", "policy"), 3), (Failure(-11001, "HOST_NOT_FOUND", "resolve"), 4),
                                (Failure(-10061, "ECONNREFUSED", "connect"), 5), (Failure(-33010, "TLS_VERIFY", "tls"), 6),
                                (Failure(-10060, "ETIMEDOUT", "connect"), 7), (Failure(-32602, "INVALID_PARAMS", "request"), 2),
                                (Failure(-10038, "ENOTSOCK", "request"), 1)):
            def fail(params, failure=failure):
                raise failure
            with FakeBroker(TCPConnect=fail) as broker:
                done = run(broker.path, "call", "TCPConnect")
                data = failure.error["data"]
                self.assertEqual((done.returncode, done.stdout), (status, b""))
                self.assertEqual(done.stderr.decode(),
                                 f"tcpbroker: it did not work [{data['symbol']}, {data['stage']}]\n")
                self.assertEqual(run(broker.path, "connect", "localhost", "1").returncode, status)
                done = run(broker.path, "--json", "call", "TCPConnect")
                self.assertEqual((done.returncode, done.stdout), (status, b""))
                self.assertEqual(json.loads(done.stderr), {"error": failure.error})

    def test_no_daemon(self):
        for words in (["ls"], ["stats"], ["call", "Broker.List"], ["connect", "h", "1"], ["call", "-"], ["session", "open"]):
            done = run("/nowhere/at/all", *words)
            self.assertEqual((done.returncode, done.stdout), (69, b""))
            self.assertIn(b"tcpbroker.socket", done.stderr)
            done = run("/nowhere/at/all", "--json", *words)
            self.assertEqual(json.loads(done.stderr)["error"]["data"]["symbol"], "NO_DAEMON")

    def test_terminal_control_is_not_printed(self):
        def fail(params):
            raise Failure(-10061, "ECONNREFUSED", "connect", "bad \x1b[2J thing\r\n")
        with FakeBroker(Broker_List=fail) as broker:
            self.assertEqual(run(broker.path, "ls").stderr, b"tcpbroker: bad ?[2J thing?? [ECONNREFUSED, connect]\n")

    def test_full_output(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([command_path(), "errors"], stdout=full, stderr=subprocess.PIPE, timeout=20, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


class Connect(unittest.TestCase):
    def test_bytes_of_all_kinds_both_ways(self):
        data = bytes(range(256)) * 20000
        for direct in (False, True):
            with Stream(direct=direct).broker() as broker:
                done = run(broker.path, "connect", "localhost", "9", stdin=data)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
                self.assertEqual(done.stdout, data)
                labels = {params["thread"] for _, params in broker.seen}
                self.assertEqual(len(labels), 1)
                self.assertTrue(broker.seen[0][1]["attach"])
                # whether it was cut off has to be asked, where there is somebody to ask
                self.assertEqual([method for method, _ in broker.seen[1:]], [] if direct else ["TCPReceive"])

    def test_options(self):
        with Stream().broker() as broker:
            done = run(broker.path, "connect", "h", "9", "--tls", "--no-verify", "--server-name=n", "--timeout", "1.5", "-v",
                       "--family", "ipv6", "--profile=p", "--identity", "i")
            self.assertEqual((done.returncode, done.stdout), (0, b""))
            self.assertIn(b"connected to 127.0.0.1 port 9", done.stderr)
            params = broker.seen[0][1]
            del params["thread"]
            self.assertEqual(params, {"hostname": "h", "port": 9, "secure": True, "verify": False, "server_name": "n",
                                      "timeout_ms": 1500, "family": "ipv6", "profile": "p", "identity": "i", "attach": True})
            done = run(broker.path, "connect", "h", "9", "--json")
            self.assertEqual(json.loads(done.stderr), CONNECTED | {"fds": 1, "direct": False})
            for words in (["h"], ["h", "9", "x"], ["h", "9", "--no-verify"], ["h", "9", "--timeout", "x"],
                          ["h", "9", "--timeout", "nan"], ["h", "9", "--tls=1"], ["h", "9", "--server-name"],
                          ["h", "9", "--family", "ipv5"], ["h", "9", "--identity", "i"], ["h", "9", "--profile", "p"]):
                self.assertEqual(run(broker.path, "connect", *words).returncode, 2, words)

    def test_the_peers_end_does_not_wait_for_our_input(self):
        def still_open(params):
            raise Failure(-33003, "ATTACHED", "request")
        with Stream(lambda sock: sock.shutdown(socket.SHUT_WR)).broker(TCPReceive=still_open) as broker:
            process = subprocess.Popen([command_path(), "-S", broker.path, "connect", "h", "9"], stdin=subprocess.PIPE)
            self.assertEqual(process.wait(harness.seconds(10)), 0)
            process.stdin.close()

    def test_what_came_before_a_failed_send_is_printed(self):
        def serve(sock):
            sock.sendall(b"hi")
            sock.shutdown(socket.SHUT_RD)
            sending.wait(10)

        def why(params):
            raise Failure(-10054, "ECONNRESET", "io")
        for reasons in ({"TCPReceive": why}, {}):
            sending = threading.Event()
            with Stream(serve).broker(**reasons) as broker:
                process = subprocess.Popen([command_path(), "-S", broker.path, "connect", "h", "9"], stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual(process.stdout.read(2), b"hi")
                process.stdin.write(b"x")
                process.stdin.flush()
                time.sleep(0.05)
                sending.set()
                _, told = process.communicate(timeout=harness.seconds(10))
                self.assertEqual(process.returncode, 1)
                self.assertIn(b"[ECONNRESET, io]" if reasons else b"sending failed: Broken pipe [EPIPE, io]", told)

    def test_cut_off(self):
        def why(params):
            raise Failure(-33011, "TLS_IO", "io", "the stream was cut off")
        with Stream(lambda sock: sock.sendall(b"half")).broker(TCPReceive=why) as broker:
            done = run(broker.path, "connect", "h", "9")
            self.assertEqual((done.returncode, done.stdout), (1, b"half"))
            self.assertIn(b"cut off [TLS_IO, io]", done.stderr)

    def test_a_broker_that_dies(self):
        """With TLS the stream ends with it: that is no orderly end."""
        with harness.Daemon("--cacerts", certificates().cacerts, exit_status=-9) as daemon, \
                servers.Server(servers.banner(b"hello"), tls=servers.tls_context()) as server:
            process = subprocess.Popen([command_path(), "-S", daemon.socket_path, "connect", "--tls", "localhost",
                                        str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(process.stdout.read(5), b"hello")
            daemon.process.kill()
            out, told = process.communicate(timeout=harness.seconds(10))
            self.assertEqual((process.returncode, out), (1, b""), told)
            self.assertIn(b"[LOST, client]", told)

    def test_a_reader_that_reads_late(self):
        """Neither side waits for the other: all of the input is taken before anything of the output is read."""
        data = os.urandom(150000)
        with Stream().broker() as broker:
            process = subprocess.Popen([command_path(), "-S", broker.path, "connect", "h", "9"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
            process.stdin.write(data)
            process.stdin.close()
            self.assertEqual(process.stdout.read(), data)
            self.assertEqual(process.wait(harness.seconds(10)), 0)
            process.stdout.close()


class SshProxy(unittest.TestCase):
    def proxy(self, path, *words):
        """Run it as ssh does; the status, standard error and the descriptor, if one came."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = subprocess.Popen([command_path(), "-S", path, "ssh-proxy", *words], stdin=theirs, stdout=theirs,
                                       stderr=subprocess.PIPE)
            theirs.close()
            data, fds, _, _ = socket.recv_fds(ours, 10, 4)
            _, told = process.communicate(timeout=harness.seconds(10))
            self.assertEqual((len(data), len(fds)), (1, 1) if process.returncode == 0 else (0, 0), told)
            return process.returncode, told, socket.socket(fileno=fds[0]) if fds else None

    def test_passes_the_connection(self):
        for options in ([], ["--tls"]):
            with harness.Daemon("--cacerts", certificates().cacerts) as daemon, \
                    servers.Server(tls=servers.tls_context() if options else None) as server:
                status, told, stream = self.proxy(daemon.socket_path, *options, "localhost", str(server.port))
                self.assertEqual((status, told), (0, b""))
                stream.settimeout(harness.seconds(10))
                self.assertEqual(stream.family, socket.AF_UNIX if options else socket.AF_INET)
                stream.sendall(b"x" * 100000)  # the command has ended
                self.assertEqual(servers.read_exactly(stream, 100000), b"x" * 100000)
                stream.close()

    def test_failures(self):
        with harness.Daemon() as daemon:
            status, told, _ = self.proxy(daemon.socket_path, "127.0.0.1", str(servers.closed_port()))
            self.assertEqual(status, 5)
            self.assertIn(b"[ECONNREFUSED, connect]", told)
            self.assertEqual(self.proxy(daemon.socket_path, "127.0.0.1", "1", "--family", "ipv6")[0], 4)
            self.assertEqual(self.proxy(daemon.socket_path, "127.0.0.1")[0], 2)
        self.assertEqual(self.proxy("/nowhere", "127.0.0.1", "1")[0], 69)
        done = run("/nowhere", "ssh-proxy", "h", "1")
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"ProxyUseFdpass", done.stderr)


class Listing(unittest.TestCase):
    ROW = {"socket": 3, "state": "connected", "owner": "1.2", "session": 1, "uid": 0, "pid": 77, "hostname": "h\x1bx",
           "remote_address": "::1", "remote_port": 443, "secure": True, "verified": False, "bytes_in": 1, "bytes_out": 2,
           "age_ms": 61000}

    def test_ls(self):
        with FakeBroker(Broker_List=lambda params: {"sockets": [self.ROW]}) as broker:
            lines = run(broker.path, "ls").stdout.decode().splitlines()
            self.assertEqual(lines[0].split()[0], "SOCKET")
            self.assertEqual(lines[1].split(),
                             ["3", "1m01s", "0", "77", "1.2", "-", "connected", "UNVERIFIED", "1", "2", "h?x", "([::1])", "443"])
            self.assertEqual(run(broker.path, "ls", "--no-header").stdout.decode().splitlines(), lines[1:])
            self.assertEqual(json.loads(run(broker.path, "ls", "--json").stdout), {"sockets": [self.ROW]})

    def test_columns_stand(self):
        """Whatever owners and doors are called: each row has as many words before the peer as the head, at the same places."""
        rows = [{**self.ROW, **more} for more in (
            {"owner": 5}, {"owner": "a thread with a name that is rather long"}, {"owner": "\x1b[2J"},
            {"door": "tunnel " + "database-of-the-partner" * 3, "state": "half_closed"}, {"door": "socks", "state": "attached"})]
        del rows[3]["owner"], rows[4]["owner"]
        with FakeBroker(Broker_List=lambda params: {"sockets": rows}) as broker:
            head, *lines = run(broker.path, "ls").stdout.decode().splitlines()
        columns = {name: head.index(name) for name in ("OWNER", "DOOR", "STATE", "TLS", "PEER")}
        self.assertEqual([len(line[:columns["PEER"]].split()) for line in lines], [10] * 5)
        self.assertEqual([line[columns["STATE"]:].split()[0] for line in lines],
                         ["connected", "connected", "connected", "half_closed", "attached"])
        self.assertEqual([line[columns["DOOR"]:].split()[0] for line in lines],
                         ["-", "-", "-", "tunnel:" + "database-of-the-partner" * 3, "socks"])
        self.assertEqual([line[columns["OWNER"]:].split()[0] for line in lines],
                         ["5", "a_thread_with_a_name_that_is_rather_long", "?[2J", "-", "-"])

    def test_ls_asks(self):
        for words, params in ((["--all"], {"all": True}), (["--user", "0"], {"uid": 0}), (["--user", "root"], {"uid": 0}),
                              (["--user=-1"], {"uid": -1}), (["--state", "listening"], {"state": "listening"}), ([], {}),
                              (["--all", "--state=failed", "--user=7"], {"all": True, "uid": 7, "state": "failed"})):
            with FakeBroker(Broker_List=lambda params: {"sockets": []}) as broker:
                self.assertEqual(run(broker.path, "ls", *words).returncode, 0)
                asked = [seen[1] or {} for seen in broker.seen]
                self.assertEqual(asked[-1], params)
        with FakeBroker(Broker_List=lambda params: {"sockets": []}, Session_Join=lambda params: {"sockets": [], "session": 1}) as broker:
            run(broker.path, "ls", TCPBROKER_SESSION="0" * 32)
            run(broker.path, "ls", "--all", TCPBROKER_SESSION="0" * 32)
            self.assertEqual(broker.seen[1:], [("Broker.List", {"all": False}), ("Broker.List", {"all": True})])
        for words in (["--user", "no-such-user"], ["--user="], ["--state", 'a"b'], ["--state="], ["1"]):
            self.assertEqual(run("/nowhere", "ls", *words).returncode, 2, words)

    @unittest.skipIf(os.geteuid(), "needs root, to be somebody else")
    def test_ls_of_who_may_not_see_all(self):
        def some(params):
            if params and "all" in params:
                raise Failure(-10013, "EACCES", "policy")
            return {"sockets": []}

        command = shutil.copy(command_path(), tempfile.mkdtemp(prefix="tcpbroker-cli-"))
        self.addCleanup(shutil.rmtree, os.path.dirname(command))
        os.chmod(os.path.dirname(command), 0o755)
        for words, asked in (([], [{"all": True, "state": "offered"}, {"uid": 65534}]), (["--all"], [{"all": True}]),
                             (["--state", "failed"], [{"all": True, "state": "offered"}, {"uid": 65534, "state": "failed"}])):
            with FakeBroker(Broker_List=some) as broker:
                os.chmod(broker.folder, 0o755)
                os.chmod(broker.path, 0o777)
                done = subprocess.run([command, "-S", broker.path, "ls", *words], user=65534, group=65534, extra_groups=[],
                                      capture_output=True, env=environment(), timeout=harness.seconds(20))
                self.assertEqual([seen[1] for seen in broker.seen], asked)
                self.assertEqual(done.returncode, 3 if "--all" in words else 0)

    def test_close(self):
        answers = {1: {"status": 0, "closing": True, "session": 9, "uid": 5, "pid": 6},
                   2: {"status": 0, "closing": False, "session": 9, "uid": -1, "pid": 0}}

        def close(params):
            if params["socket"] not in answers:
                raise Failure(-10038, "ENOTSOCK", "request")
            return answers[params["socket"]]

        with FakeBroker(Broker_Close=close) as broker:
            done = run(broker.path, "close", "1", "3", "2")
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stdout.decode().splitlines(),
                             ["socket 1 is closing, and gone when its peer ends; it was that of session 9 uid 5 pid 6",
                              "socket 2 is closed; it was that of session 9 uid -1 pid 0"])
            self.assertEqual(done.stderr, b"tcpbroker: it did not work [ENOTSOCK, request]\n")
            self.assertEqual([seen[1] for seen in broker.seen], [{"socket": number, "option": 0} for number in (1, 3, 2)])
            self.assertEqual(json.loads(run(broker.path, "close", "--json", "--abort", "2").stdout), answers[2])
            self.assertEqual(broker.seen[-1][1], {"socket": 2, "option": 2})
        for words in ([], ["x"], ["0"], ["-1"], ["1", "2147483648"], ["1", ""]):
            self.assertEqual(run("/nowhere", "close", *words).returncode, 2, words)

    def test_log(self):
        with FakeBroker(Broker_Log=lambda params: {"level": (params or {}).get("level", "info"), "before": "info"}) as broker:
            self.assertEqual(run(broker.path, "log").stdout, b"log level info\n")
            self.assertEqual(run(broker.path, "log", "debug").stdout, b"log level debug until the next reload; it was info\n")
            self.assertEqual(json.loads(run(broker.path, "log", "error", "--json").stdout), {"level": "error", "before": "info"})
            self.assertEqual([seen[1] or {} for seen in broker.seen], [{}, {"level": "debug"}, {"level": "error"}])
        for words in (["loud"], ["info|debug"], ["inf"], [""], ["info", "debug"]):
            self.assertEqual(run("/nowhere", "log", *words).returncode, 2, words)

    def test_drain(self):
        left = {"draining": 1, "sockets": 2}
        names = [row.split("(")[1].split(",")[0] for row in
                 open(os.path.join(harness.ROOT, "proto", "stats.def"), encoding="utf-8") if row.startswith("STAT(")]

        def stats(params):
            left["sockets"] -= 1
            return {**{name: 0 for name in names}, **left}

        with FakeBroker(Broker_Drain=lambda params: {"draining": not (params or {}).get("off"), "sockets": 2},
                        Broker_Stats=stats) as broker:
            for words, params in (([], {"stop": True}), (["--no-stop"], {"stop": False}), (["--timeout", "2m"], {"timeout_ms": 120000}),
                                  (["--timeout=0s"], {"timeout_ms": 0})):
                done = run(broker.path, "drain", *words)
                self.assertEqual((done.returncode, done.stdout), (0, b"draining: 2 sockets left\n"))
                self.assertEqual(broker.seen[-1], ("Broker.Drain", params))
            done = run(broker.path, "drain", "--resume")
            self.assertEqual((done.stdout, broker.seen[-1][1]), (b"not draining: 2 sockets\n", {"off": True}))
            done = run(broker.path, "drain", "--no-stop", "--wait", "--json")
            self.assertEqual((done.returncode, json.loads(done.stdout)), (0, {"draining": True, "sockets": 2}))
            self.assertEqual(left["sockets"], 0)
            left.update(sockets=9, draining=0)
            done = run(broker.path, "drain", "--wait")
            self.assertEqual((done.returncode, done.stderr), (1, b"tcpbroker: somebody has ended the draining\n"))
        for words in (["--resume", "--wait"], ["--resume", "--timeout=1s"], ["--no-stop", "--timeout=1s"], ["--timeout", "5"],
                      ["--timeout", "-1s"], ["--timeout", "9999999h"], ["now"]):
            self.assertEqual(run("/nowhere", "drain", *words).returncode, 2, words)

    def test_doors_and_pools(self):
        door = {"name": "tunnel a", "listen": "/run/a", "hostname": "h\x1b", "port": 5, "secure": True, "verify": True,
                "connections": 1, "connections_total": 2, "failed": 3}
        socks = {"name": "socks", "listen": "127.0.0.1:1", "secure": False, "verify": False, "connections": 0,
                 "connections_total": 0, "failed": 0}
        pool = {"name": "p", "hostname": "h", "port": 5, "secure": True, "verify": False, "state": "failing", "idle": 1, "min_idle": 2,
                "max_idle": 8, "taken": 3, "missed": 4, "stale": 5, "refill_ms": 6}
        with FakeBroker(Broker_Doors=lambda params: {"doors": [door, socks]}, Broker_Pools=lambda params: {"pools": [pool]}) as broker:
            lines = run(broker.path, "tunnel", "ls").stdout.decode().splitlines()
            self.assertEqual([line.split() for line in lines[1:]],
                             [["tunnel:a", "verified", "1", "2", "3", "/run/a", "->", "h?", "5"],
                              ["socks", "-", "0", "0", "0", "127.0.0.1:1", "->", "(wherever", "it", "is", "told)"]])
            self.assertEqual(run(broker.path, "tunnel", "ls", "--no-header").stdout.decode().splitlines(), lines[1:])
            self.assertEqual(json.loads(run(broker.path, "tunnel", "ls", "--json").stdout), {"doors": [door, socks]})
            lines = run(broker.path, "pool", "ls").stdout.decode().splitlines()
            self.assertEqual(lines[1].split(), ["p", "failing", "UNVERIFIED", "1", "2-8", "3", "4", "5", "6ms", "h", "5"])
            self.assertEqual(run(broker.path, "pool", "ls", "--no-header").stdout.decode().splitlines(), lines[1:])
            self.assertEqual(json.loads(run(broker.path, "pool", "ls", "--json").stdout), {"pools": [pool]})
        for verb in ("tunnel", "pool"):
            for words in ([], ["open"], ["ls", "ls"]):
                self.assertEqual(run("/nowhere", verb, *words).returncode, 2)

    def test_errors_and_help_need_no_broker(self):
        table = json.loads(run("/nowhere", "errors", "--json").stdout)["errors"]
        self.assertIn((-10061, "ECONNREFUSED"), {(row["code"], row["symbol"]) for row in table})
        self.assertEqual(len(run("/nowhere", "errors").stdout.splitlines()), len(table) + 1)
        self.assertIn(b"hostname", run("/nowhere", "help", "TCPConnect").stdout)
        self.assertEqual(run("/nowhere", "help", "connect").stdout, run("/nowhere", "connect", "--help").stdout)
        self.assertEqual(run("/nowhere", "help", "nonsense").returncode, 2)
        self.assertEqual(run("/nowhere").returncode, 2)
        self.assertEqual(run("/nowhere", "nonsense").returncode, 2)
        self.assertIsNone(json.loads(run("/nowhere", "version", "--json").stdout)["daemon"])


class EchoServer:
    """A real TCP echo server on loopback for one connection at a time."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = str(self.listener.getsockname()[1])
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def serve(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            with client:
                while data := client.recv(65536):
                    client.sendall(data)

    def __exit__(self, *unused):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


class RealDaemon(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(harness.Daemon())
        cls.path = cls.daemon.socket_path

    def test_connect(self):
        data = os.urandom(300000)
        with EchoServer() as server:
            done = run(self.path, "connect", "127.0.0.1", server.port, stdin=data)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(done.stdout, data)

    def test_connect_tls(self):
        data = os.urandom(3000000)
        with harness.Daemon("--cacerts", certificates().cacerts) as daemon:
            for context in (servers.tls12(), servers.tls13()):
                with servers.Server(tls=context) as server:
                    done = run(daemon.socket_path, "connect", "--tls", "localhost", str(server.port), stdin=data)
                    self.assertEqual((done.returncode, done.stderr), (0, b""))
                    self.assertEqual(done.stdout, data)

            def cut(connection):
                connection.sendall(b"half of i")
                connection.recv(1)  # their end: closing with something unread would be a reset
                os.close(connection.detach())  # without close_notify
            with servers.Server(cut, tls=servers.tls_context()) as server:
                done = run(daemon.socket_path, "connect", "--tls", "localhost", str(server.port))
                self.assertEqual((done.returncode, done.stdout), (1, b"half of i"))
                self.assertIn(b"[TLS_IO, io]", done.stderr)

            def reset_later(connection):
                connection.recv(1)
                servers.reset(connection)
            for tls in (None, servers.tls_context()):
                with servers.Server(reset_later, tls=tls) as server:
                    done = run(daemon.socket_path, "connect", *(["--tls"] if tls else []), "localhost", str(server.port),
                               stdin=b"x")
                    self.assertEqual(done.returncode, 1)
                    self.assertIn(b"[ECONNRESET, io]", done.stderr)

    def test_refused(self):
        with EchoServer() as server:
            port = server.port
        done = run(self.path, "connect", "127.0.0.1", port)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn(b"[ECONNREFUSED, connect]", done.stderr)

    def test_calls_of_all_kinds(self):
        hello = json.loads(run(self.path, "call", "Broker.Hello", "client=cli_test").stdout)
        self.assertEqual(hello["protocol"], 1)
        self.assertEqual(json.loads(run(self.path, "version", "--json").stdout)["daemon"], hello["version"])
        self.assertEqual(run(self.path, "call", "TCPGetMyPort", "socket=99").returncode, 1)
        self.assertIn("clients_total", json.loads(run(self.path, "stats", "--json").stdout))
        self.assertEqual(run(self.path, "stats").returncode, 0)
        for words in (["ls"], ["ls", "--all"], ["tunnel", "ls"], ["pool", "ls"], ["log"]):
            self.assertEqual(run(self.path, *words).returncode, 0, words)

    def test_a_session_in_lines(self):
        with EchoServer() as server:
            lines = [{"jsonrpc": "2.0", "id": "c", "method": "TCPConnect", "params": ["127.0.0.1", int(server.port)]},
                     {"jsonrpc": "2.0", "id": "l", "method": "Broker.Stats"}]
            done = run(self.path, "call", "-", stdin="".join(json.dumps(line) + "\n" for line in lines).encode())
            answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
            self.assertEqual((done.returncode, set(answers)), (0, {"c", "l"}))
            self.assertGreater(answers["c"]["result"]["socket"], 0)

    def test_table_of_errors_is_the_daemons(self):
        ours = json.loads(run(self.path, "errors", "--json").stdout)["errors"]
        theirs = json.loads(run(self.path, "call", "Broker.Errors").stdout)["errors"]
        self.assertEqual(ours, theirs)


if __name__ == "__main__":
    unittest.main()

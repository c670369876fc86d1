"""What the daemon tells about itself for Prometheus: that it is told in the right form, and is true; and the doors where it
is told.

--update writes the tables of docs/metrics.md anew."""
import http.client
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import exposition
import servers
from ca import certificates
from harness import (ROOT, Client, Daemon, Elapsed, OwnDaemonTestCase, TestCase, daemon_path, seconds, wait_until)

DOCUMENT = os.path.join(ROOT, "docs", "metrics.md")
TABLE = re.compile(r"(<!-- table: ([\w ]+) -->\n)(.*?)(<!-- end -->\n)", re.S)
COMMAND = os.path.join(os.path.dirname(daemon_path()), "..", "cli", "tcpbroker")
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"


def documented(name):
    if name == "left out":
        lines = ["| counter | instead |", "|---|---|"]
        lines += [f"| `{stat_name}` | {why} |" for stat_name, why in exposition.left_out().items()]
    else:
        lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
        lines += [f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |"
                  for each in exposition.table()]
    return "\n".join(lines) + "\n"


class Tables(unittest.TestCase):
    maxDiff = 4000

    def test_the_document_has_the_table(self):
        with open(DOCUMENT, encoding="utf-8") as file:
            found = TABLE.findall(file.read())
        self.assertEqual([name for _, name, _, _ in found], ["metrics", "left out"])
        for _, name, text, _ in found:
            self.assertEqual(text.strip("\n"), documented(name).strip("\n"),
                             "run tests/integration/metrics_test.py --update")

    def test_every_counter_is_told_once_or_left_out(self):
        told = [stat_name for each in exposition.table() for stat_name in each.stats]
        self.assertEqual(len(told), len(set(told)), "told twice")
        gone = exposition.left_out()
        self.assertEqual(set(told) & set(gone), set(), "told and left out")
        kinds = exposition.stats()
        self.assertEqual(set(told) | set(gone), set(kinds),
                         "a line in daemon/rpc/metrics.def for each counter of proto/stats.def: SAMPLE or LEFT_OUT")
        for each in exposition.table():
            for stat_name in each.stats:
                self.assertEqual(kinds[stat_name].lower(), each.kind, stat_name)

    def test_names(self):
        for each in exposition.table():
            self.assertRegex(each.name, r"^(tcpbroker|process)_[a-z_]+$")
            self.assertEqual(each.name.endswith("_total"), each.kind == "counter", each.name)
            if each.kind == "histogram":
                self.assertTrue(each.name.endswith("_seconds"), each.name)
            self.assertGreater(len(each.help), 10)
            self.assertFalse({"host", "address", "uid", "pid", "user", "peer", "session", "port"} & set(each.labels))


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Figures(TestCase):
    """Of a daemon that does known things."""

    DAEMON_OPTIONS = {"config": {"limits.sockets_per_session": 5, "limits.line": 65536,
                                 "connect.backoff_after": 0},
                      "resolver": True}
    DAEMON_ARGS = ("--cacerts", certificates().cacerts)

    def metrics(self):
        text = self.client.call("Broker.Metrics")["text"]
        families = exposition.parse(text)
        for family in families.values():
            if family.kind == "histogram":
                exposition.check_histograms(family)
        return families

    def rises(self, before, name, by, suffix="", **labels):
        after = self.metrics()
        self.assertEqual(after[name].sum(suffix, **labels) - before[name].sum(suffix, **labels), by, (name, labels))

    def test_the_form(self):
        families = self.metrics()
        wanted = exposition.table()
        self.assertEqual(list(families), [each.name for each in wanted])
        for each in wanted:
            family = families[each.name]
            self.assertEqual((family.kind, family.help), (each.kind, each.help))
            if family.samples:
                self.assertEqual(family.label_names(), set(each.labels), each.name)

    def test_requests(self):
        before = self.metrics()
        for _ in range(7):
            self.client.call("Broker.Hello")
        for _ in range(3):
            self.client.error("TCPSend", [999, "x"])
        self.client.error("Broker.Nothing")
        after = self.metrics()
        requests = after["tcpbroker_requests_total"]
        was = before["tcpbroker_requests_total"]
        for method, code, n in (("Broker.Hello", "OK", 7), ("TCPSend", "ENOTSOCK", 3), ("unknown", "METHOD_NOT_FOUND", 1),
                                ("Broker.Metrics", "OK", 1)):
            self.assertEqual(requests.sum(method=method, code=code) - was.sum(method=method, code=code), n, method)
        self.assertEqual(requests.sum() - was.sum(), 12)
        seconds_of = after["tcpbroker_request_seconds"]
        self.assertEqual(seconds_of.sum("_count", method="Broker.Hello"), requests.sum(method="Broker.Hello"))
        self.assertGreater(seconds_of.value("_sum", method="Broker.Hello"), 0)
        self.assertEqual(seconds_of.sum("_count", method="TCPSend"), 0)
        # Broker.Stats, with its own counter, tells the same
        stats = self.client.call("Broker.Stats")
        now = self.metrics()
        self.assertEqual(stats["requests_total"], now["tcpbroker_requests_total"].sum())
        self.assertEqual(now["tcpbroker_requests_running"].value(), 1)

    def test_a_client_that_is_gone(self):
        before = self.metrics()
        with servers.Server() as server:
            client = Client(self.daemon)
            number = client.connect(server.port)
            client.send("TCPReceive", {"socket": number})
            wait_until(lambda: self.metrics()["tcpbroker_requests_running"].value() == 2, what="a receive that waits")
            client.close()
            wait_until(lambda: self.metrics()["tcpbroker_requests_running"].value() == 1, what="its end")
        self.rises(before, "tcpbroker_requests_total", 1, method="TCPReceive", code="GONE")

    def test_connects(self):
        before = self.metrics()
        with servers.Server(tls=servers.tls13()) as secure, servers.Server() as plain:
            for _ in range(2):
                self.client.call("TCPClose", [self.client.connect(plain.port)])
            self.client.call("TCPClose", [self.client.connect(plain.port, host="localhost")])
            for _ in range(3):
                self.client.call("TCPClose", [self.client.connect(secure.port, host="localhost", secure=True)])
            self.client.call("TCPClose", [self.client.connect(secure.port, host="localhost", secure=True, verify=False)])
        with servers.Server(tls=servers.tls13("expired")) as expired:
            self.client.error("TCPConnect", ["localhost", expired.port, True])
        self.client.error("TCPConnect", ["127.0.0.1", closed_port()])
        self.client.error("TCPConnect", ["no-such-name.test", 1])
        self.client.error("TCPConnect", {"hostname": "hang-metrics.test", "port": 1, "timeout_ms": 50})
        for result, stage, n in (("ok", "done", 7), ("error", "tls", 1), ("error", "connect", 1), ("error", "resolve", 1),
                                 ("timeout", "resolve", 1)):
            self.rises(before, "tcpbroker_connects_total", n, via="request", result=result, stage=stage)
        self.rises(before, "tcpbroker_connects_total", 11)
        for stage, n in (("total", 7), ("tcp", 7), ("resolve", 5), ("tls", 4)):
            self.rises(before, "tcpbroker_connect_seconds", n, "_count", stage=stage)
        self.rises(before, "tcpbroker_tls_handshakes_total", 4, result="ok")
        self.rises(before, "tcpbroker_tls_handshakes_total", 1, result="error")
        self.rises(before, "tcpbroker_tls_unverified_total", 1)
        stats = self.client.call("Broker.Stats")
        now = self.metrics()["tcpbroker_connects_total"]
        self.assertEqual((stats["connects_ok"], stats["connects_failed"], stats["connects_timed_out"]),
                         (now.sum(stage="done"), now.sum(result="error") + now.sum(result="timeout"),
                          now.sum(result="timeout")))

    def test_how_long_a_look_up_takes(self):
        """A look-up of 300 ms is found in the histogram where it belongs, and in the total, and not in tcp."""
        before = self.metrics()["tcpbroker_connect_seconds"]
        with servers.Server() as server, Elapsed() as elapsed:
            self.client.connect(server.port, host="slow-metrics.test")
        after = self.metrics()["tcpbroker_connect_seconds"]
        for stage in ("resolve", "total"):
            took = after.value("_sum", stage=stage) - before.value("_sum", stage=stage)
            self.assertGreaterEqual(took, 0.3, stage)
            self.assertLessEqual(took, elapsed.ms / 1000, stage)
            for bound, n in (("0.25", 0), ("60", 1)):
                self.assertEqual(after.value("_bucket", stage=stage, le=bound) - before.value("_bucket", stage=stage, le=bound),
                                 n, (stage, bound))
        self.assertLess(after.value("_sum", stage="tcp") - before.value("_sum", stage="tcp"), 0.3)

    def test_bytes_and_sockets(self):
        before = self.metrics()
        with servers.Server() as server:
            number = self.client.connect(server.port)
            self.client.call("TCPSend", [number, "x" * 1000])
            self.client.call("TCPReceive", socket=number, exact=1000)
            self.rises(before, "tcpbroker_bytes_total", 1000, direction="in")
            self.rises(before, "tcpbroker_bytes_total", 1000, direction="out")
            self.rises(before, "tcpbroker_sockets_open", 1)
            self.client.call("TCPClose", [number])
            self.rises(before, "tcpbroker_sockets_open", 0)
            self.rises(before, "tcpbroker_sockets_total", 1)

    def test_limits(self):
        before = self.metrics()
        for _ in range(5):
            self.client.call("TCPSocket")
        for _ in range(2):
            self.client.error("TCPSocket")
        raw = self.open_raw()
        for _ in range(3):
            raw.ask(b"x" * 70000)
        raw.ask("[" * 40 + "]" * 40)
        self.rises(before, "tcpbroker_quota_rejections_total", 2, limit="limits.sockets_per_session")
        self.rises(before, "tcpbroker_quota_rejections_total", 3, limit="limits.line")
        self.rises(before, "tcpbroker_quota_rejections_total", 1, limit="limits.nesting")
        self.rises(before, "tcpbroker_lines_refused_total", 4)

    def test_resolver(self):
        """Names that hang are seen as slow threads, and so is that somebody waits."""
        waiting = [self.client.send("TCPName2Addr", [f"hang-{i}-resolver-metrics.test"]) for i in range(3)]

        def slow():
            return self.metrics()["tcpbroker_resolver_threads"].value(state="slow")

        wait_until(lambda: slow() >= 3, what="three slow look-ups")
        self.assertGreaterEqual(self.metrics()["tcpbroker_lookups_running"].value(), 3)
        for each in waiting:
            self.client.call("Broker.Cancel", {"id": each})
            self.assertEqual(self.client.answer(each)["error"]["code"], -10004)

    def test_process(self):
        now = self.metrics()
        self.assertAlmostEqual(now["process_start_time_seconds"].value(), time.time(), delta=seconds(60))
        with open(f"/proc/{self.daemon.pid}/limits", encoding="ascii") as file:
            limit = int(re.search(r"^Max open files +(\d+)", file.read(), re.M).group(1))
        self.assertEqual(now["process_max_fds"].value(), limit)
        self.assertAlmostEqual(now["process_open_fds"].value(), len(self.daemon.fds()), delta=1)
        self.assertAlmostEqual(now["process_resident_memory_bytes"].value() / 1024, self.daemon.rss_kib(),
                               delta=self.daemon.rss_kib() / 4)
        self.assertGreater(now["process_virtual_memory_bytes"].value(), now["process_resident_memory_bytes"].value())
        with open(f"/proc/{self.daemon.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        self.assertAlmostEqual(now["process_cpu_seconds_total"].value(), ticks, delta=seconds(0.5))

    def test_loops(self):
        before = self.metrics()["tcpbroker_loop_lag_seconds"]
        self.client.call("Broker.Hello")
        after = self.metrics()["tcpbroker_loop_lag_seconds"]
        for loop in ("io", "control"):
            self.assertGreater(after.value("_count", loop=loop), before.value("_count", loop=loop), loop)
        self.assertEqual({dict(labels)["loop"] for _, labels in after.samples}, {"io", "dial", "control"})

    def test_nothing_of_others(self):
        """No name, address, user or number of a client is in the text."""
        with servers.Server() as server:
            self.client.connect(server.port, host="localhost", thread="secret-thread")
            text = self.client.call("Broker.Metrics")["text"]
        for word in ("localhost", "127.0.0.1", str(server.port), "secret-thread", str(os.getpid())):
            self.assertNotRegex(text, rf'"[^"\n]*{re.escape(word)}[^"\n]*"', word)

    def test_the_command(self):
        done = subprocess.run([COMMAND, "--socket", self.daemon.socket_path, "stats", "--prometheus"], capture_output=True,
                              text=True, check=True, timeout=seconds(20))
        self.assertEqual(list(exposition.parse(done.stdout)), [each.name for each in exposition.table()])
        self.assertEqual(done.stderr, "")


class Configured(OwnDaemonTestCase):
    """What is told of what the configuration names."""

    def metrics(self):
        with Client(self.daemon) as client:
            return exposition.parse(client.call("Broker.Metrics")["text"])

    def test_pools_and_identities(self):
        folder = certificates()
        chain, key = folder.pem("mutual")
        with servers.Server() as server:
            self.daemon = self.use(Daemon(config=(
                f"[pool \"one\"]\nconnect = 127.0.0.1:{server.port}\nmin_idle = 3\n"
                f"[pool \"two\"]\nconnect = 127.0.0.1:{closed_port()}\nmin_idle = 2\n"
                f"[identity \"me\"]\ncertificate = {chain}\nkey = {key}\nusers = {os.getuid()}\n")))
            wait_until(lambda: self.metrics()["tcpbroker_pool_idle"].value(pool="one") == 3, what="three that are ready")
            with Client(self.daemon) as client:
                client.connect(server.port)
            now = self.metrics()
            self.assertEqual(now["tcpbroker_pool_hits_total"].value(), 1)
            self.assertEqual(now["tcpbroker_pool_idle"].value(pool="two"), 0)
            wait_until(lambda: self.metrics()["tcpbroker_pool_made_total"].value(result="error") >= 1, what="a failure")
            connects = now["tcpbroker_connects_total"]
            self.assertEqual((connects.value(via="request", result="pooled", stage="done"), connects.sum()), (1, 1))
            self.assertEqual(now["tcpbroker_connect_seconds"].value("_count", stage="total"), 1)
            self.assertEqual(now["tcpbroker_connect_seconds"].value("_count", stage="tcp"), 0)
            left = now["tcpbroker_cert_expiry_seconds"].value(identity="me")
            end = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in", chain], capture_output=True, text=True,
                                 check=True).stdout.split("=", 1)[1].strip()
            expected = subprocess.run(["date", "-d", end, "+%s"], capture_output=True, text=True, check=True).stdout
            self.assertAlmostEqual(left, int(expected) - time.time(), delta=seconds(10))

    def test_reloads(self):
        self.daemon = self.use(Daemon(config={}, log_ok="not reloaded"))
        at_first = self.metrics()
        self.assertEqual(at_first["tcpbroker_config_last_reload_successful"].value(), 1)
        self.assertAlmostEqual(at_first["tcpbroker_config_last_reload_success_timestamp_seconds"].value(), time.time(),
                               delta=seconds(20))
        path = os.path.join(self.daemon.folder, "tcpbroker.conf")
        for text, successful in (("[limits]\nnesting = many\n", 0), ("", 1)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            with Client(self.daemon) as client:
                if successful:
                    client.call("Broker.Reload")
                else:
                    client.error("Broker.Reload")
            self.assertEqual(self.metrics()["tcpbroker_config_last_reload_successful"].value(), successful)

    def test_stopping(self):
        """Broker.Metrics while the broker stops: answered or refused, never lost."""
        self.daemon = self.use(Daemon(config={}))
        with Client(self.daemon) as client:
            asked = [client.send("Broker.Metrics") for _ in range(50)]
            self.daemon.terminate()
            for each in asked:
                answer = client.answer(each)
                self.assertTrue("result" in answer or answer["error"]["data"]["symbol"] == "SHUTTING_DOWN", answer)


class Http(OwnDaemonTestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-metrics-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "metrics.sock")
        self.port = closed_port()

    def start(self, **more):
        config = {"metrics.socket": self.path, "metrics.listen": f"127.0.0.1:{self.port}", **more}
        self.daemon = self.use(Daemon(config=config))
        return self.daemon

    def connect(self):
        stream = socket.socket(socket.AF_UNIX)
        self.addCleanup(stream.close)
        stream.settimeout(seconds(10))
        stream.connect(self.path)
        return stream

    def exchange(self, data):
        """Everything that comes back until the end."""
        stream = self.connect()
        stream.sendall(data)
        received = b""
        while piece := stream.recv(65536):
            received += piece
        return received

    def test_both_doors(self):
        self.start()
        stream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds(10))
        self.addCleanup(stream.close)
        stream.connect()
        local = stream.sock.getsockname()
        for _ in range(3):
            stream.request("GET", "/metrics?x=y")
            response = stream.getresponse()
            body = response.read().decode("utf-8")
            self.assertEqual((response.status, response.getheader("Content-Type")),
                             (200, "text/plain; version=0.0.4; charset=utf-8"))
            self.assertEqual(list(exposition.parse(body)), [each.name for each in exposition.table()])
            self.assertEqual(stream.sock.getsockname(), local)  # it stays
        stream.request("HEAD", "/metrics")
        response = stream.getresponse()
        self.assertEqual((response.status, response.read()), (200, b""))
        self.assertAlmostEqual(int(response.getheader("Content-Length")), len(body), delta=200)
        for method, path, status in (("GET", "/", 404), ("GET", "/metrics/", 404), ("DELETE", "/metrics", 405)):
            stream.request(method, path)
            response = stream.getresponse()
            response.read()
            self.assertEqual(response.status, status, path)
        self.assertEqual(response.getheader("Allow"), "GET, HEAD")
        received = self.exchange(REQUEST + b"Connection: close\r\n\r\n")
        self.assertTrue(received.startswith(b"HTTP/1.1 200 OK\r\n"), received[:100])
        exposition.parse(received.split(b"\r\n\r\n", 1)[1].decode("utf-8"))

    def test_refused(self):
        self.start()
        for data, status in ((b"nonsense\r\n\r\n", 400), (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
                             (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400), (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
                             (REQUEST + b"Content-Length: 5\r\n\r\nhello", 413), (REQUEST + b"X: " + b"x" * 9000, 431)):
            received = self.exchange(data)
            self.assertTrue(received.startswith(b"HTTP/1.1 %d " % status), (data[:60], received[:60]))
            self.assertIn(b"\r\nConnection: close\r\n", received)
        with Client(self.daemon) as client:
            client.call("Broker.Hello")

    def test_in_pieces_and_at_once(self):
        self.start()
        stream = self.connect()
        for byte in REQUEST + b"\r\n":
            stream.send(bytes([byte]))
        response = http.client.HTTPResponse(stream)
        response.begin()
        self.assertEqual((response.status, len(exposition.parse(response.read().decode()))), (200, len(exposition.table())))
        many = self.exchange((REQUEST + b"\r\n") * 30 + REQUEST + b"Connection: close\r\n\r\n")
        self.assertEqual(many.count(b"HTTP/1.1 200 OK\r\n"), 31)

    def test_who_does_not_read_or_write(self):
        """Sixteen that do nothing are in nobody's way; who does not finish his request or take the answer is put out."""
        self.start()
        base = 3  # it listens: for clients, and at two places for the metrics
        idle = [self.connect() for _ in range(40)]
        self.assertTrue(self.exchange(REQUEST + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200"))
        self.assertEqual(idle[0].recv(1), b"")  # the oldest made room
        for each in idle:
            each.close()
        wait_until(lambda: self.daemon.n_sockets() == base, what="the idle ones being gone")
        slow, deaf = self.connect(), self.connect()
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        deaf.sendall((REQUEST + b"\r\n") * 100)
        wait_until(lambda: self.daemon.n_sockets() == base + 2, what="them")
        with Elapsed() as elapsed:
            slow.settimeout(seconds(20))
            self.assertEqual(slow.recv(1), b"")
        self.assertGreater(elapsed.ms, 8000)
        wait_until(lambda: self.daemon.n_sockets() == base, 15, "both being gone")

    def test_rights_and_reloads(self):
        daemon = self.start(**{"metrics.mode": "0600"})
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        before = self.connect()

        def configure(text):
            with open(os.path.join(daemon.folder, "tcpbroker.conf"), "w", encoding="utf-8") as file:
                file.write(text)
            with Client(daemon) as client:
                client.call("Broker.Reload")

        moved = os.path.join(self.folder, "moved.sock")
        configure(f"[metrics]\nsocket = {self.path}\nmode = 0640\n")
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o640)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), seconds(5))
        configure(f"[metrics]\nsocket = {moved}\n")
        self.assertFalse(os.path.exists(self.path))
        # who was there stays
        before.sendall(REQUEST + b"\r\n")
        response = http.client.HTTPResponse(before)
        response.begin()
        self.assertEqual(response.status, 200)
        response.read()
        self.path = moved
        self.exchange(REQUEST + b"Connection: close\r\n\r\n")
        configure("")
        self.assertFalse(os.path.exists(moved))
        self.assertEqual(daemon.n_sockets(), self.count_sockets(daemon))

    @staticmethod
    def count_sockets(daemon):
        return wait_until(daemon.n_sockets, what="sockets")

    def test_what_cannot_be(self):
        for config in ("[metrics]\nlisten = 0.0.0.0:9464\n", "[metrics]\nlisten = 192.0.2.1:9464\n",
                       "[metrics]\ngroup = no-such-group-here\nlisten = 127.0.0.1:9464\n",
                       f'[metrics]\nsocket = {self.path}\n[tunnel "a"]\nlisten = {self.path}\nconnect = localhost:1\n'):
            file = os.path.join(self.folder, "conf")
            with open(file, "w", encoding="utf-8") as stream:
                stream.write(config)
            done = subprocess.run([daemon_path(), "--config", file, "--socket", os.path.join(self.folder, "s")],
                                  capture_output=True, text=True, timeout=seconds(20), check=False)
            self.assertEqual(done.returncode, 2, (config, done.stderr))

    def test_a_stop_does_not_wait(self):
        daemon = self.start()
        stream = self.connect()
        stream.sendall(b"GET /me")
        with Elapsed() as elapsed:
            daemon.process.send_signal(signal.SIGTERM)
            daemon.wait_exit()
        self.assertLess(elapsed.ms, seconds(5) * 1000)


def update():
    with open(DOCUMENT, encoding="utf-8") as file:
        text = TABLE.sub(lambda match: match.group(1) + "\n" + documented(match.group(2)) + "\n" + match.group(4), file.read())
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        update()
    else:
        unittest.main(verbosity=1)

"""Destinations that keep refusing: left alone for a while, failing at once and saying until when."""
import datetime
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import SLOW, Client, Daemon, Elapsed, OwnDaemonTestCase, RpcError, main, seconds, wait_until

LONG = {"connect.backoff_min": "10m", "connect.backoff_max": "10m"}  # nothing ends while a test runs


class Refusing:
    """A port of ours that refuses, until listen(): nobody else can get it meanwhile."""

    def __init__(self, address="127.0.0.1", port=0):
        self.sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.sock.bind((address, port))
        self.address = address
        self.port = self.sock.getsockname()[1]

    def listen(self):
        self.sock.listen(4096)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.sock.close()


class Backoff(OwnDaemonTestCase):
    def start(self, config=None, **kw):
        self.daemon = self.use(Daemon(config=config, **kw))
        self.client = self.use(Client(self.daemon))

    def refused(self, port, host="127.0.0.1", tried=True, **kw):
        """The data of a refusal of one address that was, or was not, tried."""
        data = self.fails(-10061, "ECONNREFUSED", "TCPConnect", hostname=host, port=port, stage="connect",
                          retryable=True, **kw)
        self.assertEqual(data["errno"], "ECONNREFUSED")
        attempt, = data["attempts"]
        self.assertEqual(attempt["error"], "ECONNREFUSED")
        self.assertEqual(attempt.get("tried", True), tried, data)
        if not tried:
            self.assertEqual(attempt["ms"], 0)
            self.check_until(data)
        return data

    def check_until(self, data):
        until = datetime.datetime.fromisoformat(data["until"].replace("Z", "+00:00"))
        left_ms = (until - datetime.datetime.now(datetime.timezone.utc)).total_seconds() * 1000
        self.assertGreater(data["retry_after_ms"], 0)
        self.assertLess(abs(left_ms - data["retry_after_ms"]), 500 * SLOW, data)

    def test_as_it_comes(self):
        self.start()
        port = self.use(Refusing()).port
        for _ in range(2):
            self.assertNotIn("retry_after_ms", self.refused(port))
        with Elapsed() as elapsed:
            data = self.refused(port)  # this one says that it was the last for now
            self.check_until(data)
            self.assertGreater(data["retry_after_ms"], 1000 - 500 * SLOW)
            self.assertLessEqual(data["retry_after_ms"], 1000)
            error = self.client.error("TCPConnect", ["127.0.0.1", port])
        if elapsed.ms < 900:  # the machine was not busy with something else
            self.assertFalse(error.data["attempts"][0]["tried"])
            self.assertRegex(error.message, r"^TCPConnect to 127.0.0.1 port \d+: refused 3 times in a row; not tried "
                                            r"until \d\d:\d\d:\d\d UTC \(in \d+ ms\)$")
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])

    def test_counted(self):
        self.start(LONG)
        port = self.use(Refusing()).port
        for _ in range(3):
            self.refused(port)
        for _ in range(4):
            self.refused(port, tried=False)
        stats = self.client.call("Broker.Stats")
        self.assertEqual((stats["connects_failed"], stats["connects_backed_off"]), (7, 4))
        self.assertRegex(self.daemon.log(), "connect failed: .*refused 3 times in a row; not tried until")

    def test_a_server_that_starts_is_found_when_the_time_has_come(self):
        self.start({"connect.backoff_min": "300ms", "connect.backoff_max": "10m"})
        server = self.use(Refusing())
        for _ in range(3):
            data = self.refused(server.port)
        told = time.monotonic() + data["retry_after_ms"] / 1000
        server.listen()

        def connected():
            try:
                return self.client.connect(server.port)
            except RpcError as error:
                self.assertFalse(error.data["attempts"][0]["tried"], error)
                return None
        wait_until(connected, 10, "a connection")
        self.assertGreater(time.monotonic(), told - 0.05, "it was let through too early")
        self.assertLess(time.monotonic(), told + 2 * SLOW)
        for _ in range(20):
            self.assertGreater(self.client.connect(server.port), 0)

    def test_this_host_is_never_left_alone_for_longer(self):
        self.start({"connect.backoff_min": "100ms", "connect.backoff_max": "10m", "connect.backoff_after": "1"})
        port = self.use(Refusing()).port

        def tried():
            data = self.client.error("TCPConnect", ["127.0.0.1", port]).data
            self.assertLessEqual(data["retry_after_ms"], 100)
            return "tried" not in data["attempts"][0]
        for _ in range(6):
            wait_until(tried, 5, "another attempt")

    def test_one_connection_ends_it(self):
        self.start({**LONG, "connect.backoff_after": "2"})
        with Refusing() as server:
            self.refused(server.port)
            server.listen()
            self.client.connect(server.port)
            port = server.port
        with Refusing(port=port):
            self.refused(port)
            self.refused(port)
            self.refused(port, tried=False)

    def test_never(self):
        self.start({**LONG, "connect.backoff_after": "0"})
        port = self.use(Refusing()).port
        for _ in range(20):
            self.assertNotIn("retry_after_ms", self.refused(port))
        self.assertEqual(self.client.call("Broker.Stats")["connects_backed_off"], 0)

    def test_only_that_destination(self):
        self.start({**LONG, "connect.backoff_after": "1"}, resolver=True)
        bad, other = self.use(Refusing()), self.use(Refusing())
        six = self.use(Refusing("::1", bad.port))
        elsewhere = self.use(Refusing("127.0.0.2", bad.port))
        other.listen()
        self.refused(bad.port)
        self.refused(bad.port, tried=False)
        self.refused(bad.port, host="four.test", tried=False)  # by whatever name
        self.assertGreater(self.client.connect(other.port), 0)
        self.refused(bad.port, host="127.0.0.2")
        # a name with one more address: that one is tried, and has its own count
        data = self.fails(-10061, "ECONNREFUSED", "TCPConnect", ["dual.test", bad.port])
        self.assertEqual([(each["address"], each.get("tried", True)) for each in data["attempts"]],
                         [("127.0.0.1", False), ("::1", True)])
        self.check_until(data)
        data = self.fails(-10061, "ECONNREFUSED", "TCPConnect", ["dual.test", bad.port])
        self.assertEqual([(each["address"], each["tried"]) for each in data["attempts"]],
                         [("::1", False), ("127.0.0.1", False)])
        # a connection to the one says nothing of the other
        elsewhere.listen()
        self.refused(bad.port, host="127.0.0.2", tried=False)
        six.listen()
        self.fails(-10061, "ECONNREFUSED", "TCPConnect", ["dual.test", bad.port])
        # from an address of one's own: always
        self.refused(bad.port, local_address="127.0.0.1")
        self.assertEqual(self.client.call("TCPConnect", hostname="dual.test", port=bad.port,
                                          local_address="::1")["remote_address"], "::1")
        # and that connection was of use to all
        self.assertEqual(self.fails(-10061, "ECONNREFUSED", "TCPConnect", ["dual.test", bad.port])["attempts"][0]["tried"],
                         False)

    def test_all_at_a_time_are_not_many_in_a_row(self):
        """Hundred requests while a server is restarted are no reason to leave it alone for long."""
        self.start({"connect.backoff_after": "3", "connect.backoff_min": "50ms", "connect.backoff_max": "10m",
                    "threads.dial": "4", "threads.io": "4"})
        server = self.use(Refusing())
        clients = [self.use(Client(self.daemon)) for _ in range(4)]
        ids = [(client, client.send("TCPConnect", ["127.0.0.1", server.port])) for client in clients for _ in range(50)]
        for client, id in ids:
            self.check_error(client.answer(id)["error"], -10061, "ECONNREFUSED")
        server.listen()
        with Elapsed() as elapsed:
            wait_until(lambda: "result" in self.client.answer(self.client.send("TCPConnect", ["127.0.0.1", server.port])),
                       10, "a connection")
        self.assertLess(elapsed.ms, 1000 * SLOW)

    def configure(self, text):
        with open(os.path.join(self.daemon.folder, "tcpbroker.conf"), "w", encoding="utf-8") as file:
            file.write("[connect]\n" + text)
        self.client.call("Broker.Reload")

    def test_a_reload_counts_at_once(self):
        self.start({**LONG, "connect.backoff_after": "1"})
        port = self.use(Refusing()).port
        self.refused(port)
        self.assertGreater(self.refused(port, tried=False)["retry_after_ms"], 500000)
        self.configure("backoff_after = 1\nbackoff_min = 60s\nbackoff_max = 60s\n")
        self.assertLessEqual(self.refused(port, tried=False)["retry_after_ms"], 60000)
        self.configure("backoff_after = 0\n")
        for _ in range(3):
            self.assertNotIn("retry_after_ms", self.refused(port))
        self.configure("backoff_after = 2\nbackoff_min = 10m\nbackoff_max = 10m\n")
        self.refused(port)  # the second that counts
        self.refused(port, tried=False)

    def test_storm(self):
        """Clients on all threads, reloads, cancelling, and a server that comes and goes: everything is answered once."""
        self.start({"connect.backoff_min": "5ms", "connect.backoff_max": "20ms", "threads.dial": "4", "threads.io": "4"})
        with Refusing() as probe:
            port = probe.port
        end = time.monotonic() + 3
        counts = {"connected": 0, "refused": 0, "left alone": 0, "cancelled": 0, "other": 0}
        lock, failures = threading.Lock(), []

        def kind(message):
            if "result" in message:
                return "connected"
            error = message["error"]
            if error["code"] == -10004:
                return "cancelled"
            if error["code"] != -10061:
                return "other"
            attempt, = error["data"]["attempts"]
            return "refused" if attempt.get("tried", True) else "left alone"

        def hammer(number):
            try:
                with Client(self.daemon, timeout=20) as client:
                    while time.monotonic() < end:
                        ids = [client.send("TCPConnect", ["127.0.0.1", port]) for _ in range(4)]
                        if number == 0:
                            client.call("Broker.Cancel", [ids[2]])
                        for id in ids:
                            message = client.answer(id)
                            with lock:
                                counts[kind(message)] += 1
                            if "result" in message:
                                client.call("TCPClose", [message["result"]["socket"], 2])
            except Exception as error:  # told by the test
                failures.append(repr(error))

        threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        turn = 0
        while time.monotonic() < end:
            turn += 1
            self.configure(f"backoff_after = {turn % 4}\nbackoff_min = {1 + turn % 7}ms\nbackoff_max = 20ms\n")
            with Refusing(port=port) if turn % 2 else Refusing() as server:
                server.listen()
                threading.Event().wait(0.02)  # as long as a server is there, or not there
        for thread in threads:
            thread.join(seconds(30))
        self.assertEqual(failures, [])
        self.assertGreater(min(counts["connected"], counts["refused"], counts["left alone"]), 0, counts)
        stats = self.client.call("Broker.Stats")
        self.assertEqual(stats["connects_backed_off"], counts["left alone"])
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])


if __name__ == "__main__":
    main()

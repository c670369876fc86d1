"""What outlives a restart, an end without a word, and what does not: with a store of our own (support/fdstore.py)."""
import json
import os
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import harness
import servers
from attached import Fds
from ca import certificates
from fdstore import StoredDaemon
from harness import Closed, OwnDaemonTestCase, Raw, main, seconds, wait_until

COMMAND = os.environ.get("TCPBROKER") or os.path.join(os.path.dirname(harness.daemon_path()), "..", "cli", "tcpbroker")
LEASE = 60000
LEFT = r"^(s-\d+|d-[0-9a-f-]+|tcpbroker-ledger-[0-9a-f]+)$"


class RestartCase(OwnDaemonTestCase):
    def setUp(self):
        super().setUp()
        self.peer = self.use(servers.Peer())

    def daemon_of(self, *args, **kw):
        kw.setdefault("config", {"threads.io": 2})
        return self.use(StoredDaemon("--cacerts", certificates().cacerts, *args, **kw))

    def open(self, daemon):
        client = self.use(daemon.client())
        return client, client.call("Session.Open", [LEASE])["token"]

    def join(self, daemon, token):
        client = self.use(daemon.client())
        rows = client.call("Session.Join", [token])["sockets"]
        return client, {row["socket"]: row for row in rows}

    def connect(self, client, **kw):
        number = client.connect(self.peer.port, **kw)
        return number, self.peer.take()

    def echo(self, client, number, connection, **kw):
        client.call("TCPSend", socket=number, data="there", **kw)
        self.assertEqual(servers.read_exactly(connection, 5), b"there")
        connection.sendall(b"back")
        answer = client.call("TCPReceive", socket=number, exact=4, timeout_ms=int(seconds(5000)), **kw)
        self.assertEqual(answer["data"], "back")

    def lost(self, client, number, words):
        error = client.error("TCPReceive", [number])
        self.check_error(error, -10053, "ECONNABORTED")
        self.assertIn(words, error.message)
        # and it can be closed
        client.call("TCPClose", [number])


class Restart(RestartCase):
    def test_plain_socket(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, connection = self.connect(client, thread="worker")
        self.echo(client, number, connection, thread="worker")
        before = client.call("Broker.List")["sockets"][0]
        daemon.again()
        self.assertRaises(Closed, client.call, "Broker.Hello")
        client, rows = self.join(daemon, token)
        self.assertEqual(list(rows), [number])
        for same in ("state", "owner", "hostname", "remote_address", "remote_port", "local_port", "bytes_in", "bytes_out"):
            if same in before:
                self.assertEqual(rows[number][same], before[same], same)
        self.check_error(client.error("TCPSend", [number, "x"]), -33001, "NOT_OWNER")
        self.echo(client, number, connection, thread="worker")
        # its end still comes through although the store holds it
        client.call("TCPClose", socket=number, option=2, thread="worker")
        with self.assertRaises(ConnectionResetError):
            connection.settimeout(seconds(5))
            connection.recv(1)
        wait_until(lambda: f"s-{number}" not in daemon.store.names(), what="the store having let go of it")

    def test_bytes_read_ahead_and_what_came_meanwhile(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, connection = self.connect(client)
        connection.sendall(b"one")
        client.call("TCPReceive", socket=number, exact=1)
        connection.sendall(b"two")
        wait_until(lambda: client.call("Broker.List")["sockets"][0]["bytes_in"] == 6, what="all read ahead")
        daemon.stop()
        connection.sendall(b"three")
        connection.shutdown(socket.SHUT_WR)
        daemon.start()
        daemon.wait_started(2)
        client, _ = self.join(daemon, token)
        received = b""
        while not (answer := client.call("TCPReceive", [number])).get("closed"):
            received += answer["data"].encode()
        self.assertEqual(received, b"netwothree")
        client.call("TCPSend", [number, "bye"])
        self.assertEqual(servers.read_exactly(connection, 3), b"bye")

    def test_half_closed_ends_and_modes(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        shut, shut_peer = self.connect(client)
        client.call("TCPClose", [shut, 1])
        ended, ended_peer = self.connect(client)
        ended_peer.shutdown(socket.SHUT_WR)
        self.assertTrue(client.call("TCPReceive", [ended])["closed"])
        client.call("TCPBlock", [ended, 1])
        mine, _ = self.connect(client)
        client.call("TCPTransfer", socket=mine, to=7)
        unbound = client.call("TCPSocket", family="ipv6")["socket"]
        daemon.again()
        client, rows = self.join(daemon, token)
        self.assertEqual([rows[number]["state"] for number in (shut, ended, mine, unbound)],
                         ["half_closed", "peer_closed", "connected", "unbound"])
        self.assertEqual(rows[mine]["owner"], 7)
        self.check_error(client.error("TCPSend", [shut, "x"]), -10058, "ESHUTDOWN")
        self.assertEqual(servers.read_to_end(shut_peer), b"")
        self.assertTrue(client.call("TCPReceive", [ended])["closed"])
        client.call("TCPSend", [ended, "x"])
        self.assertEqual(servers.read_exactly(ended_peer, 1), b"x")
        self.assertEqual(client.call("TCPBind", socket=unbound, port=0, address="::1")["address"], "::1")

    def test_listening_socket(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        serving = client.call("TCPSocket")["socket"]
        port = client.call("TCPBind", socket=serving, port=0, address="127.0.0.1")["port"]
        client.call("TCPListen", [serving])
        bound = client.call("TCPSocket")["socket"]
        client.call("TCPBind", socket=bound, port=0, address="127.0.0.1")
        waiting = client.send("TCPAccept", {"socket": serving})
        early = socket.create_connection(("127.0.0.1", port))
        accepted = client.wait(waiting)["socket"]
        waiting = client.send("TCPAccept", {"socket": serving})
        daemon.stop()
        answer = client.answer(waiting)
        self.assertEqual((answer["error"]["data"]["symbol"], answer["error"]["data"]["retryable"]), ("SHUTTING_DOWN", True))
        # nobody is there, and nobody is refused
        late = socket.create_connection(("127.0.0.1", port))
        late.sendall(b"late")
        daemon.start()
        daemon.wait_started(2)
        client, rows = self.join(daemon, token)
        self.assertEqual((rows[serving]["state"], rows[bound]["state"], rows[accepted]["state"]),
                         ("listening", "bound", "connected"))
        number = client.call("TCPAccept", [serving])["socket"]
        self.assertNotIn(number, rows)
        self.assertEqual(client.call("TCPReceive", socket=number, exact=4)["data"], "late")
        self.echo(client, accepted, early)
        client.call("TCPListen", [bound])
        # closed, it listens no more, although the store has a second descriptor
        client.call("TCPClose", [serving])
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))
        early.close()
        late.close()

    def test_waiting_requests_are_told(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, connection = self.connect(client)
        waiting = client.send("TCPReceive", {"socket": number, "exact": 10})
        connection.sendall(b"half")
        wait_until(lambda: client.call("Broker.List")["sockets"][0]["bytes_in"] == 4, what="the first half read")
        begun = time.monotonic()
        daemon.again()
        self.assertLess(time.monotonic() - begun, seconds(10), "nothing had to be waited for")
        answer = client.answer(waiting)
        self.assertEqual((answer["error"]["code"], answer["error"]["data"]["retryable"]), (-33005, True))
        client, _ = self.join(daemon, token)
        connection.sendall(b"-other")
        self.assertEqual(client.call("TCPReceive", socket=number, exact=10)["data"], "half-other")

    def test_every_request_is_answered(self):
        """What could be written before the end was read, done or refused: never passed over."""
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, connection = self.connect(client)
        raw = daemon.client()
        raw.call("Session.Join", [token])
        ids, n_received = [], 0
        stop = threading.Thread(target=daemon.stop)
        stop.start()
        try:
            while True:
                ids.append(raw.send("TCPSend", {"socket": number, "data": "x"}))
        except (OSError, Closed):
            pass
        stop.join()
        sent = 0
        for id in ids:
            answer = raw.answer(id)
            if "result" in answer:
                sent += 1
            else:
                self.assertEqual(answer["error"]["code"], -33005)
        raw.close()
        connection.settimeout(seconds(0.3))
        try:
            while True:
                n_received += len(connection.recv(65536))
        except TimeoutError:
            pass
        self.assertEqual(n_received, sent)
        daemon.start()
        daemon.wait_started(2)
        client, _ = self.join(daemon, token)
        self.echo(client, number, connection)

    def test_tls_is_told_lost_and_ended_properly(self):
        daemon = self.daemon_of()
        server = self.use(servers.Peer(servers.tls_context()))
        client, token = self.open(daemon)
        number = client.call("TCPConnect", hostname="localhost", port=server.port, secure=True)["socket"]
        connection = server.take()
        daemon.again()
        self.assertEqual(connection.recv(1), b"", "close_notify, else this were an SSLEOFError")
        client, rows = self.join(daemon, token)
        self.assertEqual(rows[number]["state"], "failed")
        self.lost(client, number, "TLS")

    def test_not_durable_is_closed(self):
        daemon = self.daemon_of()
        client = self.use(daemon.client())
        _, connection = self.connect(client)
        daemon.again()
        self.assertEqual(servers.read_to_end(connection), b"")
        self.assertEqual([name for name in daemon.store.names() if name.startswith("s-")], [])

    def test_direct_descriptor_is_nobody_elses(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, connection = self.connect(client)
        wait_until(lambda: f"s-{number}" in daemon.store.names(), what="the store has it")
        fds = self.use(Fds(daemon))
        fds.ask("Session.Join", [token])
        result, fd = fds.ask("TCPAttach", [number])
        self.assertTrue(result["direct"])
        daemon.again()
        fd.sendall(b"alive")
        self.assertEqual(servers.read_exactly(connection, 5), b"alive")
        fd.close()
        self.assertEqual(servers.read_to_end(connection), b"", "nobody else holds it")

    def test_numbers_go_on_and_threads_may_change(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        kept, connection = self.connect(client)
        gone, _ = self.connect(client)
        client.call("TCPClose", [gone, 2])
        session = client.call("Broker.Hello")["session"]
        for threads in (1, 3, 2):
            daemon.again("--set", f"threads.io={threads}")
            client, rows = self.join(daemon, token)
            self.assertEqual(list(rows), [kept])
            self.echo(client, kept, connection)
            new, _ = self.connect(client)
            self.assertGreater(new, gone)
            gone = new
            client.call("TCPClose", [new, 2])
            other = self.use(daemon.client())
            self.assertGreater(other.call("Broker.Hello")["session"], session)

    def test_lease_begins_anew_and_ends(self):
        daemon = self.daemon_of()
        client = self.use(daemon.client())
        token = client.call("Session.Open", [int(seconds(400))])["token"]
        number, connection = self.connect(client)
        daemon.again()
        self.assertEqual(servers.read_to_end(connection), b"", "the lease has passed")
        other = self.use(daemon.client())
        self.check_error(other.error("Session.Join", [token]), -33006, "BAD_TOKEN")
        wait_until(lambda: f"s-{number}" not in daemon.store.names(), what="the store having let go of it")

    def test_session_deadlines_and_close(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, connection = self.connect(client)
        client.call("Session.Set", receive_timeout_ms=123)
        daemon.again()
        client, _ = self.join(daemon, token)
        self.assertEqual(client.call("Session.Set")["receive_timeout_ms"], 123)
        client.call("Session.Close")
        self.assertEqual(servers.read_to_end(connection), b"")
        daemon.again()
        other = self.use(daemon.client())
        self.check_error(other.error("Session.Join", [token]), -33006, "BAD_TOKEN")
        self.assertEqual([name for name in daemon.store.names() if name.startswith("s-")], [])

    def test_offered_away_is_not_kept(self):
        daemon = self.daemon_of()
        client, _ = self.open(daemon)
        number, connection = self.connect(client)
        taker = self.use(daemon.client())
        token = client.call("TCPOffer", [number])["token"]
        self.assertEqual(taker.call("TCPClaim", [token])["socket"], number)
        wait_until(lambda: f"s-{number}" not in daemon.store.names(), what="the store having let go of it")
        back = taker.call("TCPOffer", [number])["token"]
        client.call("TCPClaim", [back])
        wait_until(lambda: f"s-{number}" in daemon.store.names(), what="the store having it again")
        self.echo(client, number, connection)

    def test_opened_later_closed_earlier(self):
        """A session that becomes durable takes its sockets along."""
        daemon = self.daemon_of()
        client = self.use(daemon.client())
        number, connection = self.connect(client)
        self.assertEqual([name for name in daemon.store.names() if name.startswith("s-")], [])
        token = client.call("Session.Open", [LEASE])["token"]
        wait_until(lambda: f"s-{number}" in daemon.store.names(), what="the store has it")
        daemon.again()
        client, _ = self.join(daemon, token)
        self.echo(client, number, connection)


@unittest.skipUnless(os.access(COMMAND, os.X_OK), f"no command at {COMMAND}; build it or set TCPBROKER")
class Shell(RestartCase):
    """The command with $TCPBROKER_SESSION, which knows nothing of restarts."""

    def call(self, daemon, token, *words):
        run = subprocess.run([COMMAND, *map(str, words)], capture_output=True, timeout=seconds(20), check=False,
                             env={**os.environ, "TCPBROKER_SOCKET": daemon.socket_path, "TCPBROKER_SESSION": token})
        self.assertEqual((run.returncode, run.stderr), (0, b""), words)
        return json.loads(run.stdout)

    def test_a_script_goes_on(self):
        daemon = self.daemon_of()
        _, token = self.open(daemon)
        number = self.call(daemon, token, "call", "TCPConnect", "hostname=127.0.0.1", f"port={self.peer.port}")["socket"]
        connection = self.peer.take()
        for _ in range(2):
            daemon.again()
            self.assertEqual(self.call(daemon, token, "call", "TCPSend", f"socket={number}", "data=hello"), {"sent": 5})
            self.assertEqual(servers.read_exactly(connection, 5), b"hello")


class Doors(RestartCase):
    def test_nobody_is_refused(self):
        folder = self.use(servers.Server(servers.echo))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        daemon = self.daemon_of(config="")
        path = os.path.join(daemon.folder, "echo.sock")
        with open(os.path.join(daemon.folder, "tcpbroker.conf"), "w", encoding="ascii") as file:
            for name, place in (("file", path), ("port", f"127.0.0.1:{port}")):
                file.write(f'[tunnel "{name}"]\nlisten = {place}\nconnect = localhost:{folder.port}\nsecure = no\n')
        daemon.again()
        inode = os.stat(path).st_ino
        daemon.stop()
        waiting = []
        for family, address in ((socket.AF_UNIX, path), (socket.AF_INET, ("127.0.0.1", port))):
            program = socket.socket(family)
            program.connect(address)
            program.sendall(b"hello")
            waiting.append(program)
        daemon.start()
        daemon.wait_started(3)
        for program in waiting:
            program.settimeout(seconds(5))
            self.assertEqual(servers.read_exactly(program, 5), b"hello")
            program.close()
        self.assertEqual(os.stat(path).st_ino, inode)
        # one that is not wanted any more is closed, whoever has a descriptor of it
        with open(os.path.join(daemon.folder, "tcpbroker.conf"), "w", encoding="ascii"):
            pass
        self.use(daemon.client()).call("Broker.Reload")
        self.assertFalse(os.path.exists(path))
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))
        wait_until(lambda: not [name for name in daemon.store.names() if name.startswith("d-")], what="the store empty")


class Refused(RestartCase):
    """State that is not what it should be is given up, softly, and nothing stays in the store."""

    def broken(self, change, words):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        _, connection = self.connect(client)
        daemon.stop()
        for name, fd in daemon.store.items():
            if name == "tcpbroker-state":
                state = os.pread(fd, 1 << 20, 0)
            os.close(fd)
        fd = os.memfd_create("state")
        os.write(fd, change(state))
        daemon.store.replace("tcpbroker-state", fd)
        daemon.start()
        daemon.wait_started(2)
        daemon.wait_log(words)
        self.assertEqual(servers.read_to_end(connection), b"")
        other = self.use(daemon.client())
        self.check_error(other.error("Session.Join", [token]), -33006, "BAD_TOKEN")
        for name in daemon.store.names():
            self.assertRegex(name, r"^tcpbroker-ledger-[0-9a-f]+$")

    def test_another_version(self):
        self.broken(lambda state: state[:8] + (77).to_bytes(4, sys.byteorder) + state[12:], "its version is another one")

    def test_damaged(self):
        self.broken(lambda state: state[:-5] + bytes([state[-5] ^ 4]) + state[-4:], "it is damaged")

    def test_cut_off(self):
        self.broken(lambda state: state[:50], "it is damaged")

    def test_missing_descriptor(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, _ = self.connect(client)
        other, connection = self.connect(client)
        daemon.stop()
        null = os.open("/dev/null", os.O_RDONLY)
        daemon.store.replace(f"s-{number}", null)
        daemon.start()
        daemon.wait_started(2)
        client, rows = self.join(daemon, token)
        self.assertEqual((rows[number]["state"], rows[other]["state"]), ("failed", "connected"))
        self.lost(client, number, "has not kept it")
        self.echo(client, other, connection)
        self.assertNotIn(f"s-{number}", daemon.store.names())

    def test_store_is_full(self):
        daemon = self.daemon_of(size=8)
        client, token = self.open(daemon)
        pairs = [self.connect(client) for _ in range(10)]
        daemon.again()
        client, rows = self.join(daemon, token)
        alive = [pair for pair in pairs if rows[pair[0]]["state"] == "connected"]
        self.assertTrue(0 < len(alive) < 10, rows)
        for number, connection in alive:
            self.echo(client, number, connection)
        for number, connection in pairs:
            if (number, connection) not in alive:
                self.assertEqual(servers.read_to_end(connection), b"")
                self.lost(client, number, "has not kept it")

    def test_fewer_are_allowed(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        pairs = [self.connect(client) for _ in range(6)]
        daemon.again("--set", "limits.sockets=4")
        daemon.wait_log("1 durable sessions go on with 4 sockets; 2 are lost")
        self.assertEqual(daemon.log().count("limits.sockets is lower than before"), 2)
        client, rows = self.join(daemon, token)
        self.assertEqual(len(rows), 4)
        for number, connection in pairs:
            if number in rows:
                self.echo(client, number, connection)
            else:
                self.assertEqual(servers.read_to_end(connection), b"")
                self.check_error(client.error("TCPReceive", [number]), -10038, "ENOTSOCK")

    def test_switched_off(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        _, connection = self.connect(client)
        daemon.again("--set", "stop.keep=no")
        client, rows = self.join(daemon, token)
        self.assertEqual(len(rows), 1)
        self.assertEqual(daemon.store.names(), [])
        daemon.again("--set", "stop.keep=no")
        self.assertEqual(servers.read_to_end(connection), b"")
        self.assertEqual(daemon.store.names(), [])


class Death(RestartCase):
    """kill -9."""

    def test_what_was_at_rest_goes_on(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, connection = self.connect(client, thread=3)
        self.echo(client, number, connection, thread=3)
        serving = client.call("TCPSocket")["socket"]
        port = client.call("TCPBind", socket=serving, port=0, address="127.0.0.1")["port"]
        client.call("TCPListen", [serving])
        # a request that waits has taken nothing
        client.send("TCPReceive", {"socket": number, "thread": 3})
        client.call("Broker.Hello")
        self.assertRegex("\n".join(daemon.store.names()), "s-")
        daemon.killed()
        with socket.create_connection(("127.0.0.1", port)):
            client, rows = self.join(daemon, token)
            self.assertEqual((rows[number]["state"], rows[serving]["state"]), ("connected", "listening"))
            self.echo(client, number, connection, thread=3)
            accepted = client.call("TCPAccept", [serving])["socket"]
            self.assertGreater(accepted, number)
            # the last moments before a death may be missing
            wait_until(lambda: f"s-{accepted}" in daemon.store.names(), what="the accepted one in the store")
        # once more, by the ledger of the one that has taken over, and in the end in good order
        daemon.killed()
        client, rows = self.join(daemon, token)
        self.assertEqual(sorted(rows), sorted([number, serving, accepted]))
        self.echo(client, number, connection, thread=3)
        daemon.again()
        client, _ = self.join(daemon, token)
        self.echo(client, number, connection, thread=3)
        for name in daemon.store.names():
            self.assertRegex(name, LEFT)
        self.assertEqual(sum(name.startswith("tcpbroker-") for name in daemon.store.names()), 1)

    def test_bytes_that_were_read_are_not_lost_silently(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        ahead, connection = self.connect(client)
        rest, other = self.connect(client)
        self.echo(client, ahead, connection)
        self.echo(client, rest, other)
        connection.sendall(b"read, and not taken")
        wait_until(lambda: client.call("Broker.List")["sockets"][0]["bytes_in"] > 10, what="read ahead")
        daemon.killed()
        client, rows = self.join(daemon, token)
        self.assertEqual((rows[ahead]["state"], rows[rest]["state"]), ("failed", "connected"))
        self.lost(client, ahead, "on their way")
        self.echo(client, rest, other)
        with self.assertRaises((ConnectionResetError, EOFError, AssertionError)):
            if not connection.recv(1):
                raise EOFError

    def test_answers_that_nobody_has_read(self):
        daemon = self.daemon_of(config={"threads.io": 1, "limits.unread_answers": "64M"})
        client, token = self.open(daemon)
        number, connection = self.connect(client)
        self.echo(client, number, connection)
        raw = self.use(Raw(daemon))
        raw.ask({"jsonrpc": "2.0", "id": 1, "method": "Session.Join", "params": [token]})
        feeder = threading.Thread(target=feed, args=(connection,), daemon=True)
        feeder.start()
        for id in range(2, 22):  # more than the kernel takes for a client that does not read
            raw.write_line('{"jsonrpc":"2.0","id":%d,"method":"TCPReceive","params":{"socket":%d,"exact":60000}}' % (id, number))
            wait_until(lambda: client.call("Broker.List")["sockets"][0]["bytes_in"] >= 60000 * (id - 1), what="so much read")
        wait_until(lambda: client.call("Broker.Stats")["requests_running"] == 1, what="all of it answered")
        daemon.killed()
        client, rows = self.join(daemon, token)
        self.assertEqual(rows[number]["state"], "failed")
        self.lost(client, number, "on their way")

    def test_a_send_that_was_not_done(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, _ = self.connect(client)
        client.send("TCPSend", {"socket": number, "data": "x" * 900_000})
        client.send("TCPSend", {"socket": number, "data": "x" * 900_000})
        for _ in range(8):
            client.send("TCPSend", {"socket": number, "data": "x" * 900_000})
        wait_until(lambda: client.call("Broker.Stats")["requests_running"] > 1, what="a send that waits")
        daemon.killed()
        client, rows = self.join(daemon, token)
        self.assertEqual(rows[number]["state"], "failed")
        self.lost(client, number, "on their way")

    def test_closed_before_and_tls(self):
        daemon = self.daemon_of()
        server = self.use(servers.Peer(servers.tls_context()))
        client, token = self.open(daemon)
        secure = client.call("TCPConnect", hostname="localhost", port=server.port, secure=True)["socket"]
        closed, connection = self.connect(client)
        connection.close()
        client.call("TCPClose", [closed])
        daemon.killed()
        client, rows = self.join(daemon, token)
        self.assertEqual({number: row["state"] for number, row in rows.items()}, {secure: "failed"})
        self.lost(client, secure, "TLS")

    def test_killed_again_and_again(self):
        daemon = self.daemon_of()
        client, token = self.open(daemon)
        number, connection = self.connect(client)
        wait_until(lambda: f"s-{number}" in daemon.store.names(), what="the store has it")
        for i in range(4):
            (daemon.again if i % 2 else daemon.killed)()
            client, _ = self.join(daemon, token)
            self.echo(client, number, connection)
            client.call("Broker.Hello")


def feed(connection):
    try:
        while True:
            connection.sendall(b"x" * 65536)
    except OSError:
        pass


if __name__ == "__main__":
    main()

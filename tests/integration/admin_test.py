#!/usr/bin/env python3
"""Who administers the broker, and closing what is other people's (Broker.Close), in every state that a socket can have."""
import os
import random
import socket
import ssl
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from attached import Fds
from ca import certificates
from doors import DoorTestCase
from harness import SLOW, Closed, Daemon, OwnDaemonTestCase, RpcError, TestCase, main, seconds, wait_until
from somebody import NOBODY, somebody

GROUP = 54321
ADMIN_CALLS = (("Broker.Close", [1]), ("Broker.Drain", {"stop": False}), ("Broker.Log", ["debug"]), ("Broker.Log", {}),
               ("Broker.Doors", {}), ("Broker.Pools", {}), ("Broker.Reload", {}), ("Broker.List", [True]),
               ("Broker.List", {"uid": 0}), ("Broker.List", {"uid": -1}))


@unittest.skipIf(os.geteuid(), "needs root, to be somebody else")
class Who(OwnDaemonTestCase):
    def start(self, **options):
        folder = self.use(tempfile.TemporaryDirectory(prefix="tcpbroker-test-"))
        os.chmod(folder, 0o755)
        self.options = {"listen.mode": "0666", "threads.io": 3, **options}
        self.daemon = self.use(Daemon(config=self.options, socket_path=os.path.join(folder, "s")))
        self.client = self.open_client()
        return self.daemon

    def use(self, context):
        self.addCleanup(context.__exit__, None, None, None)
        return context.__enter__()

    def as_user(self, uid=NOBODY, gid=NOBODY, groups=()):
        with somebody(uid, gid, groups):
            return self.open_client()

    def configure(self, **options):
        self.options.update(options)
        with open(os.path.join(self.daemon.folder, "tcpbroker.conf"), "w", encoding="utf-8") as file:
            file.writelines(f"[{key.split('.')[0]}]\n{key.split('.')[1]} = {value}\n" for key, value in self.options.items())

    def refused(self, client, said):
        for method, params in ADMIN_CALLS:
            with self.subTest(method=method, params=params):
                error = client.error(method, params)
                self.check_error(error, -10013, "EACCES", "policy", False)
                self.assertRegex(error.message, said)

    def allowed(self, client):
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        connection = peer.take()
        self.assertIn(number, [row["socket"] for row in client.call("Broker.List")["sockets"]])
        self.assertIn(number, [row["socket"] for row in client.call("Broker.List", [True])["sockets"]])
        self.assertEqual(client.call("Broker.Log")["level"], "info")
        self.assertEqual((client.call("Broker.Doors"), client.call("Broker.Pools")), ({"doors": []}, {"pools": []}))
        self.assertEqual(client.call("Broker.Close", [number])["uid"], 0)
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)
        client.call("Broker.Reload")
        uid = client.call("Broker.Hello")["uid"]
        self.assertRegex(self.daemon.log(), rf"notice reload asked for: uid {uid} pid {os.getpid()} session \d+")

    def test_others_are_refused(self):
        self.start(**{"admin.group": GROUP, "admin.users": "1234 1235"})
        peer = self.use(servers.Peer())
        self.assertEqual(self.client.connect(peer.port), 1)
        connection = peer.take()
        for client in (self.as_user(), self.as_user(1236), self.as_user(GROUP), self.as_user(gid=1234, groups=[0, 1235])):
            self.refused(client, f"root.*members of the group {GROUP}")
            self.assertEqual(client.call("Broker.List"), {"sockets": []})
        self.client.call("TCPSend", [1, "unharmed"])
        self.assertEqual(servers.read_exactly(connection, 8), b"unharmed")
        self.daemon.wait_log(r"notice Broker.Close refused: uid 65534 pid \d+ session \d+ is no administrator")
        self.assertNotRegex(self.daemon.log(), "draining|aborted by")

    def test_who_it_is(self):
        self.start(**{"admin.group": GROUP, "admin.users": "1234 1235"})
        for client in (self.client, self.as_user(gid=GROUP), self.as_user(groups=[5, GROUP]), self.as_user(1235),
                       self.as_user(0, NOBODY), self.as_user(groups=[*range(60000, 60200), GROUP])):
            self.allowed(client)

    def test_a_reload_changes_it(self):
        self.start(**{"admin.group": GROUP})
        by_group, by_name = self.as_user(groups=[GROUP]), self.as_user(1234)
        self.allowed(by_group)
        self.refused(by_name, str(GROUP))
        self.configure(**{"admin.group": "", "admin.users": "1234"})
        by_group.call("Broker.Reload")
        self.refused(by_group, "whom admin.group and admin.users of its configuration name")
        self.allowed(by_name)
        self.configure(**{"admin.group": "no-such-group", "admin.users": ""})
        by_name.call("Broker.Reload")
        for client in (by_group, by_name):
            self.refused(client, "no-such-group, which this system does not have")
        self.daemon.wait_log("there is no group no-such-group")
        self.allowed(self.client)

    def test_a_user_nobody_knows_is_passed_over(self):
        self.start(**{"admin.users": "no-such-user 1234"})
        self.daemon.wait_log(r"\[admin\]: there is no user no-such-user")
        self.allowed(self.as_user(1234))

    def test_lists(self):
        self.start(**{"admin.group": GROUP})
        peer = self.use(servers.Peer())
        mine, again, other = self.as_user(1234), self.as_user(1234), self.as_user(1235)
        numbers = {client: client.connect(peer.port) for client in (mine, again, other, self.client)}
        unbound = again.call("TCPSocket")["socket"]
        offered = mine.connect(peer.port)
        token = mine.call("TCPOffer", [offered])["token"]

        def seen(client, **kw):
            return {row["socket"] for row in client.call("Broker.List", **kw)["sockets"]}

        everything = {*numbers.values(), unbound, offered}
        own = {numbers[mine], numbers[again], unbound, offered}
        self.assertEqual(seen(mine), {numbers[mine]})
        self.assertEqual(seen(mine, all=False), {numbers[mine]})
        self.assertEqual(seen(mine, uid=1234), own)
        self.assertEqual(seen(mine, uid=1234, all=True), own)
        self.assertEqual(seen(mine, uid=1234, all=False), {numbers[mine]})
        self.assertEqual(seen(mine, uid=1234, state="offered"), {offered})
        self.assertEqual(seen(other, uid=1235), {numbers[other]})
        self.assertEqual(seen(self.client), everything)
        self.assertEqual(seen(self.client, all=True), everything)
        self.assertEqual(seen(self.client, all=False), {numbers[self.client]})
        self.assertEqual(seen(self.client, uid=1234), own)
        self.assertEqual(seen(self.client, uid=-1), set())
        self.assertEqual(seen(self.client, uid=1234, state="unbound"), {unbound})
        self.assertEqual(seen(self.client, state="connected"), set(numbers.values()))
        self.fails(-32602, "INVALID_PARAMS", "Broker.List", state="tired")
        mine.call("TCPClaim", [token])


class Closing(TestCase):
    """The closer and the owner are on different io threads, on the same one, and the same client in turn."""

    DAEMON_OPTIONS = {"resolver": True, "config": f"""
[threads]
io = 3
[io]
close_timeout = 400ms
[tls]
cacerts = {certificates().cacerts}
system_store = no
[identity "server"]
certificate = {certificates().pem("good")[0]}
key = {certificates().pem("good")[1]}
users = {os.getuid()}
"""}

    def setUp(self):
        super().setUp()
        self.peer = self.use(servers.Peer())
        self.admins = [self.open_client() for _ in range(3)] + [self.client]

    def each(self):
        for at, admin in enumerate(self.admins):
            with self.subTest(admin=at):
                yield admin

    def close(self, number, option=2, admin=None, closing=False):
        result = (admin or self.admins[0]).call("Broker.Close", [number, option])
        self.assertEqual((result["status"], result["closing"], result["uid"], result["pid"]), (0, closing, os.getuid(), os.getpid()))
        if not closing:
            self.fails(-10038, "ENOTSOCK", "Broker.Close", [number])
            self.fails(-10038, "ENOTSOCK", "TCPGetMyPort", [number])
        return result

    def ended(self, id, client=None, method=".*"):
        """The owner's request has ended by the administrator."""
        message = (client or self.client).answer(id)
        self.assertIn("error", message)
        data = self.check_error(message["error"], -10053, "ECONNABORTED", retryable=False)
        self.assertRegex(message["error"]["message"], f"^{method}: an administrator has closed the socket")
        return data

    def reset(self, connection):
        """Its end is no orderly one."""
        with self.assertRaises((ConnectionResetError, ssl.SSLEOFError)):
            while connection.recv(65536):
                pass

    def gone(self):
        self.check_stats("sockets", 0)

    def test_at_rest(self):
        for admin in self.each():
            number = self.client.connect(self.peer.port)
            connection = self.peer.take()
            session = self.client.call("Broker.Hello")["session"]
            self.assertEqual(self.close(number, admin=admin)["session"], session)
            self.reset(connection)
        self.gone()
        self.daemon.wait_log(r"notice socket \d+ is aborted by an administrator: uid 0 pid \d+ session \d+; it was that of "
                             r"session \d+ uid 0 pid \d+")

    def test_complete(self):
        for admin in self.each():
            number = self.client.connect(self.peer.port)
            connection = self.peer.take()
            self.close(number, 0, admin, closing=True)
            self.assertEqual(connection.recv(1), b"")
            again = admin.call("Broker.List", all=True, state="closing")["sockets"]
            self.assertEqual([row["socket"] for row in again], [number])
            self.fails(-10053, "ECONNABORTED", "TCPSend", [number, "x"])
            self.close(number, 0, admin, closing=True)  # once more changes nothing
            connection.close()
            wait_until(lambda: self.client.error("Broker.Close", [number]).code == -10038)
        self.gone()

    def test_complete_and_the_peer_does_not_end(self):
        number = self.client.connect(self.peer.port)
        connection = self.peer.take()
        self.close(number, 0, closing=True)
        self.gone()
        self.assertEqual(connection.recv(1), b"")

    def test_complete_then_abort(self):
        number = self.client.connect(self.peer.port)
        connection = self.peer.take()
        self.close(number, 0, closing=True)
        self.close(number, 2)
        self.assertEqual(connection.recv(1), b"")  # that of the first
        number = self.client.connect(self.peer.port)
        connection = self.peer.take()
        self.close(number, 0, closing=True)
        self.client.call("TCPClose", [number, 2])  # the owner is quicker
        self.assertEqual(connection.recv(1), b"")
        self.gone()

    def test_complete_and_the_owner_goes(self):
        owner = self.open_client()
        number = owner.connect(self.peer.port)
        self.close(number, 0, closing=True)
        owner.close()
        self.gone()

    def test_receive(self):
        for admin in self.each():
            for option in (0, 2):
                number = self.client.connect(self.peer.port)
                connection = self.peer.take()
                id = self.client.send("TCPReceive", socket=number, exact=10)
                connection.sendall(b"four")
                self.close(number, option, admin, closing=option == 0)
                self.ended(id, method="TCPReceive")
                connection.close()
        self.gone()

    def test_sends(self):
        for admin in self.each():
            number = self.client.connect(self.peer.port)
            connection = self.peer.take()
            ids = [self.client.send("TCPSend", [number, "x" * 900000]) for _ in range(12)]
            wait_until(lambda: self.client.answered(ids[0]))
            wait_until(lambda: not self.client.answered(ids[-1]))
            self.close(number, 2, admin)
            answers = [self.client.answer(id) for id in ids]
            errors = [each["error"] for each in answers if "error" in each]
            self.assertGreater(len(errors), 0)
            for error in errors:
                self.assertLess(self.check_error(error, -10053, "ECONNABORTED")["sent"], 900000)
                self.assertIn("an administrator", error["message"])
            self.reset(connection)
        self.gone()

    def test_sends_are_let_finish(self):
        for secure in (False, True):
            peer = self.use(servers.Peer(tls=servers.tls13())) if secure else self.peer
            number = self.client.connect(peer.port, host="localhost", secure=secure)
            connection = peer.take()
            ids = [self.client.send("TCPSend", [number, "x" * 900000]) for _ in range(6)]
            self.client.call("TCPGetMyPort", [number])
            self.close(number, 0, closing=True)
            n = 0
            while data := connection.recv(1 << 20):
                n += len(data)
            self.assertEqual(n, 6 * 900000)
            for id in ids:
                self.assertEqual(self.client.wait(id), {"sent": 900000})
            connection.close()
        self.gone()

    def test_serving(self):
        for admin in self.each():
            unbound = self.client.call("TCPSocket")["socket"]
            self.close(unbound, admin=admin)
            bound = self.client.call("TCPSocket")["socket"]
            port = self.client.call("TCPBind", [bound, 0])["port"]
            self.close(bound, 0, admin=admin)
            listening = self.client.call("TCPSocket")["socket"]
            port = self.client.call("TCPBind", [listening, 0])["port"]
            self.client.call("TCPListen", [listening])
            id = self.client.send("TCPAccept", [listening])
            self.close(listening, admin=admin)
            self.ended(id, method="TCPAccept")
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            looking_up = self.client.call("TCPSocket")["socket"]
            id = self.client.send("TCPBind", [looking_up, f"hang-service-{self.admins.index(admin)}"])
            wait_until(lambda: self.client.call("Broker.Stats")["lookups_running"] == 1)
            self.close(looking_up, admin=admin)
            self.ended(id, method="TCPBind")
            with open(self.daemon.release_path, "w", encoding="ascii"):
                pass
            self.check_stats("lookups_running", 0)
            os.unlink(self.daemon.release_path)
        self.gone()

    def connecting(self, admin):
        return wait_until(lambda: admin.call("Broker.List", all=True, state="connecting")["sockets"])[0]["socket"]

    def test_connecting(self):
        hole = self.use(servers.BlackHole())
        for admin in self.each():
            for name in ("127.0.0.1", f"hang-name-{self.admins.index(admin)}"):
                id = self.client.send("TCPConnect", hostname=name, port=hole.port)
                self.close(self.connecting(admin), admin=admin)
                self.ended(id, method="TCPConnect")
        with open(self.daemon.release_path, "w", encoding="ascii"):
            pass
        self.check_stats("lookups_running", 0)
        os.unlink(self.daemon.release_path)
        self.gone()

    def test_handshakes(self):
        silent = self.use(servers.Server(servers.silent))
        for admin in self.each():
            id = self.client.send("TCPConnect", hostname="localhost", port=silent.port, secure=True)
            self.close(self.connecting(admin), admin=admin)
            self.ended(id, method="TCPConnect")
            number = self.client.connect(silent.port)
            id = self.client.send("TCPStartTLS", socket=number, server_name="localhost")
            wait_until(lambda: admin.call("Broker.List", all=True, state="securing")["sockets"])
            self.close(number, 0 if admin is self.client else 2, admin)
            self.ended(id, method="TCPStartTLS")
            listening = self.client.call("TCPSocket")["socket"]
            port = self.client.call("TCPBind", [listening, 0])["port"]
            self.client.call("TCPListen", [listening])
            id = self.client.send("TCPAccept", socket=listening, secure=True, identity="server")
            with socket.create_connection(("127.0.0.1", port)) as visitor:
                row, = wait_until(lambda: admin.call("Broker.List", all=True, state="securing")["sockets"])
                self.close(row["socket"], admin=admin)
                self.ended(id, method="TCPAccept")
                visitor.settimeout(seconds(5))
                self.assertIn(self.end_of(visitor), (b"", "reset"))
            id = self.client.send("TCPAccept", socket=listening, secure=True, identity="server")
            self.close(listening, admin=admin)
            self.ended(id, method="TCPAccept")
        self.gone()

    @staticmethod
    def end_of(connection):
        try:
            return connection.recv(100)
        except ConnectionResetError:
            return "reset"

    def test_closing(self):
        for option in (0, 2):
            number = self.client.connect(self.peer.port)
            connection = self.peer.take()
            id = self.client.send("TCPClose", [number])
            self.assertEqual(connection.recv(1), b"")
            self.close(number, option)
            self.ended(id, method="TCPClose")
        # with sends behind it
        number = self.client.connect(self.peer.port)
        connection = self.peer.take()
        ids = [self.client.send("TCPSend", [number, "x" * 900000]) for _ in range(12)]
        ids.append(self.client.send("TCPClose", [number]))
        wait_until(lambda: self.client.answered(ids[0]))
        self.close(number)
        self.ended(ids[-1], method="TCPClose")
        self.reset(connection)
        for id in ids[:-1]:
            self.client.answer(id)
        # half closed, and while that waits
        number = self.client.connect(self.peer.port)
        connection = self.peer.take()
        ids = [self.client.send("TCPSend", [number, "x" * 900000]) for _ in range(12)]
        ids.append(self.client.send("TCPClose", [number, 1]))
        wait_until(lambda: self.client.answered(ids[0]))
        self.close(number)
        for id in ids:
            self.client.answer(id)
        number = self.client.connect(self.peer.port)
        connection = self.peer.take()
        self.client.call("TCPClose", [number, 1])
        self.close(number, 0, closing=True)
        connection.close()
        self.gone()

    def test_failed(self):
        number = self.client.connect(self.peer.port)
        servers.reset(self.peer.take())
        self.client.error("TCPReceive", [number])
        self.close(number, 0)
        self.gone()

    def test_attached(self):
        peer = self.use(servers.Peer(tls=servers.tls13()))
        for option in (0, 2):
            for owner_gone in (False, True):
                with self.subTest(option=option, owner_gone=owner_gone):
                    owner = Fds(self.daemon)
                    result, stream = owner.ask("TCPConnect", hostname="localhost", port=peer.port, secure=True, attach=True)
                    connection = peer.take()
                    stream.sendall(b"hello")
                    self.assertEqual(connection.recv(5), b"hello")
                    if owner_gone:
                        owner.close()
                        session_of = {row["socket"]: row for row in self.client.call("Broker.List")["sockets"]}
                        self.assertEqual(session_of[result["socket"]]["state"], "attached")
                    self.close(result["socket"], option, closing=option == 0)
                    stream.settimeout(seconds(5))
                    self.assertEqual(stream.recv(10), b"")
                    if option == 0:
                        self.assertEqual(connection.recv(1), b"")
                        connection.close()
                    else:
                        self.reset(connection)
                    stream.close()
                    if not owner_gone:
                        owner.close()
        self.gone()

    def test_attached_and_the_local_end_has_gone(self):
        peer = self.use(servers.Peer(tls=servers.tls13()))
        for option in (0, 2):
            with Fds(self.daemon) as owner:
                result, stream = owner.ask("TCPConnect", hostname="localhost", port=peer.port, secure=True, attach=True)
                connection = peer.take()
                stream.close()
                self.assertEqual(connection.recv(1), b"")
                wait_until(lambda: self.client.call("Broker.List", state="closing")["sockets"])
                self.close(result["socket"], option, closing=option == 0)
        self.gone()

    def test_attached_and_failed(self):
        """Its number lives on for a while, so that its owner can ask why."""
        peer = self.use(servers.Peer(tls=servers.tls13()))
        for option in (0, 2):
            with Fds(self.daemon) as owner:
                result, stream = owner.ask("TCPConnect", hostname="localhost", port=peer.port, secure=True, attach=True)
                servers.reset(peer.take())
                wait_until(lambda: self.client.call("Broker.List", state="failed")["sockets"])
                self.close(result["socket"], option)
                stream.close()
        self.gone()

    def test_offered(self):
        for admin in self.each():
            for option in (0, 2):
                number = self.client.connect(self.peer.port)
                connection = self.peer.take()
                token = self.client.call("TCPOffer", [number])["token"]
                self.close(number, option, admin)
                self.assertEqual(self.end_of(connection), b"" if option == 0 else "reset")
                self.fails(-33006, "BAD_TOKEN", "TCPClaim", [token])
        self.check_stats("offers", 0)
        self.gone()

    def test_durable(self):
        owner = self.open_client()
        number = owner.connect(self.peer.port)
        connection = self.peer.take()
        token = owner.call("Session.Open", [60000])["token"]
        owner.close()
        self.close(number)
        self.reset(connection)
        heir = self.open_client()
        self.assertEqual(heir.call("Session.Join", [token])["sockets"], [])
        heir.call("Session.Close")
        self.gone()

    def test_what_is_wrong(self):
        number = self.client.connect(self.peer.port)
        for option in (1, 3, -1):
            self.fails(-517, "BAD_CLOSE_OPTION", "Broker.Close", [number, option], retryable=False)
        self.fails(-10038, "ENOTSOCK", "Broker.Close", [2**31 - 1])
        self.fails(-32602, "INVALID_PARAMS", "Broker.Close", [0])
        self.client.call("TCPClose", [number, 2])
        self.fails(-10038, "ENOTSOCK", "Broker.Close", [number])

    def test_one_of_many_closers(self):
        for _ in range(20):
            number = self.client.connect(self.peer.port)
            ids = [(admin, admin.send("Broker.Close", [number])) for admin in self.admins for _ in range(3)]
            codes = [admin.answer(id).get("error", {"code": 0})["code"] for admin, id in ids]
            self.assertEqual(sorted(codes), [-10038] * 11 + [0])
        self.gone()

    def test_the_closer_goes_or_cancels(self):
        for turn in range(40):
            number = self.client.connect(self.peer.port)
            connection = self.peer.take()
            admin = self.open_client()
            id = admin.send("Broker.Close", [number], id="close")
            if turn % 2:
                admin.close()
                outcome = None
            else:
                cancelled = admin.call("Broker.Cancel", ["close"])["cancelled"]
                outcome = admin.answer(id).get("error", {"code": 0})["code"]
                self.assertEqual(outcome, -10004 if cancelled else 0)
            # it has come to its end or not
            self.assertIn(admin_code(self.client, number), (0, -10038) if outcome != 0 else (-10038,))
            self.reset(connection)
        self.gone()

    def test_while_sockets_move(self):
        """Four clients offer and claim, an administrator closes whatever there is: each is answered once, and all go."""
        stop = threading.Event()
        problems = []
        clients = [self.open_client() for _ in range(4)]
        peer = self.use(servers.Server(servers.discard))

        def guarded(work):
            def run():
                try:
                    while not stop.is_set():
                        work()
                except (AssertionError, TimeoutError, Closed) as error:
                    problems.append(repr(error))
            return threading.Thread(target=run)

        def mover(at):
            def move():
                owner, heir = clients[at], clients[(at + 1) % len(clients)]
                try:
                    number = owner.connect(peer.port)
                    token = owner.call("TCPOffer", [number])["token"]
                    heir.call("TCPClaim", [token])
                    heir.call("TCPSend", [number, "x"])
                    heir.call("TCPClose", [number, 2])
                except RpcError as error:
                    if error.code not in (-10038, -33006, -10053):
                        problems.append(str(error))
            return move

        outcomes = {0: 0}

        def closer():
            admin = random.choice(self.admins)
            rows = admin.call("Broker.List", all=True)["sockets"]
            if rows:
                code = admin_code(admin, random.choice(rows)["socket"])
                outcomes[code] = outcomes.get(code, 0) + 1

        threads = [guarded(mover(at)) for at in range(4)] + [guarded(closer) for _ in range(3)]
        for thread in threads:
            thread.start()
        stop.wait(3)
        stop.set()
        for thread in threads:
            thread.join(seconds(20))
        self.assertEqual(problems, [])
        self.assertLessEqual(set(outcomes), {0, -10038, -33002}, outcomes)
        self.assertGreater(outcomes[0], 10, outcomes)
        self.check_stats("offers", 0)
        self.gone()


def admin_code(client, number):
    return client.answer(client.send("Broker.Close", [number])).get("error", {"code": 0})["code"]


class Doors(DoorTestCase):
    def close_all(self, n=1, **filters):
        with self.daemon.client() as client:
            rows = wait_until(lambda: (found := client.call("Broker.List", all=True, **filters)["sockets"])[n - 1:] and found)
            for row in rows:
                result = client.call("Broker.Close", [row["socket"]])
                self.assertFalse(result["closing"])
            wait_until(lambda: client.call("Broker.Stats")["sockets"] == 0)
        return rows

    def test_relayed(self):
        echo = self.use(servers.Server(servers.echo))
        self.start(self.tunnel(echo.port, secure="no") + "[threads]\nio = 3\n")
        for _ in range(4):
            sock = self.enter()
            self.exchange(sock)
            row, = self.close_all()
            self.assertEqual((row["door"], row["state"]), ("tunnel a", "attached"))
            self.assertEqual(self.gone(sock), b"")
        self.wait_stat("tunnel_connections", 0)

    def test_relayed_by_tcp(self):
        echo = self.use(servers.Server(servers.echo))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.start(self.tunnel(echo.port, secure="no", listen=f"127.0.0.1:{port}"))
        sock = self.enter(port)
        self.exchange(sock)
        row, = self.close_all()
        self.assertEqual((row["uid"], row["pid"]), (-1, 0))
        self.assertEqual(self.gone(sock), "reset")

    def test_reaching(self):
        hole = self.use(servers.BlackHole())
        self.start(self.tunnel(hole.port, host="127.0.0.1", secure="no") + "[threads]\nio = 3\n" +
                   f"[socks]\nsocket = {self.path('socks')}\n")
        for _ in range(3):
            sock = self.enter()
            row, = self.close_all(state="connecting")
            self.assertEqual(row["door"], "tunnel a")
            self.assertEqual(self.gone(sock), b"")
        sock = self.enter("socks")
        sock.sendall(b"\x05\x01\x00")
        self.assertEqual(sock.recv(2), b"\x05\x00")
        sock.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + hole.port.to_bytes(2, "big"))
        self.close_all(state="connecting")
        self.assertEqual(sock.recv(10)[:2], b"\x05\x01")
        self.assertRegex(self.daemon.log(), r"tunnel a failed: .*an administrator has closed the socket \[ECONNABORTED\]")
        self.wait_stat("tunnels_failed", 3)
        self.wait_stat("socks_failed", 1)

    def test_rows(self):
        echo = self.use(servers.Server(servers.echo))
        nobody = socket.create_server(("127.0.0.1", 0))
        refusing = nobody.getsockname()[1]
        nobody.close()
        doors = (self.tunnel(echo.port, secure="no") + self.tunnel(refusing, name="b", verify="no") +
                 f"[socks]\nsocket = {self.path('socks')}\n")
        self.start(doors)

        def rows():
            with self.daemon.client() as client:
                return {row.pop("name"): row for row in client.call("Broker.Doors")["doors"]}

        a = {"listen": self.path("a"), "hostname": "localhost", "port": echo.port, "secure": False, "verify": False,
             "connections": 0, "connections_total": 0, "failed": 0}
        b = {**a, "listen": self.path("b"), "port": refusing, "secure": True}
        socks = {"listen": self.path("socks"), "secure": False, "verify": False, "connections": 0, "connections_total": 0, "failed": 0}
        self.assertEqual(rows(), {"tunnel a": a, "tunnel b": b, "socks": socks})
        sock, other = self.enter(), self.enter()
        self.exchange(sock)
        self.exchange(other)
        self.gone(self.enter("b"))
        now = {"tunnel a": {**a, "connections": 2, "connections_total": 2}, "tunnel b": {**b, "connections_total": 1, "failed": 1},
               "socks": socks}
        wait_until(lambda: rows() == now)
        # what has come in counts on when a reload changes where it leads
        self.reload(doors.replace(f"connect = localhost:{refusing}", f"connect = localhost:{echo.port}"))
        now["tunnel b"]["port"] = echo.port
        self.assertEqual(rows(), now)
        other.close()
        now["tunnel a"]["connections"] = 1
        wait_until(lambda: rows() == now)
        self.reload("")
        self.assertEqual(rows(), {})
        self.exchange(sock)


class Pools(OwnDaemonTestCase):
    def test_rows(self):
        echo = self.use(servers.Server(servers.echo))
        nobody = socket.create_server(("127.0.0.1", 0))
        refusing = nobody.getsockname()[1]
        nobody.close()
        self.daemon = self.use(Daemon(config=f'[pool "a"]\nconnect = localhost:{echo.port}\nmin_idle = 2\n'
                                             f'[pool "b"]\nconnect = 127.0.0.1:{refusing}\n[threads]\nio = 1\n'))
        self.client = self.open_client()

        def rows():
            return {row.pop("name"): row for row in self.client.call("Broker.Pools")["pools"]}

        wait_until(lambda: rows()["a"]["idle"] == 2 and rows()["b"]["state"] == "failing")
        found = rows()
        self.assertGreaterEqual(found["b"].pop("refill_ms"), 0)
        common = {"secure": False, "verify": False, "max_idle": 8, "taken": 0, "missed": 0, "stale": 0}
        self.assertEqual(found, {
            "a": {**common, "hostname": "localhost", "port": echo.port, "state": "well", "idle": 2, "min_idle": 2},
            "b": {**common, "hostname": "127.0.0.1", "port": refusing, "state": "failing", "idle": 0, "min_idle": 1}})
        self.client.connect(echo.port, host="localhost")
        self.client.error("TCPConnect", ["127.0.0.1", refusing])
        self.assertEqual((rows()["a"]["taken"], rows()["b"]["missed"]), (1, 1))


class LogLevel(OwnDaemonTestCase):
    def test_levels(self):
        self.daemon = self.use(Daemon(config={"log.level": "notice"}))
        self.client = self.open_client()
        self.assertEqual(self.client.call("Broker.Log"), {"level": "notice", "before": "notice"})
        self.assertEqual(self.client.call("Broker.Log", ["debug"]), {"level": "debug", "before": "notice"})
        self.daemon.wait_log(r"notice log level debug instead of notice until the next reload: uid \d+ pid \d+ session \d+")
        self.open_client().call("Broker.Hello", ["seen"])
        self.daemon.wait_log("debug session .* is seen")
        self.assertEqual(self.client.call("Broker.Log", level="error"), {"level": "error", "before": "debug"})
        self.daemon.wait_log("notice log level error instead of debug")
        self.open_client().call("Broker.Hello", ["unseen"])
        self.client.call("Broker.Reload")
        self.assertEqual(self.client.call("Broker.Log")["level"], "notice")
        self.client.call("Broker.Log", ["debug"])
        self.open_client().call("Broker.Hello", ["last"])
        self.daemon.wait_log("debug session .* is last")
        self.assertNotRegex(self.daemon.log(), "is unseen")
        self.fails(-32602, "INVALID_PARAMS", "Broker.Log", ["loud"])


class Stopping(OwnDaemonTestCase):
    def test_closes_when_the_broker_stops(self):
        for turn in range(3 if SLOW > 1 else 8):
            with servers.Server(servers.discard) as peer, \
                    Daemon(config={"threads.io": 4, "stop.drain_timeout": "2s"}) as daemon:
                clients = [daemon.client() for _ in range(4)]
                numbers = [client.connect(peer.port) for client in clients for _ in range(30)]
                asked = [(clients[at % 3], clients[at % 3].send("Broker.Close", [number, 2 * (at % 2)]))
                         for at, number in enumerate(numbers)]
                if turn % 2:
                    asked[0][0].answer(asked[0][1])
                daemon.terminate()
                codes = set()
                for client, id in asked[turn % 2:]:
                    try:
                        codes.add(client.answer(id).get("error", {"code": 0})["code"])
                    except Closed:
                        codes.add(0)
                self.assertLessEqual(codes, {0, -33005, -10038})  # the last: its session has ended before
                self.assertEqual(daemon.wait_exit(20), 0)
                for client in clients:
                    client.close()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Broker.Drain: nothing new is begun, what there is works on, and with the last socket the daemon stops; or all goes on."""
import os
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import servers
from cli_test import command_path
from doors import DoorTestCase
from harness import Closed, Daemon, Elapsed, OwnDaemonTestCase, RpcError, main, seconds, wait_until

SHUTTING_DOWN = -33005
SET = {"threads.io": 3, "stop.drain_timeout": "3s"}


class Drain(OwnDaemonTestCase):
    def start(self, *args, **kw):
        config = kw.pop("config", SET)
        self.daemon = self.use(Daemon(*args, config=config, **kw))
        self.peer = self.use(servers.Peer())
        self.client = self.open_client()

    def drain(self, sockets, client=None, **kw):
        self.assertEqual((client or self.client).call("Broker.Drain", **kw), {"draining": True, "sockets": sockets})

    def resume(self):
        self.assertEqual(self.client.call("Broker.Drain", off=True)["draining"], False)

    def refused(self, client, *call, **params):
        error = client.error(*call, **params)
        self.check_error(error, SHUTTING_DOWN, "SHUTTING_DOWN", retryable=True)
        self.assertIn("drains the broker", error.message)

    def ended(self, at_most_ms=3000):
        with Elapsed() as took:
            self.assertEqual(self.daemon.wait_exit(30), 0)
        self.assertLess(took.ms, seconds(at_most_ms))

    def test_what_is_refused_and_what_is_not(self):
        self.start()
        others = [self.open_client() for _ in range(3)]
        number = self.client.connect(self.peer.port)
        connection = self.peer.take()
        listening = self.client.call("TCPSocket")["socket"]
        port = self.client.call("TCPBind", [listening, 0, ])["port"]
        self.client.call("TCPListen", [listening])
        durable = self.open_client()
        token = durable.call("Session.Open", [60000])["token"]
        kept = durable.connect(self.peer.port)
        durable.close()
        self.drain(3)
        late = self.open_client()
        self.assertEqual(late.call("Broker.Hello")["server"], "tcpbroker")
        for client in (self.client, late, *others):
            self.refused(client, "TCPConnect", ["127.0.0.1", self.peer.port])
            self.refused(client, "TCPSocket")
            self.refused(client, "TCPAccept", [listening])
            self.refused(client, "Session.Open", [1000])
            self.assertEqual(client.call("TCPName2Addr", ["localhost"])["address"], "127.0.0.1")
        # what there is works on, for whom it belongs to and whoever he gives it to
        self.client.call("TCPSend", [number, "hello"])
        self.assertEqual(servers.read_exactly(connection, 5), b"hello")
        connection.sendall(b"reply")
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=5)["data"], "reply")
        self.assertEqual(late.call("TCPClaim", [self.client.call("TCPOffer", [number])["token"]])["socket"], number)
        late.call("TCPSend", [number, "again"])
        self.assertEqual(servers.read_exactly(connection, 5), b"again")
        self.assertEqual([row["socket"] for row in others[0].call("Session.Join", [token])["sockets"]], [kept])
        others[0].call("Session.Close")
        self.client.call("TCPClose", [listening])
        self.assertTrue(self.daemon.alive())
        late.call("TCPClose", [number, 2])
        self.ended()
        log = self.daemon.log()
        self.assertRegex(log, r"notice draining: nothing new is begun, 3 sockets are left; with the last one the daemon stops: uid "
                              r"\d+ pid \d+ session \d+")
        self.assertIn("Broker.Drain: no socket is left: stopping", log)
        self.assertRegex(log, "notice stopped")
        socket.create_server(("127.0.0.1", port)).close()

    def test_accepts_that_wait(self):
        self.start()
        listening = self.client.call("TCPSocket")["socket"]
        port = self.client.call("TCPBind", [listening, 0])["port"]
        self.client.call("TCPListen", [listening])
        id = self.client.send("TCPAccept", [listening])
        self.drain(1, self.open_client(), stop=False)
        error = self.client.answer(id)["error"]
        self.check_error(error, SHUTTING_DOWN, "SHUTTING_DOWN", retryable=True)
        self.resume()
        id = self.client.send("TCPAccept", [listening])
        with socket.create_connection(("127.0.0.1", port)):
            self.client.wait(id)

    def test_what_runs_is_finished(self):
        self.start(resolver=True)
        id = self.client.send("TCPConnect", hostname="wait-name", port=self.peer.port)
        wait_until(lambda: self.client.call("Broker.Stats")["lookups_running"] == 1)
        self.drain(1, self.open_client())
        with open(self.daemon.release_path, "w", encoding="ascii"):
            pass
        number = self.client.wait(id)["socket"]
        self.client.call("TCPSend", [number, "hello"])
        self.assertEqual(servers.read_exactly(self.peer.take(), 5), b"hello")
        self.assertTrue(self.daemon.alive())
        self.client.close()
        self.ended()

    def test_nothing_there(self):
        self.start()
        self.drain(0)
        self.ended()

    def test_a_deadline(self):
        self.start()
        number = self.client.connect(self.peer.port)
        id = self.client.send("TCPReceive", [number])
        with Elapsed() as took:
            self.drain(1, timeout_ms=300)
            # from then on as by SIGTERM: what runs has stop.drain_timeout
            self.assertEqual(self.client.answer(id)["error"]["code"], SHUTTING_DOWN)
            self.ended(6000)
        self.assertGreater(took.ms, 300 + 2900)
        self.assertIn("the time is over, 1 sockets are left", self.daemon.log())

    def test_the_last_word_counts(self):
        self.start()
        number = self.client.connect(self.peer.port)
        self.drain(1, timeout_ms=86400000)
        self.drain(1, timeout_ms=10, client=self.open_client())
        self.ended(5000)
        self.assertGreater(number, 0)

    def test_without_a_stop(self):
        self.start()
        self.drain(0, stop=False)
        self.refused(self.client, "TCPSocket")
        for _ in range(3):
            time.sleep(0.12)  # longer than it takes to see that nothing is left
            self.assertTrue(self.daemon.alive())
        self.resume()
        self.client.call("TCPClose", [self.client.connect(self.peer.port), 2])
        self.resume()  # again: nothing happens
        self.drain(0, stop=False)
        self.drain(0, stop=True)
        self.ended()
        self.assertRegex(self.daemon.log(), "notice draining is over, all goes on: uid")

    def test_resumed_before_the_deadline(self):
        self.start()
        number = self.client.connect(self.peer.port)
        self.drain(1, timeout_ms=200)
        self.resume()
        time.sleep(0.4)
        self.client.call("TCPSend", [number, "x"])
        self.client.call("TCPClose", [number, 2])
        self.client.connect(self.peer.port)

    def test_wrong(self):
        self.start()
        for params in ({"timeout_ms": 5, "stop": False}, {"timeout_ms": 5, "off": True}):
            self.assertEqual(self.fails(-32602, "INVALID_PARAMS", "Broker.Drain", params)["param"], "timeout_ms")
        self.client.connect(self.peer.port)

    def test_sigterm_while_draining(self):
        self.start()
        self.client.connect(self.peer.port)
        self.drain(1)
        self.daemon.terminate()
        self.ended()

    def test_asked_while_it_stops(self):
        for _ in range(5):
            with self.subTest(), Daemon(config=SET) as daemon:
                clients = [daemon.client() for _ in range(4)]
                asked = []
                for at, client in enumerate(clients * 5):
                    if at == 7:
                        daemon.terminate()
                    try:
                        asked.append((client, client.send("Broker.Drain", stop=False, off=bool(at % 2))))
                    except (Closed, BrokenPipeError):
                        pass
                for client, id in asked:
                    try:
                        self.assertIn(client.answer(id).get("error", {"code": 0})["code"], (0, SHUTTING_DOWN))
                    except Closed:
                        pass
                self.assertEqual(daemon.wait_exit(20), 0)
                for client in clients:
                    client.close()

    def test_the_asker_goes(self):
        self.start()
        for _ in range(20):
            client = self.open_client()
            client.send("Broker.Drain", stop=False)
            client.close()
        wait_until(lambda: self.client.error("TCPConnect", ["127.0.0.1", 1]).code == SHUTTING_DOWN)
        wait_until(lambda: self.client.call("Broker.Drain", off=True) and
                   self.client.error("TCPConnect", ["127.0.0.1", 1]).code == -10061)

    def test_many_at_once(self):
        """On and off by several, others connect all the while: all is answered, by one of two answers."""
        self.start()
        peer = self.use(servers.Server(servers.discard))
        stop = threading.Event()
        problems, connected = [], [0, 0]

        def toggle(client):
            on = True
            while not stop.is_set():
                client.call("Broker.Drain", stop=False, off=not on)
                on = not on

        def connect(client):
            while not stop.is_set():
                try:
                    client.call("TCPClose", [client.connect(peer.port), 2])
                    connected[0] += 1
                except RpcError as error:
                    connected[1] += 1
                    if error.code != SHUTTING_DOWN:
                        problems.append(str(error))

        threads = [threading.Thread(target=work, args=(self.open_client(),)) for work in (toggle,) * 3 + (connect,) * 3]
        for thread in threads:
            thread.start()
        stop.wait(2)
        stop.set()
        for thread in threads:
            thread.join(seconds(20))
        self.assertEqual(problems, [])
        self.assertTrue(all(connected), connected)
        self.resume()
        for client in [self.open_client() for _ in range(3)]:
            client.connect(peer.port)

    def test_the_command(self):
        self.start()
        command = [command_path(), "--socket", self.daemon.socket_path]
        number = self.client.connect(self.peer.port)
        staying = subprocess.Popen([*command, "drain", "--no-stop", "--wait"], stdout=subprocess.PIPE)
        self.assertEqual(staying.stdout.readline(), b"draining: 1 sockets left\n")
        waiting = subprocess.Popen([*command, "drain", "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(waiting.stdout.readline(), b"draining: 1 sockets left\n")
        staying.kill()
        staying.communicate()
        closed = subprocess.run([*command, "close", "--abort", str(number)], capture_output=True, timeout=seconds(10))
        self.assertRegex(closed.stdout, rb"^socket \d+ is closed; it was that of session \d+ uid \d+ pid \d+\n$")
        self.ended()
        self.assertEqual((waiting.communicate(timeout=seconds(10)), waiting.returncode), ((b"", b""), 0))

    def test_status(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            path = f"\0tcpbroker-drain-test-{os.getpid()}"
            told.bind(path)
            told.settimeout(seconds(10))
            self.start(env={"NOTIFY_SOCKET": "@" + path[1:]})
            try:
                told.recv(4096)
            except TimeoutError:
                self.skipTest("built without libsystemd")

            def wait_told(text):
                while text not in told.recv(4096):
                    pass

            number = self.client.connect(self.peer.port)
            self.client.call("TCPClose", [self.client.connect(self.peer.port), 2])
            self.drain(1)
            wait_told(b"STATUS=Draining, nothing new is begun: 1 client, 1 socket")
            self.client.call("TCPClose", [number, 2])
            wait_told(b"STOPPING=1")
            self.ended()

    def test_pools_are_not_filled(self):
        echo = self.use(servers.Server(servers.echo))
        self.start(config=f'[pool "a"]\nconnect = localhost:{echo.port}\nmin_idle = 1\n')
        wait_until(lambda: self.client.call("Broker.Stats")["pool_idle"] == 1)
        other = self.client.connect(self.peer.port)
        number = self.client.connect(echo.port, host="localhost")
        wait_until(lambda: self.client.call("Broker.Stats")["pool_idle"] == 1)
        self.drain(2, stop=False)
        self.client.call("TCPClose", [number])
        made = self.client.call("Broker.Stats")["pool_made"]
        self.client.call("Broker.Reload")  # empties them
        time.sleep(0.3)
        self.assertEqual(self.client.call("Broker.Stats")["pool_made"], made)
        self.resume()
        wait_until(lambda: self.client.call("Broker.Stats")["pool_idle"] == 1)
        self.client.call("TCPClose", [other, 2])


class Doors(DoorTestCase):
    def test_programs_are_turned_away(self):
        echo = self.use(servers.Server(servers.echo))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        doors = (self.tunnel(echo.port, secure="no") + self.tunnel(echo.port, name="t", secure="no", listen=f"127.0.0.1:{port}") +
                 f"[socks]\nsocket = {self.path('socks')}\n")
        self.start(doors)
        sock, asking = self.enter(), self.enter("socks")
        self.exchange(sock)
        asking.sendall(b"\x05\x01\x00")
        self.assertEqual(asking.recv(2), b"\x05\x00")
        with self.daemon.client() as client:
            client.call("Broker.Drain", stop=False)
            self.assertEqual(asking.recv(1), b"")
            for where in ("a", port, "socks"):
                self.assertIn(self.gone(self.enter(where)), (b"", "reset"))
            self.exchange(sock)
            self.daemon.wait_log(r"notice tunnel a: program of uid \d+ pid \d+ turned away: the broker is being drained")
            # a reload opens another door, which is as shut
            self.reload(doors + self.tunnel(echo.port, name="new", secure="no"))
            self.assertIn(self.gone(self.enter("new")), (b"", "reset"))
            client.call("Broker.Drain", off=True)
        for where in ("a", port, "new"):
            self.exchange(self.enter(where))
        with self.daemon.client() as client:
            client.call("Broker.Drain")
            sock.close()


if __name__ == "__main__":
    main()

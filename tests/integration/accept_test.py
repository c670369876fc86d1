"""TCPAccept: who gets a connection, when, and that none is lost. server_test.py has what comes before and after."""
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import SLOW, Client, Daemon, Elapsed, main, seconds, wait_until
from serving import ServerCase


class Accept(ServerCase):
    def test_one_that_waits_already(self):
        number, port = self.listening()
        first, second = self.dial(port), self.dial(port)
        self.assertEqual(self.accept(number)["remote_port"], first.getsockname()[1])
        accepted = self.accept(number)
        self.assertEqual(accepted["remote_port"], second.getsockname()[1])
        self.assertNotEqual(accepted["socket"], number)
        self.works(accepted, second)

    def test_it_waits(self):
        number, port = self.listening()
        id = self.waiting_accept(number)
        sock = self.dial(port)
        accepted = self.client.wait(id)
        self.assertEqual(accepted["remote_port"], sock.getsockname()[1])
        self.works(accepted, sock)

    def test_what_the_peer_sent_before(self):
        number, port = self.listening()
        sock = self.dial(port)
        sock.sendall(b"early")
        sock.shutdown(socket.SHUT_WR)
        accepted = self.accept(number)["socket"]
        self.assertEqual(self.client.call("TCPReceive", [accepted])["data"], "early")
        self.check_end(self.client.call("TCPReceive", [accepted]))

    def test_a_peer_that_has_gone(self):
        number, port = self.listening()
        servers.reset(self.dial(port))
        staying = self.dial(port)
        accepted = self.accept(number)
        if accepted["remote_port"] != staying.getsockname()[1]:
            # the system hands out the dead one
            self.fails(-10054, "ECONNRESET", "TCPReceive", [accepted["socket"]])
            accepted = self.accept(number)
        self.works(accepted, staying)

    def test_deadlines(self):
        number, port = self.listening()
        for set, own, least in ((None, 0, 0), (None, 150, 145), (200, None, 190), (1000, 30, 25)):
            if set:
                self.client.call("Session.Set", accept_timeout_ms=set)
            with Elapsed() as elapsed:
                error = self.client.error("TCPAccept", {"socket": number,
                                                        **({} if own is None else {"timeout_ms": own})})
            self.check_error(error, -10060, "ETIMEDOUT", "io", True)
            self.assertGreaterEqual(elapsed.ms, least)
            self.assertLess(elapsed.ms, least + 300 * SLOW)
        self.client.call("Session.Set", reset=True)
        # who waits is taken without waiting
        sock = self.dial(port)
        self.works(self.accept(number, timeout_ms=0), sock)
        # no deadline by default
        id = self.waiting_accept(number)
        sock = self.dial(port)
        self.works(self.client.wait(id), sock)

    def test_a_deadline_loses_no_connection(self):
        number, port = self.listening()
        for turn in range(20):
            id = self.client.send("TCPAccept", socket=number, timeout_ms=turn % 4)
            sock = self.dial(port)
            answer = self.client.answer(id)
            if "error" in answer:
                self.check_error(answer["error"], -10060, "ETIMEDOUT")
                accepted = self.accept(number, timeout_ms=5000)
            else:
                accepted = answer["result"]
            self.assertEqual(accepted["remote_port"], sock.getsockname()[1])
            self.works(accepted, sock)

    def test_cancelled(self):
        number, port = self.listening()
        for turn in range(20):
            id = self.waiting_accept(number)
            if turn % 2:
                self.assertEqual(self.client.call("Broker.Cancel", [id]), {"cancelled": True})
                self.check_error(self.client.answer(id)["error"], -10004, "EINTR", "broker", True)
                sock = self.dial(port)
                accepted = self.accept(number)
            else:
                # at the same time: one or the other, and no connection is lost
                cancel = self.client.send("Broker.Cancel", [id])
                sock = self.dial(port)
                answer = self.client.answer(id)
                self.assertEqual(self.client.wait(cancel)["cancelled"], "error" in answer)
                accepted = answer.get("result") or self.accept(number)
            self.assertEqual(accepted["remote_port"], sock.getsockname()[1])
            self.works(accepted, sock)

    def test_one_at_a_time(self):
        number, port = self.listening()
        id = self.waiting_accept(number)
        self.fails(-33002, "BUSY", "TCPAccept", [number], stage="request", retryable=True)
        self.fails(-33002, "BUSY", "TCPAccept", socket=number, timeout_ms=0)
        self.fails(-33002, "BUSY", "TCPTransfer", [number, "x"])
        self.fails(-33002, "BUSY", "TCPOffer", [number])
        self.assertFalse(self.client.answered(id))
        sock = self.dial(port)
        self.works(self.client.wait(id), sock)

    def test_owners(self):
        number, port = self.listening(thread="a")
        for label in ({}, {"thread": "b"}):
            for method in ("TCPAccept", "TCPListen", "TCPClose", "TCPBlock", "TCPGetMyPort", "TCPBind"):
                params = {"TCPBlock": {"option": 1}, "TCPBind": {"port": 0}}.get(method, {})
                data = self.fails(-33001, "NOT_OWNER", method, socket=number, **params, **label)
                self.assertEqual(data["owner"], "a")
        first = self.dial(port)
        accepted = self.accept(number, thread="a")
        self.assertEqual(self.row(accepted["socket"])["owner"], "a")
        self.fails(-33001, "NOT_OWNER", "TCPSend", [accepted["socket"], "x"])
        self.works(accepted, first, thread="a")
        # the asking thread, whoever had the listening socket before
        self.client.call("TCPTransfer", socket=number, to=7, thread="a")
        self.fails(-33001, "NOT_OWNER", "TCPAccept", socket=number, thread="a")
        id = self.waiting_accept(number, thread=7)
        second = self.dial(port)
        accepted = self.client.wait(id)
        self.assertEqual(self.row(accepted["socket"])["owner"], 7)
        self.works(accepted, second, thread=7)
        other = self.open_client()
        self.check_error(other.error("TCPAccept", socket=number, thread=7), -33001, "NOT_OWNER")

    def test_non_blocking(self):
        number, port = self.listening()
        self.client.call("TCPBlock", [number, 1])
        self.fails(-10035, "EWOULDBLOCK", "TCPAccept", [number], stage="io", retryable=True)
        self.fails(-10035, "EWOULDBLOCK", "TCPAccept", socket=number, timeout_ms=5000)
        sock = self.dial(port)
        accepted = self.accept(number)["socket"]
        self.fails(-10035, "EWOULDBLOCK", "TCPReceive", [accepted])
        self.fails(-10035, "EWOULDBLOCK", "TCPAccept", [number])
        # each has its own mode from now on
        self.client.call("TCPBlock", [number, 0])
        self.fails(-10035, "EWOULDBLOCK", "TCPReceive", [accepted])
        self.client.call("TCPBlock", [accepted, 0])
        self.works(accepted, sock)
        sock = self.dial(port)
        blocking = self.accept(number)
        self.client.call("TCPBlock", [number, 1])
        self.fails(-10060, "ETIMEDOUT", "TCPReceive", socket=blocking["socket"], timeout_ms=10)
        self.works(blocking, sock)

    def test_the_options_of_a_connection(self):
        if not shutil.which("ss"):
            self.skipTest("ss is missing: install iproute2")
        with Daemon("--set", "connect.keepalive=1h", "--set", "connect.user_timeout=0") as daemon, \
                Client(daemon) as self.client:
            number, port = self.listening()
            self.dial(port)
            self.accept(number)
            told = subprocess.run(["ss", "-Htno", "sport", "=", f":{port}"], capture_output=True, text=True, check=True)
            self.assertRegex(told.stdout, r"timer:\(keepalive,(59min|60min|1h)")

    def test_the_mode_does_not_change_what_waits(self):
        number, port = self.listening()
        id = self.waiting_accept(number)
        self.client.call("TCPBlock", [number, 1])
        sock = self.dial(port)
        accepted = self.client.wait(id)
        self.fails(-10035, "EWOULDBLOCK", "TCPReceive", [accepted["socket"]])
        self.client.call("TCPBlock", [accepted["socket"], 0])
        self.works(accepted, sock)

    def test_in_a_batch(self):
        number, port = self.listening()
        socks = [self.dial(port) for _ in range(3)]
        raw = self.open_raw()
        self.client.call("TCPBlock", [number, 0])
        self.client.call("TCPTransfer", [number, "a"])
        token = self.client.call("TCPOffer", socket=number, thread="a")["token"]
        self.assertEqual(raw.ask({"jsonrpc": "2.0", "id": 0, "method": "TCPClaim", "params": [token]})["id"], 0)
        answers = raw.ask(json.dumps([{"jsonrpc": "2.0", "id": i, "method": "TCPAccept", "params": [number]}
                                      for i in range(3)]))
        self.assertEqual({answer["result"]["remote_port"] for answer in answers},
                         {sock.getsockname()[1] for sock in socks})

    def test_handed_over(self):
        number, port = self.listening()
        early = self.dial(port)
        token = self.client.call("TCPOffer", [number])["token"]
        self.assertEqual(self.row(number)["state"], "offered")
        offered = self.dial(port)
        client, self.client = self.client, self.open_client()
        claimed = self.client.call("TCPClaim", token=token, thread="t")
        self.assertEqual((claimed["socket"], claimed["local_port"]), (number, port))
        self.assertNotIn("remote_port", claimed)
        self.assertEqual(self.row(number)["state"], "listening")
        for sock in (early, offered):
            accepted = self.accept(number, thread="t")
            self.assertEqual(accepted["remote_port"], sock.getsockname()[1])
            self.works(accepted, sock, thread="t")
        self.check_error(client.error("TCPAccept", [number]), -33001, "NOT_OWNER")
        id = self.waiting_accept(number, thread="t")
        client.close()
        sock = self.dial(port)
        self.works(self.client.wait(id), sock, thread="t")

    def test_looking_uses_up_no_numbers(self):
        number, port = self.listening()
        for _ in range(10):
            self.fails(-10060, "ETIMEDOUT", "TCPAccept", socket=number, timeout_ms=0)
        self.client.call("TCPBlock", [number, 1])
        for _ in range(10):
            self.fails(-10035, "EWOULDBLOCK", "TCPAccept", [number])
        self.client.call("TCPBlock", [number, 0])
        id = self.waiting_accept(number)
        self.dial(port)
        self.assertEqual(self.client.wait(id)["socket"], number + 1)

    def test_both_ends_by_the_broker(self):
        number, port = self.listening()
        accepting = self.client.send("TCPAccept", [number])
        far = self.client.connect(port)
        near = self.client.wait(accepting)["socket"]
        self.client.call("TCPSend", [far, "hello\n"])
        self.assertEqual(self.client.call("TCPReceive", socket=near, until="\n")["data"], "hello\n")
        closing = self.client.send("TCPClose", [far])
        self.check_end(self.client.call("TCPReceive", [near]))
        self.client.call("TCPClose", [near])
        self.client.wait(closing)

    def test_a_thousand_in_a_row(self):
        number, port = self.listening()
        before = self.client.call("Broker.Stats")
        fds = len(self.daemon.fds())
        failures = []

        def knock():
            try:
                for turn in range(1000):
                    with socket.create_connection(("127.0.0.1", port), seconds(10)) as sock:
                        sock.sendall(b"%d\n" % turn)
                        if servers.read_to_end(sock) != b"%d\n" % turn:
                            failures.append(turn)
            except OSError as error:
                failures.append(error)

        thread = threading.Thread(target=knock)
        thread.start()
        numbers = []
        for turn in range(1000):
            accepted = self.accept(number, timeout_ms=10000)["socket"]
            data = self.client.call("TCPReceive", socket=accepted, until="\n", timeout_ms=10000)["data"]
            self.assertEqual(data, f"{turn}\n")
            self.client.call("TCPSend", [accepted, data])
            self.client.call("TCPClose", [accepted])
            numbers.append(accepted)
        thread.join(seconds(10))
        self.assertEqual(failures, [])
        self.assertEqual(numbers, sorted(set(numbers)))
        after = self.client.call("Broker.Stats")
        self.assertEqual(after["accepts"] - before["accepts"], 1000)
        self.assertEqual(after["sockets_total"] - before["sockets_total"], 1000)
        self.assertEqual(after["sockets"], before["sockets"])
        wait_until(lambda: len(self.daemon.fds()) <= fds, 5, "all descriptors being closed")

    def test_stats(self):
        number, port = self.listening()
        names = ("accepts", "connects_ok", "connects_failed", "sockets", "sockets_total", "requests_failed")
        before = self.client.call("Broker.Stats")
        self.fails(-10060, "ETIMEDOUT", "TCPAccept", socket=number, timeout_ms=1)
        self.client.call("TCPBlock", [number, 1])
        self.fails(-10035, "EWOULDBLOCK", "TCPAccept", [number])
        self.dial(port)
        self.accept(number)
        after = self.client.call("Broker.Stats")
        self.assertEqual([after[name] - before[name] for name in names], [1, 0, 0, 1, 1, 2])


class Limits(ServerCase):
    DAEMON_OPTIONS = {"config": {"limits.sockets_per_session": 4, "limits.sockets": 6}}

    def at_the_limit(self, error, limit, value):
        data = self.check_error(error, -10024, "EMFILE", "broker", True)
        self.assertEqual((data["limit"], data["limit_value"]), (limit, value))

    def test_of_the_session(self):
        number, port = self.listening()
        socks = [self.dial(port) for _ in range(5)]
        for sock in socks:
            sock.sendall(b"%d" % sock.getsockname()[1])
        taken = [self.accept(number)["socket"] for _ in range(3)]
        total = self.client.call("Broker.Stats")["sockets_total"]
        for kw in ({}, {"timeout_ms": 0}, {"timeout_ms": 5000}):
            error = self.client.error("TCPAccept", socket=number, **kw)
            self.at_the_limit(error, "limits.sockets_per_session", 4)
        self.client.call("TCPBlock", [number, 1])
        self.fails(-10024, "EMFILE", "TCPAccept", [number])
        self.client.call("TCPBlock", [number, 0])
        # nothing was lost, and their order is kept
        for sock in socks[3:]:
            self.client.call("TCPClose", [taken.pop(0), 2])
            accepted = self.accept(number)
            taken.append(accepted["socket"])
            self.assertEqual(accepted["remote_port"], sock.getsockname()[1])
            data = self.client.call("TCPReceive", [accepted["socket"]])["data"]
            self.assertEqual(data, str(sock.getsockname()[1]))
        self.assertEqual(self.client.call("Broker.Stats")["sockets_total"], total + 2)

    def test_told_when_a_connection_comes(self):
        number, port = self.listening()
        first = self.dial(port)
        taken = [self.accept(number)["socket"], self.socket(), self.socket()]
        id = self.waiting_accept(number)
        second = self.dial(port)
        self.at_the_limit(self.client.answer(id)["error"], "limits.sockets_per_session", 4)
        id = self.client.send("TCPAccept", [number])
        self.check_error(self.client.answer(id)["error"], -10024, "EMFILE")
        self.client.call("TCPClose", [taken[1]])
        self.works(self.accept(number), second)
        # at the limit, but nobody waits
        self.fails(-10060, "ETIMEDOUT", "TCPAccept", socket=number, timeout_ms=0)
        self.client.call("TCPBlock", [number, 1])
        self.fails(-10035, "EWOULDBLOCK", "TCPAccept", [number])
        self.client.call("TCPBlock", [number, 0])
        # room was made while it waited
        self.client.call("TCPClose", [taken[2]])
        third_id = self.waiting_accept(number)
        third = self.dial(port)
        self.works(self.client.wait(third_id), third)
        self.works(taken[0], first)

    def test_of_the_broker(self):
        number, port = self.listening()
        other = self.open_client()
        held = [other.call("TCPSocket")["socket"] for _ in range(4)]
        first, second = self.dial(port), self.dial(port)
        self.works(self.accept(number), first)
        self.at_the_limit(self.client.error("TCPAccept", [number]), "limits.sockets", 6)
        other.call("TCPClose", [held[0]])
        self.works(self.accept(number), second)


class Descriptors(ServerCase):
    def test_none_left(self):
        with Daemon("--set", "limits.sockets=30", "--set", "threads.io=1", "--set", "threads.dial=1") as daemon, \
                Client(daemon) as self.client:
            # what is set here is the process's own limit, which it was started without
            number, port = self.listening()
            used = len(daemon.fds())
            limited = subprocess.run(["prlimit", "--pid", str(daemon.pid), f"--nofile={used + 3}:{used + 3}"],
                                     capture_output=True)
            if limited.returncode:
                self.skipTest("prlimit does not work here")
            socks = [self.dial(port) for _ in range(6)]
            taken = []
            while True:
                answer = self.client.answer(self.client.send("TCPAccept", socket=number, timeout_ms=5000))
                if "error" in answer:
                    break
                taken.append(answer["result"])
            data = self.check_error(answer["error"], -10024, "EMFILE", "broker", True)
            self.assertEqual(data["errno"], "EMFILE")
            self.assertIn(len(taken), (1, 2, 3))
            self.works(taken[0], socks[0])
            for sock in socks[len(taken):]:
                self.client.call("TCPClose", [taken.pop(0)["socket"], 2])
                taken.append(self.accept(number, timeout_ms=5000))
                self.assertEqual(taken[-1]["remote_port"], sock.getsockname()[1])
                self.works(taken[-1], sock)


if __name__ == "__main__":
    main()

"""Serving: TCPSocket, TCPBind, TCPListen, and the end of sockets that serve. accept_test.py has TCPAccept."""
import json
import os
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import SLOW, Client, Daemon, Elapsed, main, wait_until
from serving import ServerCase


def ipv6_works():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = unittest.skipUnless(ipv6_works(), "the loopback has no ::1: enable IPv6")


def free_service():
    """(name, port) of a service that the system knows and nobody serves at 127.0.0.77."""
    for name in ("http-alt", "postgresql", "socks", "mysql", "openvpn"):
        try:
            port = socket.getservbyname(name, "tcp")
            with socket.create_server(("127.0.0.77", port)):
                return name, port
        except OSError:
            pass
    raise unittest.SkipTest("/etc/services knows no service whose port is free: install netbase")


class Bind(ServerCase):
    def test_any_free_port(self):
        number = self.socket()
        result = self.client.call("TCPBind", [number, 0])
        self.assertEqual(result["status"], 0)
        self.assertIn(result["address"], ("::", "0.0.0.0"))
        self.assertGreater(result["port"], 1023)
        self.assertEqual(self.client.call("TCPGetMyPort", [number]), {"port": result["port"]})
        self.assertEqual(self.client.call("TCPGetMyAddr", [number]), {"address": result["address"]})
        self.refuses(result["port"])
        self.assertNotEqual(self.bound()[1], result["port"])

    def test_an_address(self):
        for address in ("127.0.0.1", "127.0.0.2", "::1", "[::1]", "::ffff:127.0.0.3"):
            if ":" in address and not ipv6_works():
                continue
            with self.subTest(address=address):
                number = self.socket()
                result = self.client.call("TCPBind", socket=number, port=0, address=address)
                plain = address.strip("[]").removeprefix("::ffff:")
                self.assertEqual(result["address"], plain)
                self.client.call("TCPListen", [number])
                sock = self.dial(result["port"], plain)
                accepted = self.accept(number)
                self.assertEqual(accepted["local_address"], plain)
                self.assertEqual(accepted["remote_address"], sock.getsockname()[0])
                self.works(accepted, sock)
                if plain != "127.0.0.1":
                    self.refuses(result["port"])

    def test_addresses_that_are_none_or_not_of_this_host(self):
        number = self.socket()
        for address in ("localhost", "127.0.0.1:80", "127.0.0", "256.0.0.1", "::g", "", " 127.0.0.1", "1" * 65):
            with self.subTest(address=address):
                data = self.fails(-32602, "INVALID_PARAMS", "TCPBind", socket=number, port=0, address=address)
                self.assertEqual(data["param"], "address")
        for address in ("192.0.2.1", "2001:db8::1"):
            if ":" in address and not ipv6_works():
                continue
            data = self.fails(-10049, "EADDRNOTAVAIL", "TCPBind", socket=number, port=0, address=address,
                              stage="connect", retryable=False)
            self.assertEqual(data["errno"], "EADDRNOTAVAIL")
        self.assertEqual(self.row(number)["state"], "unbound")
        self.client.call("TCPBind", socket=number, port=0, address="127.0.0.1")

    def test_ports_that_are_none(self):
        number = self.socket()
        for port in (-1, 65536, "-1", "65536", "99999999999999999999", "", "a b", "080", "+80", "80 ", True, 1.5, None,
                     [80]):
            with self.subTest(port=port):
                data = self.fails(-32602, "INVALID_PARAMS", "TCPBind", socket=number, port=port)
                self.assertEqual(data["param"], "port")
        self.fails(-32602, "INVALID_PARAMS", "TCPBind", socket=number, port=0, service="0")
        self.fails(-32602, "INVALID_PARAMS", "TCPBind", socket=number)
        self.assertEqual(self.row(number)["state"], "unbound")

    def test_a_port_as_text(self):
        free = servers.closed_port()
        for port in (free, str(free)):
            for member in ("port", "service"):
                number = self.socket()
                result = self.client.call("TCPBind", {"socket": number, member: port, "address": "127.0.0.1"})
                self.assertEqual(result["port"], free)
                self.client.call("TCPClose", [number])

    def test_a_service_name(self):
        name, port = free_service()
        number = self.socket()
        result = self.client.call("TCPBind", socket=number, port=name, address="127.0.0.77")
        self.assertEqual((result["address"], result["port"]), ("127.0.0.77", port))
        self.client.call("TCPListen", [number])
        sock = self.dial(port, "127.0.0.77")
        self.works(self.accept(number), sock)

    def test_an_unknown_service_name(self):
        number = self.socket()
        data = self.fails(-33012, "UNKNOWN_SERVICE", "TCPBind", [number, "no-such-service"], stage="resolve",
                          retryable=False)
        self.assertEqual(data["gai"], "EAI_SERVICE")
        self.client.call("TCPBind", [number, 0])

    def test_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            number = self.socket()
            data = self.fails(-10048, "EADDRINUSE", "TCPBind", socket=number, port=port, address="127.0.0.1",
                              stage="connect", retryable=True)
            self.assertEqual(data["errno"], "EADDRINUSE")
            self.assertEqual(self.row(number)["state"], "unbound")
            self.fails(-10048, "EADDRINUSE", "TCPBind", socket=number, port=port)
        # retryable: the other one has gone
        self.client.call("TCPBind", socket=number, port=port, address="127.0.0.1")
        self.client.call("TCPListen", [number])
        self.fails(-10048, "EADDRINUSE", "TCPBind", socket=self.socket(), port=port, address="127.0.0.1")

    def test_two_bound_before_either_listens(self):
        first, port = self.bound()
        second, _ = self.bound(port=port)
        self.client.call("TCPListen", [first])
        self.fails(-10048, "EADDRINUSE", "TCPListen", [second], stage="connect", retryable=True)
        self.assertEqual(self.row(second)["state"], "bound")
        sock = self.dial(port)
        self.works(self.accept(first), sock)
        self.client.call("TCPClose", [first])
        self.client.call("TCPListen", [second])
        sock = self.dial(port)
        self.works(self.accept(second), sock)

    def test_a_port_that_was_served_just_now(self):
        number, port = self.listening()
        sock = self.dial(port)
        accepted = self.accept(number)["socket"]
        self.client.call("TCPClose", [number])
        id = self.client.send("TCPClose", [accepted])  # this side first: its end is the TIME_WAIT
        self.assertEqual(sock.recv(1), b"")
        sock.close()
        self.client.wait(id)
        number, _ = self.listening(port=port)
        sock = self.dial(port)
        self.works(self.accept(number), sock)

    def test_a_reserved_port(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            first = int(file.read())
        if first < 2:
            self.skipTest("no port is reserved here (net.ipv4.ip_unprivileged_port_start)")
        daemon = Daemon()
        if os.geteuid() == 0:
            probe = ["setpriv", "--bounding-set", "-net_bind_service"]
            if subprocess.run([*probe, "true"], capture_output=True).returncode:
                self.skipTest("setpriv cannot take a capability away; run it as another user")
            daemon.command = probe + daemon.command
        with daemon, Client(daemon) as client:
            number = client.call("TCPSocket")["socket"]
            error = client.error("TCPBind", socket=number, port=min(first - 1, 1023), address="127.0.0.77")
            data = self.check_error(error, -10013, "EACCES", "connect", False)
            self.assertEqual(data["errno"], "EACCES")
            client.call("TCPBind", socket=number, port=0)

    def test_twice(self):
        number, port = self.bound()
        self.fails(-10022, "EINVAL", "TCPBind", [number, 0])
        self.client.call("TCPListen", [number])
        self.fails(-10022, "EINVAL", "TCPBind", [number, 0])
        self.assertEqual(self.row(number)["local_port"], port)
        peer = self.use(servers.Server())
        connected = self.client.connect(peer.port)
        self.fails(-10022, "EINVAL", "TCPBind", [connected, 0])
        self.fails(-10022, "EINVAL", "TCPListen", [connected])
        self.fails(-10022, "EINVAL", "TCPAccept", [connected])


class Family(ServerCase):
    def serve(self, family, address=None):
        number = self.socket(**({"family": family} if family else {}))
        where = {} if address is None else {"address": address}
        result = self.client.call("TCPBind", socket=number, port=0, **where)
        self.client.call("TCPListen", [number])
        return number, result["address"], result["port"]

    def check(self, number, port, address):
        sock = self.dial(port, address)
        accepted = self.accept(number)
        self.assertEqual(accepted["remote_address"], address)
        self.assertEqual(accepted["local_address"], address)
        self.assertEqual((accepted["remote_port"], accepted["local_port"]), (sock.getsockname()[1], port))
        self.assertEqual(self.client.call("TCPGetRemoteAddr", [accepted["socket"]]),
                         {"address": address, "port": sock.getsockname()[1]})
        self.assertEqual(self.client.call("TCPGetMyAddr", [accepted["socket"]]), {"address": address})
        self.assertEqual(self.client.call("TCPGetMyPort", [accepted["socket"]]), {"port": port})
        self.assertEqual(self.row(accepted["socket"])["remote_address"], address)
        self.works(accepted, sock)

    def test_ipv4(self):
        for address in (None, "0.0.0.0"):
            number, bound, port = self.serve("ipv4", address)
            self.assertEqual(bound, "0.0.0.0")
            self.check(number, port, "127.0.0.1")
            if ipv6_works():
                self.refuses(port, "::1")

    @needs_ipv6
    def test_ipv6_only(self):
        for address in (None, "::"):
            number, bound, port = self.serve("ipv6", address)
            self.assertEqual(bound, "::")
            self.check(number, port, "::1")
            self.refuses(port)

    @needs_ipv6
    def test_any_serves_both(self):
        for family, address in ((None, None), ("any", None), ("any", "::")):
            number, bound, port = self.serve(family, address)
            self.assertEqual(bound, "::")
            self.check(number, port, "127.0.0.1")
            self.check(number, port, "::1")

    @needs_ipv6
    def test_an_address_says_which(self):
        number, _, port = self.serve("any", "127.0.0.1")
        self.check(number, port, "127.0.0.1")
        self.refuses(port, "::1")
        number, _, port = self.serve("any", "::1")
        self.check(number, port, "::1")
        self.refuses(port)

    def test_an_address_of_another_family(self):
        for family, address in (("ipv4", "::1"), ("ipv4", "::"), ("ipv6", "127.0.0.1"), ("ipv6", "::ffff:127.0.0.1")):
            number = self.socket(family=family)
            self.fails(-10047, "EAFNOSUPPORT", "TCPBind", socket=number, port=0, address=address, stage="connect",
                       retryable=False)
        self.fails(-32602, "INVALID_PARAMS", "TCPSocket", family="ipx")


class SlowService(ServerCase):
    """A service name whose look-up has to wait, as the one resolver thread hangs."""
    DAEMON_OPTIONS = {"resolver": True, "config": {"threads.resolver": 1, "threads.resolver_max": 1, "connect.lookup_timeout": "400ms"}}

    def setUp(self):
        super().setUp()
        self.service, _ = free_service()
        self.other = self.open_client()
        self.hung = self.other.send("TCPName2Addr", hostname="hang-x.test", timeout_ms=60000)
        self.other.call("Broker.Hello")

    def bind(self, number, **kw):
        id = self.client.send("TCPBind", socket=number, port=self.service, address="127.0.0.77", **kw)
        self.client.call("Broker.Hello")
        return id

    def test_deadlines(self):
        number = self.socket()
        for set, own, least in ((None, None, 390), (None, 100, 95), (200, None, 190), (1000, 50, 45), (None, 0, 0)):
            if set:
                self.client.call("Session.Set", lookup_timeout_ms=set)
            with Elapsed() as elapsed:
                error = self.client.error("TCPBind", {"socket": number, "port": self.service,
                                                      **({} if own is None else {"timeout_ms": own})})
            self.check_error(error, -10060, "ETIMEDOUT", "resolve", True)
            self.assertGreaterEqual(elapsed.ms, least)
            self.assertLess(elapsed.ms, least + 300 * SLOW)
            self.client.call("Session.Set", reset=True)
        self.client.call("TCPBind", [number, 0])

    def test_cancelled(self):
        number = self.socket()
        id = self.bind(number, timeout_ms=30000)
        self.assertEqual(self.client.call("Broker.Cancel", [id]), {"cancelled": True})
        self.check_error(self.client.answer(id)["error"], -10004, "EINTR")
        self.assertEqual(self.row(number)["state"], "unbound")
        self.client.call("TCPBind", [number, 0])

    def test_what_happens_to_the_socket_meanwhile(self):
        closed, held = self.socket(), self.socket()
        ids = [self.bind(number, timeout_ms=30000) for number in (closed, held)]
        self.client.call("TCPClose", [closed])
        self.check_error(self.client.answer(ids[0])["error"], -10053, "ECONNABORTED")
        self.fails(-33002, "BUSY", "TCPBind", [held, 0])
        self.fails(-33002, "BUSY", "TCPBind", [held, self.service])
        self.fails(-33002, "BUSY", "TCPTransfer", [held, "other"])
        self.fails(-33002, "BUSY", "TCPOffer", [held])
        self.fails(-10022, "EINVAL", "TCPListen", [held])
        self.other.call("Broker.Cancel", [self.hung])
        with open(self.daemon.release_path, "w", encoding="ascii"):
            pass  # the thread is free now
        self.addCleanup(os.unlink, self.daemon.release_path)
        self.assertEqual(self.client.answer(ids[1])["result"]["address"], "127.0.0.77")
        self.client.call("TCPTransfer", [held, "other"])

    def test_the_client_goes_meanwhile(self):
        with self.daemon.client() as client:
            number = client.call("TCPSocket")["socket"]
            client.send("TCPBind", socket=number, port=self.service)
            client.call("Broker.Hello")
        self.check_stats("sockets", 0)


class Listen(ServerCase):
    def test_the_order(self):
        number = self.socket()
        self.fails(-10022, "EINVAL", "TCPListen", [number], stage="request", retryable=False)
        self.fails(-10022, "EINVAL", "TCPAccept", [number], stage="request", retryable=False)
        port = self.client.call("TCPBind", socket=number, port=0, address="127.0.0.1")["port"]
        self.fails(-10022, "EINVAL", "TCPAccept", [number])
        self.refuses(port)
        self.client.call("TCPListen", [number])
        self.works(*reversed((self.dial(port), self.accept(number))))

    def test_the_backlog(self):
        number, port = self.listening(backlog=1)
        # Linux lets one more wait than it is told
        waiting = [self.dial(port) for _ in range(2)]
        with self.assertRaises(TimeoutError):
            socket.create_connection(("127.0.0.1", port), 0.3).close()
        self.assertEqual(self.client.call("TCPListen", socket=number, backlog=10), {"status": 0})
        waiting += [self.dial(port, timeout=5) for _ in range(5)]
        for sock in waiting:
            accepted = self.accept(number, timeout_ms=5000)
            self.assertEqual(accepted["remote_port"], sock.getsockname()[1])
            self.works(accepted, sock)

    def test_again_while_an_accept_waits(self):
        number, port = self.listening()
        id = self.waiting_accept(number)
        self.client.call("TCPListen", [number])
        sock = self.dial(port)
        self.works(self.client.wait(id), sock)

    def test_backlogs_that_are_none(self):
        number, _ = self.bound()
        for backlog in (0, -1, 65536, "5", 1.5, True):
            data = self.fails(-32602, "INVALID_PARAMS", "TCPListen", socket=number, backlog=backlog)
            self.assertEqual(data["param"], "backlog")
        self.assertEqual(self.row(number)["state"], "bound")
        self.client.call("TCPListen", socket=number, backlog=65535)


class Close(ServerCase):
    def test_complete_and_abort(self):
        for option in ({}, {"option": 0}, {"option": 2}):
            with self.subTest(option=option):
                number, port = self.listening()
                fds = self.daemon.n_sockets()
                kept = self.dial(port)
                accepted = self.accept(number)
                unaccepted = [self.dial(port) for _ in range(3)]
                unaccepted[0].sendall(b"unread")
                self.assertEqual(self.client.call("TCPClose", socket=number, **option), {"status": 0, "discarded": 0})
                for sock in unaccepted:
                    self.is_reset(sock)
                self.refuses(port)
                self.works(accepted, kept)
                for method, params in (("TCPAccept", {}), ("TCPListen", {}), ("TCPClose", {}), ("TCPGetMyPort", {})):
                    self.fails(-10038, "ENOTSOCK", method, socket=number, **params)
                self.client.call("TCPClose", socket=accepted["socket"], option=2)
                wait_until(lambda: self.daemon.n_sockets() == fds - 1, 5, "the descriptors being closed")

    def test_an_accept_that_waits(self):
        for option in (0, 2):
            number, port = self.listening()
            id = self.waiting_accept(number)
            closing = self.client.send("TCPClose", [number, option])
            self.check_error(self.client.answer(id)["error"], -10053, "ECONNABORTED", "io", False)
            self.client.wait(closing)
            self.refuses(port)

    def test_the_accept_is_answered_before_the_close(self):
        number, _ = self.listening()
        token = self.client.call("TCPOffer", [number])["token"]
        raw = self.open_raw()
        raw.ask({"jsonrpc": "2.0", "id": 0, "method": "TCPClaim", "params": [token]})
        raw.write_line(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "TCPAccept", "params": [number]}))
        raw.write_line(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "TCPClose", "params": [number]}))
        self.assertEqual([raw.read()["id"], raw.read()["id"]], [1, 2])

    def test_partial_and_other_options(self):
        number, port = self.listening()
        self.fails(-10057, "ENOTCONN", "TCPClose", [number, 1])
        for option in (3, -1):
            self.fails(-517, "BAD_CLOSE_OPTION", "TCPClose", [number, option])
        id = self.waiting_accept(number)
        self.fails(-10057, "ENOTCONN", "TCPClose", [number, 1])
        sock = self.dial(port)
        self.works(self.client.wait(id), sock)

    def test_before_listening(self):
        for prepare in (self.socket, lambda: self.bound()[0]):
            for option in (0, 2):
                fds = self.daemon.n_sockets()
                number = prepare()
                self.client.call("TCPClose", [number, option])
                self.fails(-10038, "ENOTSOCK", "TCPClose", [number])
                wait_until(lambda: self.daemon.n_sockets() == fds, 5, "the descriptor being closed")

    def test_what_only_connected_sockets_do(self):
        sockets = {"unbound": self.socket(), "bound": self.bound()[0], "listening": self.listening()[0]}
        for state, number in sockets.items():
            for method, params in (("TCPSend", {"data": "x"}), ("TCPSend", {"data_base64": "AA=="}), ("TCPReceive", {}),
                                   ("TCPReceive", {"timeout_ms": 0}), ("TCPGetRemoteAddr", {}),
                                   ("TCPClose", {"option": 1}),
                                   ("TCPStartTLS", {"server_name": "localhost"}), ("TCPStartTLS", {"verify": False})):
                with self.subTest(state=state, method=method):
                    data = self.fails(-10057, "ENOTCONN", method, socket=number, **params, retryable=False)
                    self.assertNotIn("errno", data)
            self.assertEqual(self.row(number)["state"], state)
            self.client.call("TCPBlock", [number, 1])
        for method in ("TCPGetMyPort", "TCPGetMyAddr"):
            self.fails(-10022, "EINVAL", method, [sockets["unbound"]])


class Rows(ServerCase):
    def test_broker_list(self):
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])
        common = {"session": self.client.call("Broker.Hello")["session"], "uid": os.geteuid(), "pid": os.getpid(),
                  "secure": False, "verified": False, "bytes_in": 0, "bytes_out": 0}

        def row(number):
            row = self.row(number)
            self.assertLess(row.pop("age_ms"), 60000 * SLOW)
            return row

        number = self.socket(thread="t")
        self.assertEqual(row(number), {**common, "socket": number, "state": "unbound", "owner": "t"})
        bound = self.client.call("TCPBind", socket=number, port=0, address="127.0.0.1", thread="t")
        local = {"local_address": "127.0.0.1", "local_port": bound["port"]}
        self.assertEqual(row(number), {**common, **local, "socket": number, "state": "bound", "owner": "t"})
        self.client.call("TCPListen", socket=number, thread="t")
        self.assertEqual(row(number), {**common, **local, "socket": number, "state": "listening", "owner": "t"})
        sock = self.dial(bound["port"])
        accepted = self.accept(number, thread="t")["socket"]
        self.works(accepted, sock, thread="t")
        self.assertEqual(row(accepted), {**common, **local, "socket": accepted, "state": "connected", "owner": "t",
                                         "remote_address": "127.0.0.1", "remote_port": sock.getsockname()[1],
                                         "bytes_in": 13, "bytes_out": 13})
        sock.shutdown(socket.SHUT_WR)
        self.check_end(self.client.call("TCPReceive", socket=accepted, thread="t"))
        self.assertEqual(row(accepted)["state"], "peer_closed")


KILLED = """
import json, socket, sys, time
broker = socket.socket(socket.AF_UNIX)
broker.connect(sys.argv[1])
answers = broker.makefile("r")
def ask(id, method, params):
    broker.sendall(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode() + b"\\n")
def call(method, **params):
    ask(0, method, params)
    return json.loads(answers.readline())["result"]
for turn in range(50):
    number = call("TCPSocket")["socket"]
    port = call("TCPBind", socket=number, port=0, address="127.0.0.1")["port"]
    if turn % 5:
        call("TCPListen", socket=number)
        ask(number, "TCPAccept", {"socket": number})
        if turn % 5 == 1:
            ask(-number, "TCPConnect", {"hostname": "127.0.0.1", "port": port})
            answers.readline(), answers.readline()
call("Broker.Hello")
print(port, flush=True)
time.sleep(600)
"""


class Killed(ServerCase):
    def test_all_is_closed(self):
        fds = self.daemon.n_sockets()
        child = subprocess.Popen([sys.executable, "-c", KILLED, self.daemon.socket_path], stdout=subprocess.PIPE,
                                 text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        port = int(child.stdout.readline())
        kept = self.dial(port)
        self.assertGreaterEqual(len(self.client.call("Broker.List")["sockets"]), 50)
        child.send_signal(signal.SIGKILL)
        # the accepted connection ends with its program, one way or the other
        try:
            self.assertEqual(kept.recv(1), b"")
        except ConnectionResetError:
            pass
        wait_until(lambda: self.client.call("Broker.List")["sockets"] == [], 5, "its sockets being gone")
        wait_until(lambda: self.daemon.n_sockets() == fds, 5, "the descriptors being closed")
        wait_until(lambda: self.client.call("Broker.Stats")["requests_running"] == 1, 5, "no request being left")
        self.refuses(port)

    def test_the_connection_is_closed(self):
        other = self.open_client()
        self.client, client = other, self.client
        number, port = self.listening()
        self.waiting_accept(number)
        unaccepted = self.dial(self.listening()[1])
        other.close()
        self.client = client
        wait_until(lambda: self.client.call("Broker.Stats")["sockets"] == 0, 5, "its sockets being gone")
        self.is_reset(unaccepted)
        self.refuses(port)

    def test_a_half_closed_client_still_accepts(self):
        other = self.open_client()
        self.client, client = other, self.client
        number, port = self.listening()
        id = self.waiting_accept(number)
        other.half_close()
        sock = self.dial(port)
        self.assertEqual(other.wait(id)["remote_port"], sock.getsockname()[1])
        self.assertEqual(sock.recv(1), b"")
        self.client = client


class Stop(ServerCase):
    def test_the_broker_stops(self):
        with Daemon("--set", "stop.drain_timeout=300ms") as daemon, Client(daemon) as self.client:
            number, port = self.listening()
            id = self.waiting_accept(number)
            daemon.terminate()
            daemon.wait_log("SIGTERM|stop")
            self.check_error(self.client.answer(id)["error"], -33005, "SHUTTING_DOWN", "broker", True)
            self.assertEqual(daemon.wait_exit(), 0)
            self.refuses(port)


if __name__ == "__main__":
    main()

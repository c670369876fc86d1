"""The policy beside the table: who asks, which method, what is reported, counted, logged and reloaded, Policy.Test and
Policy.Show, the command; listening, accepting, TLS, pools, doors."""
import contextlib
import grp
import json
import os
import pwd
import re
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from doors import DoorTestCase
from harness import Raw, daemon_path, main, seconds, wait_until
from socks_test import GREETING, LOCALHOST, request

USER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
OTHER = "nobody"


def rule(name, verdict="deny", **conditions):
    return f'[rule "{name}"]\nverdict = {verdict}\n' + "".join(f"{key} = {value}\n" for key, value in conditions.items())


class PolicyTestCase(DoorTestCase):
    def start(self, text="", *args, **kw):
        super().start(text, *args, **kw)
        self.client = self.use_client()
        return self.daemon

    def use_client(self):
        client = self.daemon.client()
        self.addCleanup(client.close)
        return client

    def denied(self, method, *params, by=None, client=None, **named):
        error = (client or self.client).error(method, list(params) or named)
        self.assertEqual((error.code, error.symbol, error.stage, error.retryable), (-10013, "EACCES", "policy", False), error)
        self.assertEqual(error.data.get("rule"), by)
        return error

    def passes(self, method, *params, **named):
        """Whatever comes of it then."""
        message = self.client.answer(self.client.send(method, list(params) or named))
        self.assertNotEqual(message.get("error", {}).get("data", {}).get("stage"), "policy", message)
        return message.get("result")

    def stat(self, *names):
        stats = self.client.call("Broker.Stats")
        return tuple(stats[name] for name in names)

    def hits(self):
        return {each["name"]: each["hits"] for each in self.client.call("Policy.Show")["rules"]}


class Rules(PolicyTestCase):
    def test_what_is_told(self):
        self.start(rule("first", "allow", ports=1) + "\n# why\n" + rule("port", ports="9-11") + "[socks]\nsocket =\n")
        error = self.denied("TCPConnect", "127.0.0.1", 9, by="port")
        path = os.path.join(self.daemon.folder, "tcpbroker.conf")
        with open(path, encoding="utf-8") as file:
            line = file.read().splitlines().index('[rule "port"]') + 1
        self.assertEqual((error.data["file"], error.data["line"]), (path, line))
        for part in (f"{path}:{line}", '"port"', "tcpbroker policy test", "127.0.0.1"):
            self.assertIn(part, error.message)
        self.assertNotIn("preset", error.data)
        self.daemon.wait_log(rf"connect denied: .* uid {os.getuid()} .*\[EACCES\]")
        self.daemon.wait_log(rf"policy: rule port \({re.escape(path)}:{line}\) denies uid {os.getuid()} pid {os.getpid()} TCPConnect ")
        self.assertEqual(self.stat("policy_denied", "policy_reported", "connects_failed", "sockets"), (1, 0, 1, 0))

    def test_rule_of_the_command_line(self):
        self.start("", "--set", 'rule "x".verdict=deny', "--set", 'rule "x".ports=9')
        error = self.denied("TCPConnect", "127.0.0.1", 9, by="x")
        self.assertEqual((error.data["file"], error.data.get("line")), ("--set", None))
        self.assertIn("(--set)", error.message)

    def test_users_and_groups(self):
        server = self.use(servers.Server())
        for which in ({"users": USER}, {"users": os.getuid()}, {"groups": GROUP}, {"groups": os.getgid()},
                      {"users": OTHER, "groups": GROUP}):
            with self.subTest(which):
                self.start(rule("some", **which))
                self.denied("TCPConnect", "127.0.0.1", server.port, by="some")
        for which in ({"users": OTHER}, {"users": 4000000000}, {"groups": 4000000000}):
            with self.subTest(which):
                self.start(rule("others", **which))
                self.assertIn("socket", self.client.call("TCPConnect", ["127.0.0.1", server.port]))
                self.reload(rule("some", "allow", **which) + rule("rest"))
                self.denied("TCPConnect", "127.0.0.1", server.port, by="rest")

    @unittest.skipIf(os.getuid() != 0, "needs root, to be somebody else")
    def test_another_user(self):
        """With the groups that the system says he has: those of the process count, not those of the databases."""
        server = self.use(servers.Server())
        self.start(f"[listen]\nmode = 0666\n" + rule("him", users=OTHER) + rule("group", groups=4000000000))
        os.chmod(self.daemon.folder, 0o755)
        him = pwd.getpwnam(OTHER).pw_uid
        for uid, groups, wanted in ((him, [], "him"), (him + 7, [5, 4000000000], "group"), (him + 7, [5], None)):
            with self.as_user(uid, groups), Raw(self.daemon) as raw:
                answer = raw.ask({"jsonrpc": "2.0", "id": 1, "method": "TCPConnect", "params": ["127.0.0.1", server.port]})
            self.assertEqual(answer.get("error", {}).get("data", {}).get("rule"), wanted, answer)

    @contextlib.contextmanager
    def as_user(self, uid, groups):
        before = os.getgroups()
        os.setgroups(groups)
        os.setegid(12345)
        os.seteuid(uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(before)

    def test_methods(self):
        server = self.use(servers.Server())
        self.start(rule("attach", methods="TCPAttach TCPSend Broker.Errors") + rule("name", methods="TCPName2Addr", hosts="localhost"))
        number = self.client.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
        self.denied("TCPAttach", socket=number, by="attach")
        self.denied("TCPSend", number, "x", by="attach")
        self.denied("Broker.Errors", by="attach")
        self.denied("TCPName2Addr", "LocalHost", by="name")
        self.client.call("TCPClose", [number])
        self.client.call("TCPAddr2Name", ["127.0.0.1"])
        # TCPConnect with attach is a TCPConnect
        self.assertEqual(self.hits(), {"attach": 3, "name": 1})

    def test_all_methods_at_once(self):
        """A rule without conditions is about those that reach out or let in; the rest goes on."""
        server = self.use(servers.Server())
        self.start("")
        number = self.client.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
        bound = self.client.call("TCPSocket")["socket"]
        self.reload(rule("all"))
        for method, params in (("TCPConnect", ["localhost", 80]), ("TCPPing", ["127.0.0.1"]), ("TCPPing", ["localhost"]),
                               ("TCPName2Addr", ["localhost"]), ("TCPAddr2Name", ["127.0.0.1"]), ("TCPBind", [bound, 0]),
                               ("TCPBind", [bound, "http"]), ("TCPStartTLS", [number])):
            with self.subTest(method=method, params=params):
                self.denied(method, *params, by="all")
        self.assertEqual(self.client.call("TCPSend", [number, "hello\n"]), {"sent": 6})
        self.assertEqual(self.client.call("TCPReceive", {"socket": number, "exact": 6})["data"], "hello\n")
        self.client.call("TCPClose", [number])
        self.assertEqual(self.stat("policy_denied"), (8,))

    def test_tls(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        self.start(rule("plain", secure="no") + rule("unverified", verify="no"))
        self.denied("TCPConnect", "localhost", server.port, by="plain")
        self.denied("TCPConnect", "localhost", server.port, True, False, by="unverified")
        result = self.client.call("TCPConnect", ["localhost", server.port, True])
        self.assertTrue(result["tls"]["verified"])

    def test_start_tls(self):
        server = self.use(servers.Server())
        self.start(rule("unverified", methods="TCPStartTLS", verify="no") +
                   rule("there", methods="TCPStartTLS", hosts="localhost", addresses="127.0.0.0/8", ports=server.port))
        number = self.client.call("TCPConnect", ["localhost", server.port])["socket"]
        self.denied("TCPStartTLS", number, False, by="unverified")
        self.denied("TCPStartTLS", number, by="there")
        # nothing has happened to it
        self.client.call("TCPSend", [number, "x\n"])
        other = self.client.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
        self.passes("TCPStartTLS", socket=other, server_name="localhost", timeout_ms=1)

    def test_report(self):
        server = self.use(servers.Server())
        self.start(rule("watch", "report", ports=server.port) + rule("rest", ports=9))
        for _ in range(5):
            self.client.call("TCPConnect", ["127.0.0.1", server.port])
        self.assertEqual(self.stat("policy_reported", "policy_denied", "connects_ok"), (5, 0, 5))
        self.assertEqual(self.hits(), {"watch": 5, "rest": 0})
        line = rf"policy: rule watch \(.*:\d+\) reports uid \d+ pid \d+ TCPConnect host 127\.0\.0\.1 address 127\.0\.0\.1 port {server.port}"
        self.daemon.wait_log(line)
        self.assertLess(self.count(line), 5)  # one a second at most
        wait_until(lambda: self.client.call("TCPConnect", ["127.0.0.1", server.port]) and
                   re.search(r"reports .*\(and \d+ more since the last such line\)", self.daemon.log()), what="a line that counts", step=0.2)

    def test_no_policy(self):
        self.start("")
        self.assertEqual(self.client.call("Policy.Show"), {"preset": "open", "preset_hits": 0, "rules": []})
        self.assertEqual(self.client.call("Policy.Test", ["127.0.0.1", 80]),
                         {"verdict": "allow", "preset": "open", "uid": os.getuid(), "looked_up": False,
                          "addresses": [{"address": "127.0.0.1", "scope": "loopback", "verdict": "allow"}]})

    def test_some_addresses_are_left_out(self):
        """Of a name with three addresses two are denied; the third is reached, though it comes last."""
        with servers.Server(address="127.0.0.4") as server:
            self.start(rule("two", addresses="127.0.0.2-127.0.0.3"), resolver=True)
            result = self.client.call("TCPConnect", {"hostname": "many.test", "port": server.port, "explain": True})
            self.assertEqual((result["remote_address"], result["addresses"]), ("127.0.0.4", ["127.0.0.4"]))
            self.assertEqual(self.stat("policy_denied"), (0,))
            self.assertEqual(self.hits(), {"two": 1})

    def test_ping(self):
        self.start(rule("ping", methods="TCPPing", addresses="::1") + "[policy]\npreset = open\n", resolver=True)
        self.denied("TCPPing", "::1", by="ping")
        self.denied("TCPPing", "six.test", by="ping")
        result = self.passes("TCPPing", "dual.test")
        if result:
            self.assertEqual(result["address"], "127.0.0.1")

    def test_a_name_that_hangs_is_not_asked_for(self):
        self.start(rule("names", hosts="*.test"), resolver=True)
        self.denied("TCPConnect", "hang-x.test", 80, by="names")
        self.denied("TCPPing", "hang-x.test", by="names")
        self.denied("TCPName2Addr", "HANG-x.test.", by="names")
        self.assertEqual(self.stat("lookups"), (0,))


class Listening(PolicyTestCase):
    def listen(self, address="127.0.0.1", port=0):
        number = self.client.call("TCPSocket")["socket"]
        got = self.client.call("TCPBind", {"socket": number, "port": port, "address": address})["port"]
        self.client.call("TCPListen", [number])
        return number, got

    def test_bind(self):
        port = servers.closed_port()
        self.start(rule("here", "allow", methods="TCPBind TCPListen TCPAccept", listen_addresses="127.0.0.1", listen_ports=port) +
                   rule("rest", methods="TCPBind TCPListen TCPAccept"))
        number = self.client.call("TCPSocket")["socket"]
        self.denied("TCPBind", socket=number, port=port, address="127.0.0.2", by="rest")
        self.denied("TCPBind", socket=number, port=port, by="rest")
        self.denied("TCPBind", socket=number, port=port + 1 if port < 65535 else port - 1, address="127.0.0.1", by="rest")
        self.denied("TCPBind", socket=number, port=port, address="::ffff:127.0.0.2", by="rest")
        self.assertEqual(self.client.call("TCPBind", {"socket": number, "port": port, "address": "127.0.0.1"})["port"], port)
        self.client.call("TCPListen", [number])

    def test_any_port(self):
        """Which one it is is known when it is bound: then TCPListen is denied."""
        self.start(rule("low", "allow", methods="TCPBind", listen_ports="1-2") + rule("rest", methods="TCPBind"))
        number = self.client.call("TCPSocket")["socket"]
        self.client.call("TCPBind", {"socket": number, "port": 0, "address": "127.0.0.1"})
        self.denied("TCPListen", number, by="rest")

    def test_accept(self):
        """Who may not come is sent away, and the next is waited for."""
        self.start(rule("peer", methods="TCPAccept", addresses="127.0.0.2"))
        number, port = self.listen("0.0.0.0")
        asked = self.client.send("TCPAccept", [number])
        for _ in range(3):
            away = socket.create_connection(("127.0.0.1", port), seconds(10), ("127.0.0.2", 0))
            self.assertEqual(self.gone(away) or b"", b"")
            away.close()
        with socket.create_connection(("127.0.0.1", port), seconds(10), ("127.0.0.3", 0)):
            self.assertEqual(self.client.answer(asked)["result"]["remote_address"], "127.0.0.3")
        # those that wait already
        early = [socket.create_connection(("127.0.0.1", port), seconds(10), (f"127.0.0.{i}", 0)) for i in (2, 2, 4)]
        self.assertEqual(self.client.call("TCPAccept", [number])["remote_address"], "127.0.0.4")
        self.client.call("TCPBlock", [number, 1])
        early.append(socket.create_connection(("127.0.0.1", port), seconds(10), ("127.0.0.2", 0)))
        self.assertEqual(self.client.error("TCPAccept", [number]).symbol, "EWOULDBLOCK")
        self.client.call("TCPBlock", [number, 0])
        self.assertEqual(self.client.error("TCPAccept", {"socket": number, "timeout_ms": 50}).symbol, "ETIMEDOUT")
        self.assertEqual(self.stat("accepts", "policy_denied", "sockets"), (2, 6, 3))
        for each in early:
            each.close()

    def test_accept_cancelled_and_closed(self):
        self.start(rule("peer", methods="TCPAccept", addresses="127.0.0.2"))
        number, port = self.listen("0.0.0.0")
        for end in ("cancel", "close"):
            asked = self.client.send("TCPAccept", [number])
            with socket.create_connection(("127.0.0.1", port), seconds(10), ("127.0.0.2", 0)) as away:
                away.settimeout(seconds(10))
                self.gone(away)
            if end == "cancel":
                self.assertTrue(self.client.call("Broker.Cancel", [asked])["cancelled"])
                self.assertEqual(self.client.answer(asked)["error"]["code"], -10004)
            else:
                self.client.call("TCPClose", [number])
                self.assertIn("error", self.client.answer(asked))

    def test_accept_by_method_and_port(self):
        self.start(rule("none", methods="TCPAccept", listen_addresses="loopback"))
        number, _ = self.listen()
        self.denied("TCPAccept", number, by="none")


class Doors(PolicyTestCase):
    def socks(self, where):
        sock = self.enter(where)
        sock.sendall(GREETING)
        self.assertEqual(servers.read_exactly(sock, 2), b"\5\0")
        return sock

    def code(self, where, host, port):
        sock = self.socks(where)
        sock.sendall(request(host, port))
        return servers.read_exactly(sock, 4)[1]

    def test_known_and_strangers(self):
        """Who comes by a Unix socket is known; by TCP it may be anybody: what is denied to some is denied to him, and what is
        allowed to some is not allowed to him."""
        server = self.use(servers.Server())
        tcp, tunnel = servers.closed_port(), servers.closed_port()
        doors = (f"[socks]\nsocket = {self.path('s')}\nlisten = 127.0.0.1:{tcp}\n" + self.tunnel(server.port, "t", secure="no") +
                 self.tunnel(server.port, "u", listen=f"127.0.0.1:{tunnel}", secure="no"))
        self.start(doors + rule("me", users=USER))
        self.assertEqual([self.code(where, LOCALHOST, server.port) for where in ("s", tcp)], [2, 2])
        self.reload(doors + rule("other", users=OTHER))
        self.assertEqual([self.code(where, LOCALHOST, server.port) for where in ("s", tcp)], [0, 2])
        self.reload(doors + rule("me", "allow", groups=GROUP) + rule("rest"))
        self.assertEqual([self.code(where, "localhost", server.port) for where in ("s", tcp)], [0, 2])
        self.exchange(self.enter("t"))
        try:
            self.assertIn(self.gone(self.enter(tunnel)), (b"", "reset"))
        except ConnectionResetError:
            pass  # sooner than connect(2) has returned
        self.daemon.wait_log(r"tunnel u denied: session \d+ uid -1 .*rule \"rest\".* \[EACCES\]")
        self.assertEqual(self.stats()["policy_denied"], 5)

    def test_nobody_is_connected_to(self):
        peer = self.use(servers.Peer())
        self.start(f"[socks]\nsocket = {self.path('s')}\n" + self.tunnel(peer.port, "t", "127.0.0.1", secure="no") +
                   rule("port", ports=peer.port))
        self.assertEqual(self.code("s", LOCALHOST, peer.port), 2)
        self.assertEqual(self.code("s", "localhost", peer.port), 2)
        self.gone(self.enter("t"))
        self.daemon.wait_log(r"tunnel t denied")
        self.denied("TCPConnect", "127.0.0.1", peer.port, by="port")
        self.denied("TCPConnect", hostname="127.0.0.1", port=peer.port, attach=True, by="port")
        self.reload("")
        self.client.call("TCPConnect", ["127.0.0.1", peer.port])
        # the first and only one that came is that after the reload
        peer.take().close()
        self.assertTrue(peer.nobody())
        self.wait_stat("socks_connections", 0)
        self.wait_stat("tunnel_connections", 0)


class Pools(PolicyTestCase):
    def pool(self, port, **more):
        return f'[pool "p"]\nconnect = localhost:{port}\n' + "".join(f"{key} = {value}\n" for key, value in more.items())

    def test_taken(self):
        server = self.use(servers.Server())
        pool = self.pool(server.port, min_idle=2)
        self.start(pool + rule("me", users=USER, addresses="loopback"))
        self.wait_stat("pool_idle", 2)
        self.denied("TCPConnect", "localhost", server.port, by="me")
        # it was put back, for who may have it; meanwhile one more may have been made
        self.assertEqual(self.stat("pool_taken"), (0,))
        wait_until(lambda: self.stat("pool_idle") >= (2,))
        self.reload(pool + rule("other", users=OTHER, addresses="loopback"))
        self.wait_stat("pool_idle", 2)
        self.assertTrue(self.client.call("TCPConnect", ["localhost", server.port])["pooled"])

    def test_not_made(self):
        server = self.use(servers.Server())
        for denied in (rule("there", addresses="loopback"), rule("name", hosts="localhost"),
                       "[policy]\npreset = internet\n"):
            with self.subTest(denied):
                self.start(self.pool(server.port) + denied)
                self.daemon.wait_log(r"pool p: no connection to localhost port \d+ can be made.*policy")
                self.assertEqual(self.stat("pool_idle", "pool_made"), (0, 0))

    def test_allowed_to_some(self):
        """It is made for who may have it, against a preset that others are kept by."""
        server = self.use(servers.Server())
        self.start("[policy]\npreset = internet\n" + self.pool(server.port) + rule("me", "allow", users=USER, addresses="loopback"))
        self.wait_stat("pool_idle", 1)
        self.assertTrue(self.client.call("TCPConnect", ["localhost", server.port])["pooled"])


class Reloading(PolicyTestCase):
    def test_while_a_name_is_looked_up(self):
        """What is in force when the addresses are there counts."""
        self.start("", resolver=True)
        asked = self.client.send("TCPConnect", ["wait-a.test", 9])
        self.wait_stat("lookups_running", 1)
        self.reload(rule("late", addresses="127.0.0.0/8"))
        with open(self.daemon.release_path, "w", encoding="ascii"):
            pass
        error = self.client.answer(asked)["error"]
        self.assertEqual((error["code"], error["data"]["rule"]), (-10013, "late"))

    def test_what_is_there_stays(self):
        server = self.use(servers.Server())
        self.start("")
        number = self.client.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
        self.reload(rule("all"))
        self.client.call("TCPSend", [number, "x\n"])
        self.assertEqual(self.client.call("TCPReceive", {"socket": number, "exact": 2})["data"], "x\n")

    def test_a_bad_rule_changes_nothing(self):
        self.start(rule("port", ports=9))
        path = os.path.join(self.daemon.folder, "tcpbroker.conf")
        for bad, what in ((rule("x", users="no-such-user-here"), "no user of this host"), (rule("x", groups="no-such-group-here"), "no group"),
                          (rule("x", ports="no-such-service"), "no service here"), (rule("x", methods="TCPConect"), "no method"),
                          (rule("x", verdict="maybe"), "verdict"), (rule("x", hosts="\u2488.example"), "cannot be a host's name"),
                          (rule("x", identity="nobody"), "identity nobody"), (rule("x", addresses="10.0.0.1/8"), "bits set"),
                          ('[rule "x"]\nports = 1\n', "has no verdict")):
            with self.subTest(bad):
                error = self.reload_fails(rule("port", ports=10) + bad)
                self.assertIn(what, error.message)
                self.assertRegex(error.message, rf"{re.escape(path)}:\d+: ")
                self.denied("TCPConnect", "127.0.0.1", 9, by="port")
                done = subprocess.run([daemon_path(), "--check-config", path], capture_output=True, text=True, timeout=seconds(20),
                                      check=False)
                self.assertEqual(done.returncode, 2)
                self.assertRegex(done.stderr, rf"^{re.escape(path)}:\d+: ")
                self.assertIn(what, done.stderr)


class Test(PolicyTestCase):
    """Policy.Test and the command say what would be."""

    def ask(self, **params):
        return self.client.call("Policy.Test", params)

    def test_answers(self):
        text = (rule("names", hosts="bad.test") + rule("here", addresses="127.0.0.3") + rule("watch", "report", addresses="127.0.0.4") +
                rule("serve", methods="TCPBind", listen_ports=99) + rule("attach", methods="TCPAttach") +
                rule("him", methods="TCPConnect", users=OTHER) + rule("plain", secure="no", ports=5))
        self.start(text, resolver=True)
        result = self.ask(hostname="many.test", port=80)
        self.assertEqual((result["verdict"], result["looked_up"], [each["verdict"] for each in result["addresses"]],
                          [each.get("rule") for each in result["addresses"]]),
                         ("allow", True, ["allow", "deny", "report"], [None, "here", "watch"]))
        result = self.ask(hostname="bad.test", port=80)
        self.assertEqual((result["verdict"], result["rule"], result["looked_up"], result["addresses"]), ("deny", "names", False, []))
        self.assertTrue(result["file"].endswith("tcpbroker.conf") and result["line"] > 0)
        result = self.ask(hostname="::ffff:127.0.0.3", port=80)
        self.assertEqual((result["verdict"], result["addresses"][0]["form"]), ("deny", "127.0.0.3"))
        self.assertEqual(self.ask(hostname="127.0.0.4", port="80")["verdict"], "report")
        self.assertEqual(self.ask(hostname="127.0.0.1", port=99, method="TCPBind")["rule"], "serve")
        self.assertEqual(self.ask(port=98, method="TCPBind")["verdict"], "allow")
        self.assertEqual(self.ask(method="TCPAttach")["rule"], "attach")
        self.assertEqual(self.ask(method="TCPSend")["verdict"], "allow")
        self.assertEqual(self.ask(hostname="127.0.0.1", port=5)["rule"], "plain")
        self.assertEqual(self.ask(hostname="127.0.0.1", port=5, secure=True)["verdict"], "allow")
        self.assertEqual(self.ask(hostname="127.0.0.3", method="TCPAccept")["rule"], "here")
        self.assertEqual(self.ask(hostname="127.0.0.3", method="TCPAddr2Name")["rule"], "here")
        self.assertEqual(self.ask(hostname="bad.test", method="TCPName2Addr")["rule"], "names")
        self.assertEqual(self.ask(hostname="bad.test", method="TCPPing")["rule"], "names")
        # nothing of that is counted
        self.assertEqual(self.stat("policy_denied", "policy_reported"), (0, 0))
        self.assertEqual(set(self.hits().values()), {0})

    def test_wrong_questions(self):
        self.start("", resolver=True)
        for params, member in (({}, "hostname"), ({"hostname": "localhost"}, "port"), ({"method": "TCPFoo"}, "method"),
                               ({"hostname": "localhost", "port": 1, "method": "TCPBind"}, "hostname"),
                               ({"hostname": "localhost", "method": "TCPAccept"}, "hostname"),
                               ({"port": "http", "method": "TCPBind"}, "port"),
                               ({"hostname": "127.0.0.1", "port": 1, "user": "no-such-user-here"}, "user")):
            with self.subTest(params):
                error = self.client.error("Policy.Test", params)
                self.assertEqual((error.code, error.data["param"]), (-32602, member))
        self.assertEqual(self.client.error("Policy.Test", ["missing.test", 80]).stage, "resolve")
        error = self.client.error("Policy.Test", {"hostname": "hang-a.test", "port": 80, "timeout_ms": 50})
        self.assertEqual((error.symbol, error.stage), ("ETIMEDOUT", "resolve"))
        asked = self.client.send("Policy.Test", ["hang-b.test", 80])
        self.wait_stat("lookups_running", 1)
        self.assertTrue(self.client.call("Broker.Cancel", [asked])["cancelled"])
        self.assertEqual(self.client.answer(asked)["error"]["code"], -10004)

    def test_users(self):
        self.start(rule("him", users=OTHER) + rule("group", groups=grp.getgrgid(pwd.getpwnam(OTHER).pw_gid).gr_name) +
                   rule("me", users=os.getuid()))
        for user, wanted in ((None, "me"), (USER, "me"), (str(os.getuid()), "me"), (OTHER, "him"), (str(pwd.getpwnam(OTHER).pw_uid), "him"),
                             ("4000000000", None)):
            with self.subTest(user):
                params = {"hostname": "127.0.0.1", "port": 1} | ({"user": user} if user else {})
                result = self.ask(**params)
                self.assertEqual(result.get("rule"), wanted)

    @unittest.skipIf(os.getuid() != 0, "needs root, to be somebody else")
    def test_who_may_ask(self):
        self.start(f"[listen]\nmode = 0666\n" + rule("him", users=OTHER))
        os.chmod(self.daemon.folder, 0o755)
        command = os.path.join(os.path.dirname(os.path.dirname(daemon_path())), "cli", "tcpbroker")
        him = pwd.getpwnam(OTHER)
        for words, status in ((["test", "127.0.0.1", "80"], 3), (["test", "--user", OTHER, "127.0.0.1", "80"], 3),
                              (["test", "--user", str(him.pw_uid), "127.0.0.1", "80"], 3),
                              (["test", "--user", "root", "127.0.0.1", "80"], 3), (["test", "--user", "0", "127.0.0.1", "80"], 3),
                              (["show"], 3)):
            done = subprocess.run([command, "--socket", self.daemon.socket_path, "policy", *words], capture_output=True, text=True,
                                  user=him.pw_uid, group=him.pw_gid, extra_groups=[], timeout=seconds(20), check=False)
            own = words[-1] == "80" and ("--user" not in words or words[2] in (OTHER, str(him.pw_uid)))
            self.assertEqual((done.returncode, done.stdout != ""), (status, own), done)

    def test_command(self):
        self.start(rule("port", ports=9) + rule("in", methods="TCPBind", listen_addresses="loopback"))
        command = os.path.join(os.path.dirname(os.path.dirname(daemon_path())), "cli", "tcpbroker")

        def run(*words):
            done = subprocess.run([command, "--socket", self.daemon.socket_path, *words], capture_output=True, text=True,
                                  timeout=seconds(20), check=False)
            return done.returncode, done.stdout, done.stderr

        status, out, _ = run("policy", "test", "127.0.0.1", "9")
        self.assertEqual(status, 3)
        self.assertRegex(out, r'^deny: rule "port" \(.*tcpbroker\.conf:\d+\)\n  deny    127\.0\.0\.1 \(loopback\) rule "port" line \d+\n$')
        status, out, _ = run("policy", "test", "--secure", "--user", "root", "127.0.0.1", "10")
        self.assertEqual((status, out), (0, "allow: no rule decides, policy.preset = open does\n  allow   127.0.0.1 (loopback)\n"))
        status, out, _ = run("--json", "policy", "test", "127.0.0.1", "9")
        self.assertEqual((status, json.loads(out)["verdict"]), (3, "deny"))
        self.assertEqual(run("policy", "test", "--method", "TCPBind", "127.0.0.1", "80")[0], 3)
        self.assertEqual(run("policy", "test", "--method", "TCPAttach")[0], 0)
        self.assertEqual(run("policy", "test", "--no-verify", "--identity", "x", "127.0.0.1", "80")[0], 0)
        status, out, _ = run("policy", "show")
        self.assertEqual(status, 0)
        self.assertRegex(out, r"(?m)^\d+ +deny +0  port +ports = 9$")
        self.assertRegex(out, r"(?m)^\d+ +deny +0  in +methods = TCPBind; listen_addresses = loopback$")
        self.assertRegex(out, r"(?m)^- +preset +0  open ")
        self.assertEqual(json.loads(run("--json", "policy", "show")[1])["preset"], "open")
        for words in (("policy",), ("policy", "x"), ("policy", "show", "x"), ("policy", "test", "a", "b", "c")):
            self.assertEqual(run(*words)[0], 2, words)
        # a connection is refused with the same exit status
        self.assertEqual(run("connect", "127.0.0.1", "9")[0], 3)
        self.assertEqual(run("check", "127.0.0.1", "9")[0], 3)


if __name__ == "__main__":
    main()

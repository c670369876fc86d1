#!/usr/bin/env python3
"""Policies made at random: what Policy.Test says is what TCPConnect does, by the same rule, and no address that it denies is tried.

$TCPBROKER_SEED repeats a run; TCPBROKER_FULL=1 makes 40 policies instead of 6."""
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import Client, Daemon, OwnDaemonTestCase, RpcError, main
from users import User, open_to_all

SEED = int(os.environ.get("TCPBROKER_SEED", random.SystemRandom().randrange(1 << 32)))
POLICIES, REQUESTS = (40 if os.environ.get("TCPBROKER_FULL") else 6), 12
USERS = (12001, 12002)
# of tests/support/slow_resolver.c, in several spellings
HOSTS = ("a.tls.test", "A.TLS.test", "b.c.tls.test", "many.test", "bücher.test", "XN--bcher-kva.TEST", "four.test", "six.test",
         "dual.test", "127.0.0.1", "127.0.0.2", "127.0.0.9", "::1", "::ffff:127.0.0.2", "0.0.0.0", "::", "64:ff9b::127.0.0.2",
         "2002:7f00:2::1")
CONDITIONS = {  # how often it is there, and what it may be
    "users": (0.3, ("12001", "12002", "0", "12001, 12002")),
    "hosts": (0.45, ("*.tls.test", "a.tls.test", "*.c.tls.test", "many.test", "bücher.test", "*.test", "six.test, dual.test")),
    "addresses": (0.4, ("127.0.0.0/8", "127.0.0.2", "127.0.0.2/31", "::1", "loopback", "127.0.0.1, ::1", "own", "private", "public",
                        "::/0", "0.0.0.0/0")),
    "ports": (0.3, ("1", "2-9", "9", "1, 9")),
    "secure": (0.15, ("yes", "no")),
    "verify": (0.1, ("yes", "no")),
    "methods": (0.15, ("TCPConnect", "TCPPing", "TCPConnect, TCPBind")),
}


def policy(chance):
    lines = ["[listen]", "mode = 0777", "[connect]", "backoff_after = 0", "[policy]",
             "preset = " + chance.choice(("open", "open", "internet", "intranet"))]
    for i in range(chance.randrange(1, 7)):
        lines += [f'[rule "r{i}"]', "verdict = " + chance.choice(("allow", "deny", "deny", "report"))]
        has = {name: chance.choice(values) for name, (how_often, values) in CONDITIONS.items() if chance.random() < how_often}
        if has.get("secure") == "no":
            has.pop("verify", None)  # it would fit nothing, and is refused
        lines += [f"{name} = {value}" for name, value in has.items()]
    return "\n".join(lines) + "\n"


@unittest.skipIf(os.getuid() != 0, "needs root, to be somebody else")
class Random(OwnDaemonTestCase):
    def compare(self, said, client, request):
        """Returns whether it was denied."""
        try:
            client.call("TCPConnect", timeout_ms=300, **request)
        except RpcError as error:
            data = error.data
            self.assertEqual(error.symbol == "EACCES", said["verdict"] == "deny", (said, data))
            if error.symbol == "EACCES":
                self.assertEqual([data.get(key) for key in ("rule", "file", "line")], [said.get(key) for key in ("rule", "file", "line")])
            allowed = {row["address"] for row in said["addresses"] if row["verdict"] != "deny"}
            self.assertLessEqual({row["address"] for row in data.get("attempts", ())}, allowed)
            return error.symbol == "EACCES"
        self.fail("nobody listens there")

    def test_what_is_said_is_done(self):
        chance = random.Random(SEED)
        n, denied = 0, 0
        for _ in range(POLICIES):
            text = policy(chance)
            with Daemon(config=text, resolver=True) as daemon, User(USERS[0]) as one, User(USERS[1]) as two, Client(daemon) as root:
                open_to_all(daemon)
                with one.client(daemon) as first, two.client(daemon) as second:
                    for uid, client in zip((*USERS, 0), (first, second, root)):
                        for _ in range(REQUESTS):
                            request = {"hostname": chance.choice(HOSTS), "port": chance.choice((1, 2, 9)),
                                       "secure": chance.random() < 0.3, "verify": chance.random() < 0.7}
                            with self.subTest(seed=SEED, uid=uid, request=request, policy=text):
                                said = root.call("Policy.Test", user=str(uid), **request)
                                self.assertEqual(client.call("Policy.Test", **request), said)
                                denied += self.compare(said, client, request)
                                n += 1
        self.assertTrue(n / 10 < denied < n or not os.environ.get("TCPBROKER_FULL"), (n, denied))
        print(f"\n  seed {SEED}: {n} requests, {denied} denied", flush=True)


if __name__ == "__main__":
    main()

"""Shell scripts that share a durable session: tcpbroker session open and close, and $TCPBROKER_SESSION."""
import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import harness
import servers
from harness import TestCase, main, wait_until

COMMAND = os.environ.get("TCPBROKER") or os.path.join(os.path.dirname(harness.daemon_path()), "..", "cli", "tcpbroker")


@unittest.skipUnless(os.access(COMMAND, os.X_OK), f"no command at {COMMAND}; build it or set TCPBROKER")
class SessionOfTheShell(TestCase):
    def setUp(self):
        super().setUp()
        if "Session.Open" not in self.client.call("Broker.Hello")["methods"]:
            self.skipTest("this daemon has no durable sessions; one whose Broker.Hello lists Session.Open runs it")

    def environment(self, token=None):
        kept = {name: value for name, value in os.environ.items() if name not in ("TCPBROKER_SESSION", "XDG_RUNTIME_DIR")}
        kept.update(TCPBROKER_SOCKET=self.daemon.socket_path, PATH=os.path.abspath(os.path.dirname(COMMAND)) + ":" + kept["PATH"])
        return kept if token is None else {**kept, "TCPBROKER_SESSION": token}

    def run_command(self, *words, token=None, stdin=b""):
        return subprocess.run([COMMAND, *map(str, words)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=harness.seconds(20), env=self.environment(token), check=False)

    def ask(self, *words, token=None, stdin=b""):
        """What it printed, read as JSON; it must have worked."""
        done = self.run_command(*words, token=token, stdin=stdin)
        self.assertEqual((done.returncode, done.stderr), (0, b""), words)
        return json.loads(done.stdout)

    def open_session(self, *words):
        done = self.run_command("session", "open", *words)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertRegex(done.stdout, rb"^[!-~]+\n$")
        return done.stdout.decode().strip()

    def refused(self, token, *words):
        done = self.run_command(*words, token=token)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertRegex(done.stderr, rb"TCPBROKER_SESSION.*session open.*unset.*\[BAD_TOKEN, request\]")
        self.assertNotIn(token.encode(), done.stderr)

    def test_a_socket_outlives_the_command(self):
        server = self.use(servers.Server())
        token = self.open_session()
        number = self.ask("call", "TCPConnect", "hostname=127.0.0.1", f"port={server.port}", token=token)["socket"]
        self.assertEqual(self.ask("call", "TCPSend", f"socket={number}", "data=hello", token=token), {"sent": 5})
        self.assertEqual(self.ask("call", "TCPReceive", "--json", f'{{"socket":{number},"exact":5,"timeout_ms":5000}}', token=token),
                         {"received": 5, "data": "hello"})
        rows = [row["socket"] for row in self.ask("ls", "--json", token=token)["sockets"]]
        self.assertIn(number, rows)
        self.assertEqual(self.run_command("call", "TCPSend", f"socket={number}", "data=x").returncode, 1, "not for others")
        self.run_command("session", "close", token=token)

    def test_lines_join_too(self):
        server = self.use(servers.Server())
        token = self.open_session()
        number = self.ask("call", "TCPConnect", "hostname=127.0.0.1", f"port={server.port}", token=token)["socket"]
        line = {"jsonrpc": "2.0", "id": 1, "method": "TCPSend", "params": [number, "hi"]}
        self.assertEqual(self.ask("call", "-", token=token, stdin=json.dumps(line).encode())["result"], {"sent": 2})
        self.run_command("session", "close", token=token)

    def test_close(self):
        peer = self.use(servers.Peer())
        token = self.open_session()
        self.ask("call", "TCPConnect", "hostname=127.0.0.1", f"port={peer.port}", token=token)
        connection = peer.take()
        done = self.run_command("session", "close", token=token)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
        try:
            self.assertEqual(connection.recv(1), b"")
        except ConnectionResetError:
            pass  # closed is closed
        self.refused(token, "ls")
        self.refused(token, "session", "close")

    def test_the_lease_ends(self):
        peer = self.use(servers.Peer())
        before = self.client.call("Broker.Stats")["leases_expired"]
        token = self.open_session("--lease", "200ms")
        done = self.run_command("call", "TCPConnect", "hostname=127.0.0.1", f"port={peer.port}", token=token)
        if done.returncode == 0:  # else the machine was slower than the lease
            peer.take()
        # asking with the token would be using it
        wait_until(lambda: self.client.call("Broker.Stats")["leases_expired"] > before, what="the end of the lease")
        self.refused(token, "ls")

    def test_wrong_tokens(self):
        for words in (("call", "Broker.Stats"), ("call", "-"), ("ls",), ("session", "close")):
            self.refused("0" * 32, *words)
        self.assertEqual(self.run_command("stats", token="0" * 32).returncode, 0)
        server = self.use(servers.Server())
        done = self.run_command("connect", "127.0.0.1", server.port, token="0" * 32, stdin=b"echo")
        self.assertEqual((done.returncode, done.stdout), (0, b"echo"))
        self.ask("call", "Broker.Hello", token="")

    def test_all_of_the_answer(self):
        result = self.ask("session", "open", "--json", "--lease", "1h")
        self.assertGreater(result["session"], 0)
        self.assertEqual(self.ask("call", "Broker.Hello", token=result["token"])["session"], result["session"])
        self.assertEqual(self.ask("session", "close", "--json", token=result["token"]), {"status": 0})

    def test_the_token_is_not_logged(self):
        token = self.open_session()
        self.ask("ls", "--json", token=token)
        self.run_command("session", "close", token=token)
        self.assertNotIn(token, self.daemon.log())

    def test_the_script_of_the_manual(self):
        with open(os.path.join(harness.ROOT, "docs", "man", "tcpbroker.1"), encoding="utf-8") as file:
            page = file.read()
        script = re.search(r"(?s)^TCPBROKER_SESSION=\$\(.*?(?=^\.fi)", page, re.M).group().replace("\\e", "\\").replace("\\-", "-")
        server = self.use(servers.Server())
        script, n = re.subn(r"port=7\b", f"port={server.port}", script.replace("hostname=localhost", "hostname=127.0.0.1"))
        self.assertEqual(n, 1)
        done = subprocess.run(["sh", "-euc", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment(),
                              timeout=harness.seconds(30), check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        lines = done.stdout.decode().splitlines()
        self.assertEqual([json.loads(line) for line in lines[:2]], [{"sent": 5}, {"received": 5, "data": "hello"}])
        self.assertIn("connected", lines[3])
        wait_until(lambda: self.client.call("Broker.Stats")["sessions_durable"] == 0, what="the end of the script's session")


if __name__ == "__main__":
    main()

"""Broker.Reload and SIGHUP: what is new is in force when the answer is there, or nothing has changed and the answer says why."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import Daemon, RpcError, daemon_path, wait_until


class Reload(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.cacerts = os.path.join(self.folder, "cacerts")
        os.mkdir(self.cacerts)
        self.options = {"tls.cacerts": self.cacerts, "tls.system_store": "no"}

    def start(self, **kw):
        daemon = Daemon(config=self.options, **kw)
        daemon.__enter__()
        self.addCleanup(daemon.__exit__, None, None, None)
        return daemon

    @staticmethod
    def configure(daemon, text):
        with open(os.path.join(daemon.folder, "tcpbroker.conf"), "w", encoding="utf-8") as file:
            file.write(text)

    def text(self, **more):
        return f"[tls]\ncacerts = {self.cacerts}\nsystem_store = no\n" + "".join(
            f"[{section}]\n{lines}\n" for section, lines in more.items())

    def trust(self, wanted):
        for name in os.listdir(self.cacerts):
            os.unlink(os.path.join(self.cacerts, name))
        if wanted:
            for name in os.listdir(certificates().cacerts):
                shutil.copy(os.path.join(certificates().cacerts, name), self.cacerts)

    def test_trust_comes_and_goes(self):
        daemon = self.start()
        with servers.Server(tls=servers.tls13()) as server, daemon.client() as client:
            self.assertEqual(client.error("TCPConnect", ["localhost", server.port, True]).code, -1027)
            self.trust(True)
            self.assertEqual(client.error("TCPConnect", ["localhost", server.port, True]).code, -1027)
            result = client.call("Broker.Reload")
            self.assertEqual(result, {"reloaded": ["configuration", "certificates"], "restart_needed": False})
            number = client.call("TCPConnect", ["localhost", server.port, True])["socket"]
            # an empty folder would leave nothing to verify with
            self.trust(False)
            error = client.error("Broker.Reload")
            self.assertEqual((error.code, error.stage), (-10022, "broker"))
            client.call("TCPConnect", ["localhost", server.port, True])
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-subj", "/CN=another", "-keyout", os.path.join(self.folder, "key"),
                            "-out", os.path.join(self.cacerts, "another.pem")], check=True, capture_output=True)
            client.call("Broker.Reload")
            self.assertEqual(client.error("TCPConnect", ["localhost", server.port, True]).code, -33010)
            # what lives stays as it is
            client.call("TCPSend", [number, "still\n"])
            self.assertEqual(client.call("TCPReceive", socket=number, until="\n")["data"], "still\n")

    def test_a_look_up_that_is_under_way(self):
        """It is dialled by what is in force when the address is there, not when the request came."""
        self.trust(True)
        daemon = self.start(resolver=True)
        with servers.Server(tls=servers.tls13()) as server, daemon.client() as client:
            waiting = [client.send("TCPConnect", {"hostname": "wait-reload.test", "port": server.port, "secure": True,
                                                  "server_name": "localhost", "timeout_ms": 20000, **more})
                       for more in ({}, {"profile": "gone"})]
            self.assertEqual(client.answer(waiting.pop())["error"]["code"], -32602)  # not there from the beginning
            self.configure(daemon, self.text() + '[tls "gone"]\n')
            client.call("Broker.Reload")
            waiting.append(client.send("TCPConnect", {"hostname": "wait-reload.test", "port": server.port, "secure": True,
                                                      "server_name": "localhost", "timeout_ms": 20000, "profile": "gone"}))
            self.trust(False)
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-subj", "/CN=another", "-keyout", os.path.join(self.folder, "key"),
                            "-out", os.path.join(self.cacerts, "another.pem")], check=True, capture_output=True)
            self.configure(daemon, self.text())
            client.call("Broker.Reload")
            with open(daemon.release_path, "w", encoding="ascii"):
                pass
            answers = [client.answer(each) for each in waiting]
            self.assertEqual([each.get("error", {}).get("code") for each in answers], [-33010, -32602], answers)
            self.assertEqual(answers[1]["error"]["data"]["param"], "profile")

    def test_bad_configuration_changes_nothing(self):
        daemon = self.start()
        with daemon.client() as client:
            limits = client.call("Broker.Hello")["limits"]
            self.configure(daemon, self.text(limits="requests = 17\nnesting = many"))
            error = client.error("Broker.Reload")
            self.assertEqual((error.code, error.stage), (-10022, "broker"))
            self.assertRegex(error.message, r"tcpbroker\.conf:6: ")
            self.assertEqual(client.call("Broker.Hello")["limits"], limits)
            self.configure(daemon, f"[tls]\ncacerts = {self.cacerts}\nciphers = no-such-cipher\n")
            self.assertIn("cipher", client.error("Broker.Reload").message)
            self.configure(daemon, self.text(limits="requests = 17"))
            client.call("Broker.Reload")
            self.assertEqual(client.call("Broker.Hello")["limits"]["requests"], 17)

    def test_options_that_take_effect(self):
        daemon = self.start()
        with daemon.client() as client, daemon.client() as other:
            self.assertEqual(client.call("Session.Set")["connect_timeout_ms"], 60000)
            self.configure(daemon, self.text(connect="timeout = 5s", limits="sockets_per_session = 1", log="level = debug"))
            client.call("Broker.Reload")
            for each in (client, other):
                self.assertEqual(each.call("Session.Set")["connect_timeout_ms"], 5000)
            other.call("TCPSocket")
            error = other.error("TCPSocket")
            self.assertEqual((error.code, error.data["limit_value"]), (-10024, 1))
            with servers.Server() as server:
                client.connect(server.port)
            self.assertIn(" debug ", daemon.log())

    def test_restart_is_told(self):
        daemon = self.start()
        with daemon.client() as client:
            self.configure(daemon, self.text(threads="io = 3"))
            self.assertTrue(client.call("Broker.Reload")["restart_needed"])
            self.assertFalse(client.call("Broker.Reload")["restart_needed"])

    def test_sighup(self):
        daemon = self.start()
        with servers.Server(tls=servers.tls13()) as server, daemon.client() as client:
            self.trust(True)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_log("notice reloaded: ")
            client.call("TCPConnect", ["localhost", server.port, True])
            self.configure(daemon, "[nonsense]\n")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_log("error not reloaded, nothing has changed: ")
            client.call("TCPConnect", ["localhost", server.port, True])

    @staticmethod
    def blocked_and_caught(pid):
        """What the daemon does with SIGHUP now."""
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            masks = {name: int(value, 16) for name, value in (line.split(":") for line in file if line[:6] in ("SigBlk", "SigCgt"))}
        bit = 1 << signal.SIGHUP - 1
        return bool(masks["SigBlk"] & bit), bool(masks["SigCgt"] & bit)

    def test_sighup_before_it_is_ready(self):
        """It waits until there is somebody to do it."""
        self.trust(True)
        profiles = "".join(f'[tls "p{number}"]\n' for number in range(60))  # it takes a while to make them
        path = os.path.join(self.folder, "tcpbroker.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.text() + profiles)
        early = 0
        for number in range(3):
            with open(os.path.join(self.folder, "log"), "w+", encoding="utf-8") as log, subprocess.Popen(
                    [daemon_path(), "--config", path, "--socket", os.path.join(self.folder, "socket")], stderr=log) as daemon:
                try:
                    wait_until(lambda: any(self.blocked_and_caught(daemon.pid)), 10, "the daemon's first steps")
                    early += not self.blocked_and_caught(daemon.pid)[1]
                    daemon.send_signal(signal.SIGHUP)

                    def reloaded():
                        self.assertIsNone(daemon.poll(), "it has ended")
                        with open(log.name, encoding="utf-8") as written:
                            return "notice reloaded: " in written.read()
                    wait_until(reloaded, 20, "the reload")
                finally:
                    daemon.terminate()
                self.assertEqual(daemon.wait(20), 0)
        self.assertGreater(early, 0)

    def test_many_at_once(self):
        daemon = self.start()
        self.trust(True)

        def work(failed):
            try:
                with daemon.client() as client:
                    for _ in range(5):
                        client.call("Broker.Reload", answer_timeout=60)
                        client.call("TCPConnect", ["localhost", server.port, True])
            except Exception as error:  # told below
                failed.append(error)
        failed = []
        with servers.Server(tls=servers.tls13()) as server:
            threads = [threading.Thread(target=work, args=(failed,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for _ in range(20):
                daemon.process.send_signal(signal.SIGHUP)
            for thread in threads:
                thread.join()
        self.assertEqual(failed, [])

    def test_cancelled_or_left(self):
        daemon = self.start()
        with daemon.client() as client:
            for _ in range(20):
                id = client.send("Broker.Reload")
                cancelled = client.call("Broker.Cancel", [id])["cancelled"]
                self.assertEqual("error" in client.answer(id), cancelled)
                with daemon.client() as other:
                    other.send("Broker.Reload")
            client.call("Broker.Reload")

    def test_stop_while_reloading(self):
        for _ in range(10):
            with Daemon(config=self.options) as daemon:
                with daemon.client() as client:
                    for _ in range(5):
                        client.send("Broker.Reload")
                    daemon.process.send_signal(signal.SIGHUP)
                    daemon.terminate()
                    daemon.wait_exit()

    @unittest.skipIf(os.geteuid(), "needs root, to be somebody else")
    def test_only_for_administrators(self):
        self.options["listen.mode"] = "0777"
        daemon = self.start()
        os.chmod(daemon.folder, 0o755)
        program = (
            "import json, os, socket, sys\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "s.sendall(b'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"Broker.Reload\"}\\n')\n"
            "print(s.makefile().readline())\n")
        output = subprocess.run([sys.executable, "-c", program, daemon.socket_path], capture_output=True, text=True,
                                check=True).stdout
        error = json.loads(output)["error"]
        self.assertEqual((error["code"], error["data"]["stage"]), (-10013, "policy"))


if __name__ == "__main__":
    unittest.main(verbosity=1)

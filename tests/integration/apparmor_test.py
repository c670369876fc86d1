#!/usr/bin/env python3
"""The AppArmor profile: the parser takes it; where the kernel has AppArmor the daemon works under it, and cannot do else.

Enforcing needs root and a kernel with AppArmor; the profile is loaded for the daemon of the build, and unloaded again.
"""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import ROOT, Client, Daemon, OwnDaemonTestCase, RpcError, daemon_path, main, wait_until

BUILD = pathlib.Path(os.environ.get("TCPBROKER_BUILD") or os.path.join(ROOT, "build/release"))
PROFILE = BUILD / "systemd/apparmor/usr.sbin.tcpbrokerd"
ENABLED = pathlib.Path("/sys/module/apparmor/parameters/enabled")
SECURITY = pathlib.Path("/sys/kernel/security")


def parser():
    found = shutil.which("apparmor_parser") or "/usr/sbin/apparmor_parser"
    if not os.access(found, os.X_OK) or not os.path.isdir("/etc/apparmor.d/abstractions"):
        raise unittest.SkipTest("no apparmor_parser: apt-get install apparmor")
    return found


def parse(text, *options):
    with tempfile.NamedTemporaryFile("w", prefix="tcpbroker-profile-") as file:
        file.write(text)
        file.flush()
        return subprocess.run([parser(), "--skip-cache", *options, file.name], capture_output=True, text=True, check=False)


class Profile(unittest.TestCase):
    def test_the_parser_takes_it(self):
        text = PROFILE.read_text(encoding="utf-8")
        self.assertNotIn("CMAKE", text)
        run = parse(text, "--skip-kernel-load")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(parse(text, "--names").stdout.split(), ["tcpbrokerd"])
        self.assertNotEqual(parse(text.replace("network inet stream,", "network inet strem,"), "--skip-kernel-load").returncode, 0)

    def test_nothing_but_itself_is_run(self):
        rules = re.findall(r"^\s*(?:owner\s+)?([/@]\S+)\s+(\w+),$", PROFILE.read_text(encoding="utf-8"), re.M)
        self.assertEqual([rule for rule in rules if "x" in rule[1] or "m" in rule[1]],
                         [(path, access) for path, access in rules if path.endswith("sbin/tcpbrokerd")])


class Enforced(OwnDaemonTestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to load a profile")
        if not ENABLED.exists() or ENABLED.read_text(encoding="ascii").strip() != "Y":
            self.skipTest("this kernel has no AppArmor")
        parser()
        if not (SECURITY / "apparmor").exists():
            subprocess.run(["mount", "-t", "securityfs", "securityfs", SECURITY], check=True)
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="tcpbroker-apparmor-"))
        self.addCleanup(shutil.rmtree, self.place)
        text = PROFILE.read_text(encoding="utf-8")
        text = re.sub(r"\S*/sbin/tcpbrokerd\b", os.path.realpath(daemon_path()), text)
        # what the harness has in a folder of its own
        local = f"  /tmp/tcpbroker-test-*/** rw,\n  {certificates().cacerts}/** r,\n  {certificates().cacerts}/ r,\n"
        self.text = text.replace("  include if exists <local", local + "  include if exists <local")
        run = parse(self.text, "--replace")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.addCleanup(parse, self.text, "--remove")

    @staticmethod
    def denials():
        log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
        return [line for line in log.splitlines() if 'apparmor="DENIED"' in line and 'profile="tcpbrokerd"' in line]

    def begin(self, more="", store="no"):
        config = f"[tls]\ncacerts = {certificates().cacerts}\nsystem_store = {store}\n{more}"
        os.makedirs("/run/tcpbroker", exist_ok=True)
        self.daemon = self.use(Daemon(config=config, socket_path="/run/tcpbroker/apparmor-test.sock"))
        current = pathlib.Path(f"/proc/{self.daemon.pid}/attr/current").read_text(encoding="ascii")
        self.assertEqual(current.strip("\0\n"), "tcpbrokerd (enforce)")

    def test_the_daemon_works(self):
        before = len(self.denials())
        server = self.use(servers.Server())
        secure = self.use(servers.Server(tls=servers.tls13()))
        door = "/run/tcpbroker/doors/apparmor-test.sock"
        self.begin(f'[tunnel "a"]\nlisten = {door}\nconnect = 127.0.0.1:{server.port}\nsecure = no\ngroup = nogroup\n',
                   store="yes")
        with Client(self.daemon) as client:
            for port, more in ((server.port, {}), (secure.port, {"secure": True, "verify": True, "hostname": "localhost"})):
                number = client.call("TCPConnect", {"hostname": "127.0.0.1", "port": port, **more})["socket"]
                client.call("TCPSend", [number, "hello"])
                self.assertEqual(client.call("TCPReceive", [number, 5])["data"], "hello")
                client.call("TCPClose", [number])
            self.assertIn("127.0.0.1", client.call("TCPName2Addr", ["localhost"])["addresses"])
            pathlib.Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647", encoding="ascii")
            self.assertEqual(client.call("TCPPing", ["127.0.0.1"])["address"], "127.0.0.1")
            serving = client.call("TCPSocket")["socket"]
            port = client.call("TCPBind", [serving, 0])["port"]
            client.call("TCPListen", [serving])
            with socket.create_connection(("127.0.0.1", port)):
                client.call("TCPAccept", [serving])
            client.call("Broker.Reload")
        with socket.socket(socket.AF_UNIX) as program:
            program.connect(door)
            program.sendall(b"hello")
            self.assertEqual(program.recv(5), b"hello")
        self.assertEqual(self.denials()[before:], [])

    def test_and_nothing_else_is_open_to_it(self):
        """A folder that everybody may read, but for the profile."""
        elsewhere = self.place / "lists"
        elsewhere.mkdir(mode=0o755)
        shutil.copy(next(pathlib.Path(certificates().cacerts).iterdir()), elsewhere / "ca.pem")
        os.chmod(self.place, 0o755)
        self.begin()
        config = pathlib.Path(self.daemon.folder, "tcpbroker.conf")
        config.write_text(f"[tls]\ncacerts = {elsewhere}\n", encoding="utf-8")
        with Client(self.daemon) as client:
            with self.assertRaises(RpcError) as caught:
                client.call("Broker.Reload")
            self.assertIn("Permission denied", caught.exception.message + str(caught.exception.data))
            wait_until(lambda: any(str(elsewhere) in line for line in self.denials()), what="the denial in the kernel's log")


if __name__ == "__main__":
    main()

"""Names through the C library's own resolver, in a network and with an /etc of its own: the hosts file, nsswitch.conf, A-labels
on the wire, a name server that is silent."""
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import SLOW, Daemon, Elapsed, TestCase, main, wait_until

CLONE_NEWNET = 0x40000000
A, AAAA, PTR = 1, 28, 12
FILES = ("hosts", "nsswitch.conf", "resolv.conf", "services")
N_SILENT = 100


def why_not():
    if not shutil.which("unshare") or not shutil.which("ip"):
        return "needs unshare(1) and ip(8): util-linux, iproute2"
    run = subprocess.run(["unshare", "--mount", "--net", "ip", "link", "set", "lo", "up"], capture_output=True, text=True)
    return None if run.returncode == 0 else "needs root, for namespaces: " + run.stderr.strip()


class NameServer:
    """Answers on 127.0.0.1:53 of the network namespace of a process; silent* gets no answer. asked: what came
    over the wire. Something listens on port 4711 there, too."""

    ADDRESSES = {"in-dns.example": "192.0.2.1", "both.example": "192.0.2.2", "xn--bcher-kva.example": "192.0.2.3",
                 "xn--r8jz45g.xn--zckzah": "192.0.2.4"}

    def __init__(self, pid):
        self.asked = []
        self.sock = self.listener = None
        self.problem = None
        ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(pid, ready), daemon=True)
        self.thread.start()
        ready.wait()
        if self.problem:
            raise self.problem

    def run(self, pid, ready):
        try:
            # of this thread only; the socket stays in the namespace
            fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "setns")
            os.close(fd)
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.bind(("127.0.0.1", 53))
            self.listener = socket.create_server(("127.0.0.1", 4711))
        except OSError as error:
            self.problem = error
            return
        finally:
            ready.set()
        while True:
            query, sender = self.sock.recvfrom(4096)
            if not query:
                return
            reply = self.reply(query)
            if reply:
                self.sock.sendto(reply, sender)

    def reply(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
            at += 1 + query[at]
        name, kind = ".".join(labels), struct.unpack(">H", query[at + 1:at + 3])[0]
        self.asked.append((name, kind))
        if name.startswith("silent"):
            return None
        address = self.ADDRESSES.get(name.lower())
        answers = [socket.inet_aton(address)] if address and kind == A else []
        flags = 0x8180 if address else 0x8183  # NXDOMAIN
        reply = query[:2] + struct.pack(">HHHHH", flags, 1, len(answers), 0, 0) + query[12:at + 5]
        for data in answers:
            reply += b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 3600, len(data)) + data
        return reply

    def close(self):
        # a datagram to itself: empty, which no query is
        self.sock.sendto(b"", ("127.0.0.1", 53))
        self.thread.join()
        self.sock.close()
        self.listener.close()


@unittest.skipIf(why_not(), why_not())
class Names(TestCase):
    """Each test has its own daemon and files."""

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.write("hosts", "127.0.0.1 localhost\n192.0.2.10 in-hosts.example Alias.Example\n192.0.2.12 both.example\n"
                            "2001:db8::10 in-hosts.example\n192.0.2.13 xn--mnchen-3ya.example\n")
        self.write("nsswitch.conf", "hosts: files dns\nservices: files\n")
        self.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:3 attempts:1\n")
        self.write("services", "our-service 4711/tcp our-alias\nonly-udp 4712/udp\n")

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, *options):
        daemon = Daemon(*[word for option in options for word in ("--set", option)])
        mounts = " && ".join(f"mount --bind {self.folder}/{name} $(readlink -f /etc/{name})" for name in FILES
                             if os.path.exists(f"/etc/{name}"))
        daemon.command = ["unshare", "--mount", "--net", "sh", "-c",
                          f'ip link set lo up && {mounts} && exec "$@"', "sh", *daemon.command]
        self.daemon = self.use(daemon)
        self.server = NameServer(self.daemon.pid)
        self.addCleanup(self.server.close)
        self.client = self.open_client()
        return self.client

    def lookup(self, name, ipv6=False):
        return self.client.call("TCPName2Addr", [name, ipv6])["address"]

    def test_hosts_and_name_servers(self):
        self.start()
        self.assertEqual(self.lookup("in-hosts.example"), "192.0.2.10")
        self.assertEqual(self.lookup("in-hosts.example", True), "2001:db8::10")
        self.assertEqual(self.lookup("ALIAS.example"), "192.0.2.10")
        self.assertEqual(self.lookup("both.example"), "192.0.2.12")
        self.assertEqual(self.server.asked, [])
        self.assertEqual(self.lookup("in-dns.example"), "192.0.2.1")
        self.assertEqual(self.server.asked, [("in-dns.example", A)])
        self.fails(-11001, "HOST_NOT_FOUND", "TCPName2Addr", ["nowhere.example"], stage="resolve")
        self.assertEqual(self.client.call("TCPAddr2Name", ["192.0.2.10"])["hostname"], "in-hosts.example")

    def test_nsswitch(self):
        self.write("nsswitch.conf", "hosts: dns files\nservices: files\n")
        self.start()
        self.assertEqual(self.lookup("both.example"), "192.0.2.2")
        self.assertEqual(self.lookup("in-hosts.example"), "192.0.2.10")
        self.assertEqual(self.server.asked[:1], [("both.example", A)])

    def test_nsswitch_without_name_servers(self):
        self.write("nsswitch.conf", "hosts: files\nservices: files\n")
        self.start()
        self.fails(-11001, "HOST_NOT_FOUND", "TCPName2Addr", ["in-dns.example"], stage="resolve")
        self.assertEqual(self.server.asked, [])

    def test_a_labels_on_the_wire(self):
        self.start()
        for name in ("bücher.example", "BÜCHER.example", "xn--bcher-kva.example"):
            self.assertEqual(self.lookup(name), "192.0.2.3")
        self.assertEqual(self.lookup("例え。テスト"), "192.0.2.4")
        self.assertEqual(self.lookup("München.example"), "192.0.2.13")  # in the hosts file
        self.assertEqual(self.server.asked, [("xn--bcher-kva.example", A), ("xn--r8jz45g.xn--zckzah", A)])

    def test_changes_of_the_hosts_file_are_seen(self):
        self.start("connect.cache_time=400ms", "connect.negative_cache_time=200ms")
        self.assertEqual(self.lookup("in-hosts.example"), "192.0.2.10")
        self.fails(-11001, "HOST_NOT_FOUND", "TCPName2Addr", ["new.example"])
        started = time.monotonic()
        self.write("hosts", "192.0.2.99 in-hosts.example\n192.0.2.98 new.example\n")
        wait_until(lambda: "result" in self.client.answer(self.client.send("TCPName2Addr", ["new.example"])))
        self.assertEqual(self.lookup("new.example"), "192.0.2.98")
        wait_until(lambda: self.lookup("in-hosts.example") == "192.0.2.99")
        self.assertLess(time.monotonic() - started, 0.4 + 0.5 * SLOW)

    def test_services(self):
        self.start()
        for service in ("our-service", "our-alias"):
            for host in ("localhost", "127.0.0.1"):
                self.assertEqual(self.client.call("TCPConnect", [host, service])["remote_port"], 4711)
        for service in ("https", "only-udp", "no-such-service"):
            self.fails(-33012, "UNKNOWN_SERVICE", "TCPConnect", ["localhost", service], stage="resolve")

    def test_a_silent_name_server(self):
        """100 names that nobody answers for: a name that is answered for, one of the hosts file, a literal are not held up."""
        client = self.start()
        hung = self.open_client()
        started = time.monotonic()
        ids = [hung.send("TCPName2Addr", [f"silent-{i}.example"]) for i in range(N_SILENT)]
        figures = {}
        for what, name in (("a name server's", "in-dns.example"), ("the hosts file's", "both.example"),
                           ("a literal", "192.0.2.77")):
            with Elapsed() as elapsed:
                client.call("TCPName2Addr", [name])
            figures[what] = elapsed.ms
        for id in ids:
            self.check_error(hung.answer(id, 30)["error"], -11002, "TRY_AGAIN", "resolve", True)
        print(f"\n  beside {N_SILENT} names without an answer for {time.monotonic() - started:.1f} s: " +
              ", ".join(f"{what} {ms:.0f} ms" for what, ms in figures.items()), flush=True)
        self.assertGreater(time.monotonic() - started, 2.9)
        for what, ms in figures.items():
            self.assertLess(ms, 500 * SLOW, what)


if __name__ == "__main__":
    main()

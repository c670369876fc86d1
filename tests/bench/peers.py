"""Other programs in the broker's place: relays behind Unix sockets, those of them that are installed.

What they are told stands in peers/*.conf.
"""
import getpass
import os
import pathlib
import shutil
import signal
import subprocess
import time

import parties

HERE = pathlib.Path(__file__).resolve().parent
MODULES = pathlib.Path("/usr/lib/nginx/modules")
SBIN = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
KINDS = {  # the command for a configuration, and the origin's ports that it can relay to
    "stunnel": (lambda conf, _: [conf], ("tls", "tickets", "bulk")),
    "HAProxy": (lambda conf, _: ["-q", "-db", "-f", conf], ("plain", "tls", "tickets", "bulk")),
    "nginx": (lambda conf, log: ["-e", log, "-c", conf], ("plain", "tls", "tickets", "bulk")),
}


def installed():
    """{name: program}"""
    found = {name: shutil.which(name.lower(), path=SBIN) for name in KINDS}
    if not (MODULES / "ngx_stream_module.so").exists():
        found["nginx"] = None
    return {name: program for name, program in found.items() if program}


def versions():
    """What they are, for people."""
    packages = {"stunnel": "stunnel4", "HAProxy": "haproxy", "nginx": "nginx"}
    done = {name: subprocess.run(["dpkg-query", "-W", "-f", "${Version}", packages[name]],
                                 capture_output=True, text=True) for name in installed()}
    return ", ".join(f"{name} {result.stdout.split('-')[0].split(':')[-1]}"
                     for name, result in done.items()) or "none"


class Peer:
    def __init__(self, name, program, bench, origin, prefix=()):
        command, self.ports = KINDS[name]
        self.name = name
        self.socket = f"{bench.folder}/{name.lower()}-"
        self.log = bench.folder / f"{name.lower()}.log"
        threads = 1 if prefix else len(os.sched_getaffinity(0))
        text = (HERE / f"peers/{name.lower()}.conf").read_text()
        for key, value in {"SOCKET": self.socket, "LOG": self.log, "THREADS": threads,
                           "CA": f"{bench.folder}/cacerts/ca.pem", "MODULES": MODULES,
                           "USER": getpass.getuser(), **origin.ports}.items():
            text = text.replace(f"@{key}@", str(value))
        conf = pathlib.Path(f"{self.socket}conf")
        conf.write_text(text)
        for port in self.ports:
            pathlib.Path(self.path(port)).unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*prefix, program, *command(conf, self.log)],
                                            stdout=log, stderr=log)
        parties.running.add(self.process.pid)
        until = time.monotonic() + 10
        while not all(os.path.exists(self.path(port)) for port in self.ports):
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{name} did not start: {self.log.read_text()}")
            time.sleep(0.01)
        time.sleep(0.2)  # nginx makes its workers after its sockets
        self.pids = [self.process.pid, *parties.children(self.process.pid)]
        parties.running.update(self.pids)

    def path(self, port):
        return self.socket + port

    def cpu_us(self):
        return sum(map(parties.cpu_us, self.pids))

    def rss_kib(self):
        return sum(map(parties.rss_kib, self.pids))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(parties.DEADLINE)
        parties.running.difference_update(self.pids)


def start(bench, origin, prefix=()):
    """[Peer]"""
    found = {} if bench.options.no_peers else installed()
    return [Peer(name, program, bench, origin, prefix) for name, program in found.items()]

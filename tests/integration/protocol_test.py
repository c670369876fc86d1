"""proto/PROTOCOL.md: its tables are what the generator prints, its exchanges and those of docs/omnis.md happen as they are
printed.

--update writes the tables anew. A `…` in an answer stands for a number, within quotes for any string, else for anything.
`"$name"` in an answer stands for any string where it is first met, and from then on for that string."""
import os
import re
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import ROOT, Daemon, Raw, daemon_path

PATH = os.path.join(ROOT, "proto", "PROTOCOL.md")
OMNIS = os.path.join(ROOT, "docs", "omnis.md")
BUILD = os.environ.get("TCPBROKER_BUILD", os.path.dirname(os.path.dirname(daemon_path())))
TABLE = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end -->\n)", re.S)
EXCHANGE = re.compile(r"<!-- exchange -->\n```\n(.*?)```\n", re.S)
NAMED = re.compile(r'"\$(\w+)"')
TLS_PORT, PLAIN_PORT, FREE_PORTS = 6000, 6001, (6008, 6009)


def document(path=PATH):
    with open(path, encoding="utf-8") as file:
        return file.read()


def printed(name):
    return subprocess.run([os.path.join(BUILD, "proto", "proto_tables"), name], capture_output=True, text=True,
                          check=True, encoding="utf-8").stdout


def filled_in(line, values):
    """The line with the strings that were met before."""
    return NAMED.sub(lambda match: f'"{values[match.group(1)]}"' if match.group(1) in values else match.group(0), line)


def pattern(line, values):
    text = re.escape(filled_in(line, values))
    text = text.replace('"…"', r'"(?:[^"\\]|\\.)*"')
    text = re.sub(r'"\\\$(\w+)"', r'"(?P<\1>(?:[^"\\\\]|\\\\.)*)"', text)
    text = re.sub("(?<=:)…", r"\\d+", text)
    return re.compile(text.replace("…", ".*?"))


def steps(block):
    """[(lines to send, lines to expect in any order)]"""
    found = []
    for line in block.splitlines():
        mark, text = line[0], line[2:]
        if mark == "→":
            if not found or found[-1][1]:
                found.append(([], []))
            found[-1][0].append(text)
        elif mark == "←":
            found[-1][1].append(text)
        else:
            raise AssertionError(f"an exchange has neither → nor ←: {line}")
    return found


class Tables(unittest.TestCase):
    maxDiff = 4000

    def test_tables_are_those_of_the_generator(self):
        names = []
        for _, name, text, _ in TABLE.findall(document()):
            names.append(name)
            self.assertEqual(text.strip("\n"), printed(name).strip("\n"),
                             f"run tests/integration/protocol_test.py --update: {name}")
        self.assertEqual(sorted(names), ["ends", "errors", "event", "methods", "stats"])

    def test_defaults_of_limits(self):
        options = subprocess.run([os.path.join(BUILD, "config", "config_sample"), "sample"], capture_output=True,
                                 text=True, check=True).stdout
        sections = {}
        for line in options.splitlines():
            if match := re.match(r"\[(\w+)\]", line):
                section = match.group(1)
            elif match := re.match(r"#?\s*(\w+) = (\S+)$", line):
                sections[f"{section}.{match.group(1)}"] = match.group(2)
        part = document().split("## 6. Limits", 1)[1].split("\n## ", 1)[0]
        told = re.findall(r"`([a-z]+\.\w+)`(?: \*)? \(([^)]+)\)", part)
        self.assertGreater(len(told), 8)
        for name, value in told:
            self.assertEqual(value.replace(" MiB", "M"), sections[name], name)


class Exchanges(unittest.TestCase):
    def test_exchanges(self):
        blocks = []
        for path in (PATH, OMNIS):
            found = EXCHANGE.findall(document(path))
            self.assertGreater(len(found), 3)
            blocks += [(os.path.basename(path), number, block) for number, block in enumerate(found, 1)]
        try:
            tls = servers.Server(tls=servers.tls13(), port=TLS_PORT)
            plain = servers.Server(port=PLAIN_PORT)
            for port in FREE_PORTS:
                socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            self.skipTest(f"a port of the exchanges, {(TLS_PORT, PLAIN_PORT, *FREE_PORTS)}, is not free here: {error}")
        with tls, plain:
            for name, number, block in blocks:
                with self.subTest(document=name, exchange=number), Daemon("--cacerts", certificates().cacerts) as daemon, \
                        Raw(daemon) as raw:
                    self.run_exchange(raw, block)

    def run_exchange(self, raw, block):
        values = {}
        for sent, expected in steps(block):
            for line in sent:
                line = filled_in(line, values)
                self.assertIsNone(NAMED.search(line), f"nothing before this line tells what it is: {line}")
                raw.write_line(line)
            left = list(expected)
            for _ in expected:
                answer = raw.read_line().decode("utf-8")
                hits = ((line, pattern(line, values).fullmatch(answer)) for line in left)
                line, match = next((hit for hit in hits if hit[1]), (None, None))
                self.assertIsNotNone(line, f"after {sent[-1]}\ncame      {answer}\nexpected  " + "\n      or  ".join(left))
                values.update(match.groupdict())
                left.remove(line)
        raw.half_close()
        self.assertEqual(raw.rest(), [], "answers that the document does not show")


def update():
    text = TABLE.sub(lambda match: match.group(1) + "\n" + printed(match.group(2)).strip("\n") + "\n\n" + match.group(4),
                     document())
    with open(PATH, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        update()
    else:
        unittest.main(verbosity=1)

#!/usr/bin/env python3
"""The events of the log: table, catalog and manual page say the same, and the catalog is one that journalctl understands.

    tests/integration/catalog_test.py --update     writes the lists in the manual page anew
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parents[2]
TABLE = TREE / "daemon/util/messages.def"
CATALOG = TREE / "systemd/tcpbroker.catalog"
MANUAL = TREE / "docs/man/tcpbrokerd.8"


def rows(kind, n_columns):
    text = r"\s*,\s*".join(["(\\w+)"] + [r'"((?:[^"\\]|\\.)*)"'] * (n_columns - 1))
    return re.findall(rf"^{kind}\(\s*{text}\s*\)", TABLE.read_text(encoding="utf-8"), re.M)


def events():
    return rows("EVENT", 3)


def tags():
    return rows("TAG", 2)


def escaped(text):
    return text.replace("\\", "\\e").replace("-", "\\-")


def manual_list(name):
    if name == "events":
        return "".join(f".TP\n.B {event_id}\n{name}: {escaped(what)}.\n" for name, event_id, what in events())
    return "".join(f".TP\n.B TCPBROKER_{name}\n{escaped(what)}\n" for name, what in tags())


def manual_with_lists(text):
    for name in ("events", "fields"):
        begin, end = f'.\\" {name} of daemon/util/messages.def\n', f'.\\" end of {name}\n'
        text, n = re.subn(re.escape(begin) + ".*?" + re.escape(end), lambda _: begin + manual_list(name) + end, text, flags=re.S)
        if n != 1:
            raise AssertionError(f"{MANUAL} has {n} lists of {name}")
    return text


class CatalogTest(unittest.TestCase):
    maxDiff = None

    def test_table(self):
        text = TABLE.read_text(encoding="utf-8")
        self.assertEqual(len(events()) + len(tags()), len(re.findall(r"^(?:EVENT|TAG)\(", text, re.M)))
        ids = [event_id for _, event_id, _ in events()]
        for event_id in ids:
            self.assertRegex(event_id, r"^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$", "made by systemd-id128 new")
        self.assertEqual(len(set(ids)), len(ids))
        for name, *_ in tags():
            self.assertRegex(name, "^[A-Z][A-Z_]*$")  # systemd.journal-fields(7); no digits among ours

    def test_catalog(self):
        text = CATALOG.read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"^# (\w+)\n-- (\w+)$", text, re.M), [(name, event_id) for name, event_id, _ in events()])
        known = {f"TCPBROKER_{name}" for name, _ in tags()}
        self.assertEqual(set(re.findall(r"@(\w+)@", text)) - known, set())
        for entry in re.split(r"^-- ", text, flags=re.M)[1:]:
            self.assertRegex(entry, r"^\w+\nSubject: [A-Z].*[^.]\nDefined-By: tcpbroker\nDocumentation: man:\S+\n\n\S")

    def test_nothing_is_promised_only(self):
        """Whatever the table has, the daemon writes."""
        text = "".join(path.read_text(encoding="utf-8") for path in (TREE / "daemon").rglob("*.c") if path.name != "messages.c")
        unused = [f"{kind}_{name}" for kind, table in (("EVENT", events()), ("TAG", tags())) for name, *_ in table
                  if not re.search(rf"\b{kind}_{name}\b", text)]
        self.assertEqual(unused, [])

    def test_journalctl_understands_it(self):
        if not shutil.which("journalctl"):
            self.skipTest("no journalctl (package systemd)")
        with tempfile.TemporaryDirectory() as root:
            place = pathlib.Path(root, "usr/lib/systemd/catalog")
            place.mkdir(parents=True)
            shutil.copy(CATALOG, place)
            pathlib.Path(root, "var/lib/systemd/catalog").mkdir(parents=True)
            run = subprocess.run(["journalctl", f"--root={root}", "--update-catalog"], capture_output=True, text=True, check=False)
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            run = subprocess.run(["journalctl", f"--root={root}", "--no-pager", "--dump-catalog"], capture_output=True, text=True,
                                 check=True)
        self.assertEqual(set(re.findall(r"^-- (\w+)$", run.stdout, re.M)), {event_id for _, event_id, _ in events()})
        self.assertIn("Subject: The connection broker listens\n", run.stdout)

    def test_manual(self):
        text = MANUAL.read_text(encoding="utf-8")
        self.assertEqual(text, manual_with_lists(text), "tests/integration/catalog_test.py --update")

    def test_fields_are_used_by_their_names(self):
        """A field that is written out would escape the table."""
        for path in (TREE / "daemon").rglob("*.[ch]"):
            if path.name != "messages.c":
                found = re.findall(r'"TCPBROKER_(?!VERSION|SOCKET"|FDSTORE")\w+"', path.read_text(encoding="utf-8"))
                self.assertEqual(found, [], str(path))


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        MANUAL.write_text(manual_with_lists(MANUAL.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
        unittest.main(verbosity=1)

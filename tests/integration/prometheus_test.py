"""The metrics with the real tools: promtool, and a Prometheus that reads a daemon; the alert rules and the dashboard.

Needs the package prometheus; what does not need it is tested anyway."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import exposition
import servers
from harness import ROOT, Client, Daemon, seconds, wait_until

RULES = os.path.join(ROOT, "config", "prometheus", "tcpbroker.rules.yml")
EXAMPLE = os.path.join(ROOT, "config", "prometheus", "prometheus.yml")
RULES_TEST = os.path.join(ROOT, "tests", "support", "prometheus", "tcpbroker.rules.test.yml")
DASHBOARD = os.path.join(ROOT, "config", "grafana", "tcpbroker.json")
METRIC = re.compile(r"\b(?:tcpbroker|process)_\w+")
SELECTOR = re.compile(r"\b((?:tcpbroker|process)_\w+)\s*\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
TARGET_LABELS = {"job", "instance", "le"}


def tool(name):
    path = shutil.which(name)
    if not path:
        raise unittest.SkipTest(f"{name} is missing: apt-get install prometheus")
    return path


def promtool(*words, text=None):
    return subprocess.run([tool("promtool"), *words], input=text, capture_output=True, text=True, timeout=seconds(60),
                          check=False)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def rules():
    """{alert: expression}; the file is written by people, in one way."""
    found, name, block = {}, None, None
    for line in read(RULES).splitlines():
        if match := re.match(r"      - alert: (\w+)$", line):
            name = match.group(1)
        elif match := re.match(r"        expr: (.*)$", line):
            block = match.group(1) == "|"
            found[name] = "" if block else match.group(1)
        elif block and line.startswith("          "):
            found[name] += line.strip() + "\n"
        else:
            block = None
    return found


def panels():
    """{title of the panel and number: expression}, annotations included."""
    board = json.loads(read(DASHBOARD))
    found = {f"{panel['title']} {target['refId']}": target["expr"]
             for panel in board["panels"] for target in panel.get("targets", ())}
    found.update({each["name"]: each["expr"] for each in board["annotations"]["list"]})
    return found


class Files(unittest.TestCase):
    """What is shipped names only what there is."""

    def check(self, where, expression):
        kinds = {}
        for each in exposition.table():
            for suffix in exposition.SUFFIXES[each.kind]:
                kinds[each.name + suffix] = each
        for name in METRIC.findall(expression):
            self.assertIn(name, kinds, f"{where}: there is no such metric")
        for name, selector in SELECTOR.findall(expression):
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector):
                self.assertIn(label, {*kinds[name].labels, *TARGET_LABELS}, f"{where}: {name} has no such label")
        allowed = TARGET_LABELS.union(*(kinds[name].labels for name in METRIC.findall(expression)))
        for names in GROUPED.findall(expression):
            for label in filter(None, re.split(r"[,\s]+", names)):
                self.assertIn(label, allowed, f"{where}: nothing there has such a label")
        self.assertFalse(re.search(r"_total(?![\w{\s]*.*\[)", expression), f"{where}: a counter without a rate: {expression}")

    def test_rules(self):
        found = rules()
        self.assertGreaterEqual(len(found), 12)
        for name, expression in found.items():
            self.check(name, expression)

    def test_every_alert_is_tried(self):
        tried = set(re.findall(r"alertname: (\w+)", read(RULES_TEST)))
        self.assertEqual(tried, set(rules()))

    def test_dashboard(self):
        found = panels()
        self.assertGreaterEqual(len(found), 30)
        for title, expression in found.items():
            self.check(title, expression)
        board = json.loads(read(DASHBOARD))
        ids = [panel["id"] for panel in board["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        # no two panels in one place
        taken = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells

    def test_the_dashboard_shows_what_matters(self):
        """Every family is in a panel or in a rule, or is left out knowingly."""
        shown = set(METRIC.findall("\n".join([*panels().values(), *rules().values()])))
        shown = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in {e.name for e in exposition.table()} else name
                 for name in shown}
        left = {"tcpbroker_config_last_reload_success_timestamp_seconds", "tcpbroker_client_connections_total",
                "tcpbroker_sessions_durable", "tcpbroker_leases_expired_total", "tcpbroker_sockets_total",
                "tcpbroker_accepts_total", "tcpbroker_attached_total", "tcpbroker_offers", "tcpbroker_offers_expired_total",
                "tcpbroker_pings_total", "tcpbroker_door_accepts_total", "tcpbroker_door_failures_total",
                "tcpbroker_pool_reused_total", "tcpbroker_lookups_cached_negative_total", "tcpbroker_lookups_running",
                "process_virtual_memory_bytes", "tcpbroker_draining", "tcpbroker_event_listeners"}
        self.assertEqual({each.name for each in exposition.table()} - shown, left)


class Promtool(unittest.TestCase):
    def test_rules(self):
        done = promtool("check", "rules", RULES)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_alerts_fire_and_do_not(self):
        done = promtool("test", "rules", RULES_TEST)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_example(self):
        done = promtool("check", "config", "--syntax-only", EXAMPLE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Prometheus:
    """A real one, which reads a target each half second and knows the rules."""

    def __init__(self, target):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-prometheus-")
        self.port = free_port()
        config = os.path.join(self.folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n"
                       f"rule_files: [{json.dumps(RULES)}]\n"
                       f"scrape_configs: [{{job_name: tcpbroker, static_configs: [{{targets: [{json.dumps(target)}]}}]}}]\n")
        self.log_path = os.path.join(self.folder, "log")
        self.command = [tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={self.folder}/data",
                        f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        self.process = None

    def __enter__(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        try:
            wait_until(self.ready, 30, "Prometheus being ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"Prometheus ended: {read(self.log_path)[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=seconds(5)) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=seconds(20)) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()[:500]}") from None

    def value(self, expression):
        """Of a query that has one value, or None."""
        result = self.ask("query", query=expression)["result"]
        if not result:
            return None
        if len(result) > 1:
            raise AssertionError(f"{expression}: more than one value: {result}")
        return float(result[0]["value"][1])

    def __exit__(self, *unused):
        self.process.terminate()
        try:
            self.process.wait(seconds(20))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        return False


class Scraped(unittest.TestCase):
    """One daemon that does known things, and the Prometheus that has seen them."""

    @classmethod
    def setUpClass(cls):
        tool("prometheus")
        cls.port = free_port()
        config = {"metrics.listen": f"127.0.0.1:{cls.port}", "connect.backoff_after": 0}
        cls.daemon = cls.enterClassContext(Daemon(config=config))
        cls.server = cls.enterClassContext(servers.Server())
        cls.client = cls.enterClassContext(Client(cls.daemon))
        cls.prometheus = cls.enterClassContext(Prometheus(f"127.0.0.1:{cls.port}"))

    def becomes(self, expression, value):
        wait_until(lambda: self.prometheus.value(expression) == value, 15,
                   f"{expression} being {value}, not {self.prometheus.value(expression)}")

    def test_values(self):
        self.becomes('up{job="tcpbroker"}', 1)
        numbers = [self.client.connect(self.server.port) for _ in range(9)]
        for number in numbers:
            for _ in range(11):
                self.client.call("TCPSend", [number, "x" * 100])
        refused = free_port()
        for _ in range(4):
            self.client.error("TCPConnect", ["127.0.0.1", refused])
        for number in numbers[:5]:
            self.client.call("TCPClose", {"socket": number, "option": 2})
        for expression, value in (
                ('sum(tcpbroker_connects_total{result="ok"})', 9),
                ('sum(tcpbroker_connects_total{result="error", stage="connect"})', 4),
                ('tcpbroker_requests_total{method="TCPSend", code="OK"}', 99),
                ('tcpbroker_requests_total{method="TCPConnect", code="ECONNREFUSED"}', 4),
                ('tcpbroker_bytes_total{direction="out"}', 9900),
                ('tcpbroker_sockets_open', 4),
                ('tcpbroker_clients', 1),
                ('tcpbroker_connect_seconds_count{stage="total"}', 9),
                ('tcpbroker_connect_seconds_bucket{stage="total", le="+Inf"}', 9),
                ('tcpbroker_request_seconds_count{method="TCPConnect"}', 13),
                ('count(tcpbroker_build_info)', 1)):
            with self.subTest(expression):
                self.becomes(expression, value)
        # the same families as the daemon tells, of the same kind, with the same words
        known = self.prometheus.ask("targets/metadata", match_target='{job="tcpbroker"}')
        told = {each["metric"]: (each["type"], each["help"]) for each in known}
        self.assertEqual(told, {each.name: (each.kind, each.help) for each in exposition.table()})
        # and a quantile of its own making
        total = self.prometheus.value('histogram_quantile(0.5, tcpbroker_connect_seconds_bucket{stage="total"})')
        self.assertGreater(total, 0)
        self.assertLess(total, seconds(5))

    def test_every_expression_is_understood(self):
        for title, expression in panels().items():
            with self.subTest(title):
                text = expression.replace("$job", "tcpbroker").replace("$instance", ".*").replace("$__rate_interval", "5s")
                self.prometheus.ask("query", query=text)

    def test_alerts(self):
        """Known to it, none has an error, and one that must fire does: the daemon refuses its configuration."""
        groups = self.prometheus.ask("rules")["groups"]
        self.assertEqual({rule["name"] for group in groups for rule in group["rules"]}, set(rules()))

        def states():
            return {rule["name"]: rule for group in self.prometheus.ask("rules")["groups"] for rule in group["rules"]}

        with open(os.path.join(self.daemon.folder, "tcpbroker.conf"), "a", encoding="utf-8") as file:
            file.write("[nonsense]\n")
        self.client.error("Broker.Reload")
        wait_until(lambda: states()["TcpbrokerReloadFailed"]["state"] == "pending", 15, "the alert")
        wrong = {name: rule.get("lastError") for name, rule in states().items() if rule["health"] == "err"}
        self.assertEqual(wrong, {})
        self.assertEqual(states()["TcpbrokerDown"]["state"], "inactive")

    def test_promtool_likes_it(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=seconds(10)) as answer:
            text = answer.read().decode("utf-8")
        done = promtool("check", "metrics", text=text)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main(verbosity=1)

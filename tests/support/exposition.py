"""Prometheus' text format and what the project's tables say of it.

parse(text)    {family: Family}; anything that is not as the format says is a ValueError.
table()        the families of daemon/rpc/metrics.def, in order.
"""
import collections
import os
import re

from harness import ROOT

DEF = os.path.join(ROOT, "daemon", "rpc", "metrics.def")
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(,|$)')
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
TEXT = r'"((?:[^"\\]|\\.)*)"'
METRIC = re.compile(rf"^METRIC\((\w+), {TEXT}, {TEXT},\s*((?:{TEXT}\s*)+)\)", re.M)

Entry = collections.namedtuple("Entry", "name kind labels help stats")


class Family:
    """samples: {(name, ((label, value), …)): number}"""

    def __init__(self, name, kind, help_text):
        self.name, self.kind, self.help, self.samples = name, kind, help_text, {}

    def value(self, suffix="", **labels):
        """The sample with just these labels."""
        return self.samples[self.name + suffix, tuple(sorted(labels.items()))]

    def sum(self, suffix="", **labels):
        """Of all samples that have these labels."""
        return sum(value for (name, has), value in self.samples.items()
                   if name == self.name + suffix and set(labels.items()) <= set(has))

    def label_names(self):
        return {label for _, labels in self.samples for label, _ in labels} - {"le"}


def read_labels(text):
    found, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        if not match or match.group(1) in found:
            raise ValueError(f"labels: {text}")
        found[match.group(1)] = re.sub(r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), match.group(2))
        at = match.end()
    return tuple(sorted(found.items()))


def parse(text):
    families, current, told = {}, None, None
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, told = line[7:].split(" ", 1)
            if name in families or not NAME.fullmatch(name):
                raise ValueError(f"twice, or no name: {line}")
            current = families[name] = Family(name, None, told)
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            if current is None or name != current.name or current.kind or kind not in SUFFIXES:
                raise ValueError(f"out of place: {line}")
            current.kind = kind
        else:
            match = SAMPLE.fullmatch(line)
            if not match or current is None or current.kind is None:
                raise ValueError(f"no sample: {line}")
            name, labels, value = match.groups()
            if name not in {current.name + suffix for suffix in SUFFIXES[current.kind]}:
                raise ValueError(f"not of {current.name}: {line}")
            key = name, read_labels(labels or "")
            if key in current.samples:
                raise ValueError(f"twice: {line}")
            current.samples[key] = float(value)
    return families


def check_histograms(family):
    """Buckets grow, the last is the count; returns how many histograms there are."""
    series = collections.defaultdict(list)
    for (name, labels), value in family.samples.items():
        if name.endswith("_bucket"):
            bound = float(dict(labels)["le"].replace("+Inf", "inf"))
            series[tuple(pair for pair in labels if pair[0] != "le")].append((bound, value))
    for labels, buckets in series.items():
        if buckets != sorted(buckets) or [n for _, n in buckets] != sorted(n for _, n in buckets):
            raise ValueError(f"{family.name} {labels}: buckets are not in order: {buckets}")
        if buckets[-1][0] != float("inf") or buckets[-1][1] != family.value("_count", **dict(labels)):
            raise ValueError(f"{family.name} {labels}: the last bucket is not the count")
        if (family.value("_sum", **dict(labels)) > 0) and buckets[-1][1] == 0:
            raise ValueError(f"{family.name} {labels}: a sum of nothing")
    return len(series)


def table():
    with open(DEF, encoding="utf-8") as file:
        text = file.read().split("*/", 1)[1]
    entries = []
    heads = list(METRIC.finditer(text))
    for head, after in zip(heads, [*heads[1:], None]):
        body = text[head.end():after.start() if after else len(text)]
        help_text = "".join(re.findall(TEXT, head.group(4)))
        entries.append(Entry(head.group(2), head.group(1).lower(), [x for x in head.group(3).split(",") if x], help_text,
                             re.findall(r'^SAMPLE\(".*", (\w+)\)', body, re.M)))
    return entries


def left_out():
    """{stat: why}"""
    with open(DEF, encoding="utf-8") as file:
        return dict(re.findall(rf"^LEFT_OUT\((\w+), {TEXT}\)", file.read(), re.M))


def stats():
    with open(os.path.join(ROOT, "proto", "stats.def"), encoding="utf-8") as file:
        return dict(re.findall(r"^STAT\((\w+), (\w+),", file.read(), re.M))

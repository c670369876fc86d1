#!/usr/bin/env python3
"""The generated part of lib/tcpbroker.h: compare it with the generator's output, or (--write) put it there.

Usage: generated.py [--write] PROTO_TABLES TCPBROKER_H
"""
import subprocess
import sys

BEGIN = "/* generated from proto/methods.def and proto/errors.def: begin */\n"
END = "/* generated from proto/methods.def and proto/errors.def: end */\n"

arguments = [a for a in sys.argv[1:] if a != "--write"]
wanted = subprocess.run([arguments[0], "header"], check=True, stdout=subprocess.PIPE, text=True).stdout
with open(arguments[1], encoding="utf-8") as file:
    text = file.read()
before, rest = text.split(BEGIN)
present, after = rest.split(END)
if "--write" in sys.argv:
    with open(arguments[1], "w", encoding="utf-8") as file:
        file.write(before + BEGIN + wanted + END + after)
elif present != wanted:
    sys.exit("lib/tcpbroker.h differs from the tables; run: tests/lib/generated.py --write " + " ".join(arguments))

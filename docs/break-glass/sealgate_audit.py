#!/usr/bin/env python3
"""Verifies files of a chained audit trail, from docs/AUDIT.md alone. Python 3.9, no packages.

  sealgate_audit.py (--keyring FILE | --key-file FILE) [--against FILE]... FILE...      files: oldest first

Exit status: 0 whole (runs without an orderly end are printed), 4 tampered with, 2 a file or the command line is not good.
"""
import argparse, base64, gzip, hashlib, hmac, json, re, sys

# The two bits that 43 characters have beyond 32 bytes are zero.
TAIL = re.compile(rb',"run":"([A-Za-z0-9_-]{22})","seq":([1-9][0-9]{0,14}),"mac":"([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"\}\Z')
# The end of a line, also where one of its three parts was altered.
WHOLE_ENDS = [
    re.compile(rb',"seq":[1-9][0-9]{0,14},"mac":"[A-Za-z0-9_-]{43}"\}'),
    re.compile(rb'(?s),"run":"[A-Za-z0-9_-]{22}".{1,30},"mac":"[A-Za-z0-9_-]{43}"\}'),
]
RUN_AND_SEQ = re.compile(rb',"run":"[A-Za-z0-9_-]{22}","seq":[1-9][0-9]{0,14}')
MAC_START = re.compile(rb',"mac":"(?:[A-Za-z0-9_-]{0,43}|[A-Za-z0-9_-]{43}")')
STARTS = (b'{"time":"', b'{"audit":"')
MOST_LINE = 262144


class Fault(Exception):
    pass


def b64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hkdf(key, salt, info):
    # RFC 5869 for 32 bytes: one block.
    return hmac.new(hmac.new(salt, key, hashlib.sha256).digest(), info + b"\1", hashlib.sha256).digest()


def read_keys(keyring, key_file):
    if key_file:
        return {i: bytes.fromhex(h) for i, h in (line.split() for line in open(key_file) if line.strip())}
    ring = json.load(open(keyring))
    return {"local:%s:%s" % (ring["name"], v["id"]): hkdf(base64.b64decode(v["key"]), b"", b"sealgate audit key 1") for v in ring["keys"] if v["state"] != "destroyed"}


def has_whole_end(line):
    if any(end.search(line) for end in WHOLE_ENDS):
        return True
    found = RUN_AND_SEQ.search(line)
    rest = line[found.end():].lstrip(b"0123456789").replace(b"\0", b"") if found else b""
    return not (b',"mac":"'.startswith(rest) or MAC_START.fullmatch(rest))


def is_torn(line):
    if not line.strip(b"\0"):
        return True
    if has_whole_end(line):
        return False
    if not any(line[:len(s)] == s[:len(line)] for s in STARTS):
        return False
    try:
        json.loads(line)
        return False
    except ValueError:
        return True


class Verifier:
    def __init__(self, keys):
        self.keys, self.runs, self.files = keys, {}, 0
        self.lines = self.plain = self.torn = self.unexplained = self.told = 0
        self.first_torn = None

    def accept(self, line, offset):
        """Raises Fault unless the line continues its run."""
        tail = TAIL.search(line[-200:])
        if not tail:
            raise Fault("foreign: it has no place in a chain")
        run, seq, mac = tail[1].decode(), int(tail[2]), b64(tail[3].decode())
        try:
            point = json.loads(line) if line.startswith(b'{"audit":"checkpoint","format":1,') else None
        except ValueError:
            point = None
        known = self.runs.get(run)
        if known is None:
            reason = point and point.get("reason")
            if not (reason == "start" and seq == 1 or reason == "rotated" and self.files == 1):
                raise Fault("missing: lines of run %s before its line %d" % (run, seq))
            try:
                key, before = self.keys.get(point["keyId"]), bytes(32) if reason == "start" else b64(point["prev"])
            except (KeyError, ValueError, TypeError):
                raise Fault("altered: it is no checkpoint") from None
            if key is None:
                raise Fault("key: its key was not given")
            known = (seq - 1, before, hkdf(key, b64(run), b"sealgate audit run 1"), "")
        if seq != known[0] + 1:
            raise Fault("%s: line %d of run %s behind line %d" % ("repeated" if seq <= known[0] else "missing", seq, run, known[0]))
        if not hmac.compare_digest(hmac.new(known[2], known[1] + line[:-53], hashlib.sha256).digest(), mac):
            raise Fault("altered: its MAC does not fit")
        if point:
            self.check(point, offset)
        self.runs[run] = (seq, mac, known[2], point and point["reason"])
        self.lines += 1

    def check(self, point, offset):
        if offset < point["at"]:
            raise Fault("missing: bytes before it")
        named = list(point["heads"].items()) + [x for x in point["before"].items() if x[0] in self.runs or self.files > 1]
        for run, head in named:
            seq, mac = head.split(" ")
            known = self.runs.get(run)
            if known is None or known[0] < int(seq):
                raise Fault("missing: line %s of run %s, which it names" % (seq, run))
            if known[0] == int(seq) and known[1] != b64(mac):
                raise Fault("altered: it names another line %s of run %s" % (seq, run))
        self.told += point["torn"]

    def fragment(self, part, where):
        self.torn += 1
        if not part.startswith(STARTS[1]):
            self.unexplained += 1
            self.first_torn = self.first_torn or where + ": foreign: no whole line, and no run was killed that could have left it"

    def glued(self, line, offset, where):
        starts = sorted((m.start() for s in STARTS for m in re.finditer(re.escape(s), line) if m.start()), reverse=True)
        if line.endswith(b"\0"):
            starts.insert(0, len(line.rstrip(b"\0")))
        for at in starts[:8]:
            torn = is_torn(line[:at])
            try:
                self.accept(line[at:] if torn else line[:at], offset + (at if torn else 0))
            except Fault:
                continue
            if torn:
                self.fragment(line[:at], where)
            else:
                try:
                    self.accept(line[at:], offset + at)
                except Fault:
                    if not is_torn(line[at:]):
                        raise
                    self.fragment(line[at:], where)
            return True
        return False

    def take(self, line, offset, where):
        if not line:
            return
        if len(line) > MOST_LINE:
            raise Fault("foreign: it is too long")
        try:
            self.accept(line, offset)
        except Fault as fault:
            if self.glued(line, offset, where):
                return
            if not str(fault).startswith("foreign"):
                raise
            if self.lines == 0 and self.files == 1:
                self.plain += 1
            elif is_torn(line):
                self.fragment(line, where)
            else:
                raise

    def file(self, name):
        self.files += 1
        offset = 0
        with (gzip.open if name.endswith(".gz") else open)(name, "rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MOST_LINE + 2), b""), 1):
                try:
                    self.take(line[:-1] if line.endswith(b"\n") else line, offset, "%s:%d" % (name, number))
                except Fault as fault:
                    raise Fault("%s:%d: %s" % (name, number, fault)) from None
                offset += len(line)

    def end(self, witnesses):
        self.open = [run for run, state in self.runs.items() if state[3] != "stop"]
        if self.unexplained > len(self.open) + self.told:
            raise Fault(self.first_torn)
        for run, seq in witnesses.items():
            if run not in self.runs or self.runs[run][0] < seq:
                raise Fault("missing: line %d of run %s, which was witnessed" % (seq, run))
        if not self.lines:
            raise Fault("foreign: no line is protected by a chain")


def witnesses_in(names):
    last = {}
    for name in names:
        for line in open(name, errors="replace"):
            m = re.search(r'"run":"([A-Za-z0-9_-]{22})","seq":([1-9][0-9]{0,14}),"mac":"', line)
            if m:
                last[m[1]] = max(last.get(m[1], 0), int(m[2]))
    return last


def verify(names, keys, witnesses):
    """(exit status, text)"""
    verifier = Verifier(keys)
    try:
        for name in names:
            verifier.file(name)
        verifier.end(witnesses)
    except Fault as fault:
        return 4, "TAMPERED: %s" % fault
    v = verifier
    text = "whole: %d lines of %d runs, %d unprotected before them, %d torn" % (v.lines, len(v.runs), v.plain, v.torn)
    return 0, "\n".join([text] + ["no orderly end (running, killed, or cut off): %s, line %d" % (r, v.runs[r][0]) for r in v.open])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--keyring")
    key.add_argument("--key-file")
    parser.add_argument("--against", action="append", default=[])
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    try:
        status, text = verify(args.files, read_keys(args.keyring, args.key_file), witnesses_in(args.against))
    except (OSError, EOFError, ValueError, KeyError) as error:
        status, text = 2, "cannot be read: %s" % error
    print(text)
    sys.exit(status)

"""How much the vectors demand of a reader: one-line faults in docs/break-glass/sealgate_open.py, and which of them no vector notices.

    python3 test/campaigns/reader_mutants.py [DIRECTORY OF VECTORS]... [--only TEXT]

A mutant is a named replacement. Its anchor must be in the reader exactly once: whoever changes the reader there changes the mutant
here. It is killed when a vector that must open does not, or gives other bytes, or when one that must not open does. Those marked
MAY_SURVIVE cannot be told apart by anything that a writer can produce, as their reasons say. Exit status 1: another survived.
"""
import argparse
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
READER = ROOT / 'docs/break-glass/sealgate_open.py'

# Name, what stands in the reader, what stands in the mutant.
MUTANTS = [
    # Envelope
    ('canonical trailing bits of base64url', "require(base64.urlsafe_b64encode(raw).rstrip(b'=').decode() == text,", 'require(True,'),
    ('alphabet of base64url', "require(re.fullmatch('[A-Za-z0-9_-]*', text) and len(text) % 4 != 1,", 'require(len(text) % 4 != 1,'),
    ('envelope of at most 9,216 characters', 'require(len(text) <= MAX_ENVELOPE,', 'require(True,'),
    ('version of the envelope', "    reader.one_of(1)\n    reader.one_of(1)\n", "    reader.int(1)\n    reader.one_of(1)\n"),
    ('suite', "    reader.one_of(1)\n    reader.one_of(1)\n", "    reader.one_of(1)\n    reader.int(1)\n"),
    ('kind', 'kind = reader.one_of(SINGLE, MULTIPART, EMPTY)', 'kind = reader.int(1)'),
    ('scope', '    scope = reader.one_of(1, 2)\n', '    scope = reader.int(1)\n'),
    ('length of the bucket', "require(name != b'', reader.what)", 'require(True, reader.what)'),
    ('bucket is UTF-8', 'require(bucket.encode() == name, reader.what)', 'require(True, reader.what)'),
    ('length of the wrapped key', 'require(1 <= len(blob) <= MAX_BLOB, reader.what)', 'require(True, reader.what)'),
    ('bucket that the envelope is bound to', "require(envelope['bucket'] == args.bucket,", 'require(True,'),
    # Keys
    ('disabled key used', "require(state in ('enabled', 'decrypt-only'),", 'require(True,'),
    ('zero bucket key', "require(any(kek), 'the bucket key is zero')", 'pass'),
    ('length of an SSE-C blob', "require(len(blob) == 48, 'the envelope is malformed')", 'pass'),
    ('scope with SSE-C', "require(envelope['scope'] == 1, 'the envelope is malformed')", 'pass'),
    ('check value of SSE-C', 'require(hmac.compare_digest(check, blob[32:]),', 'require(True,'),
    ('object name in the context of a key of one object', "name if envelope['scope'] == 2 else '', *pairs)", "'', *pairs)"),
    ("pairs of the client's context", "name if envelope['scope'] == 2 else '', *pairs)", "name if envelope['scope'] == 2 else '')"),
    ('order of the pairs', 'sorted(json.loads(raw.decode()).items(), key=lambda pair: pair[0].encode())', 'list(json.loads(raw.decode()).items())'),
    ('text of the pairs', "''.join(value for _, value in ordered).encode()", "''.join(value for _, value in ordered)"),
    ('canonical base64 of a context', 'base64.b64encode(raw).decode() == text and ', ''),
    ('size of a context', ' and len(raw) <= 1536', ''),
    ('empty names in a context', "name not in ('', '__proto__') for name", "name != '__proto__' for name"),
    ('__proto__ in a context', "name not in ('', '__proto__') for name", "name != '' for name"),
    ('reserved names in the context', "require(not any(re.match('(aws|sealgate):', name, re.I) for name, _ in ordered),", 'require(True,'),
    # Box
    ('commitment', "require(hmac.compare_digest(commitment, envelope['commitment']),", 'require(True,'),
    ('zero data key', "require(any(data_key), 'the data key is zero')", 'pass'),
    ('flags of the attributes', 'flags = reader.one_of(*range(32))', 'flags = reader.int(1)'),
    ('code of server-side encryption', '    reader.one_of(0, 1, 2, 3)\n    count', '    reader.int(1)\n    count'),
    ('number of checksums', 'require(count <= 2, self.what)', 'pass'),
    ('codes of checksums', 'algorithm = self.one_of(*CHECKSUM_SIZES)', 'algorithm = self.int(1)'),
    ('types of checksums', '            self.one_of(1, 2)\n', '            self.int(1)\n'),
    ('bound of a u64', 'require(length <= MAX_PARTS * MAX_PART, self.what)', 'pass'),
    ('surplus bytes of the attributes', '    reader.end()\n    require(not (kind == EMPTY and', '    require(not (kind == EMPTY and'),
    ('digests of an empty object in a manifest', 'require(not (kind == EMPTY and flags & 2), reader.what)', 'pass'),
    # Sealed metadata
    ('order of the entries', 'require((code, name) > before, reader.what)', 'pass'),
    ('code of an entry', 'code = reader.one_of(*DESCRIBING, 7)', 'code = reader.int(1)'),
    ('characters of a name', 'require(code != 7 or re.fullmatch(', 'require(True or re.fullmatch('),
    ('reserved names of entries', "require(not name.startswith(b'sealgate'), reader.what)", 'pass'),
    ('empty value of a describing header', 'require(code == 7 or value, reader.what)', 'pass'),
    ('bytes of a value', "require(re.fullmatch(rb'[\\t\\x20-\\x7e\\x80-\\xff]*', value), reader.what)", 'pass'),
    ('white space around a value', "require(value == value.strip(b' \\t'), reader.what)", 'pass'),
    ('aws-chunked in a sealed content encoding', "require(code != 2 or not re.search(", "require(True or not re.search("),
    ('size of the sealed metadata', 'require(len(data) == 64 * max(1, -(-reader.at // 64)), reader.what)', 'pass'),
    ('zeros behind the sealed metadata', 'require(not any(reader.rest()), reader.what)', 'reader.rest()'),
    # Metadata digest
    ('metadata digest', "require(opened['metadata_digest'] in digests,", 'require(True,'),
    ('`_` is `-` in names', "name.replace('_', '-') if underscores else name", 'name'),
    ('form for names with `_`', "*(['_'] if underscores else [])", ''),
    ('runs of spaces', "re.sub(' +', ' ', value.strip(' \\t'))", "value.strip(' \\t')"),
    ('spaces at the ends', "re.sub(' +', ' ', value.strip(' \\t'))", "re.sub(' +', ' ', value)"),
    ('values that look like encoded words', " or '=?' in value else value", ' else value'),
    ('bytes beyond ASCII in values', "re.search(r'[^\\x20-\\x7e]', value) or ", ''),
    ('default content types', "'' if kind in ('binary/octet-stream', 'application/octet-stream') else bindable(kind)", 'bindable(kind)'),
    ('aws-chunked in the content encoding', "if member not in ('', 'aws-chunked')", "if member != ''"),
    # Sizes
    ('stored size outside of the law', 'require(s >= 512 and p >= 0 and stored_size(p) == s,', 'require(True,'),
    ('padding of parts', 'return stream_size(p) if p < MIN_PART else p + 20 * (p // SEGMENT) - 160', 'return stream_size(p)'),
    ('body of an empty object', "require(size == 0, 'an empty object has a body')", 'pass'),
    ('sum of the parts, or length of a single, against the law', 'require(sum(part[1] for part in parts) == total,', 'require(True,'),
    ('parts that overlap the manifest', 'require(at + stream_size(length) <= manifest_start,', 'require(True,'),
    # Body
    ('stored header of a stream', "require(header in (None, stored), 'a stream header is not the sealed one')", 'pass'),
    ('zeros', 'require(not any(data),', 'require(True,'),
    ('zeros between parts', '        read_zeros(body, end - at - stream_size(length))', '        body.seek(end) if i + 1 < len(streams) else read_zeros(body, end - at - stream_size(length))'),
    ('zeros before the manifest', '        read_zeros(body, end - at - stream_size(length))', '        i + 1 < len(streams) and read_zeros(body, end - at - stream_size(length))'),
    # Manifest
    ('magic of the footer', "require(footer[:8] == b'sealgate', 'the footer is malformed')", 'pass'),
    ('size of the manifest', "require(stored <= MAX_MANIFEST, 'the footer is malformed')", 'pass'),
    ('kind of the manifest', '    reader.one_of(kind)\n    md5', '    reader.int(1)\n    md5'),
    ('flags of the manifest of a single', 'md5 = reader.one_of(0, 1) if kind == SINGLE else reader.one_of(0)', 'md5 = reader.int(1) & 1 if kind == SINGLE else reader.one_of(0)'),
    ('flags of the manifest of a multipart object', 'md5 = reader.one_of(0, 1) if kind == SINGLE else reader.one_of(0)', 'md5 = reader.one_of(0, 1) if kind == SINGLE else reader.int(1) & 0'),
    ('algorithm of the parts', 'part_checksum = reader.one_of(0, *CHECKSUM_SIZES) if kind == MULTIPART', 'part_checksum = reader.int(1) if kind == MULTIPART'),
    ('algorithm of the parts of a single', 'if kind == MULTIPART else reader.one_of(0)\n    count', 'if kind == MULTIPART else reader.int(1)\n    count'),
    ('number of parts', 'require(1 <= total <= MAX_PARTS, reader.what)', 'pass'),
    ('flags of a part', 'flags = reader.one_of(0, 1, 2, 3)', 'flags = reader.int(1)'),
    ('checksum of a part without an algorithm', 'require(not flags & 2 or part_checksum, reader.what)', 'flags &= 3 if part_checksum else 1'),
    ('ascending numbers', 'require(number > (parts[-1][0] if parts else 0), reader.what)', 'pass'),
    ('range of numbers', 'require(number <= MAX_PARTS, reader.what)', 'pass'),
    ('bound of a part', 'require(length <= MAX_PART, reader.what)', 'pass'),
    ('small part only as the last', 'require(all(length >= MIN_PART for _, length, _ in parts[:-1]), reader.what)', 'pass'),
    ('surplus bytes of the manifest', '    reader.end()\n    return parts', '    return parts'),
    # Backup of a keyring
    ('version of a backup', "require(backup[:16] == b'sealgate-keys-1\\n', 'this is not a keyring backup of a known version', BackupFailure)", 'pass'),
    ('bounds of the scrypt cost of a backup', "require(14 <= backup[16] <= 20, 'the backup names a scrypt cost outside 14 to 20', BackupFailure)", 'pass'),
    ('associated data of a backup', 'decrypt(bytes(12), sealed, header)', 'decrypt(bytes(12), sealed, None)'),
    ('realm of a backup', "self.name, self.realm = value['name'], value.get('realm')", "self.name, self.realm = value['name'], None"),
]

# What makes no difference to any object, with the reason.
MAY_SURVIVE = {
    'parts that overlap the manifest': 'lengths that obey the size law leave the manifest room (docs/FORMAT.md, Proof of the size law), so that no writer can make one',
}


def load(text):
    module = types.ModuleType('sealgate_open')
    exec(compile(text, str(READER), 'exec'), module.__dict__)
    return module


class Case:
    """One vector, read and judged as test/e2e/break_glass.py does it, in this process."""

    def __init__(self, break_glass, path, work):
        self.break_glass, self.name, self.vector = break_glass, path.name, json.loads(path.read_text())
        own = pathlib.Path(work) / path.stem
        own.mkdir()
        self.out = own / 'plaintext'
        self.command = None if 'backup' in self.vector else [*break_glass.options(path, self.vector, own), '--out', str(self.out)]

    def read_rightly_by(self, module):
        """A reader that crashes does not."""
        self.out.unlink(missing_ok=True)
        sys.argv, self.break_glass.sealgate = [str(READER), *(self.command or [])], module
        stdout, stderr = io.StringIO(), io.StringIO()
        try:
            if self.command is None:
                return self.break_glass.check_backup(self.vector)
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                code = module.main()
        except (Exception, SystemExit):
            return False
        return self.break_glass.right(self.vector, self.out, code, stdout.getvalue(), stderr.getvalue())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('vectors', nargs='*', type=pathlib.Path, default=[ROOT / 'test/vectors', ROOT / 'test/vectors/backups'])
    parser.add_argument('--only', default='', help='mutants whose name holds this')
    args = parser.parse_args()
    # How a vector is read and judged is that of test/e2e/break_glass.py, which takes its own from sys.argv.
    sys.argv = [sys.argv[0], str(READER.parent)]
    sys.path.insert(0, str(ROOT / 'test/e2e'))
    import break_glass
    text = READER.read_text()
    wrong = [name for name, anchor, _ in MUTANTS if text.count(anchor) != 1]
    for name in wrong:
        print(f'not found once in the reader: {name}')
    survived = []
    with tempfile.TemporaryDirectory() as work:
        cases = [Case(break_glass, path, work) for directory in args.vectors for path in sorted(directory.glob('*.json'))]
        reader = load(text)
        faults = [case for case in cases if not case.read_rightly_by(reader)]
        for case in faults:
            print(f'the reader itself gets {case.name} wrong: left out')
        cases = [case for case in cases if case not in faults]
        for name, anchor, replacement in MUTANTS:
            if name in wrong or args.only not in name:
                continue
            mutant = load(text.replace(anchor, replacement))
            # scrypt is slow: what has nothing to do with backups does not meet them.
            own = [case for case in cases if ('backup' in case.vector) == ('backup' in name)]
            vector = next((case.name for case in own if not case.read_rightly_by(mutant)), None)
            if vector is None:
                survived.append(name)
            print(f'killed    {name}: {vector}' if vector else f'SURVIVED  {name}{": may, " + MAY_SURVIVE[name] if name in MAY_SURVIVE else ""}', flush=True)
    print(f'{len(cases)} vectors, {len(MUTANTS)} mutants, {len(survived)} survived, {len([name for name in survived if name not in MAY_SURVIVE])} of them must not')
    return 1 if wrong or faults or not cases or set(survived) - set(MAY_SURVIVE) else 0


if __name__ == '__main__':
    sys.exit(main())

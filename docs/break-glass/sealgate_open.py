#!/usr/bin/env python3
"""Opens one object stored by Sealgate, without Sealgate. Written from docs/FORMAT.md alone.

Needs Python 3.9 or newer and the package `cryptography` (https://cryptography.io), nothing else.

    sealgate_open.py --body stored.bin --key-id "$KEY" --envelope "$ENVELOPE" \\
        --realm main --bucket photos --object a/b.jpg --keyring keyring.json --out b.jpg

KEY and ENVELOPE are the values of x-amz-meta-sealgate-key and x-amz-meta-sealgate, as the store's HEAD shows them. Where the
bucket key is wrapped by AWS KMS, unwrap it with `--print-blob` and `aws kms decrypt`, and pass it with --bucket-key.
The output appears under its name only after every byte of the body has verified. Exit status 1: it did not.
"""
import argparse
import base64
import hashlib
import hmac
import json
import os
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEGMENT, HEADER, TAG, FOOTER = 65536, 40, 16, 12
MIN_PART, MAX_PART = 5 * 1024 * 1024, 5367071380
CHECKSUM_SIZES = {1: 4, 2: 4, 3: 8, 4: 20, 5: 32, 6: 16, 7: 64, 8: 8, 9: 8, 10: 16}


class Invalid(Exception):
    """The stored data did not verify."""


def require(condition, what):
    if not condition:
        raise Invalid(what)


def hkdf(key, salt, info, length=32):
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def fields(*values):
    encoded = [v.encode() if isinstance(v, str) else v for v in values]
    return b''.join(struct.pack('>I', len(v)) + v for v in encoded)


def unwrap(kek, wrapped, aad, what):
    require(len(wrapped) >= 48, what)
    try:
        return AESGCM(hkdf(kek, wrapped[:32], b'sealgate/v1/wrap')).decrypt(bytes(12), wrapped[32:], aad)
    except InvalidTag:
        raise Invalid(what) from None


class Reader:
    def __init__(self, data, what):
        self.data, self.what, self.at = data, what, 0

    def bytes(self, size):
        require(self.at + size <= len(self.data), self.what)
        self.at += size
        return self.data[self.at - size:self.at]

    def int(self, size):
        return int.from_bytes(self.bytes(size), 'big')

    def one_of(self, *codes):
        code = self.int(1)
        require(code in codes, self.what)
        return code

    def rest(self):
        return self.bytes(len(self.data) - self.at)

    def end(self):
        require(self.at == len(self.data), self.what)

    def checksums(self, count):
        require(count <= 2, self.what)
        for _ in range(count):
            algorithm = self.one_of(*CHECKSUM_SIZES)
            self.one_of(1, 2)
            self.bytes(CHECKSUM_SIZES[algorithm])


# Sizes

def stream_size(p):
    return p + HEADER + TAG * -(-(p + HEADER) // (SEGMENT - TAG))


def stored_size(p):
    return p + 512 + 20 * -(-p // SEGMENT)


def plaintext_size(s):
    p = s - 512 - 20 * -(-(s - 512) // (SEGMENT + 20))
    require(s >= 512 and p >= 0 and stored_size(p) == s, 'the size of the body is not one of a sealed object')
    return p


def stored_part_size(p):
    return stream_size(p) if p < MIN_PART else p + 20 * (p // SEGMENT) - 160


# Keys

def parse_context(text):
    return sorted((json.loads(base64.b64decode(text)) if text else {}).items(), key=lambda pair: pair[0].encode())


def bucket_key(args, envelope):
    """The key that opens the box (FORMAT, Key providers)."""
    if args.bucket_key:
        return bytes.fromhex(args.bucket_key)
    if args.customer_key:
        customer, salt, check = bytes.fromhex(args.customer_key), envelope['blob'][:32], envelope['blob'][32:]
        require(hmac.compare_digest(hkdf(customer, salt, b'sealgate/v1/ssec-check', 16), check), 'another SSE-C key is needed')
        return hkdf(customer, salt, b'sealgate/v1/ssec-wrap')
    with open(args.keyring, encoding='utf-8') as file:
        keyring = json.load(file)
    versions = {f"local:{keyring['name']}:{key['id']}": key for key in keyring['keys']}
    require(args.key_id in versions, f'the keyring does not hold {args.key_id}')
    require(versions[args.key_id]['state'] != 'disabled', f'{args.key_id} is disabled')
    name = args.object if envelope['scope'] == 2 else ''
    pairs = [text for pair in parse_context(args.context) for text in pair]
    aad = fields('sealgate/v1/bucket-key', args.realm, args.bucket, name, *pairs)
    return unwrap(base64.b64decode(versions[args.key_id]['key']), envelope['blob'], aad, 'the bucket key does not open')


# Envelope

def parse_envelope(text):
    require(len(text) <= 9216, 'the envelope is too long')
    raw = base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
    require(base64.urlsafe_b64encode(raw).rstrip(b'=').decode() == text, 'the envelope is not base64url')
    reader = Reader(raw, 'the envelope is malformed')
    reader.one_of(1)
    reader.one_of(1)
    kind, scope = reader.one_of(1, 2), reader.one_of(1, 2)
    bucket = reader.bytes(reader.int(1)).decode()
    blob = reader.bytes(reader.int(2))
    require(bucket and 1 <= len(blob) <= 6144, reader.what)
    commitment = reader.bytes(32)
    header = reader.bytes(HEADER) if kind == 1 else b''
    return {'clear': raw[:4], 'kind': kind, 'scope': scope, 'bucket': bucket, 'blob': blob, 'commitment': commitment,
            'header': header, 'box': reader.rest()}


def open_envelope(envelope, kek, realm, name):
    """Returns the stream key and, for a single, the plaintext length."""
    require(len(kek) == 32 and any(kek), 'the bucket key is not 32 bytes')
    aad = fields('sealgate/v1/envelope', envelope['clear'], envelope['commitment'], envelope['header'], realm, envelope['bucket'], name)
    secret = unwrap(kek, envelope['box'], aad, 'the envelope does not open: other key, place or content')
    object_key = secret[:32]
    require(len(object_key) == 32 and any(object_key), 'the object key is not a key')
    salt = b'sealgate/v1/object-key-hkdf-salt'
    commitment = hkdf(object_key, salt, b'sealgate/v1/commitment')
    require(hmac.compare_digest(commitment, envelope['commitment']), 'the commitment is of another key')
    reader = Reader(secret[32:], 'the attributes are malformed')
    flags = reader.one_of(*range(8))
    reader.one_of(0, 1, 2, 3)
    count = reader.int(1)
    reader.bytes(16)
    length = reader.int(8) if envelope['kind'] == 1 else None
    reader.bytes(16 if flags & 1 else 0)
    reader.checksums(count)
    reader.end()
    return hkdf(object_key, salt, b'sealgate/v1/stream'), length


# Body

def read_exactly(body, size):
    data = body.read(size)
    require(len(data) == size, 'the body is truncated')
    return data


def read_zeros(body, size):
    while size > 0:
        data = read_exactly(body, min(size, 1 << 20))
        require(not any(data), 'the padding is not zero')
        size -= len(data)


def open_stream(body, stream_key, kind, number, length, header, suffix=b''):
    """Yields the plaintext of one Tink stream that starts where `body` stands, segment by segment."""
    stored = read_exactly(body, HEADER)
    require(header in (None, stored) and stored[0] == HEADER, 'a stream header is not the sealed one')
    data = b'sealgate' + struct.pack('>BBHQ', 1, kind, number, length) + suffix
    cipher = AESGCM(hkdf(stream_key, stored[1:33], data))
    left, index = stream_size(length) - HEADER, 0
    while left > 0:
        size = min(left, SEGMENT - HEADER if index == 0 else SEGMENT)
        left -= size
        nonce = stored[33:] + struct.pack('>IB', index, left == 0)
        try:
            yield cipher.decrypt(nonce, read_exactly(body, size), None)
        except InvalidTag:
            raise Invalid(f'segment {index} of part {number} does not verify') from None
        index += 1


def open_manifest(body, size, stream_key, kind):
    """Returns the manifest's offset and the parts as (number, length, header); none for a single."""
    require(size >= FOOTER, 'the body is truncated')
    body.seek(size - FOOTER)
    footer = read_exactly(body, FOOTER)
    stored = int.from_bytes(footer[8:], 'big')
    start = size - FOOTER - stored
    require(footer[:8] == b'sealgate' and stored <= 1310562 and start >= 0, 'the footer is malformed')
    length = stored - HEADER - TAG * -(-stored // SEGMENT)
    require(length >= 0 and stream_size(length) == stored, 'the footer is malformed')
    body.seek(start)
    reader = Reader(b''.join(open_stream(body, stream_key, 3, 0, length, None, footer)), 'the manifest is malformed')
    reader.one_of(kind)
    md5 = reader.one_of(0, 1) if kind == 1 else reader.one_of(0)
    part_checksum = reader.one_of(0, *CHECKSUM_SIZES) if kind == 2 else reader.one_of(0)
    count = reader.int(1)
    reader.bytes(16 * md5)
    reader.checksums(count)
    parts = []
    if kind == 2:
        reader.bytes(64)
        total = reader.int(2)
        require(1 <= total <= 10000, reader.what)
        for _ in range(total):
            number, flags, length = reader.int(2), reader.one_of(0, 1, 2, 3), reader.int(8)
            require((parts[-1][0] if parts else 0) < number <= 10000 and length <= MAX_PART, reader.what)
            require(not flags & 2 or part_checksum, reader.what)
            parts.append((number, length, reader.bytes(HEADER)))
            reader.bytes((16 if flags & 1 else 0) + (CHECKSUM_SIZES[part_checksum] if flags & 2 else 0))
        require(all(length >= MIN_PART for _, length, _ in parts[:-1]), reader.what)
    reader.end()
    return start, parts


def open_body(body, size, stream_key, envelope, length):
    total = plaintext_size(size)
    manifest_start, parts = open_manifest(body, size, stream_key, envelope['kind'])
    kind = 1 if envelope['kind'] == 1 else 2
    streams = [(1, length, envelope['header'])] if kind == 1 else parts
    require(sum(part[1] for part in streams) == total, 'the body has another size than was sealed')
    body.seek(0)
    at = 0
    for i, (number, part_length, header) in enumerate(streams):
        yield from open_stream(body, stream_key, kind, number, part_length, header)
        end = at + stream_size(part_length)
        at = at + stored_part_size(part_length) if i + 1 < len(streams) else manifest_start
        require(end <= at, 'the manifest overlaps the parts')
        read_zeros(body, at - end)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('--key-id', '--envelope', '--realm', '--bucket', '--object'):
        parser.add_argument(name, required=True)
    parser.add_argument('--body', help='file with the stored body')
    parser.add_argument('--context', help='value of x-amz-meta-sealgate-context, where there is one')
    parser.add_argument('--out', help='file to write')
    keys = parser.add_mutually_exclusive_group(required=True)
    keys.add_argument('--keyring', help='keyring file')
    keys.add_argument('--bucket-key', help='32 bytes in hex, already unwrapped')
    keys.add_argument('--customer-key', help='SSE-C key, 32 bytes in hex')
    keys.add_argument('--print-blob', action='store_true', help='print the wrapped bucket key in base64 and stop')
    args = parser.parse_args()
    try:
        envelope = parse_envelope(args.envelope)
        if args.print_blob:
            print(base64.b64encode(envelope['blob']).decode())
            return 0
        if not (args.body and args.out):
            parser.error('--body and --out are needed')
        require(envelope['bucket'] == args.bucket, f"the object is bound to bucket {envelope['bucket']}")
        stream_key, length = open_envelope(envelope, bucket_key(args, envelope), args.realm, args.object)
        partial, digest = args.out + '.partial', hashlib.sha256()
        with open(args.body, 'rb') as body, open(partial, 'wb') as out:
            for segment in open_body(body, os.path.getsize(args.body), stream_key, envelope, length):
                digest.update(segment)
                out.write(segment)
        os.replace(partial, args.out)
        print(digest.hexdigest())
        return 0
    except (Invalid, ValueError, KeyError) as error:
        print(f'sealgate_open: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())

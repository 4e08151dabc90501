#!/usr/bin/env python3
"""Opens one object stored by Sealgate, without Sealgate. Written from docs/FORMAT.md alone.

Needs Python 3.9 or newer and the package `cryptography` (https://cryptography.io), nothing else.

    aws s3api get-object --bucket photos --key a/b.jpg stored.bin > head.json
    sealgate_open.py --body stored.bin --headers head.json --bucket photos --object a/b.jpg \\
        --backup keyring.backup --passphrase-file passphrase.txt --out b.jpg

The realm comes from the keyring or its backup where they hold it, else from --realm. Where the bucket key is wrapped by AWS KMS,
`--print-blob` and `--print-kms-context` print what `aws kms decrypt` takes; where it is wrapped by OpenBao or Vault, `--print-vault` prints what
`transit/decrypt` takes; where it is in a PKCS#11 token, `--print-pkcs11` prints what sealgate_token.py takes; where it is wrapped by Google Cloud KMS,
Azure Key Vault or a KMIP server, `--print-request` prints what these are asked for. Pass the answer with --bucket-key, that of Azure with --unwrapped.
The output appears under its name only after every byte of the body has verified; its SHA-256 is printed.

Exit status:
  0  opened
  1  the stored data did not verify: it is damaged or was changed
  2  the command line, or a file that it names, is not good
  3  the backup does not open: wrong passphrase, or the backup is damaged or cut
  4  a key is missing: not in the keyring, disabled, or of another kind
  5  other realm, bucket, object name, context or key than the object was sealed for
"""
import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import struct
import sys

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

SEGMENT, HEADER, TAG, FOOTER = 65536, 40, 16, 12
MIN_PART, MAX_PART, MAX_PARTS = 5 * 1024 * 1024, 5367071380, 10000
MAX_MANIFEST, MAX_ENVELOPE, MAX_BLOB = 1310562, 9216, 6144
SINGLE, MULTIPART, EMPTY = 1, 2, 3
CHECKSUM_SIZES = {1: 4, 2: 4, 3: 8, 4: 20, 5: 32, 6: 16, 7: 64, 8: 8, 9: 8, 10: 16}
DATA_KEY_SALT = b'sealgate/v1/object-key-hkdf-salt'


class Failure(Exception):
    """Why an object was not opened. `status` is the exit status."""
    status = 2


class Damaged(Failure):
    """The stored data did not verify."""
    status = 1


class BackupFailure(Failure):
    status = 3


class MissingKey(Failure):
    status = 4


class Elsewhere(Failure):
    """Sealed for another realm, bucket, name, context or key."""
    status = 5


def require(condition, what, failure=Damaged):
    if not condition:
        raise failure(what)


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
        raise Elsewhere(what) from None


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

    def length(self):
        length = self.int(8)
        require(length <= MAX_PARTS * MAX_PART, self.what)
        return length

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


# Keyring and backup

class Keyring:
    """What a keyring file holds. `realm` is None where it names none."""

    def __init__(self, text, source):
        try:
            value = json.loads(text)
            self.name, self.realm = value['name'], value.get('realm')
            self.keys = {
                f"local:{self.name}:{key['id']}": (key['state'], b'' if key['state'] == 'destroyed' else base64.b64decode(key['key'], validate=True))
                for key in value['keys']
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Failure(f'{source} is not a keyring') from None

    def key(self, key_id):
        require(key_id in self.keys, f'the keyring does not hold {key_id}', MissingKey)
        state, key = self.keys[key_id]
        require(state in ('enabled', 'decrypt-only'), f'{key_id} is {state} in the keyring', MissingKey)
        require(len(key) == 32, f'{key_id} is not 32 bytes in the keyring', MissingKey)
        require(any(key), f'{key_id} is zero in the keyring', MissingKey)
        return key


def open_backup(backup, passphrase):
    """The keyring file in a backup (FORMAT, Backup of a keyring)."""
    require(backup[:16] == b'sealgate-keys-1\n', 'this is not a keyring backup of a known version', BackupFailure)
    require(len(backup) >= 65, 'the backup is cut', BackupFailure)
    require(len(backup) <= 1 << 21, 'the backup is larger than one can be', BackupFailure)
    require(14 <= backup[16] <= 20, 'the backup names a scrypt cost outside 14 to 20', BackupFailure)
    header, sealed = backup[:49], backup[49:]
    key = Scrypt(salt=header[17:], length=32, n=1 << header[16], r=8, p=1).derive(passphrase)
    try:
        return AESGCM(key).decrypt(bytes(12), sealed, header)
    except InvalidTag:
        # How the text begins tells a damaged backup from a wrong passphrase. Nothing of it is used.
        start = Cipher(algorithms.AES(key), modes.GCM(bytes(12))).decryptor().update(sealed[:-TAG])
        what = 'the passphrase is right, but the backup is damaged or cut' if start.startswith(b'{\n') else 'the backup does not open: wrong passphrase, or damaged'
        raise BackupFailure(what) from None


def read_passphrase(path):
    """The content of a file without its last line end."""
    with open(path, 'rb') as file:
        text = file.read()
    return text[:-2] if text.endswith(b'\r\n') else text[:-1] if text.endswith(b'\n') else text


def load_keyring(keyring, backup, passphrase_file):
    """From the file of --keyring, or from that of --backup; None where neither is named."""
    if backup:
        require(passphrase_file, '--backup needs --passphrase-file', Failure)
        with open(backup, 'rb') as file:
            return Keyring(open_backup(file.read(), read_passphrase(passphrase_file)), backup)
    if not keyring:
        return None
    with open(keyring, 'rb') as file:
        text = file.read()
    require(not text.startswith(b'sealgate-keys-'), f'{keyring} is a backup: use --backup', Failure)
    require(b'age-encryption.org' not in text[:64] and not text.startswith(b'-----BEGIN AGE'), f'{keyring} is encrypted: "age -d" makes a keyring of it', Failure)
    return Keyring(text, keyring)


def realm_of(given, keyring):
    """The realm that is given, else that of the keyring; the two MUST agree."""
    named = keyring.realm if keyring else None
    require(given is None or named in (None, given), f'the keyring is of realm {named}, not of {given}', Elsewhere)
    realm = named if given is None else given
    require(realm is not None, 'the realm is not known: --realm is needed', Failure)
    return realm


# Key providers

def parse_context(text):
    """The pairs of a client's encryption context, sorted by name."""
    if not text:
        return []
    try:
        raw = base64.b64decode(text, validate=True)
        ordered = sorted(json.loads(raw.decode()).items(), key=lambda pair: pair[0].encode())
        ''.join(value for _, value in ordered).encode()
    except (ValueError, AttributeError, TypeError):
        raise Damaged('the encryption context is malformed') from None
    require(base64.b64encode(raw).decode() == text and len(raw) <= 1536, 'the encryption context is malformed')
    require(all(name not in ('', '__proto__') for name, _ in ordered), 'the encryption context is malformed')
    require(not any(re.match('(aws|sealgate):', name, re.I) for name, _ in ordered), 'the encryption context has a reserved name')
    return ordered


def context_of(envelope, realm, name, context):
    """The encryption context of AWS KMS. Always JSON: names may hold commas, quotes and anything else."""
    arn = f"arn:aws:s3:::{envelope['bucket']}" + (f'/{name}' if envelope['scope'] == 2 else '')
    return {**dict(parse_context(context)), 'aws:s3:arn': arn, 'sealgate:realm': realm}


def place_of(envelope, realm, name, context):
    """What a bucket key is bound to."""
    pairs = [text for pair in parse_context(context) for text in pair]
    return fields('sealgate/v1/bucket-key', realm, envelope['bucket'], name if envelope['scope'] == 2 else '', *pairs)


def vault_request(envelope, key_id, realm, name, context):
    """What transit/decrypt takes (FORMAT, OpenBao and HashiCorp Vault)."""
    version = re.fullmatch('vault:[A-Za-z0-9._/-]+:(v[1-9][0-9]{0,8})', key_id)
    require(version, f'{key_id} is no key of OpenBao or Vault', MissingKey)
    place = hashlib.sha256(place_of(envelope, realm, name, context)).digest()
    return {'ciphertext': f'vault:{version[1]}:{base64.b64encode(envelope["blob"]).decode()}', 'context': base64.b64encode(place).decode()}


def pkcs11_request(envelope, key_id, realm, name, context):
    """What a token is asked for (FORMAT, PKCS#11), with every byte string in hex."""
    found = re.fullmatch('pkcs11:[A-Za-z0-9._-]+/([A-Za-z0-9._-]+):((?:[0-9a-f]{2}){1,32})', key_id)
    require(found, f'{key_id} is no key in a PKCS#11 token', MissingKey)
    blob, wrong = envelope['blob'], 'the wrapped bucket key is of no known form'
    require(len(blob) >= 2 and blob[0] in (1, 2), wrong)
    if blob[0] == 1:
        end = 2 + blob[1]
        require(blob[1] >= 12 and len(blob) == end + 48, wrong)
        parts = {'mechanism': 'CKM_AES_GCM', 'iv': blob[2:end], 'ciphertext': blob[end:]}
    else:
        require(len(blob) == 113, wrong)
        parts = {'mechanism': 'CKM_SHA256_HMAC', 'data': b'sealgate/v1/pkcs11-hmac' + blob[1:33], 'wrap': blob[33:]}
    parts['additionalData'] = place_of(envelope, realm, name, context)
    return {'label': found[1], 'id': found[2], **{part: value if isinstance(value, str) else value.hex() for part, value in parts.items()}}


def cloud_request(envelope, key_id, realm, name, context):
    """What Cloud KMS, Key Vault or a KMIP server is asked for (FORMAT, Key providers)."""
    blob, place = envelope['blob'], place_of(envelope, realm, name, context)
    if key_id.startswith('gcp-kms:'):
        return {'ciphertext': base64.b64encode(blob).decode(), 'additionalAuthenticatedData': base64.b64encode(place).decode()}
    if key_id.startswith('azure-key-vault:'):
        algorithm, ciphertext, _, _ = azure_parts(blob)
        return {'alg': algorithm, 'value': base64.urlsafe_b64encode(ciphertext).rstrip(b'=').decode()}
    require(key_id.startswith('kmip:'), f'{key_id} is no key of Cloud KMS, Key Vault or a KMIP server', MissingKey)
    require(len(blob) == 60, 'the wrapped bucket key is of no known form')
    parts = {'nonce': blob[:12], 'data': blob[12:44], 'authenticationTag': blob[44:], 'additionalData': place}
    return {'uniqueIdentifier': key_id.rsplit(':', 1)[1], **{part: value.hex() for part, value in parts.items()}}


def azure_parts(blob):
    """Algorithm, what the vault unwraps, box and signature (FORMAT, Azure Key Vault and Managed HSM)."""
    if len(blob) == 121 and blob[0] == 2:
        return 'A256KW', blob[1:41], blob[41:], None
    size = (len(blob) - 81) // 2
    require(blob[:1] == b'\1' and size in (256, 384, 512) and len(blob) == 81 + 2 * size, 'the wrapped bucket key is of no known form')
    return 'RSA-OAEP-256', blob[1:1 + size], blob[1 + size:81 + size], blob[81 + size:]


def azure_bucket_key(envelope, unwrapped, vault_key, key_id, realm, name, context):
    """From the 32 bytes that the vault has unwrapped. Under an RSA key the signature is checked first: anybody can make the rest."""
    _, ciphertext, box, signature = azure_parts(envelope['blob'])
    place = place_of(envelope, realm, name, context)
    if signature:
        require(vault_key, '--vault-key is needed: the answer of "az keyvault key show" for this version', Failure)
        number = lambda member: int.from_bytes(base64.urlsafe_b64decode(vault_key[member] + '=' * (-len(vault_key[member]) % 4)), 'big')
        signed = fields('sealgate/v1/azure-wrap', key_id, ciphertext, box, place)
        try:
            pss = padding.PSS(padding.MGF1(SHA256()), 32)
            rsa.RSAPublicNumbers(number('e'), number('n')).public_key().verify(signature, signed, pss, SHA256())
        except InvalidSignature:
            raise Elsewhere('the signature of the bucket key does not fit: other realm, bucket, context or key') from None
    return unwrap(unwrapped, box, place, 'the bucket key does not open: other realm, bucket, context or key')


def local_bucket_key(envelope, master_key, realm, name, context):
    return unwrap(master_key, envelope['blob'], place_of(envelope, realm, name, context), 'the bucket key does not open: other realm, bucket, context or key')


def customer_kek(envelope, customer_key):
    blob = envelope['blob']
    require(len(blob) == 48, 'the envelope is malformed')
    require(envelope['scope'] == 1, 'the envelope is malformed')
    check = hkdf(customer_key, blob[:32], b'sealgate/v1/ssec-check', 16)
    require(hmac.compare_digest(check, blob[32:]), 'another SSE-C key is needed', MissingKey)
    return hkdf(customer_key, blob[:32], b'sealgate/v1/ssec-wrap')


class Keys:
    """What may open a box. `kms` unwraps a blob: it takes envelope, key id and encryption context, and returns 32 bytes. `vault` takes key id and request."""

    def __init__(self, keyring=None, bucket_key=None, customer_keys=(), kms=None, vault=None):
        self.keyring, self.bucket_key, self.customer_keys, self.kms, self.vault = keyring, bucket_key, customer_keys, kms, vault

    def kek(self, envelope, key_id, realm, name, context):
        """The key that opens the box (FORMAT, Key providers)."""
        if self.bucket_key:
            return self.bucket_key
        if key_id == 'ssec':
            require(self.customer_keys, 'the object is sealed with a customer\'s key: --customer-key is needed', MissingKey)
            return self.customer_kek(envelope)
        if key_id.startswith('arn:'):
            require(self.kms, f'the object is sealed with {key_id}: AWS KMS is needed', MissingKey)
            return self.kms(envelope, key_id, context_of(envelope, realm, name, context))
        if key_id.startswith('vault:'):
            require(self.vault, f'the object is sealed with {key_id}: OpenBao or Vault is needed', MissingKey)
            return self.vault(key_id, vault_request(envelope, key_id, realm, name, context))
        require(not key_id.startswith(('gcp-kms:', 'azure-key-vault:', 'kmip:')), f'the object is sealed with {key_id}: its service is needed, see --print-request', MissingKey)
        require(not key_id.startswith('pkcs11:'), f'the object is sealed with {key_id}: its token is needed, see --print-pkcs11', MissingKey)
        require(self.keyring, f'the object is sealed with {key_id}: --keyring or --backup is needed', MissingKey)
        return local_bucket_key(envelope, self.keyring.key(key_id), realm, name, context)

    def customer_kek(self, envelope):
        for i, key in enumerate(self.customer_keys, 1):
            try:
                return customer_kek(envelope, key)
            except MissingKey:
                if i == len(self.customer_keys):
                    raise


# Envelope

def parse_envelope(text):
    require(len(text) <= MAX_ENVELOPE, 'the envelope is too long')
    require(re.fullmatch('[A-Za-z0-9_-]*', text) and len(text) % 4 != 1, 'the envelope is not base64url')
    raw = base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
    require(base64.urlsafe_b64encode(raw).rstrip(b'=').decode() == text, 'the envelope is not canonical base64url')
    reader = Reader(raw, 'the envelope is malformed, or of a later version')
    reader.one_of(1)
    reader.one_of(1)
    kind = reader.one_of(SINGLE, MULTIPART, EMPTY)
    scope = reader.one_of(1, 2)
    name = reader.bytes(reader.int(1))
    blob = reader.bytes(reader.int(2))
    commitment = reader.bytes(32)
    header = reader.bytes(HEADER) if kind == SINGLE else b''
    bucket = name.decode(errors='replace')
    require(name != b'', reader.what)
    require(bucket.encode() == name, reader.what)
    require(1 <= len(blob) <= MAX_BLOB, reader.what)
    box = reader.rest()
    require(len(box) >= 48 + 32, reader.what)
    return {'clear': raw[:4], 'kind': kind, 'scope': scope, 'bucket': bucket, 'blob': blob, 'commitment': commitment,
            'header': header, 'box': box}


def open_envelope(envelope, kek, realm, name):
    """Returns what the box holds."""
    require(len(kek) == 32, 'the bucket key is not 32 bytes')
    require(any(kek), 'the bucket key is zero')
    aad = fields('sealgate/v1/envelope', envelope['clear'], envelope['commitment'], envelope['header'], realm, envelope['bucket'], name)
    secret = unwrap(kek, envelope['box'], aad, 'the envelope does not open: other realm, bucket, object name or key, or damaged')
    data_key = secret[:32]
    require(any(data_key), 'the data key is zero')
    commitment = hkdf(data_key, DATA_KEY_SALT, b'sealgate/v1/commitment')
    require(hmac.compare_digest(commitment, envelope['commitment']), 'the commitment is of another key')
    attributes = parse_attributes(secret[32:], envelope['kind'])
    return {**attributes, 'stream_key': hkdf(data_key, DATA_KEY_SALT, b'sealgate/v1/stream')}


def parse_attributes(data, kind):
    """The plaintext length (None for multipart), and the digest of the metadata or, where it is sealed, the metadata itself."""
    reader = Reader(data, 'the attributes are malformed, or of a later version')
    flags = reader.one_of(*range(32))
    reader.one_of(0, 1, 2, 3)
    count = reader.int(1)
    digest = None if flags & 8 else reader.bytes(16)
    length = {SINGLE: reader.length, MULTIPART: lambda: None, EMPTY: lambda: 0}[kind]()
    reader.bytes(16 if flags & 1 else 0)
    reader.checksums(count)
    metadata = parse_metadata(reader.rest()) if flags & 8 else None
    reader.end()
    require(not (kind == EMPTY and flags & 2), reader.what)
    return {'length': length, 'metadata_digest': digest, 'metadata': metadata}


# Sealed metadata

DESCRIBING = {1: 'content-type', 2: 'content-encoding', 3: 'content-language', 4: 'content-disposition', 5: 'cache-control', 6: 'expires'}


def parse_metadata(data):
    """Describing headers and user metadata as (name in full, bytes of the value)."""
    reader = Reader(data, 'the sealed metadata is malformed, or of a later version')
    found, before = [], (0, b'')
    while reader.at < len(data) and data[reader.at] != 0:
        code = reader.one_of(*DESCRIBING, 7)
        name = reader.bytes(reader.int(1)) if code == 7 else b''
        value = reader.bytes(reader.int(2))
        require((code, name) > before, reader.what)
        require(code != 7 or re.fullmatch(rb"[a-z0-9!#$%&'*+.^_`|~-]*", name), reader.what)
        require(not name.startswith(b'sealgate'), reader.what)
        require(code == 7 or value, reader.what)
        require(code != 1 or value != b'binary/octet-stream', reader.what)
        require(re.fullmatch(rb'[\t\x20-\x7e\x80-\xff]*', value), reader.what)
        require(value == value.strip(b' \t'), reader.what)
        require(code != 2 or not re.search(rb'(^|,)[ \t]*aws-chunked[ \t]*(,|$)', value, re.I), reader.what)
        before = code, name
        found.append((DESCRIBING.get(code) or 'x-amz-meta-' + name.decode(), value))
    require(len(data) == 64 * max(1, -(-reader.at // 64)), reader.what)
    require(not any(reader.rest()), reader.what)
    return found


# Metadata digest

def normal(value):
    return re.sub(' +', ' ', value.strip(' \t'))


def normal_encoding(value):
    members = [normal(member).lower() for member in value.split(',')]
    return ','.join(member for member in members if member not in ('', 'aws-chunked'))


def bindable(value):
    return '' if re.search(r'[^\x20-\x7e]', value) or '=?' in value else value


def bound_entries(headers):
    """The entries that the digest binds, as (lower-cased name, normalised value), without empty ones."""
    for name, value in headers:
        name = name.lower()
        if name == 'content-encoding':
            name_and_value = name, normal_encoding(value)
        elif name.startswith('x-amz-meta-') and not name.startswith('x-amz-meta-sealgate'):
            name_and_value = name, normal(value)
        else:
            continue
        if name_and_value[1] != '':
            yield name_and_value


def metadata_digest(content_type, entries, underscores):
    values = {}
    for name, value in entries:
        values.setdefault(name.replace('_', '-') if underscores else name, []).append(value)
    pairs = [text for name in sorted(values) for text in (name, bindable(','.join(values[name])))]
    kind = normal(content_type)
    kind = '' if kind in ('binary/octet-stream', 'application/octet-stream') else bindable(kind)
    return hashlib.sha256(fields('sealgate/v1/metadata', kind, *pairs, *(['_'] if underscores else []))).digest()[:16]


def check_metadata(opened, headers):
    """`headers`: names and values as the store returns them, names in full. Where the metadata is sealed they are of no account."""
    if opened['metadata'] is not None:
        return
    content_type = ','.join(value for name, value in headers if name.lower() == 'content-type')
    entries = list(bound_entries(headers))
    forms = [True] if any('_' in name for name, _ in entries) else [False, True]
    digests = [metadata_digest(content_type, entries, underscores) for underscores in forms]
    require(opened['metadata_digest'] in digests, 'the content type, the content encoding or the user metadata was changed')


def shown_metadata(opened, headers):
    """What describes the object, as text, once it has been checked: from the envelope where it is sealed, else as the store returned it."""
    if opened['metadata'] is not None:
        return [(name, value.decode(errors='backslashreplace')) for name, value in opened['metadata']]
    own = [(name.lower(), value) for name, value in headers or [] if not name.lower().startswith('x-amz-meta-sealgate')]
    # A content type that the digest does not bind is the store's word.
    own = [(name, value) for name, value in own if name != 'content-type' or bindable(normal(value))]
    return [(name, value) for name, value in own if value and (name in ('content-type', 'content-encoding') or name.startswith('x-amz-meta-'))]


def headers_of(answer, source):
    """Names and values in an answer of `aws s3api get-object` or `head-object`."""
    try:
        metadata = [(f'x-amz-meta-{name}', value) for name, value in answer.get('Metadata', {}).items()]
        named = [('content-type', answer.get('ContentType', '')), ('content-encoding', answer.get('ContentEncoding', ''))]
    except AttributeError:
        raise Failure(f'{source} is not an answer of get-object or head-object') from None
    require(all(isinstance(value, str) for _, value in metadata + named), f'{source} is not an answer of get-object or head-object', Failure)
    return named + metadata


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


def associated_data(kind, number, length):
    return b'sealgate' + struct.pack('>BBHQ', 1, kind, number, length)


def open_stream(body, stream_key, kind, number, length, header, suffix=b''):
    """Yields the plaintext of one Tink stream that starts where `body` stands, segment by segment."""
    stored = read_exactly(body, HEADER)
    require(header in (None, stored), 'a stream header is not the sealed one')
    require(stored[0] == HEADER, 'the manifest is malformed' if kind == 3 else 'a stream header is not the sealed one')
    cipher = AESGCM(hkdf(stream_key, stored[1:33], associated_data(kind, number, length) + suffix))
    left, index = stream_size(length) - HEADER, 0
    while left > 0:
        size = min(left, SEGMENT - HEADER if index == 0 else SEGMENT)
        left -= size
        nonce = stored[33:] + struct.pack('>IB', index, left == 0)
        try:
            yield cipher.decrypt(nonce, read_exactly(body, size), None)
        except InvalidTag:
            raise Damaged(f'segment {index} of {"the manifest" if kind == 3 else f"part {number}"} does not verify') from None
        index += 1


def open_manifest(body, size, stream_key, kind):
    """Returns the manifest's offset and the parts as (number, length, header), none for a single. `kind`: that of the object."""
    require(size >= FOOTER, 'the body is truncated')
    body.seek(size - FOOTER)
    footer = read_exactly(body, FOOTER)
    stored = int.from_bytes(footer[8:], 'big')
    start = size - FOOTER - stored
    length = stored - HEADER - TAG * -(-stored // SEGMENT)
    require(footer[:8] == b'sealgate', 'the footer is malformed')
    require(stored <= MAX_MANIFEST, 'the footer is malformed')
    require(start >= 0, 'the footer is malformed')
    require(length >= 0, 'the footer is malformed')
    require(stream_size(length) == stored, 'the footer is malformed')
    body.seek(start)
    manifest = b''.join(open_stream(body, stream_key, 3, 0, length, None, footer))
    return start, parse_manifest(manifest, kind)


def parse_manifest(manifest, kind):
    reader = Reader(manifest, 'the manifest is malformed, or of a later version')
    reader.one_of(kind)
    md5 = reader.one_of(0, 1) if kind == SINGLE else reader.one_of(0)
    part_checksum = reader.one_of(0, *CHECKSUM_SIZES) if kind == MULTIPART else reader.one_of(0)
    count = reader.int(1)
    reader.bytes(16 * md5)
    reader.checksums(count)
    parts = []
    if kind == MULTIPART:
        reader.bytes(64)
        total = reader.int(2)
        require(1 <= total <= MAX_PARTS, reader.what)
        for _ in range(total):
            number = reader.int(2)
            flags = reader.one_of(0, 1, 2, 3)
            length = reader.length()
            header = reader.bytes(HEADER)
            require(number > (parts[-1][0] if parts else 0), reader.what)
            require(number <= MAX_PARTS, reader.what)
            require(length <= MAX_PART, reader.what)
            require(not flags & 2 or part_checksum, reader.what)
            reader.bytes((16 if flags & 1 else 0) + (CHECKSUM_SIZES[part_checksum] if flags & 2 else 0))
            parts.append((number, length, header))
        require(all(length >= MIN_PART for _, length, _ in parts[:-1]), reader.what)
    reader.end()
    return parts


def streams_of(body, size, envelope, opened):
    """Checks the sizes. Returns where the manifest starts, and the streams as (number, length, header, offset)."""
    if envelope['kind'] == EMPTY:
        require(size == 0, 'an empty object has a body')
        return 0, []
    total = plaintext_size(size)
    require(envelope['kind'] == MULTIPART or opened['length'] == total, 'the body has another size than was sealed')
    manifest_start, parts = open_manifest(body, size, opened['stream_key'], envelope['kind'])
    parts = parts or [(1, opened['length'], envelope['header'])]
    require(sum(part[1] for part in parts) == total, 'the body has another size than was sealed')
    streams, at = [], 0
    for number, length, header in parts:
        require(at + stream_size(length) <= manifest_start, 'the manifest overlaps the parts')
        streams.append((number, length, header, at))
        at += stored_part_size(length)
    return manifest_start, streams


def open_body(body, size, envelope, opened):
    """Yields the plaintext. Whoever keeps it MUST wait for the end: zeros and later segments are still to be checked."""
    manifest_start, streams = streams_of(body, size, envelope, opened)
    body.seek(0)
    for i, (number, length, header, at) in enumerate(streams):
        yield from open_stream(body, opened['stream_key'], envelope['kind'], number, length, header)
        end = streams[i + 1][3] if i + 1 < len(streams) else manifest_start
        read_zeros(body, end - at - stream_size(length))


def write_plaintext(segments, out, partial):
    """Writes a file that appears under its name only when it is whole, and as `partial` before. Returns its SHA-256 and its size."""
    digest, size = hashlib.sha256(), 0
    try:
        with open(partial, 'wb') as file:
            for segment in segments:
                digest.update(segment)
                size += file.write(segment)
        os.replace(partial, out)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise
    return digest.hexdigest(), size


# Command line

def add_key_options(parser):
    parser.add_argument('--keyring', help='keyring file; what "age -d" makes of a backup for age is one')
    parser.add_argument('--backup', help='encrypted backup of a keyring ("sealgate keys export")')
    parser.add_argument('--passphrase-file', help='file with the passphrase of the backup')
    parser.add_argument('--realm', help='upstream.realm of the configuration, where the keyring does not name it')


def hex_key(text, option):
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b''
    require(len(key) == 32, f'{option} is 32 bytes in hex', Failure)
    return key


def read_headers(args):
    """Takes key id, envelope and context from --headers. Returns the headers; None where there are none."""
    if not args.headers:
        return None
    with open(args.headers, 'rb') as file:
        text = file.read()
    try:
        headers = headers_of(json.loads(text), args.headers)
    except ValueError:
        raise Failure(f'{args.headers} is not JSON') from None
    found = dict(headers)
    require('x-amz-meta-sealgate' in found, 'the object was not written by Sealgate: its metadata has no entry "sealgate"')
    args.envelope = found['x-amz-meta-sealgate']
    args.key_id = found.get('x-amz-meta-sealgate-key')
    args.context = found.get('x-amz-meta-sealgate-context')
    return headers


def open_object(args):
    """Everything up to the body. Returns the envelope, what its box holds, and the headers."""
    headers, envelope = read_envelope(args)
    keyring = load_keyring(args.keyring, args.backup, args.passphrase_file)
    realm = realm_of(args.realm, keyring)
    bucket_key = args.bucket_key and hex_key(args.bucket_key, '--bucket-key')
    if args.unwrapped:
        vault_key = None
        if args.vault_key:
            with open(args.vault_key, encoding='utf-8') as file:
                vault_key = json.load(file)['key']
        unwrapped = hex_key(args.unwrapped, '--unwrapped')
        bucket_key = azure_bucket_key(envelope, unwrapped, vault_key, args.key_id, realm, args.object, args.context)
    keys = Keys(keyring, bucket_key, [hex_key(args.customer_key, '--customer-key')] if args.customer_key else [])
    opened = open_envelope(envelope, keys.kek(envelope, args.key_id, realm, args.object, args.context), realm, args.object)
    if headers is not None:
        check_metadata(opened, headers)
    return envelope, opened, headers


def read_envelope(args):
    headers = read_headers(args)
    require(args.envelope and args.key_id, '--headers is needed, or --envelope and --key-id', Failure)
    envelope = parse_envelope(args.envelope)
    require(envelope['bucket'] == args.bucket, f"the object is bound to bucket {envelope['bucket']}", Elsewhere)
    return headers, envelope


def run(args):
    if args.print_vault or args.print_pkcs11 or args.print_request:
        _, envelope = read_envelope(args)
        request = vault_request if args.print_vault else pkcs11_request if args.print_pkcs11 else cloud_request
        print(json.dumps(request(envelope, args.key_id, realm_of(args.realm, None), args.object, args.context), indent=2))
        return
    if args.print_blob or args.print_kms_context:
        _, envelope = read_envelope(args)
        context = context_of(envelope, realm_of(args.realm, None), args.object, args.context)
        print(base64.b64encode(envelope['blob']).decode() if args.print_blob else json.dumps(context, indent=2))
        return
    envelope, opened, headers = open_object(args)
    with open(args.body, 'rb') as body:
        size = os.fstat(body.fileno()).st_size
        if args.print_streams:
            for number, length, _, at in streams_of(body, size, envelope, opened)[1]:
                data = associated_data(envelope['kind'], number, length).hex()
                print(json.dumps({'offset': at, 'size': stream_size(length), 'plaintext': length, 'associatedData': data}))
            return
        digest, _ = write_plaintext(open_body(body, size, envelope, opened), args.out, args.out + '.partial')
    print(digest)
    if args.metadata_out:
        with open(args.metadata_out, 'w', encoding='utf-8') as file:
            json.dump(dict(shown_metadata(opened, headers)), file, indent=2)
    if headers is None and opened['metadata'] is None:
        print('sealgate_open: content type and user metadata were not checked: that needs --headers', file=sys.stderr)


def command_line():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bucket', required=True)
    parser.add_argument('--object', required=True, help='name of the object')
    parser.add_argument('--body', help='file with the stored body')
    parser.add_argument('--headers', help='file with the answer of "aws s3api get-object" or "head-object"')
    parser.add_argument('--envelope', help='without --headers: value of x-amz-meta-sealgate')
    parser.add_argument('--key-id', help='without --headers: value of x-amz-meta-sealgate-key')
    parser.add_argument('--context', help='without --headers: value of x-amz-meta-sealgate-context, where there is one')
    parser.add_argument('--out', help='file to write')
    parser.add_argument('--metadata-out', help='file for content type, user metadata and the like, as JSON')
    parser.add_argument('--print-blob', action='store_true', help='print the wrapped bucket key in base64, and stop')
    parser.add_argument('--print-kms-context', action='store_true', help='print the encryption context of the bucket key as JSON, and stop')
    parser.add_argument('--print-vault', action='store_true', help='print what transit/decrypt of OpenBao or Vault takes, as JSON, and stop')
    parser.add_argument('--print-pkcs11', action='store_true', help='print what sealgate_token.py takes, as JSON, and stop')
    parser.add_argument('--print-request', action='store_true', help='print what Cloud KMS, Key Vault or a KMIP server is asked for, as JSON, and stop')
    parser.add_argument('--print-streams', action='store_true', help='print where the Tink streams are in the body, one JSON line each, and stop')
    add_key_options(parser)
    parser.add_argument('--bucket-key', help='32 bytes in hex, already unwrapped')
    parser.add_argument('--unwrapped', help='32 bytes in hex that Azure Key Vault has unwrapped')
    parser.add_argument('--vault-key', help='with --unwrapped: file with the answer of "az keyvault key show" for the version of the key')
    parser.add_argument('--customer-key', help='SSE-C key, 32 bytes in hex')
    return parser


def main():
    parser = command_line()
    args = parser.parse_args()
    prints = args.print_blob or args.print_kms_context or args.print_vault or args.print_pkcs11 or args.print_request
    if sum(map(bool, [args.keyring, args.backup, args.bucket_key, args.unwrapped, args.customer_key, prints])) != 1:
        parser.error('one of --keyring, --backup, --bucket-key, --unwrapped, --customer-key, --print-blob, --print-kms-context, --print-vault, --print-pkcs11 and --print-request is needed')
    if not (prints or args.body and (args.out or args.print_streams)):
        parser.error('--body and --out are needed')
    try:
        run(args)
        return 0
    except Failure as error:
        print(f'sealgate_open: {error}', file=sys.stderr)
        return error.status
    except OSError as error:
        print(f'sealgate_open: {error.filename or "output"}: {error.strerror}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())

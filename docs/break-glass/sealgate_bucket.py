#!/usr/bin/env python3
"""Opens the objects of a bucket that Sealgate has written, without Sealgate. Stands beside sealgate_open.py and needs the same.

    export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…
    sealgate_bucket.py --endpoint https://s3.eu-central-1.amazonaws.com --region eu-central-1 --bucket photos \\
        --backup keyring.backup --passphrase-file passphrase.txt --out recovered

Objects come from the store (--endpoint), or from a directory (--directory) where each body NAME has NAME.head.json beside it, the answer
of `aws s3api get-object`; its member "Key" is the object's name, or else the path below the directory is. --download-only makes such
a directory and needs no keys.

Below OUT: objects/ has the plaintext, report.jsonl the verdicts. Run it again to go on: what was opened and has not changed is skipped. Names that no file can have are
percent-encoded; the report says which file is which object. It is written at the end, also after Ctrl-C (--report FILE: CSV where FILE
ends in .csv).

Verdicts: opened · downloaded · not-sealed (not written by Sealgate, left out) · damaged · no-key · elsewhere (other realm, bucket, name,
context or key) · store (gone, archived or not readable) · file (could not be written or read).

Exit status: 0 every sealed object was opened · 1 some were not, or it was stopped · 2 to 5 as of sealgate_open.py, before it began.
"""
import argparse
import base64
import csv
import datetime
import hashlib
import hmac
import http.client
import json
import os
import queue
import sqlite3
import ssl
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

import sealgate_open as sealgate
from sealgate_open import Failure, require

CHUNK = 4 << 20
ATTEMPTS, FIRST_WAIT = 6, 0.5
MAX_DOCUMENT = 64 << 20
# Python takes 100 headers of an answer. Stores that do not limit user metadata send more.
http.client._MAXHEADERS = 10000


class StoreFailure(Failure):
    """The store, or a key service, did not give what was asked for."""


class Unavailable(StoreFailure):
    """It may give it when asked again."""


# Signed requests (AWS Signature Version 4)

def quote(text, safe=''):
    return urllib.parse.quote(text, safe=safe + '-_.~')


class Service:
    """One address, with credentials. Each thread has a connection of its own."""

    def __init__(self, endpoint, service, region, credentials, ca):
        self.url = urllib.parse.urlsplit(endpoint)
        require(self.url.scheme in ('http', 'https') and self.url.hostname, f'{endpoint} is not http://HOST or https://HOST')
        self.service, self.region, self.credentials = service, region, credentials
        self.tls = ssl.create_default_context(cafile=ca) if self.url.scheme == 'https' else None
        self.local = threading.local()

    def connection(self):
        if getattr(self.local, 'connection', None) is None:
            kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
            self.local.connection = kind(self.url.hostname, self.url.port, timeout=60, **({'context': self.tls} if self.tls else {}))
        return self.local.connection

    def sign(self, method, path, query, headers, body):
        access_key, secret_key, token = self.credentials
        now = datetime.datetime.now(datetime.timezone.utc).strftime('%Y%m%dT%H%M%SZ')
        digest = hashlib.sha256(body).hexdigest()
        signed = {**headers, 'host': self.url.netloc, 'x-amz-date': now, 'x-amz-content-sha256': digest}
        if token:
            signed['x-amz-security-token'] = token
        names = ';'.join(sorted(signed))
        canonical = '\n'.join([method, path, query, *(f'{name}:{signed[name]}' for name in sorted(signed)), '', names, digest])
        scope = f'{now[:8]}/{self.region}/{self.service}/aws4_request'
        text = '\n'.join(['AWS4-HMAC-SHA256', now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f'AWS4{secret_key}'.encode()
        for step in (*scope.split('/'), text):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        return {**signed, 'authorization': f'AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}'}

    def once(self, method, path, query, headers, body, most):
        connection = self.connection()
        try:
            connection.request(method, path + ('?' + query if query else ''), body or None, self.sign(method, path, query, headers, body))
            response = connection.getresponse()
            content = read_bounded(response, most)
            if response.will_close:
                self.forget()
            return response.status, response.getheaders(), content
        except (OSError, http.client.HTTPException) as error:
            self.forget()
            raise Unavailable(f'{self.url.netloc}: {error or type(error).__name__}') from None
        except BaseException:
            self.forget()
            raise

    def forget(self):
        connection, self.local.connection = getattr(self.local, 'connection', None), None
        if connection:
            connection.close()

    def ask(self, method, path, query=(), headers=None, body=b'', most=MAX_DOCUMENT):
        """Returns (status, headers, body) of an answer that is no failure of the service. @raises StoreFailure."""
        text = '&'.join(f'{quote(name)}={quote(value)}' for name, value in sorted(query))
        for attempt in range(ATTEMPTS):
            try:
                status, answered, content = self.once(method, path, text, headers or {}, body, most)
                require(status < 500 and status != 429, f'the store answered {status}{code_of(content)}', Unavailable)
                return status, answered, content
            except Unavailable:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(FIRST_WAIT * 2 ** attempt)


def read_bounded(response, most):
    """The body of an answer. In pieces: Python 3.9 allocates all that a read might give."""
    pieces, size = [], 0
    while True:
        piece = response.read(min(1 << 20, response.length or 1 << 16))
        if not piece:
            # A read of a given size does not tell an answer that was cut from one that has ended.
            require(not response.length, 'the answer was cut', Unavailable)
            return b''.join(pieces)
        size += len(piece)
        require(size <= most, 'the answer is longer than was asked for', StoreFailure)
        pieces.append(piece)


def xml(content):
    # The store is not trusted: a document type is where entities are made to grow.
    require(b'<!DOCTYPE' not in content, 'the store\'s XML has a document type', StoreFailure)
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError:
        raise StoreFailure('the store\'s XML is malformed') from None


def code_of(content):
    """The code in an error document, with a space before it."""
    try:
        code = xml(content).findtext('{*}Code') or ''
    except StoreFailure:
        code = ''
    return f' {code}' if code.isalnum() else ''


# Where objects come from

class Item:
    def __init__(self, key, version, etag, size):
        self.key, self.version, self.etag, self.size = key, version, etag, size


class Bucket:
    """The objects of a bucket at a store."""

    def __init__(self, service, bucket, prefix, versions):
        self.service, self.bucket, self.prefix, self.versions = service, bucket, prefix, versions

    def items(self):
        """Every object, a page at a time."""
        query = {'encoding-type': 'url', 'prefix': self.prefix, **({'versions': ''} if self.versions else {'list-type': '2'})}
        while True:
            status, _, content = self.service.ask('GET', f'/{quote(self.bucket)}', query.items())
            require(status == 200, f'the bucket cannot be listed: {status}{code_of(content)}', StoreFailure)
            page = xml(content)
            for row in page.findall('{*}Version' if self.versions else '{*}Contents'):
                key = urllib.parse.unquote_plus(row.findtext('{*}Key') or '')
                yield Item(key, row.findtext('{*}VersionId') or '', row.findtext('{*}ETag') or '', int(row.findtext('{*}Size') or 0))
            if page.findtext('{*}IsTruncated') != 'true':
                return
            before = dict(query)
            if self.versions:
                query['key-marker'] = urllib.parse.unquote_plus(page.findtext('{*}NextKeyMarker') or '')
                query['version-id-marker'] = page.findtext('{*}NextVersionIdMarker') or ''
            else:
                query['continuation-token'] = page.findtext('{*}NextContinuationToken') or ''
            require(query != before, 'the store\'s listing does not go on', StoreFailure)

    def open(self, item):
        """Headers and a body that can be read and sought."""
        body = StoreBody(self, item)
        return body.headers, body

    def get(self, item, first, last, etag):
        """One range, or the whole where `last` is None. Returns headers and bytes."""
        headers = {} if last is None else {'range': f'bytes={first}-{last}'}
        if etag:
            headers['if-match'] = etag
        query = [('versionId', item.version)] if item.version else []
        status, answered, content = self.service.ask('GET', f'/{quote(self.bucket)}/{quote(item.key, "/")}', query, headers, most=CHUNK)
        require(status in (200, 206), f'the store answered {status}{code_of(content)}', StoreFailure)
        if last is not None:
            named = dict((name.lower(), value) for name, value in answered).get('content-range', '')
            require(status == 206 and named == f'bytes {first}-{last}/{item.size}', 'the store answered with another range', StoreFailure)
            require(len(content) == last - first + 1, 'the store answered with another length', StoreFailure)
        return answered, content


class StoreBody:
    """A body at the store, read in chunks of 4 MiB. Holds the first, so that one request is enough for a small object, and one more."""

    def __init__(self, bucket, item):
        self.bucket, self.item, self.at = bucket, item, 0
        whole = item.size <= CHUNK
        self.headers, first = bucket.get(item, 0, None if whole else CHUNK - 1, None)
        self.size = len(first) if whole else item.size
        self.etag = next((value for name, value in self.headers if name.lower() == 'etag'), None)
        self.first, self.current = (0, first), (0, first)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.current = self.first = (0, b'')

    def seek(self, at):
        self.at = at

    def read(self, size):
        data = b''
        while len(data) < size and self.at < self.size:
            start, chunk = self.chunk_at(self.at)
            piece = chunk[self.at - start:self.at - start + size - len(data)]
            self.at += len(piece)
            data = data + piece if data else piece
        return data

    def chunk_at(self, at):
        for held in (self.current, self.first):
            if held[0] <= at < held[0] + len(held[1]):
                return held
        # A whole chunk, even where what is asked for is near the end: what follows is read next.
        start = at - at % CHUNK
        last = min(start + CHUNK, self.size) - 1
        self.current = (start, self.bucket.get(self.item, start, last, self.etag)[1])
        return self.current


class Directory:
    """Bodies that were downloaded, each with the answer of get-object beside it."""

    SUFFIX = '.head.json'

    def __init__(self, root):
        require(os.path.isdir(root), f'{root} is not a directory')
        self.root = root

    def items(self):
        for folder, _, names in os.walk(self.root):
            for name in names:
                if name.endswith(self.SUFFIX):
                    path = os.path.join(folder, name)
                    body = path[:-len(self.SUFFIX)]
                    try:
                        head = self.head(path)
                    except (Failure, OSError):
                        # `open` says what is wrong with it.
                        head = {}
                    key = head.get('Key', os.path.relpath(body, self.root).replace(os.sep, '/'))
                    size = os.path.getsize(body) if os.path.exists(body) else 0
                    item = Item(key, head.get('VersionId', ''), head.get('ETag', ''), size)
                    item.path, item.head = body, path
                    yield item

    @staticmethod
    def head(path):
        with open(path, 'rb') as file:
            try:
                head = json.load(file)
            except ValueError:
                head = None
        require(isinstance(head, dict), f'{path} is not an answer of get-object')
        return head

    def open(self, item):
        headers = sealgate.headers_of(self.head(item.head), item.head)
        return headers, open(item.path, 'rb')


# Key service

class Kms:
    """Unwraps bucket keys with KMS Decrypt. Remembers a thousand: a bucket key serves many objects."""

    def __init__(self, endpoint, credentials, ca):
        self.endpoint, self.credentials, self.ca = endpoint, credentials, ca
        self.services, self.known, self.lock = {}, {}, threading.Lock()

    def __call__(self, envelope, key_id, context):
        request = json.dumps({'KeyId': key_id, 'CiphertextBlob': base64.b64encode(envelope['blob']).decode(), 'EncryptionContext': context}, sort_keys=True)
        with self.lock:
            found = self.known.get(request)
            region = (key_id.split(':') + [''] * 4)[3]
            if region not in self.services:
                require(region.replace('-', '').isalnum(), f'{key_id} names no region', sealgate.MissingKey)
                self.services[region] = Service(self.endpoint or f'https://kms.{region}.amazonaws.com', 'kms', region, self.credentials, self.ca)
        if found is None:
            found = self.decrypt(self.services[region], request)
            with self.lock:
                if len(self.known) >= 1000:
                    self.known.pop(next(iter(self.known)))
                self.known[request] = found
        return found

    @staticmethod
    def decrypt(service, request):
        headers = {'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'TrentService.Decrypt'}
        status, _, content = service.ask('POST', '/', (), headers, request.encode())
        try:
            answer = json.loads(content)
            if status == 200:
                return base64.b64decode(answer['Plaintext'])
            kind = str(answer.get('__type', status)).split('#')[-1]
        except (ValueError, KeyError, AttributeError):
            raise StoreFailure(f'AWS KMS answered {status}') from None
        require(kind != 'InvalidCiphertextException', 'AWS KMS does not unwrap the bucket key: other realm, bucket, context or key', sealgate.Elsewhere)
        raise sealgate.MissingKey(f'AWS KMS: {kind}')


class Vault:
    """Unwraps bucket keys with a Transit key of OpenBao or Vault, as VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE and VAULT_CACERT say. Remembers a thousand."""

    def __init__(self, key):
        self.mount, _, self.key = key.rpartition('/')
        self.address, self.token = os.environ.get('VAULT_ADDR', '').rstrip('/'), os.environ.get('VAULT_TOKEN')
        require(self.mount and self.key, '--vault is MOUNT/KEY')
        require(self.address.startswith(('https://', 'http://127.0.0.1', 'http://localhost')) and self.token, 'VAULT_ADDR (https) and VAULT_TOKEN must be set')
        self.tls = ssl.create_default_context(cafile=os.environ.get('VAULT_CACERT'))
        self.known, self.lock = {}, threading.Lock()
        # Another one ignores the context, and would open what was moved to another place.
        require(self.ask('GET', f'keys/{self.key}', None).get('derived') is True, f'the key {key} is not derived', sealgate.MissingKey)

    def __call__(self, key_id, request):
        require(f'/{self.mount}/{self.key}:v' in key_id, f'the object is sealed with {key_id}, and not with {self.mount}/{self.key}', sealgate.MissingKey)
        text = json.dumps(request, sort_keys=True)
        with self.lock:
            found = self.known.get(text)
        if found is None:
            found = base64.b64decode(self.ask('POST', f'decrypt/{self.key}', text.encode())['plaintext'])
            with self.lock:
                if len(self.known) >= 1000:
                    self.known.pop(next(iter(self.known)))
                self.known[text] = found
        return found

    def ask(self, method, path, body):
        headers = {'X-Vault-Token': self.token, 'X-Vault-Request': 'true'}
        if os.environ.get('VAULT_NAMESPACE'):
            headers['X-Vault-Namespace'] = os.environ['VAULT_NAMESPACE']
        request = urllib.request.Request(f'{self.address}/v1/{self.mount}/{path}', data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.tls if self.address.startswith('https') else None) as answer:
                return json.loads(answer.read(1 << 20))['data']
        except urllib.error.HTTPError as error:
            text = error.read(1 << 16).decode(errors='replace')
            require('message authentication failed' not in text, 'Vault does not unwrap the bucket key: other realm, bucket, context or key', sealgate.Elsewhere)
            require(error.code not in (400, 403, 404), f'Vault answered {error.code}: {text.strip()[:200]}', sealgate.MissingKey)
            raise StoreFailure(f'Vault answered {error.code}') from None
        except (urllib.error.URLError, ValueError, KeyError, TypeError) as error:
            raise StoreFailure(f'Vault: {getattr(error, "reason", "no answer that can be read")}') from None


# Where plaintext goes

def file_name(segment):
    """A segment of an object's name as a file can have it. "%" begins what no name has by itself, so two names never meet."""
    if segment in ('', '.', '..'):
        return '%' + segment.replace('.', '%2E')
    text = ''.join(f'%{byte:02X}' if byte < 0x20 or byte == 0x7f or chr(byte) in '%\\<>:"|?*' else chr(byte) for byte in segment.encode()).encode('latin-1').decode()
    if text[-1] in ' .':
        text = text[:-1] + f'%{ord(text[-1]):02X}'
    if len(text.encode()) <= 180:
        return text
    return text.encode()[:140].decode(errors='ignore') + '%~' + hashlib.sha256(segment.encode()).hexdigest()[:32]


def path_of(item):
    path = '/'.join(file_name(segment) for segment in item.key.split('/'))
    return f'{path}%version={file_name(item.version)}' if item.version else path


def spare_path_of(item):
    """For what cannot have its own: S3 has objects "a" and "a/b" side by side, and file systems without case have no "A" beside "a"."""
    return '%conflicts/' + hashlib.sha256(f'{item.key}\n{item.version}'.encode()).hexdigest()


class State:
    """What has been done, in a database beside the output: memory does not grow, and a run that was killed goes on."""

    COLUMNS = ('key', 'version', 'etag', 'verdict', 'reason', 'file', 'size', 'sha256', 'metadata')

    def __init__(self, out):
        self.path = os.path.join(out, 'state.sqlite')
        known = os.path.exists(self.path)
        os.makedirs(out, exist_ok=True)
        require(known or not os.listdir(out), f'{out} is not empty, and not the output of an earlier run')
        self.db, self.lock, self.pending = sqlite3.connect(self.path, check_same_thread=False), threading.Lock(), 0
        self.db.execute('PRAGMA journal_mode = WAL')
        columns = ', '.join(self.COLUMNS)
        self.db.execute(f'CREATE TABLE IF NOT EXISTS objects ({columns}, place TEXT UNIQUE, PRIMARY KEY (key, version))')
        # On file systems without case two names are one.
        self.folds = os.path.exists(self.path.upper()) and os.path.exists(self.path.lower())

    def find(self, item):
        with self.lock:
            return self.db.execute('SELECT verdict, etag, file, size FROM objects WHERE key = ? AND version = ?', (item.key, item.version)).fetchone()

    def claim(self, item, path):
        """True when no other object has this path."""
        with self.lock:
            place = path.casefold() if self.folds else path
            taken = self.db.execute('SELECT 1 FROM objects WHERE place = ? AND NOT (key = ? AND version = ?)', (place, item.key, item.version)).fetchone()
            if taken is None:
                self.db.execute('INSERT OR REPLACE INTO objects (key, version, place) VALUES (?, ?, ?)', (item.key, item.version, place))
            return taken is None

    def record(self, item, **values):
        row = {'key': item.key, 'version': item.version, 'etag': item.etag, **values}
        with self.lock:
            place = self.db.execute('SELECT place FROM objects WHERE key = ? AND version = ?', (item.key, item.version)).fetchone()
            self.db.execute(f'INSERT OR REPLACE INTO objects ({", ".join(row)}, place) VALUES ({", ".join("?" * (len(row) + 1))})',
                            (*row.values(), place and place[0]))
            self.pending += 1
            if self.pending >= 200:
                self.commit()

    def commit(self):
        self.db.commit()
        self.pending = 0

    def report(self, path):
        """Every object that was ever looked at in this output, in a file that appears whole."""
        with self.lock, open(path + '.partial', 'w', encoding='utf-8', newline='') as file:
            self.commit()
            rows = self.db.execute(f'SELECT {", ".join(self.COLUMNS)} FROM objects WHERE verdict IS NOT NULL ORDER BY key, version')
            if path.endswith('.csv'):
                table = csv.writer(file)
                table.writerow(self.COLUMNS)
                table.writerows(rows)
            else:
                for row in rows:
                    named = {name: value for name, value in zip(self.COLUMNS, row) if value not in (None, '')}
                    if 'metadata' in named:
                        named['metadata'] = json.loads(named['metadata'])
                    file.write(json.dumps(named, ensure_ascii=False) + '\n')
        os.replace(path + '.partial', path)


# The run

VERDICTS = {1: 'damaged', 4: 'no-key', 5: 'elsewhere'}


class Run:
    def __init__(self, args, source, keys, realm, state):
        self.args, self.source, self.keys, self.realm, self.state = args, source, keys, realm, state
        self.counts, self.bytes, self.lock = {}, 0, threading.Lock()
        self.stop, self.broken = threading.Event(), None
        # In a folder of their own: names of objects must not meet those of the report and the state.
        self.folder = os.path.join(args.out, 'objects')
        # Bounded: the listing waits for the work.
        self.queue = queue.Queue(4 * args.workers)

    def count(self, verdict, size=0):
        with self.lock:
            self.counts[verdict] = self.counts.get(verdict, 0) + 1
            self.bytes += size

    def is_done(self, item):
        found = self.state.find(item)
        if found is None or found[0] not in ('opened', 'downloaded') or found[1] != item.etag:
            return False
        path = self.full(found[2])
        return os.path.exists(path) and os.path.getsize(path) == found[3]

    def full(self, path):
        return os.path.join(self.folder, *path.split('/'))

    def place(self, item):
        """A path below `objects` that no other object has, as a file that is there from now on: another thread may want its name for a folder."""
        for path in (path_of(item), spare_path_of(item)):
            if self.args.download_only and path.endswith(Directory.SUFFIX) or not self.state.claim(item, path):
                continue
            try:
                os.makedirs(os.path.dirname(self.full(path)), exist_ok=True)
                with open(self.full(path), 'ab'):
                    return path
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
        raise OSError(None, 'no file can have its name')

    def write(self, item, segments):
        """Returns the file's path below `objects`, SHA-256 and size."""
        path = self.place(item)
        try:
            return (path, *sealgate.write_plaintext(segments, self.full(path), self.full(path) + '%partial'))
        except BaseException:
            os.remove(self.full(path))
            raise

    def work(self):
        while True:
            item = self.queue.get()
            if item is None:
                return
            if self.stop.is_set():
                continue
            try:
                verdict, size, values = self.open(item)
            except StoreFailure as error:
                verdict, size, values = 'store', 0, {'reason': str(error)}
            except Failure as error:
                verdict, size, values = VERDICTS.get(error.status, 'file'), 0, {'reason': str(error)}
            except OSError as error:
                verdict, size, values = 'file', 0, {'reason': f'{error.strerror or error}'}
            except Exception as error:
                # What nobody thought of must not end the other objects.
                verdict, size, values = 'damaged', 0, {'reason': f'{type(error).__name__}: {error}'}
            try:
                self.state.record(item, verdict=verdict, **values)
                self.count(verdict, size)
            except Exception as error:
                # Goes on taking items: the listing must not wait for ever.
                self.broken = error
                self.stop.set()

    def open(self, item):
        headers, body = self.source.open(item)
        with body:
            found = {name.lower(): value for name, value in headers}
            if self.args.download_only:
                return self.download(item, headers, body)
            text = found.get('x-amz-meta-sealgate')
            if text is None:
                return 'not-sealed', 0, {}
            envelope = sealgate.parse_envelope(text)
            require(envelope['bucket'] == self.args.bound_to, f"the object is bound to bucket {envelope['bucket']}", sealgate.Elsewhere)
            key_id, context = found.get('x-amz-meta-sealgate-key', ''), found.get('x-amz-meta-sealgate-context')
            kek = self.keys.kek(envelope, key_id, self.realm, item.key, context)
            opened = sealgate.open_envelope(envelope, kek, self.realm, item.key)
            sealgate.check_metadata(opened, headers)
            size = body.size if isinstance(body, StoreBody) else os.fstat(body.fileno()).st_size
            path, digest, written = self.write(item, sealgate.open_body(body, size, envelope, opened))
            metadata = json.dumps(dict(sealgate.shown_metadata(opened, headers)), ensure_ascii=False)
            return 'opened', written, {'file': path, 'sha256': digest, 'size': written, 'metadata': metadata}

    def download(self, item, headers, body):
        path, digest, size = self.write(item, iter(lambda: body.read(CHUNK), b''))
        prefix = 'x-amz-meta-'
        named = {name.lower(): value for name, value in headers}
        head = {'Key': item.key, 'VersionId': item.version, 'ETag': item.etag, 'ContentType': named.get('content-type', ''),
                'ContentEncoding': named.get('content-encoding', ''),
                'Metadata': {name[len(prefix):]: value for name, value in named.items() if name.startswith(prefix)}}
        with open(self.full(path) + Directory.SUFFIX, 'w', encoding='utf-8') as file:
            json.dump(head, file)
        return 'downloaded', size, {'file': path, 'sha256': digest, 'size': size}

    def run(self):
        threads = [threading.Thread(target=self.work, daemon=True) for _ in range(self.args.workers)]
        for thread in threads:
            thread.start()
        begun = told = time.monotonic()
        try:
            for item in self.source.items():
                require(not self.stop.is_set(), f'{self.state.path}: {self.broken}')
                if self.is_done(item):
                    self.count('done before')
                    continue
                self.queue.put(item)
                if time.monotonic() - told > 5:
                    told = time.monotonic()
                    self.tell(told - begun)
        except BaseException:
            self.stop.set()
            raise
        finally:
            for _ in threads:
                self.queue.put(None)
            for thread in threads:
                thread.join()
            self.tell(time.monotonic() - begun)
            self.state.report(self.args.report)

    def tell(self, seconds):
        with self.lock:
            counts = ', '.join(f'{count} {verdict}' for verdict, count in sorted(self.counts.items())) or 'nothing yet'
            print(f'{counts}; {self.bytes} bytes in {seconds:.0f} s', file=sys.stderr)


def credentials(prefix):
    env = os.environ
    return env.get(f'{prefix}_ACCESS_KEY_ID', ''), env.get(f'{prefix}_SECRET_ACCESS_KEY', ''), env.get(f'{prefix}_SESSION_TOKEN', '')


def read_customer_keys(path):
    if not path:
        return []
    with open(path, encoding='ascii', errors='replace') as file:
        return [sealgate.hex_key(line.strip(), f'each line of {path}') for line in file if line.strip()]


def prepare(args):
    store = credentials('STORE') if 'STORE_ACCESS_KEY_ID' in os.environ else credentials('AWS')
    if args.endpoint:
        require(store[0], 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or STORE_…) must be set')
        source = Bucket(Service(args.endpoint, 's3', args.region, store, args.ca), args.bucket, args.prefix, args.versions)
    else:
        source = Directory(args.directory)
    keyring = sealgate.load_keyring(args.keyring, args.backup, args.passphrase_file)
    kms = Kms(args.kms_endpoint, credentials('AWS'), args.ca) if args.kms else None
    keys = sealgate.Keys(keyring, None, read_customer_keys(args.customer_keys), kms, Vault(args.vault) if args.vault else None)
    realm = None if args.download_only else sealgate.realm_of(args.realm, keyring)
    return Run(args, source, keys, realm, State(args.out))


def command_line():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--endpoint', help='the store, http://HOST:PORT or https://HOST')
    source.add_argument('--directory', help='a directory of bodies with their .head.json')
    parser.add_argument('--bucket', required=True, help='the bucket, as the store calls it')
    parser.add_argument('--bound-to', help='the bucket the objects were sealed for, where they lie in another one, as replicas do')
    parser.add_argument('--region', default=os.environ.get('AWS_REGION', 'us-east-1'))
    parser.add_argument('--ca', default=os.environ.get('AWS_CA_BUNDLE'), help='PEM file of the authority that signed the store\'s certificate')
    parser.add_argument('--prefix', default='', help='only objects whose names begin so')
    parser.add_argument('--versions', action='store_true', help='every version, not the current ones alone')
    parser.add_argument('--out', required=True, help='directory for the plaintext; a new one, or that of an earlier run')
    parser.add_argument('--report', help='default: OUT/report.jsonl')
    parser.add_argument('--workers', type=int, default=8, help='objects at once, default 8; each holds up to 12 MiB')
    parser.add_argument('--download-only', action='store_true', help='fetch bodies and metadata, open nothing')
    sealgate.add_key_options(parser)
    parser.add_argument('--customer-keys', help='file with SSE-C keys, 32 bytes in hex in each line; the one that fits is used')
    parser.add_argument('--kms', action='store_true', help='unwrap with AWS KMS, with AWS_ACCESS_KEY_ID; the store then takes STORE_ACCESS_KEY_ID, where that is set')
    parser.add_argument('--vault', metavar='MOUNT/KEY', help='unwrap with this Transit key of OpenBao or Vault, at VAULT_ADDR with VAULT_TOKEN (VAULT_CACERT, VAULT_NAMESPACE)')
    parser.add_argument('--kms-endpoint', help='in place of https://kms.REGION.amazonaws.com')
    return parser


def main():
    parser = command_line()
    args = parser.parse_args()
    args.bound_to = args.bound_to or args.bucket
    args.report = args.report or os.path.join(args.out, 'report.jsonl')
    if not 1 <= args.workers <= 256:
        parser.error('--workers is 1 to 256')
    try:
        run = prepare(args)
    except Failure as error:
        print(f'sealgate_bucket: {error}', file=sys.stderr)
        return error.status
    except OSError as error:
        print(f'sealgate_bucket: {error.filename}: {error.strerror}', file=sys.stderr)
        return 2
    try:
        run.run()
    except KeyboardInterrupt:
        print('sealgate_bucket: stopped; run it again to go on', file=sys.stderr)
        return 1
    except (Failure, OSError) as error:
        print(f'sealgate_bucket: {error}', file=sys.stderr)
        return 1
    return 0 if set(run.counts) <= {'opened', 'downloaded', 'not-sealed', 'done before'} else 1


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
"""Counts the states of the objects of a bucket, to compare with those of `sealgate scan`. Shares no code with Sealgate: boto3 asks the store, and
docs/break-glass/sealgate_open.py, written from docs/FORMAT.md, opens the envelopes. Needs boto3 and cryptography.

    scan_count.py ENDPOINT BUCKET KEYRING REALM [--versions]        credentials from the environment, as boto3 takes them
Prints one line of JSON: {"state": objects}.
"""
import collections
import json
import multiprocessing
import os
import re
import sys

import boto3
import botocore.config
import botocore.exceptions

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'docs', 'break-glass'))
import sealgate_open as reader  # noqa: E402

ENDPOINT, BUCKET, KEYRING, REALM = sys.argv[1:5]
VERSIONS = '--versions' in sys.argv
with open(KEYRING, 'rb') as file:
    KEYS = reader.Keys(reader.Keyring(file.read(), KEYRING))
MADE = []


def client():
    """One for each process."""
    if not MADE:
        config = botocore.config.Config(s3={'addressing_style': 'path'}, response_checksum_validation='when_required', retries={'max_attempts': 5})
        MADE.append(boto3.session.Session().client('s3', endpoint_url=ENDPOINT, region_name='us-east-1', config=config))
    return MADE[0]


def rows():
    """Key, version or None, and whether it is a delete marker; each once, whatever the store repeats."""
    seen = set()
    if VERSIONS:
        after = {}
        while after is not None:
            page = client().list_object_versions(Bucket=BUCKET, **after)
            listed = [(row['Key'], row['VersionId'], False) for row in page.get('Versions', [])]
            listed += [(row['Key'], row['VersionId'], True) for row in page.get('DeleteMarkers', [])]
            yield from (row for row in listed if not (row in seen or seen.add(row)))
            after = None
            if page['IsTruncated']:
                # radosgw 16 encodes keys and not this marker, so boto3 decodes it to another name: the version tells the key.
                version = page['NextVersionIdMarker']
                key = next((key for key, other, _ in listed if other == version), page['NextKeyMarker'])
                after = {'KeyMarker': key, 'VersionIdMarker': version}
    else:
        for page in client().get_paginator('list_objects_v2').paginate(Bucket=BUCKET):
            yield from ((row['Key'], None, False) for row in page.get('Contents', []))


def sealed(head, key):
    metadata, size = head['Metadata'], head['ContentLength']
    if 'sealgate' not in metadata or 'sealgate-key' not in metadata:
        return 'damaged'
    try:
        envelope = reader.parse_envelope(metadata['sealgate'])
        if envelope['kind'] != reader.EMPTY:
            reader.plaintext_size(size)
    except reader.Damaged:
        return 'damaged'
    if envelope['bucket'] != BUCKET:
        return 'sealed-elsewhere'
    if metadata['sealgate-key'] == 'ssec':
        return 'sse-c'
    try:
        context = metadata.get('sealgate-context')
        kek = KEYS.kek(envelope, metadata['sealgate-key'], REALM, key, context)
        opened = reader.open_envelope(envelope, kek, REALM, key)
    except reader.Failure:
        return 'sealed-elsewhere'
    try:
        reader.check_metadata(opened, reader.headers_of(head, key))
        if envelope['kind'] == reader.SINGLE:
            reader.require(opened['length'] == reader.plaintext_size(size), 'size')
    except reader.Damaged:
        return 'damaged'
    return 'sealed'


def s3ec(metadata):
    held = [state for name, state in (('x-amz-key', 's3ec-v1'), ('x-amz-key-v2', 's3ec-v2'), ('x-amz-3', 's3ec-v3')) if name in metadata]
    if len(held) > 1:
        return 'damaged'
    if 'x-amz-crypto-instr-file' in metadata:
        return held[0] if held else 's3ec-v2'
    if not held and {'x-amz-c', 'x-amz-d', 'x-amz-i'} <= metadata.keys():
        return 's3ec-v3'
    return held[0] if held else None


MAGIC = (b'age-encryption.org/v1', b'-----BEGIN AGE ENCRYPTED FILE-----', b'RCLONE\0\0', b'-----BEGIN PGP MESSAGE-----', b'Salted__', b'\x8c\x0d\x04\x09\x03\x02')
RESTIC = re.compile(r'(^|/)(data/[0-9a-f]{2}|index|snapshots|keys|locks)/[0-9a-f]{64}$')


def state(row):
    key, version, is_marker = row
    if is_marker:
        return 'delete-marker'
    which = {'Bucket': BUCKET, 'Key': key, **({'VersionId': version} if version else {})}
    try:
        head = client().head_object(**which)
    except botocore.exceptions.ClientError as error:
        if error.response['ResponseMetadata']['HTTPStatusCode'] == 400:
            return 'sse-c'
        raise
    metadata = {name.lower(): value for name, value in head['Metadata'].items()}
    head['Metadata'] = metadata
    if 'sealgate' in metadata or 'sealgate-key' in metadata:
        return sealed(head, key)
    if 'SSECustomerAlgorithm' in head:
        return 'sse-c'
    found = s3ec(metadata)
    if found:
        return found
    if head.get('StorageClass') in ('GLACIER', 'DEEP_ARCHIVE'):
        return 'archived'
    if head['ContentLength'] == 0:
        return 'plaintext'
    first = client().get_object(Range='bytes=0-63', **which)['Body'].read()
    return 'encrypted-by-tool' if first.startswith(MAGIC) or RESTIC.search(key) else 'plaintext'


def main():
    # The copies' source; its versions are not counted.
    wanted = [row for row in rows() if row[0] != 'origin']
    MADE.clear()
    with multiprocessing.Pool(6) as pool:
        print(json.dumps(collections.Counter(pool.imap_unordered(state, wanted, chunksize=64))))


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
"""Opens the streams of one stored body with Google's Tink: tink_open.py KEYSET STREAMS BODY > PLAINTEXT

KEYSET is what `sealgate export-key --tink-keyset` prints, STREAMS what `sealgate_open.py --print-streams` does. Needs `pip install tink`.
"""
import io
import json
import sys

from tink import json_proto_keyset_format, secret_key_access, streaming_aead

streaming_aead.register()
with open(sys.argv[1], encoding='ascii') as keyset:
    primitive = json_proto_keyset_format.parse(keyset.read(), secret_key_access.TOKEN).primitive(streaming_aead.StreamingAead)
with open(sys.argv[2], encoding='ascii') as streams, open(sys.argv[3], 'rb') as body:
    for stream in map(json.loads, streams):
        body.seek(stream['offset'])
        stored = io.BytesIO(body.read(stream['size']))
        with primitive.new_decrypting_stream(stored, bytes.fromhex(stream['associatedData'])) as plaintext:
            sys.stdout.buffer.write(plaintext.read())

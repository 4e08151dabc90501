"""Run by break-glass.sh: break_glass.py <directory of sealgate_open.py> <directory of vectors>..."""
import base64
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

script = pathlib.Path(sys.argv[1]) / 'sealgate_open.py'
sys.path.insert(0, sys.argv[1])
import sealgate_open as sealgate  # noqa: E402  (its directory is an argument)

try:
    import tink
    from tink import cleartext_keyset_handle, streaming_aead
    from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2
    streaming_aead.register()
except ImportError:
    tink = None


# What the program says, by kind of failure (docs/FORMAT.md, Kinds of failure), and with which exit status.
SAYS = {
    'format': (1, 'the envelope is (too long|not base64url|not canonical base64url|malformed)|the attributes are malformed|the sealed metadata is malformed'
                  '|the encryption context (is malformed|has a reserved name)'),
    'place': (5, 'the object is bound to bucket'),
    'key': (4, "the keyring does not hold|local:\\S+ is disabled in the keyring|another SSE-C key is needed"),
    'box': (5, 'the bucket key does not open|the envelope does not open'),
    'box ': (1, 'the bucket key is (zero|not 32 bytes)|the data key is zero'),
    'commitment': (1, 'the commitment is of another key'),
    'metadata': (1, 'the content type, the content encoding or the user metadata was changed'),
    'length': (1, 'the size of the body is not one of a sealed object|the body has another size than was sealed|an empty object has a body'),
    'footer': (1, 'the footer is malformed'),
    'manifest': (1, 'segment \\d+ of the manifest does not verify|the manifest is malformed|the manifest overlaps the parts'),
    'header': (1, 'a stream header is not the sealed one'),
    'segment': (1, 'segment \\d+ of part \\d+ does not verify'),
    'zeros': (1, 'the padding is not zero'),
}


def answer_of(vector):
    """What `aws s3api get-object` prints for the object of a vector."""
    headers = {name.lower(): value for name, value in vector['headers'].items()}
    prefix = 'x-amz-meta-'
    answer = {'Metadata': {name[len(prefix):]: value for name, value in headers.items() if name.startswith(prefix)}}
    for member, name in ('ContentType', 'content-type'), ('ContentEncoding', 'content-encoding'):
        if name in headers:
            answer[member] = headers[name]
    return answer


def write_body(vector, path):
    """Bytes in hex, and numbers of zeros, which become holes in the file."""
    with open(path, 'wb') as file:
        for piece in vector['body']:
            if isinstance(piece, int):
                file.seek(piece, os.SEEK_CUR)
            else:
                file.write(bytes.fromhex(piece))
        file.truncate(vector['bodySize'])


def options(path, vector, work):
    work = pathlib.Path(work)
    headers, body, vector['metadataFile'] = work / 'head.json', work / 'body', work / 'metadata.json'
    headers.write_text(json.dumps(answer_of(vector)))
    write_body(vector, body)
    given = [('--headers', headers), ('--realm', vector['realm']), ('--bucket', vector['bucket']), ('--object', vector['object']),
             ('--body', body), ('--metadata-out', vector['metadataFile'])]
    if 'bucketKey' in vector:
        given.append(('--bucket-key', vector['bucketKey']))
    elif 'customerKey' in vector:
        given.append(('--customer-key', vector['customerKey']))
    else:
        keyring = work / 'keyring.json'
        keyring.write_text(json.dumps(vector['keyring']))
        given.append(('--keyring', keyring))
    return [str(text) for pair in given for text in pair]


def right(vector, out, code, stdout, stderr):
    """Whether the program did with a vector what the vector says: the right bytes, or the right reason and nothing else."""
    if vector['expect'] != 'success':
        silent = not out.exists() and not out.with_suffix('.partial').exists() and stdout == ''
        said = any(code == status and re.fullmatch(f'sealgate_open: ({text}).*\n', stderr)
                   for kind, (status, text) in SAYS.items() if kind.strip() == vector['expect'])
        return silent and said
    if code != 0 or stderr != '' or hashlib.sha256(out.read_bytes()).hexdigest() != vector['sha256']:
        return False
    shown = json.loads(vector['metadataFile'].read_text())
    return 'metadata' not in vector or shown == {name: value.encode('latin1').decode(errors='backslashreplace') for name, value in vector['metadata']}


def says_context(vector, command):
    """Whether it says to AWS KMS what the vector says."""
    if 'kmsContext' not in vector or vector['expect'] != 'success':
        return True
    without_key = command[:command.index('--bucket-key')] + command[command.index('--bucket-key') + 2:]
    done = subprocess.run([sys.executable, str(script), *without_key, '--print-kms-context'], capture_output=True, text=True, check=False)
    return done.returncode == 0 and json.loads(done.stdout) == vector['kmsContext']


def check(path, vector, work):
    out = pathlib.Path(work) / 'plaintext'
    out.unlink(missing_ok=True)
    command = options(path, vector, work)
    done = subprocess.run([sys.executable, str(script), *command, '--out', str(out)], capture_output=True, text=True, check=False)
    return right(vector, out, done.returncode, done.stdout, done.stderr) and says_context(vector, command)


WORDS = {
    'version': 'not a keyring backup of a known version', 'cut': 'is cut', 'cost': 'scrypt cost outside 14 to 20', 'wrong': 'wrong passphrase',
    'damaged': 'the passphrase is right, but the backup is damaged or cut', 'content': 'is not a keyring'}


def check_backup(vector):
    try:
        keyring = sealgate.Keyring(sealgate.open_backup(base64.b64decode(vector['backup']), vector['passphrase'].encode()), 'the backup')
    except sealgate.Failure as error:
        return WORDS.get(vector['expect'], 'no failure') in str(error) and error.status == (2 if vector['expect'] == 'content' else 3)
    expected = vector.get('keyring', {})
    return vector['expect'] == 'success' and keyring.realm == expected.get('realm') and len(keyring.keys) == len(expected['keys'])


def tink_primitive(stream_key):
    params = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=65536, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256)
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, key_value=stream_key, params=params)
    data = tink_pb2.KeyData(type_url='type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey',
                            value=key.SerializeToString(), key_material_type=tink_pb2.KeyData.SYMMETRIC)
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[tink_pb2.Keyset.Key(
        key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW)])
    return cleartext_keyset_handle.from_keyset(keyset).primitive(streaming_aead.StreamingAead)


def streams_of(path, vector):
    """Stream key, and for each stream its stored bytes and associated data."""
    with tempfile.TemporaryDirectory() as work:
        envelope, opened, _ = sealgate.open_object(sealgate.command_line().parse_args(options(path, vector, work)))
        body = (pathlib.Path(work) / 'body').read_bytes()
    _, streams = sealgate.streams_of(io.BytesIO(body), len(body), envelope, opened)
    kind = envelope['kind']
    return opened['stream_key'], [
        (body[at:at + sealgate.stream_size(length)], sealgate.associated_data(kind, number, length)) for number, length, _, at in streams]


def check_tink(path, vector):
    stream_key, streams = streams_of(path, vector)
    primitive, digest = tink_primitive(stream_key), hashlib.sha256()
    for stored, associated in streams:
        with primitive.new_decrypting_stream(io.BytesIO(stored), associated) as plaintext:
            digest.update(plaintext.read())
    return digest.hexdigest() == vector['sha256']


def main():
    paths = [path for directory in sys.argv[2:] for path in sorted(pathlib.Path(directory).glob('*.json'))]
    passed, failed, by_tink = 0, 0, 0
    with tempfile.TemporaryDirectory() as work:
        for path in paths:
            vector = json.loads(path.read_text())
            good = check_backup(vector) if 'backup' in vector else check(path, vector, work)
            if good and tink and vector['expect'] == 'success' and 'body' in vector:
                good = check_tink(path, vector)
                by_tink += good
            passed, failed = passed + good, failed + (not good)
            if not good:
                print(f'not ok {os.path.basename(path)}: {vector["description"]}')
    print(f'{by_tink} bodies opened with Tink' if tink else 'Tink is not installed: skipped')
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or not paths else 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
"""Unwraps a bucket key in a PKCS#11 token, for sealgate_open.py. Written from docs/FORMAT.md (Key providers, PKCS#11).

    open --print-pkcs11 > request.json
    HEX=$(python3 sealgate_token.py --module MODULE --token-label LABEL --pin-file FILE < request.json)
    open --body stored.bin --bucket-key "$HEX" --out b.jpg

Needs Python 3.9 or newer and the packages `cryptography` and `python-pkcs11`. Changes nothing in the token. Prints the bucket key in hex.
"""

import argparse
import json
import sys

import pkcs11
from pkcs11.mechanisms import GCMParams, Mechanism

from sealgate_open import Failure, unwrap


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--module', required=True, help='shared library of the maker')
    parser.add_argument('--token-label')
    parser.add_argument('--token-serial')
    parser.add_argument('--pin-file', required=True)
    args = parser.parse_args()
    request = json.load(sys.stdin)
    aad = bytes.fromhex(request['additionalData'])
    with open(args.pin_file, encoding='utf-8') as file:
        pin = file.read().rstrip('\r\n')
    serial = None if args.token_serial is None else args.token_serial.encode()
    token = pkcs11.lib(args.module).get_token(token_label=args.token_label, token_serial=serial)
    try:
        with token.open(user_pin=pin) as session:
            key = session.get_key(object_class=pkcs11.ObjectClass.SECRET_KEY, label=request['label'], id=bytes.fromhex(request['id']))
            if request['mechanism'] == 'CKM_AES_GCM':
                parameters = GCMParams(nonce=bytes.fromhex(request['iv']), aad=aad, tag_bits=128)
                found = key.decrypt(bytes.fromhex(request['ciphertext']), mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
            else:
                mac = key.sign(bytes.fromhex(request['data']), mechanism=Mechanism.SHA256_HMAC)
                found = unwrap(mac, bytes.fromhex(request['wrap']), aad, 'the bucket key does not open: other realm, bucket, context or key')
    except (pkcs11.PKCS11Error, Failure) as error:
        print(f'sealgate_token: {type(error).__name__} {error}', file=sys.stderr)
        return 4
    print(found.hex())
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""One round of boto3 with its defaults: round.py ENDPOINT ID SECRET BUCKET [CA]"""
import hashlib
import io
import os
import sys
import urllib.request
import ssl

import boto3
from boto3.s3.transfer import TransferConfig

endpoint, key_id, secret, bucket = sys.argv[1:5]
ca = sys.argv[5] if len(sys.argv) > 5 else None
s3 = boto3.client('s3', endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret, region_name='us-east-1', verify=ca)
for size in (0, 1000, 100_000, 12_000_000):
    key, body = f'boto/{size} +ü', os.urandom(size)
    s3.upload_fileobj(io.BytesIO(body), bucket, key, ExtraArgs={'Metadata': {'colour': 'blue'}}, Config=TransferConfig(multipart_threshold=8 << 20))
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head['ContentLength'] == size and head['Metadata'] == {'colour': 'blue'}, head
    out = io.BytesIO()
    s3.download_fileobj(bucket, key, out)
    assert hashlib.sha256(out.getvalue()).digest() == hashlib.sha256(body).digest()
    if size > 10:
        assert s3.get_object(Bucket=bucket, Key=key, Range='bytes=5-9')['Body'].read() == body[5:10]
    s3.copy_object(Bucket=bucket, Key=key + ' copy', CopySource={'Bucket': bucket, 'Key': key})
    assert s3.get_object(Bucket=bucket, Key=key + ' copy')['Body'].read() == body
    url = s3.generate_presigned_url('get_object', Params={'Bucket': bucket, 'Key': key})
    context = ssl.create_default_context(cafile=ca) if ca else None
    assert urllib.request.urlopen(url, context=context).read() == body
rows = s3.list_objects_v2(Bucket=bucket, Prefix='boto/')['Contents']
assert sorted(row['Size'] for row in rows) == [0, 0, 1000, 1000, 100_000, 100_000, 12_000_000, 12_000_000], rows
assert len(s3.delete_objects(Bucket=bucket, Delete={'Objects': [{'Key': row['Key']} for row in rows]})['Deleted']) == 8

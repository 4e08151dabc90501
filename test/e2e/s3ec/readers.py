"""boto3 as a program that takes jobs, one line of JSON each, and answers each with one line of JSON: see readers.ts."""
import hashlib
import json
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, signature_version="s3v4")
s3 = boto3.client("s3", endpoint_url=os.environ["GATEWAY"], region_name="us-east-1", config=config)


def get(bucket, key, range=None):
    answer = s3.get_object(Bucket=bucket, Key=key, **({"Range": range} if range else {}))
    digest, size = hashlib.sha256(), 0
    for chunk in answer["Body"].iter_chunks(1 << 20):
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest(), "announced": answer["ContentLength"], "metadata": answer["Metadata"], "type": answer["ContentType"]}


def head(bucket, key):
    answer = s3.head_object(Bucket=bucket, Key=key)
    return {"size": answer["ContentLength"], "metadata": answer["Metadata"], "type": answer["ContentType"]}


def sizes(bucket, prefix):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {row["Key"]: row["Size"] for page in pages for row in page.get("Contents", [])}


def url(bucket, key):
    return s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})


jobs = {"get": get, "head": head, "sizes": sizes, "url": url}
for line in sys.stdin:
    job, *arguments = json.loads(line)
    try:
        answer = {"answer": jobs[job](*arguments)}
    except ClientError as error:
        answer = {"status": error.response["ResponseMetadata"]["HTTPStatusCode"], "code": error.response["Error"]["Code"]}
    except Exception as error:  # a transfer that breaks is an answer too
        answer = {"status": 0, "code": type(error).__name__}
    print(json.dumps(answer), flush=True)

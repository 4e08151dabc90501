"""The S3 Encryption Client for Python as a program: see clients.ts for the jobs and the environment."""
import os
import sys

import boto3
from botocore.config import Config
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.materials.kms_keyring import KmsKeyring
from s3_encryption.materials.materials import AlgorithmSuite, CommitmentPolicy

MODES = ["v3-kms", "v3-kms+context", "v3-kms+parts", "v2-kms", "v2-kms+context", "v2-kms+parts"]
CONTEXT = {"purpose": "test", "team": "blue, green"}
env = os.environ


def client(mode):
    region = env["AWS_REGION"]
    s3 = boto3.client("s3", endpoint_url=env["S3EC_STORE"], region_name=region, config=Config(s3={"addressing_style": "path"}))
    kms = boto3.client("kms", endpoint_url=env["S3EC_KMS"], region_name=region)
    v3 = mode.startswith("v3")
    config = S3EncryptionClientConfig(
        keyring=KmsKeyring(kms_client=kms, kms_key_id=env["S3EC_KMS_KEY"], enable_legacy_wrapping_algorithms=True),
        encryption_algorithm=AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY if v3 else AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF,
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT if v3 else CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT,
        enable_legacy_unauthenticated_modes=True,
    )
    return S3EncryptionClient(s3, config)


def job(operation, mode, bucket, key, file):
    s3 = client(mode)
    extra = {"EncryptionContext": CONTEXT} if "+context" in mode else {}
    if operation == "get":
        body = s3.get_object(Bucket=bucket, Key=key, **extra)["Body"]
        with open(file, "wb") as out:
            while chunk := body.read(1 << 20):
                out.write(chunk)
    elif "+parts" in mode:
        s3.upload_file(file, bucket, key, multipart_threshold=1, **extra)
    else:
        with open(file, "rb") as body:
            s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"of": "the client"}, ContentType="text/x-test", **extra)


for line in sys.stdin:
    words = line.rstrip("\n").split("\t")
    if words[0] == "modes":
        print("\t".join(MODES), flush=True)
        continue
    try:
        job(*words)
        print("ok", flush=True)
    except Exception as error:  # every failure is an answer
        print("failed: " + f"{type(error).__name__}: {error}".replace("\n", " ")[:300], flush=True)

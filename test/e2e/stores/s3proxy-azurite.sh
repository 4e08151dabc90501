#!/usr/bin/env bash
# Azure Blob behind an S3 face: s3proxy (Maven org.gaul:s3proxy, its jars in S3PROXY_LIB) in front of Azurite (npm azurite; AZURITE, default azurite-blob).
. "$(dirname "$0")/with.sh"
AZURITE=${AZURITE:-azurite-blob} S3PROXY_LIB=${S3PROXY_LIB:-s3proxy/lib}
needs "$AZURITE"; needs java
[ -d "$S3PROXY_LIB" ] || gone "no folder: $S3PROXY_LIB"
port=$(free_port) blob=$(free_port)
# The account that Azurite has for everybody, from its documentation.
account=devstoreaccount1
account_key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
start "$AZURITE" --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$blob" --location "$folder/blob"
answers "http://127.0.0.1:$blob/"
cat >"$folder/s3proxy.conf" <<T
s3proxy.endpoint=http://127.0.0.1:$port
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity=$id
s3proxy.credential=$secret
jclouds.provider=azureblob-sdk
jclouds.endpoint=http://127.0.0.1:$blob/$account
jclouds.identity=$account
jclouds.credential=$account_key
T
start env LOG_LEVEL=warn java -cp "$S3PROXY_LIB/*" org.gaul.s3proxy.Main --properties "$folder/s3proxy.conf"
answers "http://127.0.0.1:$port/"
against "http://127.0.0.1:$port" "$@"

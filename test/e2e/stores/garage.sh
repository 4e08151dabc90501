#!/usr/bin/env bash
# Garage, one node: cargo install garage --version 2.5.0 --locked. Program: GARAGE (default garage).
. "$(dirname "$0")/with.sh"
GARAGE=${GARAGE:-garage}
needs "$GARAGE"
port=$(free_port)
cat >"$folder/garage.toml" <<T
metadata_dir = "$folder/meta"
data_dir = "$folder/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$(free_port)"
rpc_secret = "$(node -p 'crypto.randomBytes(32).toString("hex")')"
[s3_api]
s3_region = "us-east-1"
api_bind_addr = "127.0.0.1:$port"
T
export GARAGE_CONFIG_FILE=$folder/garage.toml
id=GK$(node -p 'crypto.randomBytes(12).toString("hex")') secret=$(node -p 'crypto.randomBytes(32).toString("hex")')
start "$GARAGE" server
for _ in $(seq 60); do "$GARAGE" status >>"$log" 2>&1 && break; sleep 0.5; done
{
  "$GARAGE" layout assign -z one -c 10G "$("$GARAGE" node id -q | cut -d@ -f1)" &&
    "$GARAGE" layout apply --version 1 &&
    "$GARAGE" key import --yes -n e2e "$id" "$secret" &&
    "$GARAGE" key allow --create-bucket "$id"
} >>"$log" 2>&1 || gone 'the node got no layout or key'
answers "http://127.0.0.1:$port/"
profile=(--profile garage)
against "http://127.0.0.1:$port" "$@"

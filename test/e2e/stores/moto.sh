#!/usr/bin/env bash
# moto, a simulation of AWS: pip install 'moto[server]'. Program: MOTO (default moto_server).
. "$(dirname "$0")/with.sh"
MOTO=${MOTO:-moto_server}
needs "$MOTO"
port=$(free_port)
start "$MOTO" -H 127.0.0.1 -p "$port"
answers "http://127.0.0.1:$port/"
against "http://127.0.0.1:$port" "$@"

#!/bin/sh
# Prints random secrets for compose.yaml: ./secrets.sh >.env. Keep that file: the data cannot be read without it.
set -eu
umask 077
random() { head -c 48 /dev/urandom | base64 | tr -d '/+=\n' | cut -c -40; }
for name in POSTGRES_PASSWORD REDIS_PASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY EXEML_SECRET_KEY; do
    echo "$name=$(random)"
done

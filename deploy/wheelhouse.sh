#!/bin/bash
# Collects all packages of requirements.txt as wheels, for machines without internet.
#
#   deploy/wheelhouse.sh FOLDER      here: with internet, the same Python and kind of processor
#   deploy/install.sh --wheelhouse FOLDER …      there
#
# A package without a wheel is built here, so that the other machine needs no compiler. PIP_EXTRA_INDEX_URL
# and the other settings of pip are obeyed: with an index of PyTorch's CPU builds the folder is much smaller.
set -euo pipefail

[[ $# == 1 ]] || { sed -n '2,/^set/{/^set/d;s/^# \?//;p}' "$0" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"

maker=$(mktemp -d)
trap 'rm -rf "$maker"' EXIT
"${PYTHON:-python3}" -m venv "$maker"
"$maker/bin/python" -m pip wheel --quiet --quiet --disable-pip-version-check --wheel-dir "$1" -r "$source/requirements.txt"
echo "$(find "$1" -name '*.whl' | wc -l) packages, $(du -sh "$1" | cut -f1): $1"

#!/bin/bash
# Installs exeml on this machine, or brings what is installed to this version. It may be repeated at any time.
#
#   deploy/install.sh [option]…
#
#   --to FOLDER          copies the program there; without it, it stays where it is
#   --data FOLDER        everything that the program writes (EXEML_DATA); by default var/ of the program
#   --user NAME          runs the program and owns the data; made where it is missing (needs root)
#   --python PROGRAM     Python 3.11 or newer; by default PYTHON, or python3
#   --wheelhouse FOLDER  packages from this folder alone: no internet is needed (deploy/wheelhouse.sh makes it)
#   --systemd            also the service exeml, which starts with the machine (needs root). Unless told
#                        otherwise: --to /opt/exeml --data /var/lib/exeml --user exeml
#
# Without root it installs for the user who calls it and writes nothing outside these folders.
set -euo pipefail

source=$(cd "$(dirname "$0")/.." && pwd)
to='' data='' user='' python=${PYTHON:-python3} wheelhouse='' systemd=''
units=/etc/systemd/system settings=/etc/exeml/settings

fail() { echo "$*" >&2; exit 1; }

while (($#)); do
    case $1 in
        --systemd) systemd=yes; shift; continue ;;
        --help) sed -n '2,/^set/{/^set/d;s/^# \?//;p}' "$0"; exit 0 ;;
    esac
    (($# > 1)) || fail "$1 needs a value."
    case $1 in
        --to) to=$2 ;;
        --data) data=$2 ;;
        --user) user=$2 ;;
        --python) python=$2 ;;
        --wheelhouse) wheelhouse=$(cd "$2" && pwd) || fail "There is no folder $2." ;;
        *) fail "There is no option $1." ;;
    esac
    shift 2
done
if [[ $systemd ]]; then
    to=${to:-/opt/exeml} data=${data:-/var/lib/exeml} user=${user:-exeml}
fi
if [[ $user || $systemd ]] && ((EUID)); then fail "--user and --systemd need root."; fi
if [[ $to ]]; then mkdir -p "$to" && to=$(cd "$to" && pwd); fi
to=${to:-$source} data=${data:-$to/var}
[[ $data == /* ]] || data=$PWD/$data

# --- A service that runs is stopped: nothing changes below a program at work -----

was_active=''
if [[ $systemd && -d /run/systemd/system ]] && systemctl is-active --quiet exeml; then
    was_active=yes
    systemctl stop exeml
fi

# --- The program: its files, its packages -----

umask 022 # root's files are read by the user who runs the program

copy_program() {
    local fresh=$to/.fresh name
    rm -rf "$fresh" && mkdir "$fresh"
    # Whatever the umask of the checkout: everybody may read, only the owner may write.
    tar -C "$source" -c --mode=u+rwX,go+rX,go-w --exclude=./.git --exclude=./.venv --exclude=./var --exclude=./tests --exclude=./.fresh \
        --exclude=./.mypy_cache --exclude=./.ruff_cache --exclude=./.pytest_cache --exclude=__pycache__ . |
        tar -C "$fresh" -x --no-same-owner
    for name in $(ls -A "$fresh"); do
        rm -rf "${to:?}/$name"
        mv "$fresh/$name" "$to/"
    done
    rmdir "$fresh"
}
if [[ $to != "$source" ]]; then copy_program; fi

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "exeml needs Python 3.11 or newer, which $python is not. Name one: --python python3.12, or make run PYTHON=python3.12"
if [[ $(version "$to/.venv/bin/python") != "$(version "$python")" ]]; then
    rm -rf "$to/.venv" # of another Python, or of one that was removed
    "$python" -m venv "$to/.venv" || {
        rm -rf "$to/.venv"
        fail "$python makes no virtual environment. On Debian and Ubuntu: apt-get install python3-venv"
    }
fi

packages=(-r "$to/requirements.txt")
if [[ $wheelhouse ]]; then packages+=(--no-index --find-links "$wheelhouse"); fi
# The mark is the list of what was installed: it differs after an upgrade with other packages.
if ! cmp -s "$to/requirements.txt" "$to/.venv/installed"; then
    echo "Installing the packages into $to/.venv: once, some minutes."
    "$to/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        "${packages[@]}"
    cp "$to/requirements.txt" "$to/.venv/installed"
fi
touch "$to/.venv/installed"
if [[ $user ]]; then # who cannot write there, and would translate every module at every start
    "$to/.venv/bin/python" -m compileall -q -x '/\.venv/' "$to"
fi

# --- The user and the data -----

if [[ $user ]] && ! getent passwd "$user" >/dev/null; then
    useradd --system --user-group --home-dir "$data" --no-create-home --shell /usr/sbin/nologin "$user"
fi
if [[ ! -d $data ]]; then
    mkdir -p "$(dirname "$data")"
    mkdir -m 0700 "$data"
    if [[ $user ]]; then chown "$user:" "$data"; fi
fi

# --- The service -----

if [[ $systemd ]]; then
    mkdir -p "$units" "$(dirname "$settings")"
    [[ -e $settings ]] || install -m 0600 "$to/deploy/systemd/settings" "$settings"
    sed -e "s|@program@|$to|; s|@data@|$data|; s|@user@|$user|; s|@settings@|$settings|" \
        "$to/deploy/systemd/exeml.service" >"$units/exeml.service"
    if [[ -d /run/systemd/system ]]; then
        systemctl daemon-reload
        systemctl --quiet enable exeml
        if [[ $was_active ]]; then systemctl start exeml; fi
    fi
    echo "Settings: $settings. Start: systemctl start exeml. First password: journalctl -u exeml"
elif [[ $to != "$source" ]]; then
    echo "Start: cd $to && EXEML_DATA=$data .venv/bin/python manage.py up"
fi

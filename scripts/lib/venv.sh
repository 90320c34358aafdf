# Sourced by the scripts: makes .venv out of any Python >= 3.11 and sets
#   root   the project's directory
#   venv   its virtual environment: the pinned packages, and the project itself, editable
# A run that finds everything made costs some milliseconds. What an interrupted run left half made is made anew.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
venv=$root/.venv

_find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        # A shim may be on the PATH with no Python behind it, and a Python may lack venv: only running it tells.
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo "error: no Python 3.11 or newer with venv and pip on the PATH (tried python3, python3.13, python3.12," >&2
    echo "python3.11, python). Install one; on Debian and Ubuntu: apt-get install python3 python3-venv" >&2
    return 1
}

# The stamps are written last: whatever stopped a run before that, the next one sees that it was not done.
_stamped() { [ "$(cat "$venv/$1" 2>/dev/null)" = "$2" ]; }

# NautilusTrader has wheels for some systems only. Where there is none, its tests are skipped; whatever else goes wrong
# ends the script, so that it is tried again.
_install_nautilus() {
    local said
    # Wheels only: to compile it takes hours, and more than Python. All of them or none.
    if ! said=$("$venv/bin/python" -m pip install -qq --no-deps --only-binary :all: -r "$root/requirements-nautilus.txt" 2>&1); then
        if [[ $said != *"No matching distribution"* ]]; then
            echo "$said" >&2
            return 1
        fi
        echo "No NautilusTrader for this system: the tests of its integration are skipped" >&2
    fi
}

_make_venv() {
    local pins project python
    pins="$root $(cat "$root"/requirements-{dev,nautilus}.txt | cksum)"
    project="$pins $(cksum <"$root/pyproject.toml")"
    if _stamped project-stamp "$project" && "$venv/bin/python" -c '' 2>/dev/null; then
        return
    fi
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
    if ! _stamped pins-stamp "$pins" || ! "$venv/bin/python" -c '' 2>/dev/null; then
        python=$(_find_python)
        echo "Making $venv with $python (once, about a minute)" >&2
        rm -rf "$venv"
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install -qq --no-deps -r "$root/requirements-dev.txt" >&2
        _install_nautilus
        echo "$pins" >"$venv/pins-stamp"
    fi
    # The pins hold what builds the project too; so nothing but them is ever downloaded.
    "$venv/bin/python" -m pip install -qq --no-deps --no-build-isolation --editable "$root" >&2
    "$venv/bin/python" -m pip check >&2
    echo "$project" >"$venv/project-stamp"
}

# Two scripts that start at once in a fresh clone make one environment.
if command -v flock >/dev/null; then
    exec {_venv_lock}>"$root/.venv.lock"
    flock "$_venv_lock"
    _make_venv
    exec {_venv_lock}>&-
else
    _make_venv
fi

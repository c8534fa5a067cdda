#!/usr/bin/env bash
# `python -m package`: a spawned process does not know the functions of package/__main__.py.
#
# Guess: multiprocessing with the start method "spawn" imports the main program again in the child,
# so a function of it can be the target, however the program was started: as a file, as
# `python -m package.train`, or as `python -m package`.
#
# Seen with CPython 3.9, 3.11 and 3.13: the first two work; with `python -m package` the child ends
# with status 1 and "AttributeError: Can't get attribute 'work'". A main module whose name ends in
# ".__main__" is not imported in the child. The same file works as `python package/__main__.py`.
set -euo pipefail
export OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv

mkdir package
cat > package/__main__.py <<'PYTHON'
import multiprocessing


def work():
    print("       the child works")


if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start()
    child.join()
    raise SystemExit(child.exitcode)
PYTHON
cp package/__main__.py package/train.py

status_of() {
    local status=0
    echo "seen:  python $*"
    venv/bin/python "$@" 2>child.err || status=$?
    tail -n 1 child.err | cut -c 1-90 | sed 's/^/       /'
    echo "       status $status"
    return "$status"
}

venv/bin/python --version
echo "guess: the child works each time"
file=0; module=0; package=0
status_of package/__main__.py || file=$?
status_of -m package.train || module=$?
status_of -m package || package=$?
if [ "$file $module $package" != "0 0 1" ] || ! grep -q AttributeError child.err; then
    echo "It changed: the three ways to start end with the statuses $file $module $package." >&2
    exit 1
fi

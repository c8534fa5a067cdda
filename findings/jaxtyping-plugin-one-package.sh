#!/usr/bin/env bash
# jaxtyping's pytest plugin checks one package of several once the type checker is given options.
#
# Guess: `--jaxtyping-packages=one,two,CHECKER` checks the packages one and two, whether CHECKER is
# `beartype.beartype` or `beartype.beartype(conf=...)`: the plugin splits the list at commas, and
# takes care of those within the parentheses.
#
# Seen with jaxtyping 0.3.11 and beartype 0.23.1: with options only the first package is checked. What
# is meant to be the place of the parenthesis is whether there is one, so the list is split once.
# Nothing is said: tests that count on the checks of the other packages pass.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check \
    jaxtyping==0.3.11 beartype==0.23.1 numpy==2.4.6 pytest==9.2.0

for package in one two; do
    mkdir $package
    cat > $package/__init__.py <<'PYTHON'
import numpy
from jaxtyping import Float


def square(x: Float[numpy.ndarray, "a a"]) -> None:
    pass
PYTHON
done
cat > test_checked.py <<'PYTHON'
import jaxtyping
import numpy
import one
import pytest
import two


@pytest.mark.parametrize("package", [one, two], ids=["one", "two"])
def test_checked(package):
    with pytest.raises(jaxtyping.TypeCheckError):
        package.square(numpy.zeros((2, 3)))
PYTHON

# Prints the packages of which the check was not made.
unchecked() {
    venv/bin/python -m pytest -q -p no:cacheprovider "--jaxtyping-packages=one,two,$1" \
        | sed -n 's/^FAILED .*\[\(.*\)\].*/\1/p' | tr '\n' ' '
}

venv/bin/python -c 'import importlib.metadata as m; print("jaxtyping", m.version("jaxtyping"))'
options="beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
plain=$(unchecked beartype.beartype || true)
with_options=$(unchecked "$options" || true)
echo "guess: both packages are checked, with and without options of the type checker"
echo "seen:  not checked without options: ${plain:-none}"
echo "seen:  not checked with options:    ${with_options:-none}"
[ -z "$plain" ] && [ "$with_options" = "two " ] || {
    echo "It changed: which packages are checked no longer hangs on the checker's options."
    exit 1
}

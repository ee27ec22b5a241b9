#!/usr/bin/env bash
# What stock MXNet returns on 64-bit ARM, emulated, for int8 networks that are made here, beside what it returns here.
# Needs root, Debian's archive and PyPI the first time, and so is no part of .ci/run.
#
#   ci/arm.sh [FOLDER]                         FOLDER keeps the ARM system for the next time; default: build/arm
#   ARM_CPUS='cortex-a72 a64fx' ci/arm.sh      other processors than neoverse-n1, by QEMU's names
#
# The ARM system is unpacked, not installed, and QEMU runs its Python by itself: no chroot, nothing registered.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly SUITE=bookworm # its Python is 3.11
readonly PACKAGES=python3,libgomp1,libstdc++6,libopenblas0-pthread,liblapacke
readonly WHEELS=('mxnet==1.9.1' 'numpy>=1.20,<2')
readonly LIBRARIES=usr/lib/aarch64-linux-gnu

check_tools() {
    local missing=()
    QEMU=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || missing+=(qemu-user-static)
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    command -v dpkg-deb >/dev/null || missing+=(dpkg)
    [ ${#missing[@]} -eq 0 ] || die "packages are missing: apt-get install ${missing[*]}"
}

# The archive that this system's own packages come from; nothing where it is no Debian of that name.
archive() {
    apt-get indextargets --format '$(CODENAME) $(SITE)' 'Created-By: Packages' 2>/dev/null |
        awk -v suite="$SUITE" '$1 == suite { print $2; exit }'
}

# unpack_system ROOT: Debian's packages, without running what they would run when they are installed.
unpack_system() {
    local root=$1 mirror package
    [ "$(id -u)" = 0 ] || die "debootstrap needs root; run ci/arm.sh as root, or give a FOLDER where root has run it"
    mirror=$(archive)
    say "debootstrap $SUITE for arm64"
    debootstrap --arch=arm64 --foreign --variant=minbase --include="$PACKAGES" "$SUITE" "$root" ${mirror:+"$mirror"} \
        >"$root.log" 2>&1 || {
        tail -n 5 "$root.log" >&2
        die "debootstrap failed; its last lines are above"
    }
    for package in "$root"/var/cache/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink --no-same-owner -C "$root" -f -
    done
    rm -rf "$root"/var/cache/apt/archives "$root"/proc # which may be a link to this system's
    mkdir "$root/proc"
}

# MXNet's wheel is linked to Arm Performance Libraries. OpenBLAS, LAPACKE and libm together have all that it takes from
# them, and the loader asks for names alone.
stand_in_libraries() {
    local root=$1
    mkdir -p "$root/opt/armpl"
    ln -s "../../$LIBRARIES/openblas-pthread/libopenblas.so.0" "$root/opt/armpl/libarmpl_lp64_mp.so"
    ln -s "../../$LIBRARIES/liblapacke.so.3" "$root/opt/armpl/libastring.so"
    ln -s "../../$LIBRARIES/libm.so.6" "$root/opt/armpl/libamath.so"
}

make_system() {
    local root=$1
    rm -rf "$root"
    mkdir -p "$root"
    unpack_system "$root"
    stand_in_libraries "$root"
    say "pip install --platform manylinux2014_aarch64 ${WHEELS[*]}"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --python-version 3.11 --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 \
        --only-binary=:all: --target "$root/opt/python" "${WHEELS[@]}" 2>"$root.log" || {
        tail -n 5 "$root.log" >&2
        die "pip failed; its last lines are above"
    }
    touch "$root/complete"
}

# describe_cpu ROOT CPU: without it programs would read the description of this machine's processor.
describe_cpu() {
    local features='fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid'
    case $2 in
    cortex-a72) ;;
    a64fx) features+=' atomics fphp asimdhp asimdrdm fcma dcpop sve' ;;
    *) features+=' atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp' ;;
    esac
    printf 'processor\t: 0\nmodel name\t: %s\nFeatures\t: %s\n' "$2" "$features" >"$1/proc/cpuinfo"
}

# on_arm ROOT CPU ARGUMENTS: the ARM system's Python.
on_arm() {
    local root=$1 cpu=$2
    shift 2
    env -u LD_PRELOAD "$QEMU" -cpu "$cpu" -L "$root" \
        -E "LD_LIBRARY_PATH=$root/opt/armpl:$root/$LIBRARIES/openblas-pthread" -E "PYTHONPATH=$root/opt/python" \
        "$root/usr/bin/python3" "$@"
}

check_tools
prepare dev,example
mkdir -p "${1:-build/arm}"
ROOT=$(realpath "${1:-build/arm}")/root
[ -e "$ROOT/complete" ] || make_system "$ROOT"
export MXNET_SUBGRAPH_VERBOSE=0 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir "$WORK/networks" "$WORK/host"

say "int8 networks, made here"
PYTHONPATH=. "$VENV/bin/python" -W ignore ci/arm/make_networks.py "$WORK/networks" 2>"$WORK/log" || {
    tail -n 20 "$WORK/log" >&2
    die "the networks could not be made; the last lines are above"
}
say "stock MXNet on $(uname -m)"
"$VENV/bin/python" -W ignore -m mxquant.compat ci/arm/run_networks.py "$WORK/networks" "$WORK/host"
failed=()
for cpu in ${ARM_CPUS:-neoverse-n1}; do
    say "stock MXNet on $cpu, emulated"
    mkdir "$WORK/$cpu"
    describe_cpu "$ROOT" "$cpu"
    on_arm "$ROOT" "$cpu" -W ignore ci/arm/run_networks.py "$WORK/networks" "$WORK/$cpu" || say "it ended early"
    "$VENV/bin/python" ci/arm/compare_outputs.py "$WORK/networks" "$WORK/host" "$WORK/$cpu" || failed+=("$cpu")
done
[ ${#failed[@]} -eq 0 ] || die "outputs differ on ${failed[*]}"

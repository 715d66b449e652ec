# shellcheck shell=bash disable=SC2154
# For scripts that build and run images without an engine: a store of their own and a base with a compiler.
#
#   . "$(dirname "$0")/containers.sh"      after lib.sh
#   containers_ready              installs buildah, podman and skopeo if they are missing; sets the store
#   base_image NAME               imports Debian 12 with what compiles fanbridge, as NAME
#   build_image TAG ARGUMENT…     builds deploy/Dockerfile on that base
#   run_container ARGUMENT…       `podman run` of it, as root of a machine without an engine can
#
# The store and the base are kept in the user's cache directory: a base is made once. A build takes the Rust
# tool chain of this machine, and the crates that it has.

containers=${XDG_CACHE_HOME:-${HOME:?}/.cache}/fanbridge-tests/containers
tool_chain=$(rustc --print sysroot)
crates=${CARGO_HOME:-$HOME/.cargo}

containers_ready() {
    # The keys of Debian are not there on a machine that is an Ubuntu.
    needs buildah podman crun skopeo mmdebstrap /usr/lib/podman/netavark=netavark readelf=binutils \
        /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
    mkdir -p "$containers/tmp" "$containers/run" "$crates/registry"
    exec 8>"$containers/lock"
    # Another clone may be at it.
    flock 8
    cat >"$containers/storage.conf" <<STORAGE
[storage]
driver = "overlay"
graphroot = "$containers/store"
runroot = "$containers/run"
STORAGE
    cat >"$containers/containers.conf" <<ENGINE
[network]
network_backend = "netavark"
ENGINE
    export CONTAINERS_STORAGE_CONF=$containers/storage.conf CONTAINERS_CONF=$containers/containers.conf
    # Caches of builds are kept where temporary files go.
    export TMPDIR=$containers/tmp BUILDAH_ISOLATION=chroot
}

# It trusts the authorities that this machine trusts, by which it may have to fetch crates.
base_image() {
    podman image exists "$1" && return
    local tar=$scratch/base.tar
    # shellcheck disable=SC2016 # $1 is the directory that mmdebstrap names.
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,gcc,g++,libc6-dev,make,perl \
        --customize-hook='cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"' \
        --customize-hook='mkdir "$1/usr/local/rust"' bookworm "$tar" || return
    podman import --quiet --change "ENV=CARGO_HOME=$crates" \
        --change ENV=PATH=/usr/local/rust/bin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin "$tar" "$1"
    rm "$tar"
}

# build_image TAG ARGUMENT…: as `docker build` of the repository, on the base.
build_image() {
    local tag=$1
    shift
    buildah bud --quiet --pull-never --network host --format docker --layers \
        --volume "$tool_chain:/usr/local/rust:ro" --volume "$crates/registry:$crates/registry" \
        --build-arg "RUST=$base" --tag "$tag" --file deploy/Dockerfile "$@" .
}

# Not every machine has control groups that crun can write, nor limits as high as podman's own. The kernel's
# place for control groups is put over the machine's, for this command alone.
run_container() {
    unshare --mount sh -c '
        umount -R /sys/fs/cgroup 2>/dev/null
        mount -t cgroup2 none /sys/fs/cgroup && exec podman run --cgroups=disabled --no-healthcheck \
            --ulimit nofile=20000:20000 --ulimit nproc=1024:1024 --network host "$@"' run_container "$@"
}

#!/usr/bin/env bash
# deploy/Dockerfile, without an engine: built on a base of this machine, looked into, and run as a platform
# runs it: as a user without rights, on a root that is read-only, until SIGTERM.
#
# Usage: tests/deploy/image.sh [PROFILE]; by default `demo`, which is built in minutes. `dist` is what is
# released. Needs root.
#
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/containers.sh"
cd "$root" || exit 1
profile=${1:-demo}
base=localhost/fanbridge-base
image=localhost/fanbridge-tested
containers_ready || exit 69
hadolint=$("$tools" python hadolint)/hadolint && syft=$("$tools" python syft)/syft &&
    shellcheck=$("$tools" debian shellcheck)/usr/bin/shellcheck || exit 69

clean_up_more() {
    podman rm --all --force --volumes --time 0 >/dev/null 2>&1
    podman rmi --force "$image" "$image-symbols" "$image-context" >/dev/null 2>&1
    podman volume rm --force events >/dev/null 2>&1
    rm -rf "$root/canary.env" "$containers/given"
}

check "hadolint has nothing to say about the Dockerfile" "$hadolint" deploy/Dockerfile
check "shellcheck has nothing to say about its scripts" "$shellcheck" deploy/image/*.sh
refuses "an architecture that nothing is built for is refused" 'expected amd64 or arm64' \
    deploy/image/compile.sh riscv64 dist
refuses "a profile that makes no image is refused" 'expected dist, release or demo' \
    deploy/image/compile.sh amd64 dev

context_is_small() {
    touch canary.env
    printf 'FROM scratch\nCOPY . /\n' >"$scratch/Context"
    buildah bud --quiet --ignorefile .dockerignore --file "$scratch/Context" --tag "$image-context" \
        . || return
    rm canary.env
    podman create --no-healthcheck --name context "$image-context" none >/dev/null
    podman export context | tar -tf - | cut -d / -f 1,2 |
        grep -vE '^(dev|etc|proc|run|sys)(/|$)' | sort -u >"$scratch/is"
    podman rm context >/dev/null
    ! grep -vxE 'Cargo.(lock|toml)|LICENSE|(benches|src)/[a-z_]*(\.[a-z]*)?|deploy/(image)?|tests/(fuzz)?' \
        "$scratch/is"
}
check "only what is compiled gets into the build" context_is_small

check "the base is made" base_image "$base"
check "the image is built with the profile $profile" build_image "$image" --build-arg "PROFILE=$profile" \
    --build-arg VERSION=1.2.3 --build-arg REVISION=abc --build-arg CREATED=2026-11-21T06:00:00Z \
    --build-arg SOURCE=here
podman image exists "$image" || finish
check "what a debugger wants is built beside it" build_image "$image-symbols" --target symbols \
    --build-arg "PROFILE=$profile"

# What is in it.
podman inspect "$image" >"$scratch/image.json"
fact() { jq -e "$1" "$scratch/image.json"; }
check "it runs as 10001, not as root" fact '.[0].Config.User == "10001:10001"'
check "it starts the bridge" fact \
    '.[0].Config | .Entrypoint == ["/usr/bin/fanbridge"] and .Cmd == ["run"] and .StopSignal == "SIGTERM"'
check "it finds its configuration in /etc/fanbridge" fact \
    '.[0].Config.Env | index("FANBRIDGE_CONFIG=/etc/fanbridge/fanbridge.yaml")'
check "events are in a volume" fact '.[0].Config.Volumes | keys == ["/var/lib/fanbridge"]'
check "its health is asked by the binary" fact \
    '.[0].HealthCheck // .[0].Healthcheck | .Test == ["CMD", "/usr/bin/fanbridge", "health", "--ready"]'
check "its labels say what it is and what of" fact '.[0].Labels
    | .["org.opencontainers.image.version"] == "1.2.3" and .["org.opencontainers.image.revision"] == "abc"
    and .["org.opencontainers.image.created"] == "2026-11-21T06:00:00Z"
    and .["org.opencontainers.image.source"] == "here"
    and .["org.opencontainers.image.licenses"] == "Apache-2.0"'

podman create --no-healthcheck --name content "$image" >/dev/null
podman export content >"$scratch/content.tar"
podman rm --volumes content >/dev/null
mkdir "$scratch/content" && tar -xf "$scratch/content.tar" -C "$scratch/content"
programs() { # Whatever can be run, apart from libraries.
    (cd "$scratch/content" && find . -type f -perm /111 ! -name '*.so*' | sort)
}
the_bridge_is_the_only_program() { [ "$(programs | tee /dev/stderr)" = ./usr/bin/fanbridge ]; }
linked_with_the_c_library_only() {
    ! readelf -d "$scratch/content/usr/bin/fanbridge" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
        grep -vE '^(libc|libm|libgcc_s|ld-linux-x86-64|ld-linux-aarch64)\.so\.'
}
no_privileged_file() {
    find "$scratch/content" \( -perm /6000 -o -perm -o+w ! -type l ! -name tmp \) | tee "$scratch/found"
    [ ! -s "$scratch/found" ]
}
data_is_private() { stat -c %a:%u "$scratch/content/var/lib/fanbridge" | grep -x 700:10001; }
has_authorities() { [ "$(grep -c BEGIN "$scratch/content/etc/ssl/certs/ca-certificates.crt")" -gt 100 ]; }
check "the binary is the only program in it" the_bridge_is_the_only_program
check "the binary is linked with the C library and nothing else" linked_with_the_c_library_only
check "no file takes rights, and none but /tmp can be written by everybody" no_privileged_file
check "its data is for its own user" data_is_private
check "the authorities are in it" has_authorities
refuses "there is no shell" 'No such file' run_container --rm --entrypoint /bin/sh "$image" -c true

symbols_are_apart() {
    podman create --no-healthcheck --name symbols "$image-symbols" none >/dev/null
    podman export symbols | tar -xf - -C "$scratch" fanbridge.debug
    podman rm symbols >/dev/null
    readelf -SW "$scratch/fanbridge.debug" | grep -q '\.symtab' &&
        ! readelf -SW "$scratch/content/usr/bin/fanbridge" | grep -q '\.symtab' &&
        readelf -SW "$scratch/content/usr/bin/fanbridge" | grep -q '\.gnu_debuglink'
}
check "the symbols are in a file apart, which the binary names" symbols_are_apart
bytes=$(stat -c %s "$scratch/content.tar")
check "it is smaller than 150 MB" test "$bytes" -lt 150000000
skopeo copy --quiet "containers-storage:$image" "oci-archive:$scratch/image.tar"
check "it is an OCI archive for a registry" tar -tf "$scratch/image.tar" index.json
echo "the image has $((bytes / 1000000)) MB, $(($(stat -c %s "$scratch/image.tar") / 1000000)) MB packed"

bill_of_materials() {
    local name components
    SYFT_CHECK_FOR_APP_UPDATE=false "$syft" scan "oci-archive:$scratch/image.tar" -q -o cyclonedx-json \
        >"$scratch/sbom" || return
    components=$(jq -r '.components[].name' "$scratch/sbom")
    for name in libc6 libgcc-s1 ca-certificates openssl-sys rdkafka-sys fanbridge; do
        grep -qx "$name" <<<"$components" ||
            { echo "no $name among $(wc -l <<<"$components") components"; return 1; }
    done
}
check "its bill of materials has Debian's packages and the crates in the binary" bill_of_materials

. "$root/tests/deploy/image_runs.sh"
finish

#!/usr/bin/env bash
# Terraform as the tests run it: `tests/terraform/terraform.sh ARGUMENTS…` instead of `terraform ARGUMENTS…`.
#
# Terraform and both providers come through tests/servers/tools.sh, and `init` takes the providers from a
# directory that mirrors them, so nothing is asked of a registry. The AWS provider is built from its source
# once, which takes half an hour of processor time and 4 GB of memory; after that all of it is there.
#
#   tests/terraform/terraform.sh --prepare   does only that
#
# TERRAFORM_MIRROR names a mirror that is there already, with its terraform.rc; then nothing is built.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$here/../servers/tools.sh
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/fanbridge-tests

# Name in a configuration, version of which its source is, and program. The AWS provider's module has no tags
# of its major versions: what tools.sh names is 6.48.0 before its release.
providers() {
    cat <<'LIST'
hashicorp/aws   6.48.0   terraform-provider-aws
Mongey/kafka    0.13.1   terraform-provider-kafka
LIST
}

fail() { echo "terraform.sh: $*" >&2; exit 69; }

[ "$(uname -sm)" = "Linux x86_64" ] || fail "Terraform's library is for Linux on x86-64 only"
[ $# -gt 0 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 64; }

python=$("$tools" python terraform | tail -n 1)/python
versions() { providers; grep '^terraform-provider' "$tools"; }
mirror=${TERRAFORM_MIRROR:-$cache/terraform-mirror-$(versions | sha256sum | head -c 12)}

# The host that a source without one stands for; Terraform says it.
default_host() {
    cat >"$1/main.tf" <<'HCL'
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
HCL
    TF_CLI_CONFIG_FILE=/dev/null "$python" "$here/terraform.py" "-chdir=$1" providers |
        sed -n 's|.*provider\[\(.*\)/hashicorp/aws\].*|\1|p' | head -n 1
}

make_mirror() {
    local into=$1 asked host name version program binary place
    asked=$(mktemp -d)
    host=$(default_host "$asked")
    rm -rf "$asked"
    [ -n "$host" ] || fail "Terraform does not say where it looks for providers"
    while read -r name version program; do
        binary=$("$tools" go "$program" | tail -n 1)
        place=$into/$host/$name/$version/linux_amd64
        mkdir -p "$place"
        # Most of a gigabyte: linked where that can be.
        ln -f "$binary" "$place/${program}_v$version" 2>/dev/null ||
            cp "$binary" "$place/${program}_v$version"
    done < <(providers)
    cat >"$into/terraform.rc" <<RC
disable_checkpoint = true
provider_installation {
  filesystem_mirror {
    path = "$mirror"
  }
  direct {
    exclude = ["*/*/*"]
  }
}
RC
}

# What needs no provider does not wait for one.
case $1 in
fmt | version) TF_CLI_CONFIG_FILE=/dev/null CHECKPOINT_DISABLE=1 exec "$python" "$here/terraform.py" "$@" ;;
esac

if [ ! -e "$mirror/terraform.rc" ]; then
    mkdir -p "$cache"
    (
        flock 9 # Another clone may be at it.
        [ ! -e "$mirror/terraform.rc" ] || exit 0
        new=$(mktemp -d "$mirror.XXXXXX")
        trap 'rm -rf "$new"' EXIT
        make_mirror "$new" >&2
        rm -rf "$mirror"
        mv "$new" "$mirror"
    ) 9>"$mirror.lock"
fi

[ "$1" != --prepare ] || exit 0
export TF_CLI_CONFIG_FILE=$mirror/terraform.rc CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1
exec "$python" "$here/terraform.py" "$@"

#!/usr/bin/env bash
# One module or example: init, validate, and its own tests. What each says and how it ends is kept in files,
# because several are examined at once.
#
#   examine.sh TREE DIRECTORY SAID    DIRECTORY under TREE; SAID is where the files go, named after DIRECTORY
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# A test that asked AWS anything would fail at once, and not depend on an account.
export AWS_ENDPOINT_URL=http://127.0.0.1:9 AWS_EC2_METADATA_DISABLED=true AWS_MAX_ATTEMPTS=1

tree=$1 directory=$2 said=$3/${2//\//.}

step() { # NAME ARGUMENTS…
    local name=$1
    shift
    "$here/terraform.sh" "-chdir=$tree/$directory" "$@" -no-color >"$said.$name" 2>&1
    local status=$?
    echo "$status" >"$said.$name.status"
    return "$status"
}

step init init -backend=false -input=false && step validate validate && step test test
exit 0

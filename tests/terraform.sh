#!/usr/bin/env bash
# The Terraform modules and examples. Each is formatted, valid, and passes its own tests, which need no
# account: the providers are real, what they would create is made up. Then the examples that an emulator of
# AWS can take are applied, a bridge runs on what they made, and they are destroyed again.
#
#   tests/terraform.sh             all of it
#   tests/terraform.sh own         without the applied examples; needs no server and no built bridge
#   tests/terraform.sh applied     the applied examples alone
#   tests/terraform.sh DIRECTORY…  the own tests of these, such as modules/sqs-intake
#
# FANBRIDGE names the binary; by default the debug build.
. "$(dirname "$0")/deploy/lib.sh"

here=$root/tests/terraform
terraform=$here/terraform.sh
# Each at once has a copy of the AWS provider, and that takes most of a gigabyte.
at_once=$(($(nproc) < 4 ? $(nproc) : 4))
said=$scratch/said-by
# A copy, because Terraform writes beside what it reads. Tests of modules read what is in deploy/, too.
tree=$scratch/tree
mkdir -p "$said" "$tree"

directories() { (cd "$root/terraform" && find modules examples -mindepth 1 -maxdepth 1 -type d | sort); }

ended_well() { cat "$1"; [ "$(cat "$1.status")" -eq 0 ]; }

# Each `run` of a test file is a test of its own: its line, and up to the next one what went wrong in it.
report_runs() { # DIRECTORY FILE
    local file=$2 number line name
    while IFS=: read -r number line; do
        name=$(sed -n "s/^ *run \"\(.*\)\"\.\.\. .*/\1/p" <<<"$line")
        if [[ $line == *"... pass" ]]; then
            verdict 0 "$1: $name"
        elif [[ $line != *"... skip" ]]; then
            sed -n "$number,\$p" "$file" |
                awk 'NR > 1 && /^ *run ".*"\.\.\. |\.tftest\.hcl\.\.\. / { exit } { print }' >"$scratch/said"
            verdict 1 "$1: $name"
        fi
    done < <(grep -nE '^ *run ".*"\.\.\. ' "$file")
}

report() { # DIRECTORY
    local at=$said/${1//\//.}
    check "$1 finds its providers and modules" ended_well "$at.init"
    [ -e "$at.validate" ] || return
    check "$1 is valid" ended_well "$at.validate"
    [ -e "$at.test" ] || return
    report_runs "$1" "$at.test"
    # What is wrong with a test file as a whole is in no run; and a directory without tests has none.
    check "$1 passes all of its tests, and has some" all_passed "$at.test"
}

all_passed() { ended_well "$1" && grep -qE '^Success! [1-9][0-9]* passed, 0 failed' "$1"; }

formatted() { "$terraform" fmt -check -diff -recursive "$root/terraform"; }

own_tests() {
    local directory
    cp -r "$root/terraform" "$root/deploy" "$tree"
    find "$tree" \( -name .terraform -o -name .terraform.lock.hcl -o -name '*.tfstate*' \) -prune \
        -exec rm -rf {} +
    printf '%s\n' "$@" |
        xargs -P "$at_once" -I '{}' nice -n 5 "$here/examine.sh" "$tree/terraform" '{}' "$said"
    for directory in "$@"; do report "$directory"; done
}

# Terraform and the providers are no part of any test: they are there, or nothing below can run.
"$terraform" --prepare || exit
case ${1:-all} in
all | own)
    check "every file is formatted as \`terraform fmt\` does" formatted
    mapfile -t all < <(directories)
    own_tests "${all[@]}"
    ;;
applied) ;;
*) own_tests "$@" ;;
esac
case ${1:-all} in
all | applied) . "$here/applied.sh" ;;
esac
finish

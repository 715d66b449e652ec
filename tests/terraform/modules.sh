#!/usr/bin/env bash
# What `terraform test` cannot see of the modules: that a README has the variables and outputs that there are,
# that what it shows can be used, that a refusal says what to do, that metrics.json has the right metrics, and
# what is made before what.
#
#   tests/terraform/modules.sh            all of it
#   tests/terraform/modules.sh --write    writes the tables of the READMEs, and checks nothing
#
# FANBRIDGE names the binary, by default the debug build; TERRAFORM the command, by default that of the tests.
. "$(dirname "$0")/../deploy/lib.sh"

terraform=${TERRAFORM:-$root/tests/terraform/terraform.sh}
modules=$root/terraform/modules
# A copy, because Terraform writes beside what it reads. Tests of modules read what is in deploy/, too.
tree=$scratch/tree

python() { "$("$tools" python hcl | tail -n 1)/python" "$@"; }

readme() { python "$root/tests/terraform/readme.py" "$@"; }

if [ "${1:-}" = --write ]; then
    readme --write "$modules"/*/ && exit
fi

every_module_has_a_readme() {
    local module
    for module in "$modules"/*/; do
        [ -s "$module/README.md" ] || { echo "$module has none"; return 1; }
    done
}

# The configuration that is shown stands beside the example, which reads it.
configuration_is_good() {
    readme --yaml "$modules/ecs-service" >"$tree/fanbridge.yaml" &&
        FANBRIDGE_ADMIN_TOKEN=made-up-0123456789abcdef FANBRIDGE_METRICS_TOKEN=made-up-fedcba9876543210 \
            STREAM_SECRET=made-up-0123456789abcdef "$FANBRIDGE" check --config "$tree/fanbridge.yaml"
}

examples_are_valid() {
    readme --hcl "$modules"/*/ >"$tree/main.tf" || return
    "$terraform" "-chdir=$tree" init -backend=false -input=false -no-color >"$scratch/init" 2>&1 ||
        { cat "$scratch/init"; return 1; }
    "$terraform" "-chdir=$tree" validate -no-color
}

exported_metrics() {
    python - "$root/terraform/metrics.json" <<'PYTHON'
import json, sys
dimensions = json.load(open(sys.argv[1]))["dimensions"]
print(*sorted({name for names in dimensions.values() for name in names}), sep="\n")
PYTHON
}

metrics_exist() {
    local known name status=0
    known=$("$FANBRIDGE" metrics list) || return
    while read -r name; do
        grep -qE "^(fanbridge_)?$name\b" <<<"$known" || { echo "the bridge has no metric $name"; status=1; }
    done < <(exported_metrics)
    return "$status"
}

# Without `expect_failures` a run fails and says why. After it the others of its file would be skipped, so it
# gets a file of its own. What the message has to have in it stands in a comment of the run.
provoke() { # MODULE
    local tests=$tree/terraform/modules/$1/tests
    find "$tests" -name '*.tftest.hcl' -delete
    awk -v into="$tests" '
        FNR == 1 { head = ""; file = "" }
        /^run ".*"/ {
            split($0, part, "\"")
            file = into "/" part[2] ".tftest.hcl"
            printf "%s", head >file
        }
        /^  expect_failures = / { next }
        file == "" { head = head $0 "\n"; next }
        file != "/dev/null" { print >file }
        $0 == "}" { close(file); file = "/dev/null" }
    ' "$modules/$1"/tests/refusals*.tftest.hcl
    "$terraform" "-chdir=$tree/terraform/modules/$1" init -backend=false -input=false -no-color &&
        "$terraform" "-chdir=$tree/terraform/modules/$1" test -no-color
} >"$scratch/$1.said" 2>&1

# What each run of a module said, in one line: its name, a tab, and its messages without line breaks.
messages() { # MODULE
    awk '
        function flush() { if (name != "") print name "\t" text; text = "" }
        /^ *run ".*"\.\.\. / {
            flush()
            split($0, part, "\"")
            name = part[2]
            text = $NF ": "
            next
        }
        { gsub(/│|╷|╵|├|─/, ""); text = text " " $0 }
        END { flush() }
    ' "$scratch/$1.said" | tr -s ' '
}

wanted() { # MODULE: name of a run, a tab, and the words
    awk '
        /^run ".*"/ { split($0, part, "\""); name = part[2] }
        /^  # Says: / { sub(/^  # Says: /, ""); print name "\t" $0 }
    ' "$modules/$1"/tests/refusals*.tftest.hcl
}

says() { # MODULE RUN WORDS
    local said
    said=$(messages "$1" | awk -F '\t' -v run="$2" '$1 == run { print $2 }')
    echo "$said"
    [[ $said == fail:* ]] || { echo "(it was not refused)"; return 1; }
    grep -qF -- "$3" <<<"$said" || { echo "(it does not say: $3)"; return 1; }
}

# Terraform makes at once what does not wait for each other: a task that began before its role had its rights
# would end, and the deployment fail.
waits_for() { # RESOURCE…: of the example `complete`, before the task definition
    local example=$tree/terraform/examples/complete graph=$scratch/graph resource status=0
    if [ ! -s "$graph" ]; then
        "$terraform" "-chdir=$example" init -backend=false -input=false -no-color >"$scratch/init" 2>&1 ||
            { cat "$scratch/init"; return 1; }
        "$terraform" "-chdir=$example" graph >"$graph" || return
    fi
    for resource in "$@"; do
        grep -qF "\"module.bridge.aws_ecs_task_definition.this\" -> \"$resource\"" "$graph" ||
            { echo "the task definition does not wait for $resource"; status=1; }
    done
    return "$status"
}

every_refusal_has_words() { # MODULE
    diff <(grep -hoP '^run "\K[^"]+' "$modules/$1"/tests/refusals*.tftest.hcl | sort) \
        <(wanted "$1" | cut -f 1 | sort)
}

needs_bridge
mkdir "$tree"
cp -r "$root/terraform" "$root/deploy" "$tree"
find "$tree" \( -name '.terraform*' -o -name '*.tfstate*' \) -prune -exec rm -rf {} +

check "every module has a README" every_module_has_a_readme
check "the tables of every README are those of the module's variables and outputs" readme "$modules"/*/
check "the configuration that is shown is one that the bridge takes" configuration_is_good
check "what the READMEs show is valid, all of it together" examples_are_valid
check "the metrics that go to CloudWatch are metrics of the bridge" metrics_exist
check "a task begins when its role has its rights" waits_for \
    module.identity.aws_iam_role_policy_attachment.this \
    module.identity.aws_iam_role_policy_attachment.additional
check "a task begins when its topics are there" waits_for module.lake_topics.kafka_acl.this \
    module.billing_topics.aws_sns_topic_policy.this module.alert_topic.aws_sns_topic_policy.this
for module in "$modules"/*/; do
    module=$(basename "$module")
    check "$module: every refusal has the words that are expected" every_refusal_has_words "$module"
    provoke "$module"
    while IFS=$'\t' read -r run words; do
        check "$module refuses ${run//_/ }, and says what to do" says "$module" "$run" "$words"
    done < <(wanted "$module")
done
finish

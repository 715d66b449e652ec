//! The help of every verb, through the binary: its examples work as they stand there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::bridge::Home;
use crate::support::{signing, turns};

/// The verbs whose examples need no server and end by themselves. The demonstration has a test of its own.
const RUNS_ALONE: &[&str] = &[
    "init",
    "check",
    "test",
    "config",
    "config show",
    "verify",
    "types",
    "spool",
    "explain",
    "iam-policy",
    "completions",
    "man",
    "metrics",
];
/// What needs a running bridge all the same, or somebody else's file.
const NEEDS_MORE: &[&str] = &[
    "fanbridge types --seen",
    "fanbridge types --new",
    "fanbridge types diff",
    "fanbridge explain 9f2c",
    "fanbridge explain --body",
];

fn home() -> Home {
    let home = Home::new();
    configure(&home);
    let body = br#"{"type":"call.created","call_cid":"default:help"}"#;
    fs::write(home.path("body.json"), body).expect("the home takes a file");
    let tests = "tests:\n  - { name: a call, source: stream, sample: call.created, expect: {} }\n";
    fs::write(home.path("fanbridge.tests.yaml"), tests).expect("the home takes a file");
    fs::write(home.path("headers.txt"), format!("X-Signature: {}\n", signing::stream(body)))
        .expect("the home takes a file");
    home
}

/// The examples can write over the configuration.
fn configure(home: &Home) {
    let text = format!(
        "http: {{ listen: 127.0.0.1:{} }}\nadmin: {{ listen: 127.0.0.1:{} }}\n\
         spool: {{ dir: spool, free_bytes_min: 0 }}\n\
         sources:\n  stream: {{ provider: stream, secrets: [env:STREAM_SECRET] }}\n\
         sinks:\n  local: {{ file: {{ dir: topics }} }}\n",
        home.http, home.admin
    );
    fs::write(home.path("fanbridge.yaml"), text).expect("the home takes a file");
}

/// Runs a line of a shell, with the binary in its path.
fn shell(home: &Home, line: &str) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_fanbridge"));
    let directory = binary.parent().expect("it is in a directory");
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(home.path("")).stdin(Stdio::null()).env("PATH", path);
    command.env("STREAM_SECRET", signing::STREAM_SECRET).env_remove("FANBRIDGE_CONFIG");
    command.output().expect("a shell runs")
}

fn help(home: &Home, verb: &str) -> String {
    let output = shell(home, &format!("fanbridge {verb} --help"));
    assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("help is text")
}

/// The verbs that a help lists, with those inside them.
pub fn verbs(home: &Home, path: &str) -> Vec<String> {
    let help = help(home, path);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // A name stands behind two spaces, and further lines of what it does behind more.
    let names = listed.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names = names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help");
    let mut found = Vec::new();
    for name in names {
        let verb = format!("{path} {name}").trim().to_owned();
        found.extend(verbs(home, &verb));
        found.push(verb);
    }
    found
}

fn examples(help: &str) -> Vec<&str> {
    help.lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("fanbridge "))
        .collect()
}

#[test]
fn every_verb_has_an_example_and_those_that_need_no_server_work_as_they_stand_in_its_help() {
    let _turn = turns::in_company();
    let home = home();
    // A log of a stopped bridge, for those who read one.
    let start = "timeout 60 fanbridge run & for _ in $(seq 200); do fanbridge tail --for 100ms && break; \
                 sleep 0.1; done; kill %1; wait";
    let bridge = shell(&home, start);
    assert!(home.path("spool").exists(), "{}", String::from_utf8_lossy(&bridge.stderr));
    let verbs = verbs(&home, "");
    for expected in ["run", "config show", "dead list", "topics apply", "top", "man"] {
        assert!(verbs.iter().any(|verb| verb == expected), "{expected} is not among {verbs:?}");
    }
    let mut ran = 0;
    for verb in &verbs {
        let help = help(&home, verb);
        assert!(help.contains("\nExit codes:\n   0  "), "{verb}: {help}");
        let lines = examples(&help);
        assert!(!lines.is_empty(), "{verb}: {help}");
        for line in lines {
            let is_alone = RUNS_ALONE.iter().any(|alone| {
                let rest = line["fanbridge ".len()..].strip_prefix(alone);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            });
            if !is_alone || NEEDS_MORE.iter().any(|start| line.starts_with(start)) {
                continue;
            }
            configure(&home);
            let output = shell(&home, line);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            ran += 1;
        }
    }
    assert!(ran >= 15, "only {ran} examples ran");
}

/// How a verb is run, its exit code where no bridge runs, unless that depends on the machine, and its exit
/// code with a configuration that has errors.
type Ends = (&'static str, &'static str, Option<i32>, i32);

/// Every verb that reads a configuration.
const ENDS: &[Ends] = &[
    ("run", "", None, 78),
    ("check", "", Some(0), 78),
    ("doctor", "", None, 1),
    // What of the file is broken elsewhere does not make a bridge look ill.
    ("health", "", Some(1), 1),
    ("test", "", Some(0), 78),
    ("config show", "", Some(0), 78),
    ("send", "stream call.created", Some(74), 78),
    ("verify", "stream --body body.json --headers headers.txt", Some(0), 78),
    ("tail", "", Some(74), 78),
    ("top", "", Some(74), 78),
    ("topics plan", "", Some(75), 78),
    ("topics apply", "", Some(75), 78),
    ("types", "--seen", Some(74), 78),
    ("types export", "--format asyncapi", Some(0), 78),
    ("types diff", "webhook-spec.json", Some(74), 78),
    ("spool verify", "", Some(74), 78),
    ("iam-policy", "", Some(0), 78),
    ("dead list", "", Some(74), 78),
    ("dead groups", "", Some(74), 78),
    ("dead show", "17", Some(74), 78),
    ("dead export", "", Some(74), 78),
    ("dead redrive", "--all --yes", Some(75), 78),
    ("dead drop", "17 --yes", Some(75), 78),
    ("replay", "--sink local --since 1h --yes", Some(75), 78),
    ("replay list", "", Some(75), 78),
    ("replay show", "1", Some(75), 78),
    ("replay cancel", "1", Some(75), 78),
    ("reload", "", Some(75), 78),
    ("pause", "local --reason rest", Some(75), 78),
    ("resume", "local", Some(75), 78),
    ("explain", "9f2c81aa03be", Some(74), 78),
    ("import", "body.json --source stream --reason outage --yes", Some(75), 78),
];

/// The exit codes that a help lists.
fn exits(help: &str) -> BTreeMap<i32, &str> {
    let listed = help.split("\nExit codes:\n").nth(1).unwrap_or_default().lines();
    listed
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(code, said)| (code.parse().unwrap(), said))
        .collect()
}

#[test]
fn without_a_bridge_and_with_a_broken_configuration_each_verb_ends_as_its_help_says() {
    let _turn = turns::in_company();
    let (alone, broken) = (home(), home());
    let far = "  far: { kafka: { brokers: \"127.0.0.1:1\" } }\n";
    let text = fs::read_to_string(alone.path("fanbridge.yaml")).expect("it was written") + far;
    fs::write(alone.path("fanbridge.yaml"), text).expect("the home takes a file");
    fs::write(broken.path("fanbridge.yaml"), "sinks: { local: nowhere }\n").expect("the home takes a file");
    let of_table: Vec<&str> = ENDS.iter().map(|(verb, ..)| *verb).collect();
    for verb in verbs(&alone, "") {
        let reads = help(&alone, &verb).contains("--config <FILE>");
        assert_eq!(reads, of_table.contains(&&*verb), "{verb}: the table has who reads a configuration");
    }
    let ends = |home: &Home, (verb, arguments): (&str, &str), expected: i32| {
        let said = help(home, verb);
        let meaning = exits(&said).get(&expected).copied();
        let meaning = meaning.unwrap_or_else(|| panic!("{verb} --help does not know {expected}: {said}"));
        let output = shell(home, &format!("fanbridge {verb} {arguments}"));
        assert_eq!(output.status.code(), Some(expected), "{verb}: {output:?}");
        meaning.to_owned()
    };
    // A cluster that does not answer takes its time.
    std::thread::scope(|scope| {
        for &(verb, arguments, without_bridge, with_errors) in ENDS {
            let (alone, broken, ends) = (&alone, &broken, &ends);
            scope.spawn(move || {
                if let Some(code) = without_bridge {
                    let meaning = ends(alone, (verb, arguments), code);
                    let expected = ["bridge", "cluster", "cannot be read", "file"];
                    assert!(
                        code == 0 || expected.iter().any(|word| meaning.contains(word)),
                        "{verb}: {meaning}"
                    );
                }
                let meaning = ends(broken, (verb, arguments), with_errors);
                assert!(meaning.contains("errors") || meaning.contains("configuration"), "{verb}: {meaning}");
            });
        }
    });
}

#[test]
fn shells_and_man_have_every_verb() {
    let home = home();
    for name in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = shell(&home, &format!("fanbridge completions {name}"));
        let script = String::from_utf8(script.stdout).expect("a script is text");
        for verb in ["trigger", "explain", "since-start", "redrive"] {
            assert!(script.contains(verb), "{name} does not complete {verb}");
        }
    }
    let in_bash = ". <(fanbridge completions bash); COMP_WORDS=(fanbridge dea); COMP_CWORD=1; \
                   _fanbridge fanbridge dea fanbridge; echo ${COMPREPLY[*]}";
    let completed = shell(&home, &format!("bash -c '{in_bash}'"));
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "dead", "{completed:?}");

    assert!(shell(&home, "fanbridge man pages/man1").status.success());
    let page = |name: &str| fs::read_to_string(home.path("pages/man1").join(name)).expect("a page");
    assert!(page("fanbridge.1").contains("fanbridge\\-explain(1)"));
    assert!(page("fanbridge-dead-redrive.1").contains("Exit codes"));
    fs::write(home.path("file"), "in the way").expect("the home takes a file");
    let refused = shell(&home, "fanbridge man file/man1");
    assert_eq!(refused.status.code(), Some(74), "{refused:?}");
}

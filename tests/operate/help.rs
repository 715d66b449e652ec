//! The help of every verb, through the binary: its examples work as they stand there.

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
    "completions",
    "man",
    "metrics",
];
/// What needs a running bridge all the same.
const NEEDS_BRIDGE: &[&str] =
    &["fanbridge types --seen", "fanbridge explain 9f2c", "fanbridge explain --body"];

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
fn verbs(home: &Home, path: &str) -> Vec<String> {
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
            if !is_alone || NEEDS_BRIDGE.iter().any(|start| line.starts_with(start)) {
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

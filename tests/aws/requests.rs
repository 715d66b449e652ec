//! What the bridge asks of a queue, and as whom. No service is needed: it is asked, and answers nothing.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::inlet::{DEADLINE, Inlet};
use crate::support::proxy::call::Answer;
use crate::support::proxy::{ANY, Fault, Proxy};

/// A queue without messages: some questions are answered at once, the others wait as long polls do.
fn empty_queue() -> (Proxy, Inlet) {
    let service = Proxy::before("http://127.0.0.1:9");
    service.times(2, "ReceiveMessage", Fault::Answer(Answer::new(200, "{}")));
    service.always("ReceiveMessage", Fault::HoldCall(Duration::from_secs(3600)));
    service.always(ANY, Fault::Answer(Answer::new(200, "{}")));
    let queue = format!("{}/000000000000/empty", service.endpoint());
    let inlet = Inlet::new(&service.endpoint(), &queue, "", "");
    (service, inlet)
}

#[test]
fn an_empty_queue_is_asked_with_long_polls_for_full_batches_in_the_name_of_fanbridge() {
    let (service, inlet) = empty_queue();
    let _bridge = inlet.start();
    let calls = service.await_calls("ReceiveMessage", 3, DEADLINE);
    for (number, call) in calls.iter().enumerate() {
        let asked: Value = serde_json::from_slice(&call.body).expect("a question in JSON");
        // The first is to tell soon whether all is well.
        let wait = if number == 0 { 1 } else { 20 };
        assert_eq!(
            (&asked["WaitTimeSeconds"], &asked["MaxNumberOfMessages"]),
            (&wait.into(), &10.into()),
            "{asked}"
        );
    }
    for call in service.calls(ANY) {
        let agent = call.header("user-agent");
        assert!(agent.contains("app/fanbridge-"), "{}: {agent:?}", call.action);
    }
}

#[test]
fn a_profile_that_is_named_gives_the_credentials_and_no_other_does() {
    let (service, inlet) = empty_queue();
    let (config, shared) = (inlet.home.path("aws-config"), inlet.home.path("aws-credentials"));
    let keys =
        |name: &str| format!("[{name}]\naws_access_key_id = KEY-OF-{name}\naws_secret_access_key = secret\n");
    fs::write(&config, "").expect("the home takes a file");
    fs::write(&shared, keys("default") + &keys("bridge")).expect("the home takes a file");
    let path = inlet.home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).expect("just written");
    fs::write(&path, text.replace("aws: {", "aws: { profile: bridge,")).expect("the home takes a file");
    let (config, shared) = (
        format!("AWS_CONFIG_FILE={}", config.display()),
        format!("AWS_SHARED_CREDENTIALS_FILE={}", shared.display()),
    );
    let without = ["env", "-u", "AWS_ACCESS_KEY_ID", "-u", "AWS_SECRET_ACCESS_KEY", "-u", "AWS_PROFILE"];
    let _bridge = inlet.home.start_under(&[&without[..], &[&config, &shared]].concat());
    for call in service.await_calls("ReceiveMessage", 1, DEADLINE) {
        let signed = call.header("authorization");
        assert!(signed.contains("Credential=KEY-OF-bridge/"), "{signed}");
    }
}

//! Reads the policy of a queue (pure): who may send to it.

use serde_json::Value;

/// What a policy allows, as far as a statement says so by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct QueuePolicy {
    /// Statements that allow anybody something, without a condition: their `Sid`, or their number.
    pub open_to_all: Vec<String>,
    /// Whether the policy lets SNS deliver.
    pub takes_from_topics: bool,
    /// The accounts that it names, 12 digits each, in principals and in conditions of what it allows.
    pub accounts: Vec<String>,
}

impl QueuePolicy {
    /// Reads the text of a policy; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let policy: Value = serde_json::from_str(text).ok()?;
        let statements = listed(policy.get("Statement")?);
        let allowing = statements.iter().enumerate().filter(|(_, statement)| statement["Effect"] == "Allow");
        let mut read = Self::default();
        for (number, statement) in allowing {
            let principals = principals(statement);
            let has_condition = statement
                .get("Condition")
                .and_then(Value::as_object)
                .is_some_and(|condition| !condition.is_empty());
            let is_anybody = principals.iter().any(|principal| principal == "*")
                // Everybody but these.
                || statement.get("NotPrincipal").is_some();
            if is_anybody && !has_condition {
                let sid = statement.get("Sid").and_then(Value::as_str).filter(|sid| !sid.is_empty());
                read.open_to_all.push(sid.map_or_else(|| format!("number {}", number + 1), str::to_owned));
            }
            let condition = statement.get("Condition").map(Value::to_string).unwrap_or_default();
            read.takes_from_topics |= principals.iter().any(|principal| principal == "sns.amazonaws.com")
                || condition.contains(":sns:");
            let named = principals.iter().flat_map(|principal| accounts_in(principal));
            read.accounts.extend(named.chain(accounts_in(&condition)));
        }
        Some(read)
    }
}

/// A list, or one thing alone.
fn listed(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |values| values.iter().collect())
}

/// Everybody whom a statement names: `"*"`, `{"AWS": "*"}`, `{"AWS": [...]}`, `{"Service": ...}`.
fn principals(statement: &Value) -> Vec<String> {
    let texts = |value: &Value| {
        listed(value).into_iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    match statement.get("Principal") {
        Some(Value::Object(kinds)) => kinds.values().flat_map(texts).collect(),
        Some(value) => texts(value),
        None => Vec::new(),
    }
}

/// The runs of exactly twelve digits in a text.
fn accounts_in(text: &str) -> Vec<String> {
    let runs = text.split(|c: char| !c.is_ascii_digit());
    runs.filter(|digits| digits.len() == 12).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(statement: &str) -> QueuePolicy {
        QueuePolicy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#))
            .expect("a policy")
    }

    #[test]
    fn anybody_without_a_condition_is_anybody_in_every_way_of_writing_it() {
        for statement in [
            r#"[{"Sid":"open","Effect":"Allow","Principal":"*","Action":"SQS:SendMessage"}]"#,
            r#"{"Sid":"open","Effect":"Allow","Principal":{"AWS":"*"},"Action":"sqs:*"}"#,
            r#"[{"Sid":"open","Effect":"Allow","Principal":{"AWS":["111111111111","*"]},"Condition":{}}]"#,
            r#"[{"Sid":"open","Effect":"Allow","NotPrincipal":{"AWS":"111111111111"}}]"#,
        ] {
            assert_eq!(read(statement).open_to_all, ["open"], "{statement}");
        }
        let unnamed = r#"[{"Effect":"Deny","Principal":"*"},{"Effect":"Allow","Principal":"*"}]"#;
        assert_eq!(read(unnamed).open_to_all, ["number 2"]);
    }

    #[test]
    fn a_condition_or_a_name_keeps_others_out() {
        let topic = r#"{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage",
            "Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:eu-west-1:222222222222:t"}}}"#;
        let topic = read(topic);
        assert!(topic.open_to_all.is_empty() && topic.takes_from_topics);
        assert_eq!(topic.accounts, ["222222222222"]);
        let stream = r#"[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::185583345998:root"}}]"#;
        assert_eq!(read(stream).accounts, ["185583345998"]);
        let denied = r#"[{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::185583345998:root"}}]"#;
        assert_eq!(read(denied), QueuePolicy::default(), "what is denied is not allowed");
    }

    #[test]
    fn what_is_no_policy_is_not_taken_for_a_closed_one() {
        for text in ["", "null", "{}", "[]"] {
            assert_eq!(QueuePolicy::parse(text), None, "{text}");
        }
    }
}

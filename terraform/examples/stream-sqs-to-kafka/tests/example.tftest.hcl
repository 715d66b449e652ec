# What the example gives the bridge, held against deploy/examples/stream-sqs-to-kafka.yaml with the account
# and the region of AWS's documentation. The provider is the real one and asks AWS nothing.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

mock_provider "kafka" {}

override_data {
  target = module.intake.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.identity.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_resource {
  target          = module.intake.aws_sqs_queue.this
  override_during = plan
  values = {
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/fanbridge-stream"
    arn = "arn:aws:sqs:eu-west-1:123456789012:fanbridge-stream"
  }
}

variables {
  kafka = { brokers = ["b-1.example.com:9096", "b-2.example.com:9096"], sasl = "SCRAM-SHA-512" }
}

run "the_configuration_is_the_shipped_one" {
  command = plan

  assert {
    condition = yamldecode(output.configuration) == {
      for key, value in yamldecode(file("../../../deploy/examples/stream-sqs-to-kafka.yaml")) :
      key => value if key != "tests"
    }
    error_message = "The template and deploy/examples/stream-sqs-to-kafka.yaml differ."
  }

  assert {
    condition     = output.kafka_brokers == "b-1.example.com:9096,b-2.example.com:9096"
    error_message = "The brokers are not what KAFKA_BROKERS takes."
  }
}

run "the_role_is_what_the_shipped_configuration_needs" {
  command = plan

  assert {
    condition = jsondecode(output.policy_json) == jsondecode(
      file("../../modules/iam/tests/policies/stream-sqs-to-kafka.json")
    )
    error_message = "The role has other rights than `fanbridge iam-policy` says are needed."
  }
}

run "msk_is_entered_with_the_role_and_without_a_password" {
  command = plan

  variables {
    kafka = {
      brokers         = ["b-1.example.com:9098"]
      msk_cluster_arn = "arn:aws:kafka:eu-west-1:123456789012:cluster/events/00000000-1111-2222-3333-4-5"
    }
  }

  assert {
    condition     = yamldecode(output.configuration).sinks.lake.kafka.sasl == { mechanism = "AWS_MSK_IAM" }
    error_message = "The sink does not enter MSK by IAM."
  }

  assert {
    condition = contains(
      flatten([for statement in jsondecode(output.policy_json).Statement : statement.Action]),
      "kafka-cluster:WriteData"
    )
    error_message = "The role may not write to the cluster."
  }
}

run "a_password_without_tls_is_refused" {
  command = plan

  variables {
    kafka = { brokers = ["b-1.example.com:9096"], sasl = "PLAIN", tls = false }
  }

  expect_failures = [var.kafka]
}

run "a_broker_with_a_scheme_is_refused" {
  command = plan

  variables {
    kafka = { brokers = ["kafka://b-1.example.com:9096"] }
  }

  expect_failures = [var.kafka]
}

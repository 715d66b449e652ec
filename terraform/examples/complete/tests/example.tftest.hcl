# What the example gives the bridge, held against tests/fanbridge.yaml beside this file with the account and
# the region of AWS's documentation. The provider is the real one and asks AWS nothing.

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
  target = module.queue.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.intake_topic.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.identity.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.billing_topics.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.alert_topic.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.bridge.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_resource {
  target          = module.billing_topics.aws_sns_topic.this["billing-fastpix-media.fifo"]
  override_during = plan
  values = {
    arn = "arn:aws:sns:eu-west-1:123456789012:billing-fastpix-media.fifo"
  }
}

override_resource {
  target          = module.billing_topics.aws_sns_topic.this["billing-fastpix-unclassified.fifo"]
  override_during = plan
  values = {
    arn = "arn:aws:sns:eu-west-1:123456789012:billing-fastpix-unclassified.fifo"
  }
}

override_resource {
  target          = module.billing_topics.aws_sns_topic.this["billing-github-unclassified.fifo"]
  override_during = plan
  values = {
    arn = "arn:aws:sns:eu-west-1:123456789012:billing-github-unclassified.fifo"
  }
}

override_resource {
  target          = module.billing_topics.aws_sns_topic.this["billing-stream-unclassified.fifo"]
  override_during = plan
  values = {
    arn = "arn:aws:sns:eu-west-1:123456789012:billing-stream-unclassified.fifo"
  }
}

override_resource {
  target          = module.billing_topics.aws_sns_topic.this["billing-stream-video-session.fifo"]
  override_during = plan
  values = {
    arn = "arn:aws:sns:eu-west-1:123456789012:billing-stream-video-session.fifo"
  }
}

override_resource {
  target          = module.alert_topic.aws_sns_topic.this["fanbridge-alerts"]
  override_during = plan
  values = {
    arn = "arn:aws:sns:eu-west-1:123456789012:fanbridge-alerts"
  }
}

override_resource {
  target          = module.queue.aws_sqs_queue.this
  override_during = plan
  values = {
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/fanbridge-stream"
    arn = "arn:aws:sqs:eu-west-1:123456789012:fanbridge-stream"
  }
}

override_resource {
  target          = module.intake_topic.aws_sns_topic.this
  override_during = plan
  values = {
    arn = "arn:aws:sns:eu-west-1:123456789012:fanbridge-stream-intake"
  }
}

override_resource {
  target          = module.identity.aws_iam_role.this
  override_during = plan
  values = {
    arn = "arn:aws:iam::123456789012:role/fanbridge-task"
  }
}

variables {
  image           = "registry.example.com/fanbridge:0.1.0"
  cluster_arn     = "arn:aws:ecs:eu-west-1:123456789012:cluster/events"
  certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-1111-2222-3333-444444444444"
  network = {
    vpc_id             = "vpc-00000000"
    cidr               = "10.0.0.0/16"
    private_subnet_ids = ["subnet-00000001", "subnet-00000002"]
    public_subnet_ids  = ["subnet-00000003", "subnet-00000004"]
  }
  host_name = "events.example.com"
  msk = {
    cluster_arn = "arn:aws:kafka:eu-west-1:123456789012:cluster/events/00000000-1111-2222-3333-444444444444-5"
    brokers     = ["b-1.example.com:9098", "b-2.example.com:9098"]
  }
  secret_arns = {
    stream_api_secret      = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:stream-AbCdEf"
    fastpix_signing_secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:fastpix-AbCdEf"
    github_webhook_secret  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:github-AbCdEf"
    admin_token            = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf"
    metrics_token          = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:metrics-AbCdEf"
    redis_url              = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:redis-AbCdEf"
  }
  stream_topic_arns = ["arn:aws:sns:eu-west-1:111122223333:stream-events"]
}

# The script that runs these tests lets the bridge itself check tests/fanbridge.yaml.
run "the_configuration_is_the_one_that_the_bridge_has_checked" {
  command = plan

  assert {
    condition     = output.configuration == file("./tests/fanbridge.yaml")
    error_message = "The template gives something else than tests/fanbridge.yaml: ${output.configuration}"
  }
}

run "the_role_is_what_that_configuration_needs" {
  command = plan

  assert {
    condition     = jsondecode(output.policy_json) == jsondecode(file("./tests/policy.json"))
    error_message = "The role has other rights than tests/policy.json: ${output.policy_json}"
  }
}

run "the_bridge_is_not_subscribed_before_its_host_name_leads_to_it" {
  command = plan

  assert {
    condition     = module.intake_topic.subscription_arn == null
    error_message = "An apply would wait for a confirmation that cannot come."
  }
}

run "a_host_name_with_a_scheme_is_refused" {
  command = plan

  variables {
    host_name = "https://events.example.com"
  }

  expect_failures = [var.host_name]
}

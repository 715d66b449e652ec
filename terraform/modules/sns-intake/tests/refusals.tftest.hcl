# What a plan refuses. `Says:` is a part of the message; tests/terraform/modules.sh holds it to that.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  name = "stream-events"
}

run "a_name_with_its_suffix" {
  command = plan
  # Says: `.fifo` is appended by `fifo = true`
  variables {
    name = "stream-events.fifo"
  }
  expect_failures = [var.name]
}

run "deduplication_by_a_standard_topic" {
  command = plan
  # Says: Only FIFO topics deduplicate
  variables {
    content_based_deduplication = true
  }
  expect_failures = [var.content_based_deduplication]
}

run "a_password_in_the_endpoint" {
  command = plan
  # Says: it would stand in Terraform
  variables {
    endpoint = "https://sns:secret@events.example.com/in/stream-topic"
  }
  expect_failures = [var.endpoint]
}

run "an_endpoint_without_tls" {
  command = plan
  # Says: The endpoint is https://HOST/in/SOURCE
  variables {
    endpoint = "http://events.example.com/in/stream-topic"
  }
  expect_failures = [var.endpoint]
}

run "an_endpoint_that_is_no_source" {
  command = plan
  # Says: The endpoint is https://HOST/in/SOURCE
  variables {
    endpoint = "https://events.example.com/"
  }
  expect_failures = [var.endpoint]
}

run "a_url_behind_a_fifo_topic" {
  command = plan
  # Says: A FIFO topic cannot deliver to a URL
  variables {
    fifo     = true
    endpoint = "https://events.example.com/in/stream-topic"
  }
  expect_failures = [var.endpoint]
}

run "a_queues_url" {
  command = plan
  # Says: queue_arns are ARNs of queues
  variables {
    queue_arns = { bridge = "https://sqs.eu-west-1.amazonaws.com/123456789012/events" }
  }
  expect_failures = [var.queue_arns]
}

run "no_time_to_confirm" {
  command = plan
  # Says: confirmation_minutes is between 1 and 60
  variables {
    confirmation_minutes = 0
  }
  expect_failures = [var.confirmation_minutes]
}

run "few_repetitions" {
  command = plan
  # Says: retries.count is between 13 and 100
  variables {
    retries = { count = 3 }
  }
  expect_failures = [var.retries]
}

run "repetitions_for_longer_than_sns_keeps_a_message" {
  command = plan
  # Says: SNS keeps a message for no longer than an hour
  variables {
    retries = { max_delay_seconds = 300 }
  }
  expect_failures = [var.retries]
}

run "everybody_as_publisher" {
  command = plan
  # Says: `*` would let anybody publish
  variables {
    publisher_accounts = ["*"]
  }
  expect_failures = [var.publisher_accounts]
}

run "every_role_as_publisher" {
  command = plan
  # Says: publisher_role_arns are ARNs of roles
  variables {
    publisher_role_arns = ["arn:aws:iam::111122223333:role/*"]
  }
  expect_failures = [var.publisher_role_arns]
}

run "a_role_that_nobody_may_assume" {
  command = plan
  # Says: publisher_role.trusted_accounts are one or more
  variables {
    publisher_role = { trusted_accounts = [] }
  }
  expect_failures = [var.publisher_role]
}

run "an_alias_as_the_key" {
  command = plan
  # Says: other accounts cannot use it
  variables {
    kms_key_arn = "alias/aws/sns"
  }
  expect_failures = [var.kms_key_arn]
}

run "less_than_no_success" {
  command = plan
  # Says: success_percent is between 0 and 100
  variables {
    delivery_status = { success_percent = -1 }
  }
  expect_failures = [var.delivery_status]
}

run "a_fifo_queue_behind_a_standard_topic" {
  command = plan
  # Says: Only a FIFO topic delivers to a FIFO queue
  variables {
    queue_arns = { bridge = "arn:aws:sqs:eu-west-1:123456789012:events.fifo" }
  }
  expect_failures = [var.queue_arns]
}

run "a_publishers_role_whose_name_is_too_long" {
  command = plan
  # Says: The role is named NAME-publisher
  variables {
    name           = "a-topic-with-a-name-that-is-longer-than-fifty-four-characters"
    publisher_role = { trusted_accounts = ["111122223333"] }
  }
  expect_failures = [var.publisher_role]
}

run "a_log_role_whose_name_is_too_long" {
  command = plan
  # Says: The role is named NAME-delivery-status
  variables {
    name            = "a-topic-with-a-name-that-is-longer-than-forty-eight"
    delivery_status = {}
  }
  expect_failures = [var.delivery_status]
}

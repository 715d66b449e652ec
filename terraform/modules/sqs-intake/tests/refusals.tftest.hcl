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

run "deduplication_by_a_standard_queue" {
  command = plan
  # Says: Only FIFO queues deduplicate
  variables {
    content_based_deduplication = true
  }
  expect_failures = [var.content_based_deduplication]
}

run "a_short_visibility_timeout" {
  command = plan
  # Says: between 30 and 43200 seconds
  variables {
    visibility_timeout_seconds = 10
  }
  expect_failures = [var.visibility_timeout_seconds]
}

run "a_retention_that_the_dead_letter_queue_cannot_exceed" {
  command = plan
  # Says: so that the dead-letter queue can keep a message for longer
  variables {
    message_retention_seconds = 1209600
  }
  expect_failures = [var.message_retention_seconds]
}

run "dead_letters_that_expire_when_they_are_moved" {
  command = plan
  # Says: else a message expires as soon as it is moved
  variables {
    message_retention_seconds     = 345600
    dead_letter_retention_seconds = 345600
  }
  expect_failures = [var.dead_letter_retention_seconds]
}

run "dead_letters_after_one_receive" {
  command = plan
  # Says: between 3 and 1000
  variables {
    max_receive_count = 1
  }
  expect_failures = [var.max_receive_count]
}

run "a_maximum_that_drops_events" {
  command = plan
  # Says: The largest message is between 262144 bytes
  variables {
    message_bytes_max = 65536
  }
  expect_failures = [var.message_bytes_max]
}

run "an_alias_as_the_key" {
  command = plan
  # Says: other accounts and SNS cannot use it
  variables {
    kms_key_arn = "alias/aws/sqs"
  }
  expect_failures = [var.kms_key_arn]
}

run "a_data_key_for_ever" {
  command = plan
  # Says: kms_data_key_reuse_seconds is between 60 and 86400
  variables {
    kms_data_key_reuse_seconds = 100000
  }
  expect_failures = [var.kms_data_key_reuse_seconds]
}

run "everybody_as_sender" {
  command = plan
  # Says: `*` would let anybody send
  variables {
    sender_accounts = ["*"]
  }
  expect_failures = [var.sender_accounts]
}

run "every_role_as_sender" {
  command = plan
  # Says: sender_role_arns are ARNs of roles
  variables {
    sender_role_arns = ["arn:aws:iam::111122223333:role/*"]
  }
  expect_failures = [var.sender_role_arns]
}

run "every_topic_as_sender" {
  command = plan
  # Says: source_topic_arns are ARNs of SNS topics
  variables {
    source_topic_arns = ["arn:aws:sns:eu-west-1:111122223333:*"]
  }
  expect_failures = [var.source_topic_arns]
}

run "a_role_that_nobody_may_assume" {
  command = plan
  # Says: sender_role.trusted_accounts are one or more
  variables {
    sender_role = { trusted_accounts = [] }
  }
  expect_failures = [var.sender_role]
}

run "alarms_that_never_end" {
  command = plan
  # Says: `alarms = null` makes no alarm
  variables {
    alarms = { depth = 0 }
  }
  expect_failures = [var.alarms]
}

run "a_standard_topic_before_a_fifo_queue" {
  command = plan
  # Says: Only FIFO topics deliver to a FIFO queue
  variables {
    fifo              = true
    source_topic_arns = ["arn:aws:sns:eu-west-1:111122223333:a"]
  }
  expect_failures = [var.source_topic_arns]
}

run "a_role_whose_name_is_too_long" {
  command = plan
  # Says: a role's name has 64 characters at most
  variables {
    name        = "a-queue-with-a-name-that-is-longer-than-fifty-seven-characters"
    sender_role = { trusted_accounts = ["111122223333"] }
  }
  expect_failures = [var.sender_role]
}

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
  families = { stream = ["chat.message"] }
}

run "a_provider_that_no_catalogue_has" {
  command = plan
  # Says: Others belong into custom_families
  variables {
    families = { strem = [] }
  }
  expect_failures = [var.families]
}

run "a_family_that_the_catalogue_lacks" {
  command = plan
  # Says: the catalogue lacks: stream.chat.mesage
  variables {
    families = { stream = ["chat.mesage"] }
  }
  expect_failures = [var.families]
}

run "a_catalogued_provider_as_ones_own" {
  command = plan
  # Says: use `families` for it
  variables {
    custom_families = { github = ["push"] }
  }
  expect_failures = [var.custom_families]
}

run "a_family_with_capital_letters" {
  command = plan
  # Says: Providers and families are 1 to 63 of a-z
  variables {
    custom_families = { billing = ["Invoices"] }
  }
  expect_failures = [var.custom_families]
}

run "a_template_with_its_suffix" {
  command = plan
  # Says: `fifo = true` appends `.fifo`
  variables {
    topic_template = "{provider}-{family}.fifo"
  }
  expect_failures = [var.topic_template]
}

run "an_archive_of_standard_topics" {
  command = plan
  # Says: needs `fifo = true`
  variables {
    fifo_archive_days = 30
  }
  expect_failures = [var.fifo_archive_days]
}

run "another_alias_as_the_key" {
  command = plan
  # Says: kms_key_id is the ARN of a key
  variables {
    kms_key_id = "alias/events"
  }
  expect_failures = [var.kms_key_id]
}

run "every_role_as_publisher" {
  command = plan
  # Says: publisher_role_arns are ARNs of roles
  variables {
    publisher_role_arns = ["*"]
  }
  expect_failures = [var.publisher_role_arns]
}

run "everybody_as_subscriber" {
  command = plan
  # Says: subscriber_accounts are account numbers
  variables {
    subscriber_accounts = ["*"]
  }
  expect_failures = [var.subscriber_accounts]
}

run "a_name_that_no_queue_can_have" {
  command = plan
  # Says: The name has 1 to 24 letters
  variables {
    name = "fan bridge"
  }
  expect_failures = [var.name]
}

run "a_subscription_whose_name_no_queue_can_have" {
  command = plan
  # Says: The name of a subscription has 1 to 40 letters
  variables {
    subscriptions = { "a.b" = { protocol = "sqs", endpoint = "arn:aws:sqs:eu-west-1:123456789012:one" } }
  }
  expect_failures = [var.subscriptions]
}

run "a_subscription_by_mail" {
  command = plan
  # Says: protocol is sqs, lambda, https or firehose
  variables {
    subscriptions = {
      one = {
        protocol = "email"
        endpoint = "arn:aws:sqs:eu-west-1:123456789012:one"
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "a_function_behind_a_fifo_topic" {
  command = plan
  # Says: FIFO topics deliver to queues only
  variables {
    fifo = true
    subscriptions = {
      one = {
        protocol = "lambda"
        endpoint = "arn:aws:lambda:eu-west-1:123456789012:function:one"
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "firehose_without_its_role" {
  command = plan
  # Says: needs role_arn
  variables {
    subscriptions = {
      one = {
        protocol = "firehose"
        endpoint = "arn:aws:firehose:eu-west-1:123456789012:deliverystream/one"
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "a_function_that_wants_raw_messages" {
  command = plan
  # Says: Lambda takes no raw messages
  variables {
    subscriptions = {
      one = {
        protocol             = "lambda"
        endpoint             = "arn:aws:lambda:eu-west-1:123456789012:function:one"
        raw_message_delivery = true
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "a_password_in_a_url" {
  command = plan
  # Says: a URL without a password
  variables {
    subscriptions = {
      one = {
        protocol = "https"
        endpoint = "https://user:secret@example.com/in"
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "a_url_without_tls" {
  command = plan
  # Says: a URL without a password
  variables {
    subscriptions = {
      one = {
        protocol = "https"
        endpoint = "http://example.com/in"
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "a_filter_that_is_no_object" {
  command = plan
  # Says: A filter_policy is a JSON object
  variables {
    subscriptions = {
      one = {
        protocol      = "sqs"
        endpoint      = "arn:aws:sqs:eu-west-1:123456789012:one"
        filter_policy = "call.*"
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "a_filter_of_another_scope" {
  command = plan
  # Says: filter_policy_scope is MessageAttributes or MessageBody
  variables {
    subscriptions = {
      one = {
        protocol            = "sqs"
        endpoint            = "arn:aws:sqs:eu-west-1:123456789012:one"
        filter_policy_scope = "Headers"
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "a_subscription_of_a_topic_that_there_is_not" {
  command = plan
  # Says: the module does not make: stream.user
  variables {
    subscriptions = {
      one = {
        protocol = "sqs"
        endpoint = "arn:aws:sqs:eu-west-1:123456789012:one"
        topics   = ["stream.user"]
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "dead_letters_for_ever" {
  command = plan
  # Says: between 60 and 1209600
  variables {
    subscriptions = {
      one = {
        protocol                      = "sqs"
        endpoint                      = "arn:aws:sqs:eu-west-1:123456789012:one"
        dead_letter_retention_seconds = 2000000
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "more_than_all_successes" {
  command = plan
  # Says: success_percent is between 0 and 100
  variables {
    delivery_status = { success_percent = 101 }
  }
  expect_failures = [var.delivery_status]
}

run "a_topic_whose_name_is_too_long" {
  command = plan
  # Says: has more than 256 characters
  variables {
    topic_template = join("", concat(["{family}"], [for n in range(250) : "x"]))
  }
  expect_failures = [aws_sns_topic.this]
}

run "a_fifo_queue_behind_standard_topics" {
  command = plan
  # Says: Only FIFO topics deliver to a FIFO queue
  variables {
    subscriptions = {
      one = {
        protocol = "sqs"
        endpoint = "arn:aws:sqs:eu-west-1:123456789012:one.fifo"
      }
    }
  }
  expect_failures = [var.subscriptions]
}

run "another_accounts_bridge_with_a_key_of_aws" {
  command = plan
  # Says: alias/aws/sns cannot be used from there
  variables {
    publisher_role_arns = ["arn:aws:iam::111122223333:role/fanbridge"]
  }
  expect_failures = [var.publisher_role_arns]
}

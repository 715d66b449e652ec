# What would be made, and every policy to the letter. The provider is the real one and asks AWS nothing.

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

override_resource {
  target = aws_sns_topic_policy.this
}

override_resource {
  target = aws_sns_topic_subscription.queue
}

override_resource {
  target = aws_sqs_queue_policy.dead_letter
}

override_resource {
  target = aws_iam_role_policy.publisher
}

override_resource {
  target = aws_iam_role_policy.delivery_status
}

override_resource {
  target = aws_cloudwatch_metric_alarm.this
}

override_resource {
  target = aws_sns_topic.this
  values = { arn = "arn:aws:sns:eu-west-1:123456789012:stream-events" }
}

override_resource {
  target = aws_sns_topic_subscription.endpoint
  values = { arn = "arn:aws:sns:eu-west-1:123456789012:stream-events:1" }
}

override_resource {
  target = aws_sqs_queue.dead_letter
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:stream-events-dead"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/stream-events-dead"
  }
}

override_resource {
  target = aws_iam_role.publisher
  values = { arn = "arn:aws:iam::123456789012:role/stream-events-publisher", id = "stream-events-publisher" }
}

override_resource {
  target = aws_iam_role.delivery_status
  values = { arn = "arn:aws:iam::123456789012:role/stream-events-delivery-status", id = "status" }
}

variables {
  name               = "stream-events"
  publisher_accounts = ["111122223333"]
}

run "a_topic_whose_messages_the_bridge_takes_by_https" {
  command = apply

  variables {
    endpoint = "https://events.example.com/in/stream-topic"
  }

  assert {
    condition     = aws_sns_topic.this.signature_version == 2 && aws_sns_topic.this.name == "stream-events"
    error_message = "The bridge would refuse the signatures."
  }

  assert {
    condition = jsonencode(jsondecode(aws_sns_topic_policy.this.policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Sid       = "PublishersPublish"
          Effect    = "Allow"
          Principal = { AWS = "arn:aws:iam::111122223333:root" }
          Action    = "sns:Publish"
          Resource  = "arn:aws:sns:eu-west-1:123456789012:stream-events"
        },
        {
          Sid       = "RefuseWithoutTls"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = "sns:Publish"
          Resource  = "arn:aws:sns:eu-west-1:123456789012:stream-events"
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ]
    })
    error_message = "The topic's policy is another one: ${aws_sns_topic_policy.this.policy}"
  }

  assert {
    condition = (
      aws_sns_topic_subscription.endpoint[0].protocol == "https"
      && aws_sns_topic_subscription.endpoint[0].endpoint_auto_confirms
      && !aws_sns_topic_subscription.endpoint[0].raw_message_delivery
      && jsondecode(aws_sns_topic_subscription.endpoint[0].redrive_policy).deadLetterTargetArn
      == "arn:aws:sqs:eu-west-1:123456789012:stream-events-dead"
    )
    error_message = "The subscription is not signed, or what it gives up is gone."
  }

  assert {
    condition = jsondecode(aws_sns_topic_subscription.endpoint[0].delivery_policy).healthyRetryPolicy == {
      numRetries         = 60
      minDelayTarget     = 1
      maxDelayTarget     = 60
      numNoDelayRetries  = 0
      numMinDelayRetries = 3
      numMaxDelayRetries = 47
      backoffFunction    = "exponential"
    }
    error_message = "Deliveries are repeated otherwise."
  }

  assert {
    condition = jsonencode(jsondecode(aws_sqs_queue_policy.dead_letter.policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Sid       = "TopicSends"
          Effect    = "Allow"
          Principal = { Service = "sns.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = "arn:aws:sqs:eu-west-1:123456789012:stream-events-dead"
          Condition = { ArnEquals = { "aws:SourceArn" = "arn:aws:sns:eu-west-1:123456789012:stream-events" } }
        },
        {
          Sid       = "RefuseWithoutTls"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = "sqs:*"
          Resource  = "arn:aws:sqs:eu-west-1:123456789012:stream-events-dead"
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ]
    })
    error_message = "The policy of dead letters is another one: ${aws_sqs_queue_policy.dead_letter.policy}"
  }

  assert {
    condition     = keys(output.alarm_arns) == ["dead_letters", "failed"]
    error_message = "The alarms are not those on failed deliveries and dead letters."
  }
}

run "a_topic_before_the_bridge_runs" {
  command = apply

  variables {
    alarms = null
  }

  assert {
    condition     = output.subscription_arn == null && length(aws_sns_topic_subscription.endpoint) == 0
    error_message = "Nobody could confirm this subscription."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) == 0
    error_message = "There are alarms that nobody wants."
  }
}

run "a_fifo_topic_with_a_fifo_queue_behind_it_and_a_log" {
  command = apply

  variables {
    fifo            = true
    queue_arns      = { bridge = "arn:aws:sqs:eu-west-1:123456789012:stream-events.fifo" }
    delivery_status = { success_percent = 1 }
  }

  assert {
    condition = (
      aws_sns_topic.this.name == "stream-events.fifo" && aws_sns_topic.this.fifo_topic
      && aws_sqs_queue.dead_letter.name == "stream-events-dead.fifo" && aws_sqs_queue.dead_letter.fifo_queue
    )
    error_message = "Topic and dead-letter queue have to be FIFO."
  }

  assert {
    condition = (
      aws_sns_topic_subscription.queue["bridge"].endpoint == var.queue_arns.bridge
      && jsondecode(aws_sns_topic_subscription.queue["bridge"].redrive_policy).deadLetterTargetArn
      == "arn:aws:sqs:eu-west-1:123456789012:stream-events-dead"
    )
    error_message = "The queue is not subscribed."
  }

  assert {
    condition = (
      aws_sns_topic.this.sqs_failure_feedback_role_arn
      == "arn:aws:iam::123456789012:role/stream-events-delivery-status"
    )
    error_message = "Deliveries are not logged."
  }

  assert {
    condition = (
      jsondecode(aws_iam_role_policy.delivery_status[0].policy).Statement[0].Resource
      == "arn:aws:logs:eu-west-1:123456789012:log-group:sns/*"
    )
    error_message = "SNS may write elsewhere: ${aws_iam_role_policy.delivery_status[0].policy}"
  }
}

run "a_key_of_ones_own_and_a_role_for_the_provider" {
  command = apply

  variables {
    kms_key_arn    = "arn:aws:kms:eu-west-1:123456789012:key/1111aaaa-22bb-33cc-44dd-5555eeee6666"
    publisher_role = { trusted_accounts = ["111122223333"] }
  }

  assert {
    condition = (
      aws_sns_topic.this.kms_master_key_id == var.kms_key_arn
      && aws_sqs_queue.dead_letter.kms_master_key_id == var.kms_key_arn
    )
    error_message = "The key does not encrypt topic and queue."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.publisher[0].assume_role_policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "PublishersAssume"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::111122223333:root" }
        Action    = "sts:AssumeRole"
      }]
    })
    error_message = "Somebody else may assume the role: ${aws_iam_role.publisher[0].assume_role_policy}"
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role_policy.publisher[0].policy).Statement) == jsonencode([
      {
        Sid      = "PublishToTopic"
        Effect   = "Allow"
        Action   = "sns:Publish"
        Resource = "arn:aws:sns:eu-west-1:123456789012:stream-events"
      },
      {
        Sid      = "EncryptForTopic"
        Effect   = "Allow"
        Action   = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource = "arn:aws:kms:eu-west-1:123456789012:key/1111aaaa-22bb-33cc-44dd-5555eeee6666"
      },
    ])
    error_message = "The role may do something else: ${aws_iam_role_policy.publisher[0].policy}"
  }

  assert {
    condition = jsonencode(jsondecode(output.kms_key_policy_json).Statement) == jsonencode([
      {
        Sid       = "PublishersEncrypt"
        Effect    = "Allow"
        Principal = { AWS = ["arn:aws:iam::123456789012:root", "arn:aws:iam::111122223333:root"] }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = "*"
        Condition = { StringLike = { "kms:ViaService" = "sns.*.amazonaws.com" } }
      },
      {
        Sid       = "TopicFillsDeadLetterQueue"
        Effect    = "Allow"
        Principal = { Service = "sns.amazonaws.com" }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = "*"
        Condition = { ArnEquals = { "aws:SourceArn" = "arn:aws:sns:eu-west-1:123456789012:stream-events" } }
      },
    ])
    error_message = "The key's policy needs something else: ${output.kms_key_policy_json}"
  }
}

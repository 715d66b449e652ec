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
  target = aws_sqs_queue.this
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:stream-events"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/stream-events"
  }
}

override_resource {
  target = aws_sqs_queue.dead_letter
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:stream-events-dead"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/stream-events-dead"
  }
}

override_resource {
  target = aws_iam_role.sender
  values = { arn = "arn:aws:iam::123456789012:role/stream-events-sender", id = "stream-events-sender" }
}

override_resource {
  target = aws_iam_role_policy.sender
}

override_resource {
  target = aws_sqs_queue_policy.this
}

override_resource {
  target = aws_sqs_queue_policy.dead_letter
}

override_resource {
  target = aws_sqs_queue_redrive_allow_policy.dead_letter
}

override_resource {
  target = aws_cloudwatch_metric_alarm.this
}

variables {
  name            = "stream-events"
  sender_accounts = ["111122223333"]
}

run "a_standard_queue_that_one_account_may_send_to" {
  command = apply

  assert {
    condition = (
      aws_sqs_queue.this.name == "stream-events" && aws_sqs_queue.dead_letter.name == "stream-events-dead"
      && !aws_sqs_queue.this.fifo_queue && !aws_sqs_queue.dead_letter.fifo_queue
    )
    error_message = "The queues are not the two standard queues."
  }

  assert {
    condition = (
      aws_sqs_queue.this.message_retention_seconds == 345600
      && aws_sqs_queue.dead_letter.message_retention_seconds == 1209600
    )
    error_message = "The dead-letter queue does not keep messages for longer."
  }

  assert {
    condition = (
      aws_sqs_queue.this.sqs_managed_sse_enabled && aws_sqs_queue.dead_letter.sqs_managed_sse_enabled
    )
    error_message = "A queue is not encrypted."
  }

  assert {
    condition = jsonencode(jsondecode(aws_sqs_queue.this.redrive_policy)) == jsonencode({
      deadLetterTargetArn = "arn:aws:sqs:eu-west-1:123456789012:stream-events-dead"
      maxReceiveCount     = 300
    })
    error_message = "Messages that nobody can settle do not go to the dead-letter queue."
  }

  assert {
    condition = jsondecode(aws_sqs_queue_redrive_allow_policy.dead_letter.redrive_allow_policy) == {
      redrivePermission = "byQueue"
      sourceQueueArns   = ["arn:aws:sqs:eu-west-1:123456789012:stream-events"]
    }
    error_message = "Other queues may use the dead-letter queue."
  }

  assert {
    condition = jsonencode(jsondecode(aws_sqs_queue_policy.this.policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Sid       = "SendersSend"
          Effect    = "Allow"
          Principal = { AWS = "arn:aws:iam::111122223333:root" }
          Action    = "sqs:SendMessage"
          Resource  = "arn:aws:sqs:eu-west-1:123456789012:stream-events"
        },
        {
          Sid       = "RefuseWithoutTls"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = "sqs:*"
          Resource  = "arn:aws:sqs:eu-west-1:123456789012:stream-events"
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ]
    })
    error_message = "The queue's policy is another one: ${aws_sqs_queue_policy.this.policy}"
  }

  assert {
    condition = jsonencode(jsondecode(aws_sqs_queue_policy.dead_letter.policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "RefuseWithoutTls"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sqs:*"
        Resource  = "arn:aws:sqs:eu-west-1:123456789012:stream-events-dead"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }]
    })
    error_message = "The policy of dead letters is another one: ${aws_sqs_queue_policy.dead_letter.policy}"
  }

  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => [
      alarm.metric_name, alarm.dimensions.QueueName, tostring(alarm.threshold)
      ] } == {
      age          = ["ApproximateAgeOfOldestMessage", "stream-events", "300"]
      depth        = ["ApproximateNumberOfMessagesVisible", "stream-events", "10000"]
      dead_letters = ["ApproximateNumberOfMessagesVisible", "stream-events-dead", "0"]
    }
    error_message = "The alarms are not those on age, depth and dead letters."
  }

  assert {
    condition     = output.sender_role_arn == null && output.kms_key_policy_json == null
    error_message = "There is a role or a key that nobody asked for."
  }
}

run "a_queue_for_topics_and_roles" {
  command = apply

  variables {
    sender_accounts   = []
    sender_role_arns  = ["arn:aws:iam::111122223333:role/sender"]
    source_topic_arns = ["arn:aws:sns:eu-west-1:111122223333:b", "arn:aws:sns:eu-west-1:111122223333:a"]
    alarms            = null
  }

  assert {
    condition = jsonencode([
      for statement in jsondecode(aws_sqs_queue_policy.this.policy).Statement :
      statement if statement.Effect == "Allow"
      ]) == jsonencode([
      {
        Sid       = "SendersSend"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::111122223333:role/sender" }
        Action    = "sqs:SendMessage"
        Resource  = "arn:aws:sqs:eu-west-1:123456789012:stream-events"
      },
      {
        Sid       = "TopicsSend"
        Effect    = "Allow"
        Principal = { Service = "sns.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = "arn:aws:sqs:eu-west-1:123456789012:stream-events"
        Condition = {
          ArnEquals = {
            "aws:SourceArn" = ["arn:aws:sns:eu-west-1:111122223333:a", "arn:aws:sns:eu-west-1:111122223333:b"]
          }
        }
      },
    ])
    error_message = "The queue's policy is another one: ${aws_sqs_queue_policy.this.policy}"
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) == 0
    error_message = "There are alarms that nobody wants."
  }
}

run "a_queue_that_nobody_else_may_send_to" {
  command = apply

  variables {
    sender_accounts = []
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_policy.this.policy).Statement[*].Effect == ["Deny"]
    error_message = "Somebody is allowed something: ${aws_sqs_queue_policy.this.policy}"
  }
}

run "a_fifo_queue_keeps_groups_apart" {
  command = apply

  variables {
    fifo                        = true
    content_based_deduplication = true
    message_retention_seconds   = 86400
    max_receive_count           = 20
  }

  assert {
    condition = (
      aws_sqs_queue.this.name == "stream-events.fifo" && aws_sqs_queue.this.fifo_queue
      && aws_sqs_queue.dead_letter.name == "stream-events-dead.fifo" && aws_sqs_queue.dead_letter.fifo_queue
    )
    error_message = "Both queues have to be FIFO."
  }

  assert {
    condition = (
      aws_sqs_queue.this.deduplication_scope == "messageGroup"
      && aws_sqs_queue.this.content_based_deduplication
      && aws_sqs_queue.this.fifo_throughput_limit == "perMessageGroupId"
    )
    error_message = "One group would hold another up."
  }
}

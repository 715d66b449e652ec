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
  target = aws_sns_topic_subscription.this
}

override_resource {
  target = aws_sqs_queue_policy.dead_letter
}

override_resource {
  target = aws_iam_role_policy.delivery_status
}

override_resource {
  target = aws_cloudwatch_metric_alarm.failed
}

override_resource {
  target = aws_cloudwatch_metric_alarm.dead_letters
}

override_resource {
  target = aws_sns_topic.this["stream-chat-message"]
  values = { arn = "arn:aws:sns:eu-west-1:123456789012:stream-chat-message" }
}

override_resource {
  target = aws_sns_topic.this["stream-video-session"]
  values = { arn = "arn:aws:sns:eu-west-1:123456789012:stream-video-session" }
}

override_resource {
  target = aws_sns_topic.this["stream-chat-message.fifo"]
  values = { arn = "arn:aws:sns:eu-west-1:123456789012:stream-chat-message.fifo" }
}

override_resource {
  target = aws_sqs_queue.dead_letter["billing"]
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:fanbridge-billing-dead"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/fanbridge-billing-dead"
  }
}

override_resource {
  target = aws_sqs_queue.dead_letter["search"]
  values = {
    arn = "arn:aws:sqs:eu-west-1:123456789012:fanbridge-search-dead"
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/fanbridge-search-dead"
  }
}

override_resource {
  target = aws_iam_role.delivery_status
  values = {
    arn = "arn:aws:iam::123456789012:role/fanbridge-sns-delivery-status"
    id  = "fanbridge-sns-delivery-status"
  }
}

variables {
  families = { stream = ["chat.message", "video.session"] }
}

run "families_get_the_topics_that_the_bridge_publishes_to" {
  command = apply

  assert {
    condition = output.topic_arns == tomap({
      "stream.chat.message"  = "arn:aws:sns:eu-west-1:123456789012:stream-chat-message"
      "stream.video.session" = "arn:aws:sns:eu-west-1:123456789012:stream-video-session"
    })
    error_message = "A topic is not named {provider}-{family} with dashes."
  }

  assert {
    condition     = output.topic_template == "arn:aws:sns:eu-west-1:123456789012:{provider}-{family}"
    error_message = "The sink's topic would be ${output.topic_template}."
  }

  assert {
    condition = alltrue([
      for topic in values(aws_sns_topic.this) :
      topic.kms_master_key_id == "alias/aws/sns" && topic.signature_version == 2 && !topic.fifo_topic
    ])
    error_message = "A topic is not encrypted, or signs with SHA-1."
  }

  assert {
    condition = jsonencode(jsondecode(values(aws_sns_topic_policy.this)[0].policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "RefuseWithoutTls"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sns:Publish"
        Resource  = "arn:aws:sns:eu-west-1:123456789012:stream-chat-message"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }]
    })
    error_message = "The policy is another one: ${aws_sns_topic_policy.this["stream-chat-message"].policy}"
  }

  assert {
    condition     = length(output.alarm_arns) == 0 && output.kms_key_policy_json == null
    error_message = "There is an alarm or a key that nobody asked for."
  }
}

run "a_bridge_and_subscribers_of_other_accounts" {
  command = apply

  variables {
    publisher_role_arns = ["arn:aws:iam::111122223333:role/fanbridge"]
    subscriber_accounts = ["111122223333"]
    kms_key_id          = "arn:aws:kms:eu-west-1:123456789012:key/1111aaaa-22bb-33cc-44dd-5555eeee6666"
  }

  assert {
    condition = jsonencode([
      for statement in jsondecode(aws_sns_topic_policy.this["stream-chat-message"].policy).Statement :
      statement if statement.Effect == "Allow"
      ]) == jsonencode([
      {
        Sid       = "PublishersPublish"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::111122223333:role/fanbridge" }
        Action    = "sns:Publish"
        Resource  = "arn:aws:sns:eu-west-1:123456789012:stream-chat-message"
      },
      {
        Sid       = "AccountsSubscribe"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::111122223333:root" }
        Action    = "sns:Subscribe"
        Resource  = "arn:aws:sns:eu-west-1:123456789012:stream-chat-message"
        Condition = { StringEquals = { "sns:Protocol" = ["firehose", "lambda", "sqs"] } }
      },
    ])
    error_message = "The policy is another one: ${aws_sns_topic_policy.this["stream-chat-message"].policy}"
  }

  assert {
    condition     = output.kms_key_arn == var.kms_key_id
    error_message = "The module iam would not hear of the key."
  }

  assert {
    condition = jsonencode(jsondecode(output.kms_key_policy_json).Statement) == jsonencode([{
      Sid       = "PublishersEncrypt"
      Effect    = "Allow"
      Principal = { AWS = ["arn:aws:iam::123456789012:root", "arn:aws:iam::111122223333:role/fanbridge"] }
      Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource  = "*"
      Condition = { StringLike = { "kms:ViaService" = "sns.*.amazonaws.com" } }
    }])
    error_message = "The key's policy needs something else: ${output.kms_key_policy_json}"
  }
}

run "fifo_topics_with_an_archive_and_a_log_of_deliveries" {
  command = apply

  variables {
    families          = { stream = ["chat.message"] }
    fifo              = true
    fifo_archive_days = 30
    delivery_status   = { success_percent = 5 }
  }

  assert {
    condition = (
      output.topic_template == "arn:aws:sns:eu-west-1:123456789012:{provider}-{family}.fifo"
      && output.topic_names == tomap({ "stream.chat.message" = "stream-chat-message.fifo" })
    )
    error_message = "The topic does not end with .fifo."
  }

  assert {
    condition = alltrue([
      for topic in values(aws_sns_topic.this) :
      topic.fifo_topic && !topic.content_based_deduplication && topic.fifo_throughput_scope == "MessageGroup"
      && jsondecode(topic.archive_policy).MessageRetentionPeriod == "30"
    ])
    error_message = "The topic is not as a FIFO topic of the bridge has to be."
  }

  assert {
    condition = alltrue([
      for topic in values(aws_sns_topic.this) :
      topic.sqs_failure_feedback_role_arn == "arn:aws:iam::123456789012:role/fanbridge-sns-delivery-status"
      && topic.sqs_success_feedback_sample_rate == 5
    ])
    error_message = "Deliveries are not logged."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role_policy.delivery_status[0].policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid    = "LogDeliveries"
        Effect = "Allow"
        Action = [
          "logs:PutRetentionPolicy", "logs:PutMetricFilter", "logs:PutLogEvents", "logs:CreateLogStream",
          "logs:CreateLogGroup",
        ]
        Resource = "arn:aws:logs:eu-west-1:123456789012:log-group:sns/*"
      }]
    })
    error_message = "The role may do something else: ${aws_iam_role_policy.delivery_status[0].policy}"
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.delivery_status[0].assume_role_policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "SnsAssumes"
        Effect    = "Allow"
        Principal = { Service = "sns.amazonaws.com" }
        Action    = "sts:AssumeRole"
      }]
    })
    error_message = "Another service than SNS takes the role, or SNS cannot."
  }
}

run "an_archive_that_ends_so_that_its_topics_can_be_deleted" {
  command = apply

  variables {
    families          = { stream = ["chat.message"] }
    fifo              = true
    fifo_archive_days = 0
  }

  assert {
    condition     = values(aws_sns_topic.this)[*].archive_policy == ["{}"]
    error_message = "SNS would keep the archive, and refuse to delete the topic."
  }
}

# Subscriptions and their dead-letter queues, every policy to the letter. The provider is the real one and
# asks AWS nothing.

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

run "subscriptions_have_their_topics_filters_and_dead_letter_queues" {
  command = apply

  variables {
    subscriptions = {
      billing = {
        protocol             = "sqs"
        endpoint             = "arn:aws:sqs:eu-west-1:111122223333:billing"
        topics               = ["stream.video.session"]
        raw_message_delivery = true
        filter_policy        = "{\"type\":[\"call.session_ended\"]}"
      }
      search = {
        protocol            = "lambda"
        endpoint            = "arn:aws:lambda:eu-west-1:123456789012:function:search"
        filter_policy       = "{\"data\":{\"hidden\":[false]}}"
        filter_policy_scope = "MessageBody"
      }
    }
  }

  assert {
    condition = toset(keys(aws_sns_topic_subscription.this)) == toset([
      "billing/stream-video-session", "search/stream-chat-message", "search/stream-video-session",
    ])
    error_message = "The subscriptions are others: ${join(", ", keys(aws_sns_topic_subscription.this))}"
  }

  assert {
    condition = (
      aws_sns_topic_subscription.this["billing/stream-video-session"].raw_message_delivery
      && jsondecode(aws_sns_topic_subscription.this["billing/stream-video-session"].filter_policy).type[0]
      == "call.session_ended"
      && aws_sns_topic_subscription.this["search/stream-chat-message"].filter_policy_scope == "MessageBody"
    )
    error_message = "The subscription does not filter."
  }

  assert {
    condition = alltrue([
      for key, subscription in aws_sns_topic_subscription.this :
      jsondecode(subscription.redrive_policy).deadLetterTargetArn
      == "arn:aws:sqs:eu-west-1:123456789012:fanbridge-${split("/", key)[0]}-dead"
    ])
    error_message = "A subscription has no dead-letter queue of its own."
  }

  assert {
    condition = jsonencode(jsondecode(aws_sqs_queue_policy.dead_letter["search"].policy)) == jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Sid       = "TopicsSend"
          Effect    = "Allow"
          Principal = { Service = "sns.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = "arn:aws:sqs:eu-west-1:123456789012:fanbridge-search-dead"
          Condition = {
            ArnEquals = {
              "aws:SourceArn" = [
                "arn:aws:sns:eu-west-1:123456789012:stream-chat-message",
                "arn:aws:sns:eu-west-1:123456789012:stream-video-session",
              ]
            }
          }
        },
        {
          Sid       = "RefuseWithoutTls"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = "sqs:*"
          Resource  = "arn:aws:sqs:eu-west-1:123456789012:fanbridge-search-dead"
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ]
    })
    error_message = "The policy is another one: ${aws_sqs_queue_policy.dead_letter["search"].policy}"
  }

  assert {
    condition = jsonencode(jsondecode(output.queue_policies_json["billing"]).Statement) == jsonencode([{
      Sid       = "TopicsSend"
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:eu-west-1:111122223333:billing"
      Condition = {
        ArnEquals = { "aws:SourceArn" = "arn:aws:sns:eu-west-1:123456789012:stream-video-session" }
      }
    }])
    error_message = "The queue needs another policy: ${output.queue_policies_json["billing"]}"
  }

  assert {
    condition = toset(keys(output.alarm_arns)) == toset([
      "failed/stream-chat-message", "failed/stream-video-session",
      "dead-letters/billing", "dead-letters/search",
    ])
    error_message = "The alarms are others: ${join(", ", keys(output.alarm_arns))}"
  }
}

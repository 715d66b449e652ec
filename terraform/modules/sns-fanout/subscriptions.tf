# Who is told: each subscription by name, for one topic, for some, or for all, with a dead-letter queue of its
# own.

locals {
  subscribed_topics = {
    for name, subscription in var.subscriptions : name => toset([
      for key in(length(subscription.topics) > 0 ? subscription.topics : toset(keys(local.topics))) :
      local.topics[key]
    ])
  }

  subscriptions = merge(flatten([
    for name, topics in local.subscribed_topics : [
      for topic in topics : {
        "${name}/${topic}" = merge(var.subscriptions[name], { name = name, topic = topic })
      }
    ]
  ])...)

  queue_subscriptions = {
    for name, subscription in var.subscriptions : name => subscription if subscription.protocol == "sqs"
  }
}

resource "aws_sns_topic_subscription" "this" {
  for_each = local.subscriptions

  topic_arn             = aws_sns_topic.this[each.value.topic].arn
  protocol              = each.value.protocol
  endpoint              = each.value.endpoint
  raw_message_delivery  = each.value.raw_message_delivery
  subscription_role_arn = each.value.role_arn
  filter_policy         = each.value.filter_policy
  # The default scope is left out: the provider refuses a scope beside a policy that is not known yet.
  filter_policy_scope = (
    each.value.filter_policy == null || each.value.filter_policy_scope == "MessageAttributes"
    ? null : each.value.filter_policy_scope
  )

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter[each.value.name].arn
  })

  # Before the queue lets SNS send, what SNS gives up would be gone.
  depends_on = [aws_sqs_queue_policy.dead_letter]
}

resource "aws_sqs_queue" "dead_letter" {
  for_each = var.subscriptions

  name                      = "${var.name}-${each.key}-dead${local.suffix}"
  message_retention_seconds = each.value.dead_letter_retention_seconds
  fifo_queue                = var.fifo

  sqs_managed_sse_enabled = local.own_key == null ? true : null
  kms_master_key_id       = local.own_key

  tags = var.tags
}

resource "aws_sqs_queue_policy" "dead_letter" {
  for_each = var.subscriptions

  queue_url = aws_sqs_queue.dead_letter[each.key].url
  policy    = data.aws_iam_policy_document.dead_letter[each.key].json
}

data "aws_iam_policy_document" "dead_letter" {
  for_each = var.subscriptions

  statement {
    sid       = "TopicsSend"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letter[each.key].arn]

    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for topic in sort(local.subscribed_topics[each.key]) : aws_sns_topic.this[topic].arn]
    }
  }

  statement {
    sid       = "RefuseWithoutTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.dead_letter[each.key].arn]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

# A queue's policy belongs to whoever made the queue, who can take this one.
data "aws_iam_policy_document" "subscribed_queue" {
  for_each = local.queue_subscriptions

  statement {
    sid       = "TopicsSend"
    actions   = ["sqs:SendMessage"]
    resources = [each.value.endpoint]

    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for topic in sort(local.subscribed_topics[each.key]) : aws_sns_topic.this[topic].arn]
    }
  }
}

# A topic for each family of events, and what is subscribed to them.

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  own_key    = startswith(var.kms_key_id, "arn:") ? var.kms_key_id : null
  status     = var.delivery_status == null ? [] : [var.delivery_status]
  status_arn = one(aws_iam_role.delivery_status[*].arn)
  # The services log failures whatever the percentage is, once they have a role for them.
  status_percent = one(local.status[*].success_percent)
}

resource "aws_sns_topic" "this" {
  for_each = local.names

  name              = each.value
  kms_master_key_id = var.kms_key_id
  signature_version = 2

  fifo_topic = var.fifo
  # The bridge states a deduplication id of its own, which tells an event from another with an equal body.
  content_based_deduplication = false
  fifo_throughput_scope       = var.fifo ? "MessageGroup" : null
  # An empty policy ends an archive. To leave the policy out ends none, and SNS deletes no topic that has one.
  archive_policy = var.fifo_archive_days == null ? null : (
    var.fifo_archive_days == 0 ? "{}"
    : jsonencode({ MessageRetentionPeriod = tostring(var.fifo_archive_days) })
  )

  sqs_success_feedback_role_arn         = local.status_arn
  sqs_failure_feedback_role_arn         = local.status_arn
  sqs_success_feedback_sample_rate      = local.status_percent
  http_success_feedback_role_arn        = local.status_arn
  http_failure_feedback_role_arn        = local.status_arn
  http_success_feedback_sample_rate     = local.status_percent
  lambda_success_feedback_role_arn      = local.status_arn
  lambda_failure_feedback_role_arn      = local.status_arn
  lambda_success_feedback_sample_rate   = local.status_percent
  firehose_success_feedback_role_arn    = local.status_arn
  firehose_failure_feedback_role_arn    = local.status_arn
  firehose_success_feedback_sample_rate = local.status_percent

  tags = var.tags

  lifecycle {
    precondition {
      condition     = length(each.value) <= 256
      error_message = "The topic ${each.value} has more than 256 characters: shorten topic_template."
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  for_each = local.names

  arn    = aws_sns_topic.this[each.value].arn
  policy = data.aws_iam_policy_document.topic[each.value].json
}

data "aws_iam_policy_document" "topic" {
  for_each = local.names

  dynamic "statement" {
    for_each = length(var.publisher_role_arns) > 0 ? [1] : []

    content {
      sid       = "PublishersPublish"
      actions   = ["sns:Publish"]
      resources = [aws_sns_topic.this[each.value].arn]

      principals {
        type        = "AWS"
        identifiers = sort(var.publisher_role_arns)
      }
    }
  }

  dynamic "statement" {
    for_each = length(var.subscriber_accounts) > 0 ? [1] : []

    content {
      sid       = "AccountsSubscribe"
      actions   = ["sns:Subscribe"]
      resources = [aws_sns_topic.this[each.value].arn]

      principals {
        type = "AWS"
        identifiers = sort([
          for account in var.subscriber_accounts :
          "arn:${data.aws_partition.current.partition}:iam::${account}:root"
        ])
      }

      condition {
        test     = "StringEquals"
        variable = "sns:Protocol"
        values   = var.fifo ? ["sqs"] : ["firehose", "lambda", "sqs"]
      }
    }
  }

  statement {
    sid       = "RefuseWithoutTls"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this[each.value].arn]

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

# What the key's own policy has to say beside what it says already: a key belongs to whoever made it, so the
# module cannot write it.
data "aws_iam_policy_document" "key" {
  statement {
    sid       = "PublishersEncrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type = "AWS"
      identifiers = sort(concat(tolist(var.publisher_role_arns), [
        "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"
      ]))
    }

    condition {
      test     = "StringLike"
      variable = "kms:ViaService"
      values   = ["sns.*.${data.aws_partition.current.dns_suffix}"]
    }
  }

  dynamic "statement" {
    for_each = length(var.subscriptions) > 0 ? [1] : []

    content {
      sid       = "TopicsFillDeadLetterQueues"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = ["sns.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [data.aws_caller_identity.current.account_id]
      }
    }
  }
}

# Who may publish to the topic, by what way.

locals {
  publisher_arns = sort(concat(
    [
      for account in var.publisher_accounts :
      "arn:${data.aws_partition.current.partition}:iam::${account}:root"
    ],
    tolist(var.publisher_role_arns),
  ))
}

data "aws_iam_policy_document" "topic" {
  dynamic "statement" {
    for_each = length(local.publisher_arns) > 0 ? [1] : []

    content {
      sid       = "PublishersPublish"
      actions   = ["sns:Publish"]
      resources = [aws_sns_topic.this.arn]

      principals {
        type        = "AWS"
        identifiers = local.publisher_arns
      }
    }
  }

  statement {
    sid       = "RefuseWithoutTls"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]

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

data "aws_iam_policy_document" "dead_letter" {
  statement {
    sid       = "TopicSends"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letter.arn]

    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_sns_topic.this.arn]
    }
  }

  statement {
    sid       = "RefuseWithoutTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.dead_letter.arn]

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

data "aws_iam_policy_document" "publisher_trust" {
  count = var.publisher_role == null ? 0 : 1

  statement {
    sid     = "PublishersAssume"
    actions = ["sts:AssumeRole"]

    principals {
      type = "AWS"
      identifiers = sort([
        for account in var.publisher_role.trusted_accounts :
        "arn:${data.aws_partition.current.partition}:iam::${account}:root"
      ])
    }

    dynamic "condition" {
      for_each = var.publisher_role.external_id == null ? [] : [var.publisher_role.external_id]

      content {
        test     = "StringEquals"
        variable = "sts:ExternalId"
        values   = [condition.value]
      }
    }
  }
}

data "aws_iam_policy_document" "publisher" {
  count = var.publisher_role == null ? 0 : 1

  statement {
    sid       = "PublishToTopic"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "EncryptForTopic"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "publisher" {
  count = var.publisher_role == null ? 0 : 1

  name                 = "${var.name}-publisher"
  description          = "Publishes to the topic ${var.name}${local.suffix}."
  assume_role_policy   = data.aws_iam_policy_document.publisher_trust[0].json
  permissions_boundary = var.publisher_role.permissions_boundary_arn
  max_session_duration = 3600
  tags                 = var.tags
}

resource "aws_iam_role_policy" "publisher" {
  count = var.publisher_role == null ? 0 : 1

  name   = "publish"
  role   = aws_iam_role.publisher[0].id
  policy = data.aws_iam_policy_document.publisher[0].json
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
      identifiers = sort(concat(local.publisher_arns, [
        "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"
      ]))
    }

    condition {
      test     = "StringLike"
      variable = "kms:ViaService"
      values   = ["sns.*.${data.aws_partition.current.dns_suffix}"]
    }
  }

  statement {
    sid       = "TopicFillsDeadLetterQueue"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_sns_topic.this.arn]
    }
  }
}

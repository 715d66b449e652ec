# Who may send to the queue, by what way.

locals {
  sender_arns = sort(concat(
    [for account in var.sender_accounts : "arn:${data.aws_partition.current.partition}:iam::${account}:root"],
    tolist(var.sender_role_arns),
  ))
}

data "aws_iam_policy_document" "queue" {
  dynamic "statement" {
    for_each = length(local.sender_arns) > 0 ? [1] : []

    content {
      sid       = "SendersSend"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.this.arn]

      principals {
        type        = "AWS"
        identifiers = local.sender_arns
      }
    }
  }

  dynamic "statement" {
    for_each = length(var.source_topic_arns) > 0 ? [1] : []

    content {
      sid       = "TopicsSend"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.this.arn]

      principals {
        type        = "Service"
        identifiers = ["sns.amazonaws.com"]
      }

      # The service speaks for every account's topics; only these are meant.
      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = sort(var.source_topic_arns)
      }
    }
  }

  statement {
    sid       = "RefuseWithoutTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.this.arn]

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

data "aws_iam_policy_document" "sender_trust" {
  count = var.sender_role == null ? 0 : 1

  statement {
    sid     = "SendersAssume"
    actions = ["sts:AssumeRole"]

    principals {
      type = "AWS"
      identifiers = sort([
        for account in var.sender_role.trusted_accounts :
        "arn:${data.aws_partition.current.partition}:iam::${account}:root"
      ])
    }

    dynamic "condition" {
      for_each = var.sender_role.external_id == null ? [] : [var.sender_role.external_id]

      content {
        test     = "StringEquals"
        variable = "sts:ExternalId"
        values   = [condition.value]
      }
    }
  }
}

data "aws_iam_policy_document" "sender" {
  count = var.sender_role == null ? 0 : 1

  statement {
    sid       = "SendToQueue"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.this.arn]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "EncryptForQueue"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "sender" {
  count = var.sender_role == null ? 0 : 1

  name                 = "${var.name}-sender"
  description          = "Sends to the queue ${var.name}${local.suffix}."
  assume_role_policy   = data.aws_iam_policy_document.sender_trust[0].json
  permissions_boundary = var.sender_role.permissions_boundary_arn
  max_session_duration = 3600
  tags                 = var.tags
}

resource "aws_iam_role_policy" "sender" {
  count = var.sender_role == null ? 0 : 1

  name   = "send"
  role   = aws_iam_role.sender[0].id
  policy = data.aws_iam_policy_document.sender[0].json
}

# What the key's own policy has to say beside what it says already: a key belongs to whoever made it, so the
# module cannot write it.
data "aws_iam_policy_document" "key" {
  dynamic "statement" {
    for_each = length(local.sender_arns) > 0 ? [1] : []

    content {
      sid       = "SendersEncrypt"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = ["*"]

      principals {
        type        = "AWS"
        identifiers = local.sender_arns
      }

      condition {
        test     = "StringLike"
        variable = "kms:ViaService"
        values   = ["sqs.*.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }

  dynamic "statement" {
    for_each = length(var.source_topic_arns) > 0 ? [1] : []

    content {
      sid       = "TopicsEncrypt"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = ["sns.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = sort(var.source_topic_arns)
      }
    }
  }

  statement {
    sid       = "AccountUses"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type = "AWS"
      identifiers = [
        "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"
      ]
    }

    condition {
      test     = "StringLike"
      variable = "kms:ViaService"
      values   = ["sqs.*.${data.aws_partition.current.dns_suffix}"]
    }
  }
}

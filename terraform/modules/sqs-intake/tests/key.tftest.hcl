# A key of yours and a role for the sender, every policy to the letter. The provider is the real one and asks
# AWS nothing.

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

run "a_key_of_ones_own_and_a_role_for_the_sender" {
  command = apply

  variables {
    kms_key_arn       = "arn:aws:kms:eu-west-1:123456789012:key/1111aaaa-22bb-33cc-44dd-5555eeee6666"
    source_topic_arns = ["arn:aws:sns:eu-west-1:111122223333:a"]
    sender_role = {
      trusted_accounts         = ["111122223333"]
      external_id              = "app-1"
      permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
    }
  }

  assert {
    condition = (
      aws_sqs_queue.this.kms_master_key_id == var.kms_key_arn
      && aws_sqs_queue.dead_letter.kms_master_key_id == var.kms_key_arn
      && aws_sqs_queue.this.kms_data_key_reuse_period_seconds == 300
    )
    error_message = "The key does not encrypt both queues."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.sender[0].assume_role_policy).Statement) == jsonencode([{
      Sid       = "SendersAssume"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::111122223333:root" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "sts:ExternalId" = "app-1" } }
    }])
    error_message = "Somebody else may assume the role: ${aws_iam_role.sender[0].assume_role_policy}"
  }

  assert {
    condition     = aws_iam_role.sender[0].permissions_boundary == "arn:aws:iam::123456789012:policy/boundary"
    error_message = "The role has no boundary."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role_policy.sender[0].policy).Statement) == jsonencode([
      {
        Sid      = "SendToQueue"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = "arn:aws:sqs:eu-west-1:123456789012:stream-events"
      },
      {
        Sid      = "EncryptForQueue"
        Effect   = "Allow"
        Action   = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource = "arn:aws:kms:eu-west-1:123456789012:key/1111aaaa-22bb-33cc-44dd-5555eeee6666"
      },
    ])
    error_message = "The role may do something else: ${aws_iam_role_policy.sender[0].policy}"
  }

  assert {
    condition = jsonencode(jsondecode(output.kms_key_policy_json).Statement) == jsonencode([
      {
        Sid       = "SendersEncrypt"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::111122223333:root" }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = "*"
        Condition = { StringLike = { "kms:ViaService" = "sqs.*.amazonaws.com" } }
      },
      {
        Sid       = "TopicsEncrypt"
        Effect    = "Allow"
        Principal = { Service = "sns.amazonaws.com" }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = "*"
        Condition = { ArnEquals = { "aws:SourceArn" = "arn:aws:sns:eu-west-1:111122223333:a" } }
      },
      {
        Sid       = "AccountUses"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::123456789012:root" }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = "*"
        Condition = { StringLike = { "kms:ViaService" = "sqs.*.amazonaws.com" } }
      },
    ])
    error_message = "The key's policy needs something else: ${output.kms_key_policy_json}"
  }
}
